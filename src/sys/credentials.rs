//! Becoming another user for good: groups, gid, uid, `no_new_privs`, umask.
//!
//! Lives here: the one way down, and the proof that there is none up.
//! May not: be called once there are threads; the C library would have to tell
//! each of them.

#![allow(unsafe_code, reason = "changing the whole process's ids is the C library's work")]

use super::names::{self, NameError};
use rustix::{fs::Mode, process, thread};
use std::{fmt, io};

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Why a user cannot be become.
#[derive(Debug)]
pub enum IdentityError {
    /// The user.
    User(NameError),
    /// The group.
    Group(NameError),
    /// A user by number has no group of his own.
    NoGroup,
    /// It needs root.
    NotRoot,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(error) => write!(f, "the user is {error}"),
            Self::Group(error) => write!(f, "the group is {error}"),
            Self::NoGroup => f.write_str("a user given by number needs a group beside it"),
            Self::NotRoot => f.write_str("only root can become another user; leave it out"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// The user of this name, with the groups that he is in; `group` in place of
    /// his own where it is given. Whoever is not root can only be himself.
    pub fn of_user(name: &str, group: Option<&str>) -> Result<Self, IdentityError> {
        let user = names::user(name).map_err(IdentityError::User)?;
        let gid = match (group, user.gid) {
            (Some(group), _) => names::group(group).map_err(IdentityError::Group)?,
            (None, Some(own)) => own,
            (None, None) => return Err(IdentityError::NoGroup),
        };
        let own = (process::geteuid().as_raw(), process::getegid().as_raw());
        if own.0 != 0 && own != (user.uid, gid) {
            return Err(IdentityError::NotRoot);
        }
        Ok(Self { uid: user.uid, gid, groups: names::groups_of(name, gid) })
    }
}

/// Becomes that user, for good; an error leaves nothing to go on with.
pub fn become_user(identity: &Identity) -> io::Result<()> {
    let Identity { uid, gid, groups } = identity;
    // Whoever is not root was found to be that user already.
    if !process::geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: the pointer is to as many ids as the length says.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: these take numbers, and are called by the only thread.
    check(unsafe { libc::setresgid(*gid, *gid, *gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(*uid, *uid, *uid) })?;
    // SAFETY: as above; it must fail.
    if *uid != 0 && unsafe { libc::setresuid(0, 0, 0) } == 0 {
        return Err(io::Error::other("root could be regained"));
    }
    Ok(())
}

/// No program that this one starts can gain rights.
pub fn no_new_privs() -> io::Result<()> {
    Ok(thread::set_no_new_privs(true)?)
}

/// What is made without a mode of its own is the owner's alone.
pub fn restrict_umask() {
    process::umask(Mode::from_raw_mode(0o077));
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::{Identity, IdentityError, become_user};
    use std::process::Command;

    #[test]
    fn a_user_brings_the_groups_that_he_is_in() {
        let root = Identity::of_user("root", None);
        if rustix::process::getuid().as_raw() == 0 {
            assert!(root.unwrap().groups.contains(&0));
            let nobody = Identity::of_user("nobody", Some("nogroup")).unwrap();
            assert_ne!(nobody.uid, 0);
            assert_eq!(nobody.groups, [nobody.gid]);
        } else {
            assert!(matches!(root, Err(IdentityError::NotRoot)));
        }
        assert!(Identity::of_user("4711", None).is_err());
        assert!(matches!(Identity::of_user("no-such-name", None), Err(IdentityError::User(_))));
    }

    #[test]
    fn who_has_become_another_user_has_no_way_back() {
        const CHILD: &str = "POSTINO_TEST_BECOMES_NOBODY";
        const NAME: &str = "who_has_become_another_user_has_no_way_back";
        if rustix::process::getuid().as_raw() != 0 {
            println!("only root can try this");
            return;
        }
        if std::env::var_os(CHILD).is_some() {
            let nobody = Identity::of_user("nobody", None).unwrap();
            // The test's own threads are why this is a process of its own.
            become_user(&nobody).unwrap();
            assert_eq!(rustix::process::geteuid().as_raw(), nobody.uid);
            assert!(std::fs::read("/etc/shadow").is_err());
            return;
        }
        let program = std::env::current_exe().unwrap();
        let filter = format!("sys::credentials::tests::{NAME}");
        let child = Command::new(program).args(["--exact", &filter]).env(CHILD, "1").output();
        let child = child.unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
    }
}
