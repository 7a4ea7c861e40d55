//! The file calls that stores and the spool make, behind a trait.
//!
//! Lives here: [`Files`], the few calls with which a store touches the disk;
//! [`Kernel`], which makes them for real; [`marker`], the file that says "this
//! is a store's root", and [`root`], what follows from it; [`home`], where there is
//! no such root; [`lost`], where a repair puts what it takes out of a store;
//! [`process`], for locks that name their holder. Under the feature `testing`:
//! implementations that fail the Nth call and that record their order.
//! May not: know a message, a mailbox or a store's layout.
//! Holds: every descriptor is close-on-exec; below a root no symbolic link is
//! followed to what is opened or made; nothing that exists is overwritten, but by
//! [`Files::rename_over`]; no sync is ever tried twice.
//!
//! A store takes an `Arc<dyn Files>`, so that a test can fail any call and see
//! their order:
//!
//! ```
//! use postino_files::{Files, Kernel};
//! use std::path::Path;
//!
//! # let root = std::env::temp_dir().join(format!("postino-files-{}", std::process::id()));
//! # std::fs::create_dir(&root)?;
//! let files = Kernel::new();
//! let dir = files.open_root(&root)?;
//! let file = files.create(&dir, Path::new("draft"), 0o600)?;
//! files.write_all(&file, b"text")?;
//! files.sync_file(&file)?;
//! files.rename(&dir, Path::new("draft"), &dir, Path::new("message"))?;
//! files.sync_dir(&dir)?;
//! # std::fs::remove_dir_all(&root)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod handle;
pub mod home;
mod kernel;
mod locks;
pub mod lost;
pub mod marker;
pub mod process;
pub mod root;
mod root_error;
#[cfg(feature = "testing")]
pub mod testing;

pub use handle::{Dir, File, Identity, Kind, Lock, Space, Status};
pub use kernel::Kernel;

use std::{
    ffi::{OsStr, OsString},
    io,
    ops::ControlFlow,
    path::Path,
    time::Duration,
};

/// What takes the names in a directory.
pub type Visit<'a> = &'a mut dyn FnMut(&OsStr) -> ControlFlow<()>;

/// The calls. Each is one step on the disk, is relative to an open directory
/// (but [`Files::open_root`], [`Files::open_path`] and [`Files::stat_path`]), and
/// may fail with any errno.
///
/// `name` is one path component; where a method takes a `path`, it is one or
/// more components, none of which may be a symbolic link, `.` or `..`.
///
/// A file beside a directory, `../tmp/draft`, is a `name` too to
/// [`Files::create`], which follows no symbolic link on the way to it, and then to
/// what undoes or completes it: [`Files::unlink`], and [`Files::rename`] and
/// [`Files::link`] as what they begin from. These three look for it again: whoever
/// may write to the directories can have put something else under the name. What
/// they make is always in an open directory.
pub trait Files: Send + Sync {
    /// Opens a store's root by its path, through symbolic links: where the root
    /// lies is the administrator's choice.
    fn open_root(&self, path: &Path) -> io::Result<Dir>;

    /// Opens a directory by a path without any symbolic link in it, which may begin
    /// at the file system's root; an error where there is one, or where the kernel
    /// cannot look for it in one call.
    fn open_path(&self, path: &Path) -> io::Result<Dir>;

    /// Opens the directory at `path`. A symbolic link on the way is ELOOP or
    /// ENOTDIR, anything else that is no directory is ENOTDIR.
    fn open_dir(&self, at: &Dir, path: &Path) -> io::Result<Dir>;

    /// Makes a directory with exactly this mode, whatever the umask; a setgid
    /// parent makes it setgid too. It is not durable before both it and its
    /// parent are synced.
    fn make_dir(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<()>;

    /// Creates a file for writing with exactly this mode, whatever the umask.
    /// One that exists, a dangling link included, is EEXIST.
    fn create(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<File>;

    /// Opens a file for reading; never waits, as a FIFO's writer would make it.
    fn open(&self, at: &Dir, name: &Path) -> io::Result<File>;

    /// Opens a file for reading, and for writing at its end wherever that is by
    /// then; never waits.
    fn open_update(&self, at: &Dir, name: &Path) -> io::Result<File>;

    /// Creates a file for writing and reading that has no name, with exactly this
    /// mode: unless [`Files::link_unnamed`] gives it one it is gone once it is
    /// closed, or the process ends, however that may be.
    fn create_unnamed(&self, at: &Dir, mode: u32) -> io::Result<File>;

    /// Reads at the file's position: how many octets came, 0 at the end.
    fn read(&self, file: &File, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads `offset` octets behind the file's beginning, wherever its position
    /// is: several threads may read one file.
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at the file's position: how many octets were taken, perhaps fewer
    /// than given. [`Files::write_all`] is for callers.
    fn write(&self, file: &File, octets: &[u8]) -> io::Result<usize>;

    /// Gives an open file, or what was opened as one, this owner and group and exactly
    /// this mode, in this order: nobody gets a right that he would not have in the
    /// end. An owner that the file does not have, or a group that this process is not
    /// in, is EPERM for all but root, unless the file has it already.
    fn set_access(&self, file: &File, owner: u32, group: u32, mode: u32) -> io::Result<()>;

    /// Cuts a file to this length, which may be its own.
    fn truncate(&self, file: &File, octets: u64) -> io::Result<()>;

    /// Says when a file's content was last written, as far as the file system can
    /// keep it; when it was last read stays.
    fn set_written(&self, file: &File, since_epoch: Duration) -> io::Result<()>;

    /// Locks the whole file for writing, for this opening of it alone; says whether
    /// that was possible, and never waits. The lock ends with
    /// [`Files::unlock`], or when the file is closed.
    fn try_lock(&self, file: &File, lock: Lock) -> io::Result<bool>;

    /// Locks a directory as [`Lock::Flock`] does a file, until it is closed; says
    /// whether that was possible, and never waits. Where a file system has no such
    /// locks on directories it always is.
    fn try_lock_dir(&self, dir: &Dir) -> io::Result<bool>;

    /// Gives a lock back.
    fn unlock(&self, file: &File, lock: Lock) -> io::Result<()>;

    /// The process whose lock is in the way of [`Lock::Fcntl`], where the kernel
    /// knows it.
    fn lock_holder(&self, file: &File) -> io::Result<Option<u32>>;

    /// fsync of a file. After an error, whichever, the file's content is not to
    /// be trusted and a second call would lie: the caller gives the file up.
    fn sync_file(&self, file: &File) -> io::Result<()>;

    /// fsync of a directory: its entries are durable. As for
    /// [`Files::sync_file`], an error is final.
    fn sync_dir(&self, dir: &Dir) -> io::Result<()>;

    /// Gives a file another name, in the same file system; one that exists is
    /// EEXIST and stays as it is.
    fn rename(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()>;

    /// Gives a file another name, in the same file system, in the place of whatever
    /// file has that name: **that one is lost**, if it has no other. There is no
    /// moment at which the name means neither. Not for a file whose content is not
    /// synced.
    fn rename_over(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()>;

    /// Gives a file a second name; one that exists is EEXIST.
    fn link(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()>;

    /// Gives a file that was created without a name one, or one more; one that
    /// exists is EEXIST. ENOENT where the file system cannot do it, or the file
    /// has lost all names that it had.
    fn link_unnamed(&self, file: &File, to: &Dir, new_name: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn unlink(&self, at: &Dir, name: &Path) -> io::Result<()>;

    /// Removes a directory that is empty.
    fn remove_dir(&self, at: &Dir, name: &Path) -> io::Result<()>;

    /// What lies under this name; a symbolic link itself, not its target.
    fn stat(&self, at: &Dir, name: &Path) -> io::Result<Status>;

    /// What lies at a path, which may begin at the file system's root; symbolic
    /// links are followed, but not one at its end.
    fn stat_path(&self, path: &Path) -> io::Result<Status>;

    /// What an open file is.
    fn stat_file(&self, file: &File) -> io::Result<Status>;

    /// What an open directory is.
    fn stat_dir(&self, dir: &Dir) -> io::Result<Status>;

    /// The names in a directory, without `.` and `..`, at most `max` of them.
    fn read_dir(&self, dir: &Dir, max: usize) -> io::Result<Vec<OsString>>;

    /// Visits the same one by one, until told to break: a directory whose owner may
    /// put any number of names into it needs no memory for them.
    fn visit_dir(&self, dir: &Dir, visit: Visit<'_>) -> io::Result<()>;

    /// How much room there is on the file system that a directory lies in.
    fn space(&self, dir: &Dir) -> io::Result<Space>;

    /// Writes all octets: goes on after a short write and after EINTR.
    fn write_all(&self, file: &File, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            match self.write(file, octets) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => octets = octets.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// 64 bits that nobody can guess, from the kernel.
pub fn random() -> io::Result<u64> {
    let mut octets = [0; 8];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
        })?;
    }
    Ok(u64::from_ne_bytes(octets))
}
