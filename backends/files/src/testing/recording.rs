//! Files that remember the order of the calls.
//!
//! Lives here: one line a call, `rename alice/tmp/1.2 alice/new/1.2,S=3`, with
//! paths relative to a base that the test chooses.
//! May not: change what a call does.

use crate::{Dir, File, Files, Lock, Space, Status, Visit};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Records each call, before it is made.
pub struct Recording {
    inner: Arc<dyn Files>,
    base: PathBuf,
    lines: Mutex<Vec<String>>,
    observer: Box<dyn Fn(&str) + Send + Sync>,
}

impl Recording {
    /// Records calls with paths relative to `base`, itself written `.`.
    pub fn new(inner: Arc<dyn Files>, base: impl Into<PathBuf>) -> Self {
        Self::observed(inner, base, |_| {})
    }

    /// Also gives each line to `observer`, before the call is made.
    pub fn observed(
        inner: Arc<dyn Files>,
        base: impl Into<PathBuf>,
        observer: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { inner, base: base.into(), lines: Mutex::default(), observer: Box::new(observer) }
    }

    /// The lines since the last time, in order.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, call: &str, paths: &[&Path]) {
        let mut line = call.to_owned();
        for path in paths {
            let relative = path.strip_prefix(&self.base).unwrap_or(path);
            line.push(' ');
            if relative.as_os_str().is_empty() {
                line.push('.');
            } else {
                line.push_str(&relative.to_string_lossy());
            }
        }
        (self.observer)(&line);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Files for Recording {
    fn open_root(&self, path: &Path) -> io::Result<Dir> {
        self.record("open_root", &[path]);
        self.inner.open_root(path)
    }

    fn open_path(&self, path: &Path) -> io::Result<Dir> {
        self.record("open_path", &[path]);
        self.inner.open_path(path)
    }

    fn open_dir(&self, at: &Dir, path: &Path) -> io::Result<Dir> {
        self.record("open_dir", &[&at.path_to(path)]);
        self.inner.open_dir(at, path)
    }

    fn make_dir(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<()> {
        self.record("make_dir", &[&at.path_to(name)]);
        self.inner.make_dir(at, name, mode)
    }

    fn create(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<File> {
        self.record("create", &[&at.path_to(name)]);
        self.inner.create(at, name, mode)
    }

    fn create_unnamed(&self, at: &Dir, mode: u32) -> io::Result<File> {
        self.record("create_unnamed", &[at.path()]);
        self.inner.create_unnamed(at, mode)
    }

    fn link_unnamed(&self, file: &File, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.record("link_unnamed", &[&to.path_to(new_name)]);
        self.inner.link_unnamed(file, to, new_name)
    }

    fn open(&self, at: &Dir, name: &Path) -> io::Result<File> {
        self.record("open", &[&at.path_to(name)]);
        self.inner.open(at, name)
    }

    fn open_update(&self, at: &Dir, name: &Path) -> io::Result<File> {
        self.record("open_update", &[&at.path_to(name)]);
        self.inner.open_update(at, name)
    }

    fn read(&self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        self.record("read", &[file.path()]);
        self.inner.read(file, buffer)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.record("read_at", &[file.path()]);
        self.inner.read_at(file, buffer, offset)
    }

    fn write(&self, file: &File, octets: &[u8]) -> io::Result<usize> {
        self.record("write", &[file.path()]);
        self.inner.write(file, octets)
    }

    fn set_access(&self, file: &File, owner: u32, group: u32, mode: u32) -> io::Result<()> {
        self.record("set_access", &[file.path()]);
        self.inner.set_access(file, owner, group, mode)
    }

    fn truncate(&self, file: &File, octets: u64) -> io::Result<()> {
        self.record("truncate", &[file.path()]);
        self.inner.truncate(file, octets)
    }

    fn set_written(&self, file: &File, since_epoch: Duration) -> io::Result<()> {
        self.record("set_written", &[file.path()]);
        self.inner.set_written(file, since_epoch)
    }

    fn try_lock(&self, file: &File, lock: Lock) -> io::Result<bool> {
        self.record("try_lock", &[file.path()]);
        self.inner.try_lock(file, lock)
    }

    fn try_lock_dir(&self, dir: &Dir) -> io::Result<bool> {
        self.record("try_lock_dir", &[dir.path()]);
        self.inner.try_lock_dir(dir)
    }

    fn unlock(&self, file: &File, lock: Lock) -> io::Result<()> {
        self.record("unlock", &[file.path()]);
        self.inner.unlock(file, lock)
    }

    fn lock_holder(&self, file: &File) -> io::Result<Option<u32>> {
        self.record("lock_holder", &[file.path()]);
        self.inner.lock_holder(file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.record("sync_file", &[file.path()]);
        self.inner.sync_file(file)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        self.record("sync_dir", &[dir.path()]);
        self.inner.sync_dir(dir)
    }

    fn rename(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.record("rename", &[&from.path_to(name), &to.path_to(new_name)]);
        self.inner.rename(from, name, to, new_name)
    }

    fn rename_over(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.record("rename_over", &[&from.path_to(name), &to.path_to(new_name)]);
        self.inner.rename_over(from, name, to, new_name)
    }

    fn link(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        self.record("link", &[&from.path_to(name), &to.path_to(new_name)]);
        self.inner.link(from, name, to, new_name)
    }

    fn unlink(&self, at: &Dir, name: &Path) -> io::Result<()> {
        self.record("unlink", &[&at.path_to(name)]);
        self.inner.unlink(at, name)
    }

    fn remove_dir(&self, at: &Dir, name: &Path) -> io::Result<()> {
        self.record("remove_dir", &[&at.path_to(name)]);
        self.inner.remove_dir(at, name)
    }

    fn stat(&self, at: &Dir, name: &Path) -> io::Result<Status> {
        self.record("stat", &[&at.path_to(name)]);
        self.inner.stat(at, name)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Status> {
        self.record("stat_path", &[path]);
        self.inner.stat_path(path)
    }

    fn stat_file(&self, file: &File) -> io::Result<Status> {
        self.record("stat_file", &[file.path()]);
        self.inner.stat_file(file)
    }

    fn stat_dir(&self, dir: &Dir) -> io::Result<Status> {
        self.record("stat_dir", &[dir.path()]);
        self.inner.stat_dir(dir)
    }

    fn read_dir(&self, dir: &Dir, max: usize) -> io::Result<Vec<OsString>> {
        self.record("read_dir", &[dir.path()]);
        self.inner.read_dir(dir, max)
    }

    fn visit_dir(&self, dir: &Dir, visit: Visit<'_>) -> io::Result<()> {
        self.record("visit_dir", &[dir.path()]);
        self.inner.visit_dir(dir, visit)
    }

    fn space(&self, dir: &Dir) -> io::Result<Space> {
        self.record("space", &[dir.path()]);
        self.inner.space(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::Recording;
    use crate::{Files, Kernel, marker};
    use std::sync::Arc;

    #[test]
    fn the_marker_is_whole_and_durable_before_it_has_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let files = Recording::new(Arc::new(Kernel::new()), directory.path());
        let root = files.open_root(directory.path()).unwrap();
        assert!(!marker::is_present(&files, &root).unwrap());
        assert!(marker::is_new(&files, &root).unwrap());
        files.take();
        marker::write(&files, &root, 0o600).unwrap();
        assert_eq!(
            files.take(),
            [
                "unlink .postino.new",
                "create .postino.new",
                "write .postino.new",
                "sync_file .postino.new",
                "rename .postino.new .postino",
                "sync_dir .",
            ]
        );
        let content = std::fs::read_to_string(directory.path().join(marker::NAME)).unwrap();
        let lines: Vec<_> = content.lines().collect();
        assert!(matches!(lines[..], [marker::FORMAT, id] if id.len() == 32), "{content}");
        assert!(marker::is_present(&files, &root).unwrap());
        assert!(marker::is_new(&files, &root).unwrap());

        marker::write(&files, &root, 0o600).unwrap();
        let again = std::fs::read_to_string(directory.path().join(marker::NAME)).unwrap();
        assert_eq!(again, content);
        assert!(!directory.path().join(".postino.new").exists());
    }
}
