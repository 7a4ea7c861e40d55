//! Files of which a chosen call fails.
//!
//! Lives here: the plan (which call, of which kind, how) and the count.
//! May not: make the call that fails; it fails before anything has happened.

use super::Call;
use crate::{Dir, File, Files, Lock, Space, Status, Visit};
use rustix::io::Errno;
use std::{
    ffi::OsString,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// EDQUOT.
    Quota,
    /// EMFILE.
    TooManyFiles,
    /// EINTR.
    Interrupted,
    /// A write takes only half of what it is given; other calls go well.
    ShortWrite,
    /// EXDEV.
    OtherDevice,
    /// EMLINK.
    TooManyLinks,
    /// EPERM.
    NotPermitted,
    /// EOPNOTSUPP.
    NotSupported,
    /// EACCES.
    Denied,
    /// EROFS.
    ReadOnly,
}

impl Fault {
    fn error(self) -> Option<io::Error> {
        let errno = match self {
            Self::Io => Errno::IO,
            Self::NoSpace => Errno::NOSPC,
            Self::Quota => Errno::DQUOT,
            Self::TooManyFiles => Errno::MFILE,
            Self::Interrupted => Errno::INTR,
            Self::ShortWrite => return None,
            Self::OtherDevice => Errno::XDEV,
            Self::TooManyLinks => Errno::MLINK,
            Self::NotPermitted => Errno::PERM,
            Self::NotSupported => Errno::OPNOTSUPP,
            Self::Denied => Errno::ACCESS,
            Self::ReadOnly => Errno::ROFS,
        };
        Some(errno.into())
    }
}

/// Fails the Nth call, once, and counts all of them.
pub struct Failing {
    inner: Arc<dyn Files>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    armed: Option<(usize, Fault)>,
    only: Option<Call>,
    counted: usize,
    struck: bool,
}

impl Failing {
    /// Fails nothing yet.
    pub fn new(inner: Arc<dyn Files>) -> Self {
        Self { inner, plan: Mutex::default() }
    }

    /// From now on the `n`th call (counted from 1) fails.
    pub fn arm(&self, n: usize, fault: Fault) {
        *self.plan() = Plan { armed: Some((n, fault)), ..Plan::default() };
    }

    /// From now on the `n`th call of this kind fails.
    pub fn arm_only(&self, call: Call, n: usize, fault: Fault) {
        *self.plan() = Plan { armed: Some((n, fault)), only: Some(call), ..Plan::default() };
    }

    /// Fails nothing any more; says whether the chosen call came.
    pub fn disarm(&self) -> bool {
        let mut plan = self.plan();
        plan.armed = None;
        plan.struck
    }

    /// How many calls (of the chosen kind) came since it was armed.
    pub fn counted(&self) -> usize {
        self.plan().counted
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; gives the fault if this is the one.
    fn strike(&self, call: Call) -> Option<Fault> {
        let mut plan = self.plan();
        if plan.only.is_some_and(|only| only != call) {
            return None;
        }
        plan.counted += 1;
        let (_, fault) = plan.armed.filter(|(n, _)| *n == plan.counted)?;
        plan.struck = true;
        Some(fault)
    }

    fn pass<T>(&self, call: Call, inner: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.strike(call).and_then(Fault::error) {
            Some(error) => Err(error),
            None => inner(),
        }
    }
}

impl Files for Failing {
    fn open_root(&self, path: &Path) -> io::Result<Dir> {
        self.pass(Call::OpenRoot, || self.inner.open_root(path))
    }

    fn open_path(&self, path: &Path) -> io::Result<Dir> {
        self.pass(Call::OpenPath, || self.inner.open_path(path))
    }

    fn open_dir(&self, at: &Dir, path: &Path) -> io::Result<Dir> {
        self.pass(Call::OpenDir, || self.inner.open_dir(at, path))
    }

    fn make_dir(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<()> {
        self.pass(Call::MakeDir, || self.inner.make_dir(at, name, mode))
    }

    fn create(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<File> {
        self.pass(Call::Create, || self.inner.create(at, name, mode))
    }

    fn create_unnamed(&self, at: &Dir, mode: u32) -> io::Result<File> {
        self.pass(Call::CreateUnnamed, || self.inner.create_unnamed(at, mode))
    }

    fn link_unnamed(&self, file: &File, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.pass(Call::LinkUnnamed, || self.inner.link_unnamed(file, to, new_name))
    }

    fn open(&self, at: &Dir, name: &Path) -> io::Result<File> {
        self.pass(Call::Open, || self.inner.open(at, name))
    }

    fn open_update(&self, at: &Dir, name: &Path) -> io::Result<File> {
        self.pass(Call::OpenUpdate, || self.inner.open_update(at, name))
    }

    fn read(&self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        self.pass(Call::Read, || self.inner.read(file, buffer))
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pass(Call::ReadAt, || self.inner.read_at(file, buffer, offset))
    }

    fn write(&self, file: &File, octets: &[u8]) -> io::Result<usize> {
        match self.strike(Call::Write) {
            Some(Fault::ShortWrite) => {
                let half = octets.len().div_ceil(2);
                self.inner.write(file, octets.get(..half).unwrap_or(octets))
            }
            Some(fault) => fault.error().map_or_else(|| self.inner.write(file, octets), Err),
            None => self.inner.write(file, octets),
        }
    }

    fn set_access(&self, file: &File, owner: u32, group: u32, mode: u32) -> io::Result<()> {
        self.pass(Call::SetAccess, || self.inner.set_access(file, owner, group, mode))
    }

    fn truncate(&self, file: &File, octets: u64) -> io::Result<()> {
        self.pass(Call::Truncate, || self.inner.truncate(file, octets))
    }

    fn set_written(&self, file: &File, since_epoch: Duration) -> io::Result<()> {
        self.pass(Call::SetWritten, || self.inner.set_written(file, since_epoch))
    }

    fn try_lock(&self, file: &File, lock: Lock) -> io::Result<bool> {
        self.pass(Call::TryLock, || self.inner.try_lock(file, lock))
    }

    fn try_lock_dir(&self, dir: &Dir) -> io::Result<bool> {
        self.pass(Call::TryLockDir, || self.inner.try_lock_dir(dir))
    }

    fn unlock(&self, file: &File, lock: Lock) -> io::Result<()> {
        self.pass(Call::Unlock, || self.inner.unlock(file, lock))
    }

    fn lock_holder(&self, file: &File) -> io::Result<Option<u32>> {
        self.pass(Call::LockHolder, || self.inner.lock_holder(file))
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.pass(Call::SyncFile, || self.inner.sync_file(file))
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        self.pass(Call::SyncDir, || self.inner.sync_dir(dir))
    }

    fn rename(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.pass(Call::Rename, || self.inner.rename(from, name, to, new_name))
    }

    fn rename_over(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.pass(Call::RenameOver, || self.inner.rename_over(from, name, to, new_name))
    }

    fn link(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.pass(Call::Link, || self.inner.link(from, name, to, new_name))
    }

    fn unlink(&self, at: &Dir, name: &Path) -> io::Result<()> {
        self.pass(Call::Unlink, || self.inner.unlink(at, name))
    }

    fn remove_dir(&self, at: &Dir, name: &Path) -> io::Result<()> {
        self.pass(Call::RemoveDir, || self.inner.remove_dir(at, name))
    }

    fn stat(&self, at: &Dir, name: &Path) -> io::Result<Status> {
        self.pass(Call::Stat, || self.inner.stat(at, name))
    }

    fn stat_path(&self, path: &Path) -> io::Result<Status> {
        self.pass(Call::StatPath, || self.inner.stat_path(path))
    }

    fn stat_file(&self, file: &File) -> io::Result<Status> {
        self.pass(Call::StatFile, || self.inner.stat_file(file))
    }

    fn stat_dir(&self, dir: &Dir) -> io::Result<Status> {
        self.pass(Call::StatDir, || self.inner.stat_dir(dir))
    }

    fn read_dir(&self, dir: &Dir, max: usize) -> io::Result<Vec<OsString>> {
        self.pass(Call::ReadDir, || self.inner.read_dir(dir, max))
    }

    fn visit_dir(&self, dir: &Dir, visit: Visit<'_>) -> io::Result<()> {
        self.pass(Call::VisitDir, || self.inner.visit_dir(dir, visit))
    }

    fn space(&self, dir: &Dir) -> io::Result<Space> {
        self.pass(Call::Space, || self.inner.space(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::{Failing, Fault};
    use crate::{Files, Kernel, Lock, testing::Call};
    use std::{io, path::Path, sync::Arc};

    #[test]
    fn the_nth_call_fails_once_and_before_anything_has_happened() {
        let directory = tempfile::tempdir().unwrap();
        let files = Failing::new(Arc::new(Kernel::new()));
        files.arm(2, Fault::NoSpace);
        let root = files.open_root(directory.path()).unwrap();
        let refused = files.create(&root, Path::new("a"), 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(!directory.path().join("a").exists());
        files.create(&root, Path::new("a"), 0o600).unwrap();
        assert_eq!(files.counted(), 3);
        assert!(files.disarm());
    }

    #[test]
    fn a_lock_or_a_cut_that_fails_does_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "0123").unwrap();
        let files = Failing::new(Arc::new(Kernel::new()));
        let root = files.open_root(directory.path()).unwrap();
        let open = || files.open_update(&root, Path::new("a")).unwrap();
        let (file, other) = (open(), open());
        files.arm_only(Call::TryLock, 1, Fault::Io);
        assert!(files.try_lock(&file, Lock::Fcntl).is_err());
        assert!(files.try_lock(&other, Lock::Fcntl).unwrap());
        files.arm_only(Call::Truncate, 1, Fault::Denied);
        let refused = files.truncate(&file, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(files.stat_file(&file).unwrap().size, 4);
    }

    #[test]
    fn only_calls_of_the_chosen_kind_count() {
        let directory = tempfile::tempdir().unwrap();
        let files = Failing::new(Arc::new(Kernel::new()));
        files.arm_only(Call::SyncDir, 2, Fault::Io);
        let root = files.open_root(directory.path()).unwrap();
        files.sync_dir(&root).unwrap();
        assert!(!files.plan().struck);
        assert!(files.sync_dir(&root).is_err());
        assert!(files.sync_dir(&root).is_ok());
    }

    #[test]
    fn write_all_goes_on_after_a_short_write_and_after_eintr() {
        let directory = tempfile::tempdir().unwrap();
        let files = Failing::new(Arc::new(Kernel::new()));
        let root = files.open_root(directory.path()).unwrap();
        for (name, fault) in [("short", Fault::ShortWrite), ("eintr", Fault::Interrupted)] {
            let file = files.create(&root, Path::new(name), 0o600).unwrap();
            files.arm_only(Call::Write, 1, fault);
            files.write_all(&file, b"0123456789").unwrap();
            assert!(files.disarm());
            assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), b"0123456789");
            assert_eq!(files.counted(), 2);
        }
    }
}
