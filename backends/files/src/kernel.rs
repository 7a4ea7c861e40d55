//! The calls, made for real.
//!
//! Lives here: [`Kernel`], and its ways around kernels and file systems that
//! lack a call.
//! May not: retry what is not harmless to repeat. Looking and unlinking are
//! repeated after EINTR; create, rename and sync are not: they may have
//! happened.

use crate::{Dir, File, Files, Identity, Kind, Lock, Space, Status, Visit, locks};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        self, AtFlags, CWD, FileType, Mode, OFlags, RawMode, RenameFlags, ResolveFlags, StatxFlags,
        Timespec, Timestamps,
    },
    io::{Errno, retry_on_intr},
};
use std::{
    ffi::{OsStr, OsString},
    io,
    ops::ControlFlow,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// What a file's creation must not do, and a process started meanwhile not get.
const NEW: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

/// File systems in memory, by statfs(2)'s number: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What flock(2) says of a directory on a file system that cannot lock one.
const LOCKS_NO_DIRECTORY: [Option<Errno>; 3] =
    [Some(Errno::BADF), Some(Errno::NOLCK), Some(Errno::OPNOTSUPP)];

/// What of a mode is permissions, set-id and sticky bits among them.
const MODE_BITS: u32 = 0o7777;

/// Mode bits that a umask is likely to take away.
const SHARED_BITS: u32 = 0o077;

/// The kernel's own calls.
#[derive(Debug, Default)]
pub struct Kernel {
    /// openat2 (Linux 5.6) is not there, or a seccomp filter denies it.
    without_openat2: AtomicBool,
}

impl Kernel {
    /// The calls of the running kernel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a directory through any number of components in one call.
    fn open_beneath(&self, at: &Dir, path: &Path) -> Result<OwnedFd, Errno> {
        if !self.without_openat2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
            match retry_on_intr(|| fs::openat2(at, path, DIRECTORY, Mode::empty(), resolve)) {
                Err(Errno::NOSYS | Errno::PERM) => {
                    self.without_openat2.store(true, Ordering::Relaxed);
                }
                opened => return opened,
            }
        }
        open_each(at, path)
    }

    /// Creates a file in another directory than the open one.
    fn create_beside(&self, at: &Dir, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = NEW | OFlags::WRONLY;
        if !self.without_openat2.load(Ordering::Relaxed) {
            match fs::openat2(at, path, flags, mode, ResolveFlags::NO_SYMLINKS) {
                Err(Errno::NOSYS) => self.without_openat2.store(true, Ordering::Relaxed),
                // A seccomp filter, or what openat will say too.
                Err(Errno::PERM) => {}
                created => return created,
            }
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NOENT);
        };
        fs::openat(open_each(at, parent)?, name, flags, mode)
    }
}

impl Files for Kernel {
    fn open_root(&self, path: &Path) -> io::Result<Dir> {
        let opened = retry_on_intr(|| fs::open(path, DIRECTORY, Mode::empty()))?;
        Ok(Dir::new(opened, path.to_owned()))
    }

    fn open_path(&self, path: &Path) -> io::Result<Dir> {
        if self.without_openat2.load(Ordering::Relaxed) {
            return Err(Errno::NOSYS.into());
        }
        let open = || fs::openat2(CWD, path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        Ok(Dir::new(retry_on_intr(open)?, path.to_owned()))
    }

    fn open_dir(&self, at: &Dir, path: &Path) -> io::Result<Dir> {
        Ok(Dir::new(self.open_beneath(at, path)?, at.path().join(path)))
    }

    fn make_dir(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<()> {
        fs::mkdirat(at, name, Mode::from_raw_mode(mode))?;
        if mode & SHARED_BITS != 0 {
            let dir = open_each(at, name)?;
            // chmod takes the set-group-ID bit that the parent gave, unless named.
            let inherited = Mode::from_raw_mode(fs::fstat(&dir)?.st_mode) & Mode::SGID;
            fs::fchmod(&dir, Mode::from_raw_mode(mode) | inherited)?;
        }
        Ok(())
    }

    fn create(&self, at: &Dir, name: &Path, mode: u32) -> io::Result<File> {
        let mode_bits = Mode::from_raw_mode(mode);
        let created = if name.components().nth(1).is_some() {
            self.create_beside(at, name, mode_bits)?
        } else {
            fs::openat(at, name, NEW | OFlags::WRONLY, mode_bits)?
        };
        if mode & SHARED_BITS != 0
            && let Err(error) = fs::fchmod(&created, mode_bits)
        {
            let _ = self.unlink(at, name);
            return Err(error.into());
        }
        Ok(File::new(created, at.path_to(name)))
    }

    fn create_unnamed(&self, at: &Dir, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode_bits = Mode::from_raw_mode(mode);
        match retry_on_intr(|| fs::openat(at, ".", flags, mode_bits)) {
            // The kernel, or this file system, has no files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                self.create_and_unlink(at, mode)
            }
            opened => {
                let opened = opened?;
                if mode & SHARED_BITS != 0 {
                    fs::fchmod(&opened, mode_bits)?;
                }
                Ok(File::new(opened, at.path().join("(unnamed)")))
            }
        }
    }

    fn open(&self, at: &Dir, name: &Path) -> io::Result<File> {
        open_existing(at, name, OFlags::RDONLY)
    }

    fn open_update(&self, at: &Dir, name: &Path) -> io::Result<File> {
        open_existing(at, name, OFlags::RDWR | OFlags::APPEND)
    }

    fn read(&self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::read(file, &mut *buffer))?)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))?)
    }

    fn write(&self, file: &File, octets: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(file, octets)?)
    }

    fn set_access(&self, file: &File, owner: u32, group: u32, mode: u32) -> io::Result<()> {
        // No number here is "unchanged": that is u32::MAX, and nobody's.
        fs::fchown(file, Some(fs::Uid::from_raw(owner)), Some(fs::Gid::from_raw(group)))?;
        Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
    }

    fn truncate(&self, file: &File, octets: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::ftruncate(file, octets))?)
    }

    fn set_written(&self, file: &File, since_epoch: Duration) -> io::Result<()> {
        let written = Timespec::try_from(since_epoch).map_err(|_| Errno::INVAL)?;
        let read = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
        Ok(fs::futimens(file, &Timestamps { last_access: read, last_modification: written })?)
    }

    fn try_lock(&self, file: &File, lock: Lock) -> io::Result<bool> {
        locks::try_lock(file, lock)
    }

    fn try_lock_dir(&self, dir: &Dir) -> io::Result<bool> {
        match locks::try_lock(dir, Lock::Flock) {
            // NFS makes such locks of others, for which a file is open for writing.
            Err(error) if LOCKS_NO_DIRECTORY.contains(&Errno::from_io_error(&error)) => Ok(true),
            tried => tried,
        }
    }

    fn unlock(&self, file: &File, lock: Lock) -> io::Result<()> {
        locks::unlock(file, lock)
    }

    fn lock_holder(&self, file: &File) -> io::Result<Option<u32>> {
        locks::holder(file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        Ok(fs::fsync(file)?)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        Ok(fs::fsync(dir)?)
    }

    fn rename(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        match fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
            // The kernel, or this file system, does not have the flag.
            Err(Errno::NOSYS | Errno::INVAL) => self.link_and_unlink(from, name, to, new_name),
            renamed => Ok(renamed?),
        }
    }

    fn rename_over(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        Ok(fs::renameat(from, name, to, new_name)?)
    }

    fn link(&self, from: &Dir, name: &Path, to: &Dir, new_name: &Path) -> io::Result<()> {
        Ok(fs::linkat(from, name, to, new_name, AtFlags::empty())?)
    }

    fn link_unnamed(&self, file: &File, to: &Dir, new_name: &Path) -> io::Result<()> {
        // By the descriptor itself only root may link.
        let descriptor = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        Ok(fs::linkat(fs::CWD, descriptor, to, new_name, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn unlink(&self, at: &Dir, name: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlinkat(at, name, AtFlags::empty()))?)
    }

    fn remove_dir(&self, at: &Dir, name: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlinkat(at, name, AtFlags::REMOVEDIR))?)
    }

    fn stat(&self, at: &Dir, name: &Path) -> io::Result<Status> {
        Ok(status(at, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn stat_path(&self, path: &Path) -> io::Result<Status> {
        Ok(status(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn stat_file(&self, file: &File) -> io::Result<Status> {
        Ok(status(file, Path::new(""), AtFlags::EMPTY_PATH)?)
    }

    fn stat_dir(&self, dir: &Dir) -> io::Result<Status> {
        Ok(status(dir, Path::new(""), AtFlags::EMPTY_PATH)?)
    }

    fn read_dir(&self, dir: &Dir, max: usize) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        self.visit_dir(dir, &mut |name| {
            if names.len() == max {
                return ControlFlow::Break(());
            }
            names.push(name.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    fn visit_dir(&self, dir: &Dir, visit: Visit<'_>) -> io::Result<()> {
        for entry in fs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && visit(OsStr::from_bytes(name)).is_break() {
                break;
            }
        }
        Ok(())
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "the field's type differs between architectures; the numbers are the kernel's bits"
    )]
    fn space(&self, dir: &Dir) -> io::Result<Space> {
        let kind = retry_on_intr(|| fs::fstatfs(dir))?.f_type as u64;
        let space = retry_on_intr(|| fs::fstatvfs(dir))?;
        Ok(Space {
            octets: space.f_blocks.saturating_mul(space.f_frsize),
            octets_free: space.f_bavail.saturating_mul(space.f_frsize),
            inodes: space.f_files,
            inodes_free: space.f_favail,
            // Of a negative number the kernel's long keeps more bits than the
            // 32 that name a file system.
            in_memory: IN_MEMORY.contains(&(kind & 0xffff_ffff)),
        })
    }
}

impl Kernel {
    fn create_and_unlink(&self, at: &Dir, mode: u32) -> io::Result<File> {
        let name = format!(".postino-{:016x}", crate::random()?);
        let name = Path::new(&name);
        let created = fs::openat(at, name, NEW | OFlags::RDWR, Mode::from_raw_mode(mode))?;
        self.unlink(at, name)?;
        Ok(File::new(created, at.path().join(name)))
    }

    fn link_and_unlink(
        &self,
        from: &Dir,
        name: &Path,
        to: &Dir,
        new_name: &Path,
    ) -> io::Result<()> {
        self.link(from, name, to, new_name)?;
        // The file has its new name; an old one that stays harms nobody.
        let _ = self.unlink(from, name);
        Ok(())
    }
}

fn open_existing(at: &Dir, name: &Path, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = retry_on_intr(|| fs::openat(at, name, flags, Mode::empty()))?;
    Ok(File::new(opened, at.path().join(name)))
}

/// What openat2 does, by one call a component.
fn open_each(at: &Dir, path: &Path) -> Result<OwnedFd, Errno> {
    let mut opened: Option<OwnedFd> = None;
    for component in path {
        let next = retry_on_intr(|| match &opened {
            Some(parent) => {
                fs::openat(parent, component, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            }
            None => fs::openat(at, component, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()),
        })?;
        opened = Some(next);
    }
    opened.ok_or(Errno::NOENT)
}

fn status(at: impl AsFd, path: &Path, flags: AtFlags) -> Result<Status, Errno> {
    let at = at.as_fd();
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = match retry_on_intr(|| fs::statx(at, path, flags, mask)) {
        // Linux before 4.11, or a seccomp filter.
        Err(Errno::NOSYS | Errno::PERM) => return status_without_birth(at, path, flags),
        stat => stat?,
    };
    let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    Ok(Status {
        identity: Identity {
            device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: has_birth.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        },
        kind: kind(stat.stx_mode.into()),
        size: stat.stx_size,
        owner: stat.stx_uid,
        group: stat.stx_gid,
        mode: u32::from(stat.stx_mode) & MODE_BITS,
        links: stat.stx_nlink.into(),
        written: stat.stx_mtime.tv_sec,
        used: stat.stx_atime.tv_sec.max(stat.stx_mtime.tv_sec),
        changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        gives_group: gives_group(stat.stx_mode.into()).then_some(stat.stx_gid),
    })
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    reason = "the fields' types differ between architectures; device, inode and size are never negative, nanoseconds few"
)]
fn status_without_birth(at: impl AsFd, path: &Path, flags: AtFlags) -> Result<Status, Errno> {
    let at = at.as_fd();
    let stat = retry_on_intr(|| fs::statat(at, path, flags))?;
    Ok(Status {
        identity: Identity { device: stat.st_dev as u64, inode: stat.st_ino as u64, born: None },
        kind: kind(stat.st_mode),
        size: stat.st_size as u64,
        owner: stat.st_uid,
        group: stat.st_gid,
        mode: stat.st_mode as u32 & MODE_BITS,
        links: stat.st_nlink as u64,
        written: stat.st_mtime as i64,
        used: (stat.st_atime as i64).max(stat.st_mtime as i64),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        gives_group: gives_group(stat.st_mode).then_some(stat.st_gid),
    })
}

fn gives_group(mode: RawMode) -> bool {
    kind(mode) == Kind::Directory && Mode::from_raw_mode(mode).contains(Mode::SGID)
}

fn kind(mode: RawMode) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests;
