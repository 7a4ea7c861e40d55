//! A Unix socket's file, and who may take it over.
//!
//! Lives here: the lock file beside the socket, telling a stale socket from one
//! in use and from one that is not ours, rights without a wider moment.
//! May not: accept.
//! Holds: whoever has the lock on `PATH.lock` owns PATH; a file at PATH that no
//! postino bound is never removed.

use super::{SocketRights, bind_error::BindError};
use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// How often a lock file that somebody removes as we lock it is opened anew.
const LOCK_TRIES_MAX: usize = 10;

/// A socket that was bound, and its lock. Dropped, both files are removed.
pub(super) struct UnixSocket {
    pub(super) descriptor: OwnedFd,
    file: BoundFile,
}

/// The files of a bound socket.
struct BoundFile {
    path: PathBuf,
    /// Device and inode of what was bound.
    identity: Option<(u64, u64)>,
    // Dropped last: the lock covers the socket's removal.
    lock: Lock,
}

impl UnixSocket {
    /// Binds `path`; does not listen yet.
    pub(super) fn bind(path: &Path, rights: SocketRights) -> Result<Self, BindError> {
        let lock = Lock::take(path)?;
        if let Some(found) = look_at(path)? {
            make_room(path, &found, &lock)?;
        }
        let fail = |doing, error: Errno| BindError::unix(path, doing, error.into());
        let descriptor = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|error| fail("make a socket", error))?;
        let address = SocketAddrUnix::new(path).map_err(|error| fail("use the path", error))?;
        let mut file = BoundFile { path: path.to_owned(), identity: None, lock };
        // No rights at first: nobody connects before owner and mode are set.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o777));
        let bound = rustix::net::bind(&descriptor, &address);
        rustix::process::umask(umask);
        bound.map_err(|error| fail("bind", error))?;
        file.identity = look_at(path)?.as_ref().map(identity);
        // What lies there now is ours, and goes with its lock.
        file.lock.keep = false;
        if rights.owner.is_some() || rights.group.is_some() {
            let owner = rights.owner.map(Uid::from_raw);
            let group = rights.group.map(Gid::from_raw);
            rustix::fs::chownat(CWD, path, owner, group, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| fail("give it its owner and group", error))?;
        }
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(rights.mode), AtFlags::empty())
            .map_err(|error| fail("set its mode", error))?;
        Ok(Self { descriptor, file })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        let Some(bound) = self.identity else { return };
        match look_at(&self.path) {
            Ok(Some(found)) if identity(&found) == bound => {
                if let Err(error) = rustix::fs::unlinkat(CWD, &self.path, AtFlags::empty()) {
                    log::debug!(
                        "unix:{}: left behind, the next start takes it over: {error}",
                        self.path.display()
                    );
                    self.lock.keep = true;
                }
            }
            _ => log::warn!(
                "unix:{}: not removed, it is not the socket that was bound here",
                self.path.display()
            ),
        }
    }
}

/// The lock file of a socket; removed when dropped, unless it is to be kept.
struct Lock {
    path: PathBuf,
    _descriptor: OwnedFd,
    /// Whether there was a lock file before: a postino that did not end well.
    was_there: bool,
    /// Whether the file stays, so that the next start knows the socket as ours.
    keep: bool,
}

impl Lock {
    fn take(socket: &Path) -> Result<Self, BindError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let fail = |error: Errno| {
            let doing = "make the lock file beside it (PATH.lock)";
            BindError::unix(socket, doing, error.into())
        };
        for _ in 0..LOCK_TRIES_MAX {
            let (descriptor, was_there) = match open_lock(&path, OFlags::CREATE | OFlags::EXCL) {
                Ok(descriptor) => (descriptor, false),
                Err(Errno::EXIST) => match open_lock(&path, OFlags::empty()) {
                    Ok(descriptor) => (descriptor, true),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(fail(error)),
                },
                Err(error) => return Err(fail(error)),
            };
            match rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(BindError::refused(
                        format!("unix:{}", socket.display()),
                        "in use by a running postino; stop that one, or take another path",
                    ));
                }
                Err(error) => return Err(fail(error)),
            }
            // Its last owner may have removed the file between open and lock.
            let locked = rustix::fs::fstat(&descriptor).map_err(fail)?;
            match rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if identity(&named) == identity(&locked) => {
                    return Ok(Self { path, _descriptor: descriptor, was_there, keep: was_there });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Err(fail(Errno::BUSY))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.keep {
            // Where it can't be removed the next start locks it again.
            let _ = rustix::fs::unlinkat(CWD, &self.path, AtFlags::empty());
        }
    }
}

fn open_lock(path: &Path, how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = how | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))
}

fn look_at(path: &Path) -> Result<Option<Stat>, BindError> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(BindError::unix(path, "look at it", error.into())),
    }
}

// The fields' types differ between architectures.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "wider on some targets")]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Removes a socket that a postino left behind; refuses anything else.
fn make_room(path: &Path, found: &Stat, lock: &Lock) -> Result<(), BindError> {
    let refused = |why| Err(BindError::refused(format!("unix:{}", path.display()), why));
    if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_socket() {
        return refused("something that is no socket lies there; remove it, or take another path");
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return refused("another program answers there; stop it, or take another path");
    }
    if !lock.was_there {
        return refused(
            "a socket lies there that no postino left behind (it has no lock file); remove it if nobody needs it",
        );
    }
    rustix::fs::unlinkat(CWD, path, AtFlags::empty())
        .map_err(|error| BindError::unix(path, "remove the stale socket", error.into()))?;
    log::info!("unix:{}: took over a socket that was left behind", path.display());
    Ok(())
}
