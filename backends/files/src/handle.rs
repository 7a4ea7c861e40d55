//! What the calls take and give: open directories and files, and their status.
//!
//! Lives here: owned descriptors that remember the path they were opened by,
//! for error messages and records; no call uses that path again.
//! May not: make a call, but the close when a handle is dropped.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

/// An open directory; closed when dropped.
#[derive(Debug)]
pub struct Dir {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Takes an open directory and the path to call it by.
    pub fn new(descriptor: OwnedFd, path: PathBuf) -> Self {
        Self { descriptor, path }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path to call something by that is found from here: below, or beside by
    /// `..` in front.
    pub fn path_to(&self, name: &Path) -> PathBuf {
        let mut path = self.path.clone();
        for component in name.components() {
            match component {
                Component::ParentDir => drop(path.pop()),
                component => path.push(component),
            }
        }
        path
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// An open file; closed when dropped. After a good [`sync_file`] the close has
/// nothing left to report.
///
/// [`sync_file`]: crate::Files::sync_file
#[derive(Debug)]
pub struct File {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl File {
    /// Takes an open file and the path to call it by.
    pub fn new(descriptor: OwnedFd, path: PathBuf) -> Self {
        Self { descriptor, path }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file system's device.
    pub device: u64,
    /// The inode on it.
    pub inode: u64,
    /// When it was made, in seconds since 1970 and nanoseconds, where the file
    /// system tells: inode numbers are used again.
    pub born: Option<(i64, u32)>,
}

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a FIFO or a socket.
    Other,
}

/// The facts of a file or directory that somebody here asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which one it is.
    pub identity: Identity,
    /// What it is.
    pub kind: Kind,
    /// Its size in octets.
    pub size: u64,
    /// Its owner.
    pub owner: u32,
    /// Its group.
    pub group: u32,
    /// Its permission bits, without those of its kind.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// The last writing of its content, in seconds since 1970.
    pub written: i64,
    /// The last reading or writing of its content, in seconds since 1970.
    pub used: i64,
    /// The last change of anything about it, in seconds since 1970 and nanoseconds.
    /// Nobody can set it back; it goes on in steps of a few milliseconds.
    pub changed: (i64, u32),
    /// Of a directory that gives its own group to what is made in it (setgid):
    /// which.
    pub gives_group: Option<u32>,
}

/// The kernel's locks on a file, which know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// An OFD lock; also excludes the POSIX locks of fcntl(2) and lockf(3).
    Fcntl,
    /// That of flock(2).
    Flock,
}

/// The room on a file system, as far as this process may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Octets that it has.
    pub octets: u64,
    /// Octets that are free.
    pub octets_free: u64,
    /// Inodes that it has; 0 where it makes them at need.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
    /// Whether it lies in memory (tmpfs), so that a file there costs as much
    /// as a buffer.
    pub in_memory: bool,
}
