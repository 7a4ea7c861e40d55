//! Being another user for a while, on one thread.
//!
//! Lives here: [`Assumed`], which gives the calling thread a user's effective ids
//! and groups, and takes them away again when dropped.
//! May not: be held where a thread or a program is started: either would have the
//! user's effective ids and root's real ones. [`is_assumed`] tells.
//! Holds: what was taken on has been read back, and so has what was given back; a
//! thread that cannot be root again ends the process.
//!
//! Real and saved ids stay root's. By these the kernel judges whom a user may
//! signal (kill(2), tgkill(2)), limit (prlimit(2)), trace (ptrace(2)) or make wait
//! in a file system of his own (FUSE): as long as they are not his, he may do
//! nothing to a thread that acts for him. The ids by which files are opened and
//! made follow the effective ones, and with an effective id that is not root's a
//! thread has no capability in force, unless its secure bits say so, for which it is
//! asked. The C library's calls would change all threads, so these are the kernel's.
//! The umask is the whole process's and stays.

#![allow(unsafe_code, reason = "rustix has no getresuid and getresgid")]

use super::credentials::Identity;
use rustix::{
    process::getgroups,
    thread::{
        CapabilitySet, Gid, Uid, capabilities, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};
use std::{
    cell::Cell,
    io::{self, Write as _},
    marker::PhantomData,
    process,
};

/// Root's uid.
const ROOT: u32 = 0;

/// To the kernel this is no id, but "as before".
const NO_ID: u32 = u32::MAX;

thread_local! {
    static IS_ASSUMED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread acts as another user.
pub fn is_assumed() -> bool {
    IS_ASSUMED.get()
}

/// The calling thread acts as another user until this is dropped, which a panic does
/// too. It cannot go to another thread.
#[derive(Debug)]
#[must_use = "the thread is itself again at once"]
pub struct Assumed {
    before: Ids,
    _of_this_thread: PhantomData<*const ()>,
}

/// A thread's ids: real, effective, saved; and what it may do beyond them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ids {
    users: [u32; 3],
    groups: [u32; 3],
    /// Sorted: the kernel's order is that of its own numbers, which in a user namespace
    /// are others.
    supplementary: Vec<u32>,
    /// Those in force.
    capabilities: CapabilitySet,
}

impl Assumed {
    /// Has the calling thread act as this user, who is not root. An error leaves it as
    /// it was; [`io::ErrorKind::PermissionDenied`] where it is not root in every way.
    pub fn take(identity: &Identity) -> io::Result<Self> {
        let before = Ids::of_this_thread()?;
        if before.users != [ROOT; 3] || identity.uid == ROOT {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let Identity { uid, gid, groups } = identity;
        if groups.iter().chain([uid, gid]).any(|id| *id == NO_ID) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut supplementary = groups.clone();
        supplementary.sort_unstable();
        let [real_user, _, saved_user] = before.users;
        let [real_group, _, saved_group] = before.groups;
        let wanted = Ids {
            users: [real_user, *uid, saved_user],
            groups: [real_group, *gid, saved_group],
            supplementary,
            capabilities: CapabilitySet::empty(),
        };
        // From here on the drop undoes whatever was done.
        let assumed = Self { before, _of_this_thread: PhantomData };
        IS_ASSUMED.set(true);
        // The uid last: afterwards none of the others may be changed.
        set_groups(&wanted.supplementary)?;
        set_thread_res_gid(None, Gid::from_raw(*gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(*uid), None)?;
        let found = Ids::of_this_thread()?;
        if found == wanted {
            return Ok(assumed);
        }
        Err(io::Error::other(if found.capabilities == wanted.capabilities {
            "the thread's ids are not those that it was given"
        } else {
            "the thread keeps rights of root's; start it without the secure bit no-setuid-fixup"
        }))
    }

    fn give_back(&self) -> io::Result<()> {
        let [_, user, _] = self.before.users;
        let [_, group, _] = self.before.groups;
        // The uid first: it brings the right to change the others.
        set_thread_res_uid(None, Uid::from_raw(user), None)?;
        set_thread_res_gid(None, Gid::from_raw(group), None)?;
        set_groups(&self.before.supplementary)?;
        if Ids::of_this_thread()? == self.before {
            Ok(())
        } else {
            Err(io::Error::other("the thread's ids are not those that it had"))
        }
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
            // Whatever it did next, it would do as somebody else.
            log::error!("a thread cannot be root again: {error}; the process ends");
            let _ = writeln!(
                io::stderr(),
                "postino: a thread cannot be root again: {error}; the process ends"
            );
            process::abort();
        }
        IS_ASSUMED.set(false);
    }
}

impl Ids {
    fn of_this_thread() -> io::Result<Self> {
        let (mut users, mut groups) = ([0; 3], [0; 3]);
        let [real, effective, saved] = &mut users;
        // SAFETY: three pointers to a number each, which the kernel writes.
        check(unsafe { libc::getresuid(real, effective, saved) })?;
        let [real, effective, saved] = &mut groups;
        // SAFETY: as above.
        check(unsafe { libc::getresgid(real, effective, saved) })?;
        let mut supplementary: Vec<u32> = getgroups()?.into_iter().map(Gid::as_raw).collect();
        supplementary.sort_unstable();
        Ok(Self { users, groups, supplementary, capabilities: capabilities(None)?.effective })
    }
}

fn set_groups(groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    Ok(set_thread_groups(&groups)?)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
