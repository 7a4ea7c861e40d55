//! The file in which messages that were stored are known across a restart.
//!
//! Lives here: `.postino-seen`, to which a line is appended for each:
//! `SECONDS DIGEST ID`, below a line of the digests' key: `key KEY`. What is full becomes `.postino-seen.old`.
//! May not: be of any consequence to a delivery: what is lost or damaged here makes
//! a second copy at the most.
//! Holds: the file is opened anew each time, so that nothing keeps the disk
//! mounted, and whoever removes it removes what is known; another's file, one with
//! several names or a link is neither read nor written. It is not synced: a line
//! that a power cut takes is a line that is lost.

use super::digest::{Digest, DigestKey, number_of};
use crate::escape;
use postino_files::{Dir, File, Files, Kind};
use postino_store::DeliveryId;
use std::{
    collections::VecDeque,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

const NAME: &str = ".postino-seen";
const OLD_NAME: &str = ".postino-seen.old";

/// Stored messages that are known at the most; beyond, the oldest go.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// A file of more octets becomes the old one; both together hold more lines than
/// are known, as long as ids have 40 octets. No more of a file is read.
const OCTETS_MAX: u64 = 1 << 20;

/// The longest line that is read or written.
const LINE_OCTETS_MAX: usize = 512;

const MODE: u32 = 0o600;

/// One message that was stored for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) digest: Digest,
    /// When, in seconds since 1970: it is compared across restarts.
    pub(super) at: u64,
    pub(super) id: DeliveryId,
}

/// The file and who writes to it.
pub(super) struct SeenFile {
    directory: PathBuf,
    files: Arc<dyn Files>,
    writing: Mutex<()>,
    /// This process has written its key.
    has_key: AtomicBool,
    /// It failed, which was told.
    failing: AtomicBool,
}

/// The one who writes.
pub(super) struct Writer<'a> {
    file: &'a SeenFile,
    _writing: MutexGuard<'a, ()>,
}

impl SeenFile {
    pub(super) fn new(directory: PathBuf, files: Arc<dyn Files>) -> Self {
        Self {
            directory,
            files,
            writing: Mutex::default(),
            has_key: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    /// What the files say, the oldest first, and under which key; without one they say
    /// nothing.
    pub(super) fn read(&self) -> Option<(DigestKey, Vec<Seen>)> {
        let mut all: Option<(DigestKey, Vec<Seen>)> = None;
        for name in [OLD_NAME, NAME] {
            match self.read_one(Path::new(name)) {
                Ok(octets) => {
                    // The last line is whole only with its end.
                    for line in octets.split_inclusive(|octet| *octet == b'\n') {
                        match (parsed(line), &mut all) {
                            (Some(Line::Key(key)), Some((known, _))) if *known == key => {}
                            // What is under another is of no use any more.
                            (Some(Line::Key(key)), _) => all = Some((key, Vec::new())),
                            (Some(Line::Seen(seen)), Some((_, those))) => those.push(seen),
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.warn("read", name, &error),
            }
        }
        all
    }

    /// The right to write, unless somebody has it.
    pub(super) fn try_lock(&self) -> Option<Writer<'_>> {
        let writing = match self.writing.try_lock() {
            Ok(writing) => writing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Writer { file: self, _writing: writing })
    }

    fn read_one(&self, name: &Path) -> io::Result<Vec<u8>> {
        let files = &*self.files;
        let root = files.open_root(&self.directory)?;
        let file = files.open(&root, name)?;
        let size = self.checked_size(&file)?;
        let mut octets = vec![0; usize::try_from(size.min(OCTETS_MAX)).unwrap_or_default()];
        let (begin, mut filled) = (size.saturating_sub(OCTETS_MAX), 0);
        while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match files.read_at(&file, rest, begin + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        octets.truncate(filled);
        Ok(octets)
    }

    /// The size of a file that may be used.
    fn checked_size(&self, file: &File) -> io::Result<u64> {
        let status = self.files.stat_file(file)?;
        let own = rustix::process::geteuid().as_raw();
        if status.kind != Kind::File || status.links != 1 || status.owner != own {
            return Err(io::Error::other(
                "it is no regular file of this user with one name; remove it",
            ));
        }
        Ok(status.size)
    }

    fn append(&self, key: DigestKey, lines: &str) -> io::Result<()> {
        let files = &*self.files;
        let root = files.open_root(&self.directory)?;
        let name = Path::new(NAME);
        let (file, size) = match files.open_update(&root, name) {
            Ok(file) => {
                let size = self.checked_size(&file)?;
                if size + lines.len() as u64 > OCTETS_MAX {
                    (self.begin_anew(&root)?, 0)
                } else {
                    (file, size)
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (files.create(&root, name, MODE)?, 0)
            }
            Err(error) => return Err(error),
        };
        let mut last = [b'\n'];
        if size > 0 {
            files.read_at(&file, &mut last, size - 1)?;
        }
        let mut text = String::new();
        // A torn line is not to spoil the next.
        if last != [b'\n'] {
            text.push('\n');
        }
        if size == 0 || !self.has_key.load(Ordering::Relaxed) {
            let _ = writeln!(text, "key {key}");
        }
        text.push_str(lines);
        // One write, as other processes append too.
        files.write_all(&file, text.as_bytes())?;
        self.has_key.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the full file the old one.
    fn begin_anew(&self, root: &Dir) -> io::Result<File> {
        let files = &*self.files;
        match files.unlink(root, Path::new(OLD_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        files.rename(root, Path::new(NAME), root, Path::new(OLD_NAME))?;
        files.create(root, Path::new(NAME), MODE)
    }

    fn warn(&self, doing: &str, name: &str, error: &io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            log::warn!(
                "cannot {doing} {}: {}; duplicates are known until the next restart only",
                self.directory.join(name).display(),
                escape::visible(error.to_string().as_bytes())
            );
        }
    }
}

impl Writer<'_> {
    /// Appends what was stored; where that fails, it is told once.
    pub(super) fn append(&mut self, key: DigestKey, all: &VecDeque<Seen>) {
        let mut lines = String::new();
        for seen in all.iter().rev().take(ENTRIES_MAX).rev() {
            let before = lines.len();
            let _ = writeln!(lines, "{} {:032x} {}", seen.at, seen.digest, seen.id);
            if lines.len() - before > LINE_OCTETS_MAX {
                lines.truncate(before);
            }
        }
        match self.file.append(key, &lines) {
            Ok(()) => self.file.failing.store(false, Ordering::Relaxed),
            Err(error) => self.file.warn("write", NAME, &error),
        }
    }
}

/// What a line says.
enum Line {
    Key(DigestKey),
    Seen(Seen),
}

/// A line as it was written.
fn parsed(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n").filter(|line| line.len() < LINE_OCTETS_MAX)?;
    let line = std::str::from_utf8(line).ok()?;
    if let Some(key) = line.strip_prefix("key ") {
        return key.parse().ok().map(Line::Key);
    }
    let mut words = line.split(' ');
    let (at, digest, id) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let is_id = !id.is_empty() && id.bytes().all(|octet| octet.is_ascii_graphic());
    (is_id && words.next().is_none()).then_some(())?;
    Some(Line::Seen(Seen { digest: number_of(digest)?, at, id: DeliveryId::new(id) }))
}
