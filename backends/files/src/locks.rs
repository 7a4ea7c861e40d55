//! The kernel's locks on whole files, none of which is ever waited for.
//!
//! Lives here: the calls behind [`Files::try_lock`](crate::Files::try_lock) and
//! its like. `unsafe` stands here or nowhere: rustix has no OFD locks.
//! May not: choose a lock; the store does.
//!
//! An OFD lock belongs to the open file, as flock(2)'s does, and excludes POSIX
//! locks of fcntl(2), which other programs take. A POSIX lock of our own would
//! vanish when any descriptor of the file is closed anywhere in the process.

#![allow(unsafe_code, reason = "fcntl(2) takes its lock by a pointer")]

use crate::Lock;
use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, retry_on_intr},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

// What F_OFD_SETLK takes has 64 bits for places everywhere.
#[cfg(target_env = "musl")]
use libc::flock as Range;
#[cfg(not(target_env = "musl"))]
use libc::flock64 as Range;

/// Locks for writing; says whether nobody else holds a lock.
pub(crate) fn try_lock(file: impl AsFd, lock: Lock) -> io::Result<bool> {
    let locked = match lock {
        Lock::Fcntl => ofd(file.as_fd(), libc::F_OFD_SETLK, libc::F_WRLCK).map(drop),
        Lock::Flock => retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)),
    };
    match locked {
        Ok(()) => Ok(true),
        // fcntl(2) may say either.
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lock back, for whoever else has a copy of the descriptor.
pub(crate) fn unlock(file: impl AsFd, lock: Lock) -> io::Result<()> {
    match lock {
        Lock::Fcntl => ofd(file.as_fd(), libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)?,
        Lock::Flock => retry_on_intr(|| flock(&file, FlockOperation::Unlock))?,
    }
    Ok(())
}

/// The process that holds a POSIX lock of fcntl(2). Of an OFD lock the kernel
/// knows none.
pub(crate) fn holder(file: impl AsFd) -> io::Result<Option<u32>> {
    let range = ofd(file.as_fd(), libc::F_OFD_GETLK, libc::F_WRLCK)?;
    let is_held = i32::from(range.l_type) != libc::F_UNLCK;
    Ok(u32::try_from(range.l_pid).ok().filter(|pid| is_held && *pid > 0))
}

/// One call about the whole file.
fn ofd(file: BorrowedFd<'_>, command: i32, kind: i32) -> Result<Range, Errno> {
    // SAFETY: a struct of numbers, for which zero is a value: from the file's
    // beginning to its end, of no process.
    let mut range: Range = unsafe { std::mem::zeroed() };
    range.l_type = kind.try_into().map_err(|_| Errno::INVAL)?;
    range.l_whence = libc::SEEK_SET.try_into().map_err(|_| Errno::INVAL)?;
    retry_on_intr(|| {
        // SAFETY: the descriptor is open, and the kernel writes to nothing but
        // the lock, which outlives the call.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut range) };
        if done == -1 {
            let error = io::Error::last_os_error();
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        Ok(())
    })?;
    Ok(range)
}

#[cfg(test)]
mod tests {
    use crate::{Files, Kernel, Lock};
    use std::{fs, path::Path};

    #[test]
    fn a_lock_excludes_other_open_files_until_it_is_given_back_or_closed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "").unwrap();
        let kernel = Kernel::new();
        let root = kernel.open_root(directory.path()).unwrap();
        let open = || kernel.open_update(&root, Path::new("a")).unwrap();
        for lock in [Lock::Fcntl, Lock::Flock] {
            let (one, other) = (open(), open());
            assert!(kernel.try_lock(&one, lock).unwrap());
            assert!(kernel.try_lock(&one, lock).unwrap(), "again by its holder");
            assert!(!kernel.try_lock(&other, lock).unwrap(), "{lock:?}");
            assert_eq!(kernel.lock_holder(&other).unwrap(), None, "an OFD lock has no process");
            // POSIX locks vanish with any descriptor; these do not.
            drop(open());
            assert!(!kernel.try_lock(&other, lock).unwrap(), "{lock:?}");
            kernel.unlock(&one, lock).unwrap();
            assert!(kernel.try_lock(&other, lock).unwrap(), "{lock:?}");
            drop(other);
            assert!(kernel.try_lock(&one, lock).unwrap(), "{lock:?}");
        }
    }

    #[test]
    fn a_lock_on_a_directory_excludes_other_openings_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = Kernel::new();
        let open = || kernel.open_root(directory.path()).unwrap();
        let (one, other) = (open(), open());
        assert!(kernel.try_lock_dir(&one).unwrap());
        assert!(!kernel.try_lock_dir(&other).unwrap());
        drop(open());
        assert!(!kernel.try_lock_dir(&other).unwrap());
        drop(one);
        assert!(kernel.try_lock_dir(&other).unwrap());
    }
}
