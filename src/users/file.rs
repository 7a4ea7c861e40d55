//! A users file, as it changes.
//!
//! Lives here: reading it whole or not at all, when a changed file is taken, and
//! the thread that looks.
//! May not: be read or looked at on the event loop; `ask` asks memory alone.
//! Holds: no file that is broken, empty or still being written takes the place of
//! one that was good; while one waits, a name that is not known is not said to be
//! unknown.

use super::{
    passwd_file::{self, Broken, Parsed, Rules},
    table::Table,
};
use crate::escape;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Octets of the largest file that is read.
const OCTETS_MAX: u64 = 64 << 20;
/// How often the thread looks whether the file has changed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// At how many looks in a row a changed file must have been the same: it may be
/// written line by line.
const LOOKS: u32 = 2;
/// The same where names are missing that were there, or the last line has no end.
const LOOKS_IF_UNLIKELY: u32 = 6;
const STACK_OCTETS: usize = 256 * 1024;

/// Why a users file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFileError(String);

impl fmt::Display for UsersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsersFileError {}

/// By what two states of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            octets: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a look at the path sees.
type Seen = Result<Stamp, io::ErrorKind>;

/// A users file and the table that is in force.
pub struct UsersFile {
    path: PathBuf,
    in_force: Mutex<InForce>,
    /// Held by whoever reads the file.
    reading: Mutex<Reading>,
    /// Ends the thread when dropped.
    thread: Mutex<Option<Sender<()>>>,
}

struct InForce {
    table: Arc<Table>,
    /// The file that the table is of.
    taken: Stamp,
    /// At the last look the file said what the table says.
    is_current: bool,
}

struct Reading {
    rules: Rules,
    /// What was seen since at the last look, and how many times in a row.
    seen: Option<(Seen, u32)>,
    /// The last that was refused: it is logged once.
    refused: Option<Seen>,
}

impl UsersFile {
    /// Reads the file; gives what is worth a line in the log too.
    pub fn load(path: &Path, rules: Rules) -> Result<(Self, Vec<String>), UsersFileError> {
        let (parsed, taken) = read(path, &rules)
            .map_err(|broken| UsersFileError(place(path, broken.line) + &broken.what))?;
        let warnings = warnings(path, &parsed);
        let in_force = InForce { table: Arc::new(parsed.table), taken, is_current: true };
        let file = Self {
            path: path.to_owned(),
            in_force: Mutex::new(in_force),
            reading: Mutex::new(Reading { rules, seen: None, refused: None }),
            thread: Mutex::default(),
        };
        Ok((file, warnings))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many entries are in force.
    pub fn count(&self) -> usize {
        lock(&self.in_force).table.len()
    }

    /// Whether there is an account of exactly this name.
    pub fn has(&self, name: &str) -> bool {
        lock(&self.in_force).table.get(name).is_some()
    }

    /// Whether it has an account without a uid: its mail is written as whoever runs
    /// the program.
    pub fn has_unowned(&self) -> bool {
        lock(&self.in_force).table.has_unowned()
    }

    /// Says whether the file can be read by whoever the process is now.
    pub fn check_readable(&self) -> Result<(), UsersFileError> {
        open(&self.path).map(drop).map_err(|error| {
            UsersFileError(format!(
                "{}cannot read it as uid {}: {error}; without that no change of it is seen",
                place(&self.path, None),
                rustix::process::geteuid().as_raw()
            ))
        })
    }

    /// Starts the thread that looks at the file each second; once.
    pub fn watch(self: &Arc<Self>) {
        let mut running = lock(&self.thread);
        if running.is_some() {
            return;
        }
        let (sender, ended) = bounded(0);
        let weak = Arc::downgrade(self);
        let thread = thread::Builder::new().name("users".to_owned()).stack_size(STACK_OCTETS);
        let thread = thread.spawn(move || {
            while ended.recv_timeout(LOOKED_AT_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(file) = weak.upgrade() else { return };
                file.look();
            }
        });
        match thread {
            Ok(_) => *running = Some(sender),
            Err(error) => log::error!("cannot start the thread that watches users: {error}"),
        }
    }

    /// Reads the file at once, with new rules where there are any; a smaller one is
    /// taken too, a broken or empty one is not. Logs what comes of it.
    pub fn reload(&self, rules: Option<Rules>) {
        let mut reading = lock(&self.reading);
        if let Some(rules) = rules {
            reading.rules = rules;
        }
        reading.seen = None;
        reading.refused = None;
        // Looked at first: what comes while it is read is not what is refused.
        let seen = look_at(&self.path);
        match read(&self.path, &reading.rules) {
            Ok((parsed, stamp)) => self.take(&mut reading, parsed, stamp),
            Err(broken) => self.refuse(&mut reading, seen, &broken),
        }
    }

    /// One look at the file: it is read once it stands still.
    pub(super) fn look(&self) {
        let seen = look_at(&self.path);
        let mut reading = lock(&self.reading);
        // By new rules what was taken may be wrong.
        if seen == Ok(lock(&self.in_force).taken) && reading.refused != Some(seen) {
            if reading.seen.take().is_some() || reading.refused.take().is_some() {
                // It was moved away and is back.
                lock(&self.in_force).is_current = true;
            }
            return;
        }
        lock(&self.in_force).is_current = false;
        let looks = match reading.seen {
            Some((before, looks)) if before == seen => looks.saturating_add(1),
            _ => 1,
        };
        reading.seen = Some((seen, looks));
        if looks < LOOKS || reading.refused == Some(seen) {
            return;
        }
        let (parsed, stamp) = match read(&self.path, &reading.rules) {
            Ok(read) => read,
            // Changed just now: the next look begins anew.
            Err(_) if look_at(&self.path) != seen => return,
            Err(broken) => return self.refuse(&mut reading, seen, &broken),
        };
        if Ok(stamp) != seen {
            return;
        }
        let old = Arc::clone(&lock(&self.in_force).table);
        if parsed.table.len() * 2 < old.len() {
            let what = format!(
                "it has {} entries, under half of the former {}; SIGHUP takes it nevertheless",
                parsed.table.len(),
                old.len()
            );
            self.refuse(&mut reading, seen, &Broken { line: None, what });
        } else if looks >= LOOKS_IF_UNLIKELY || parsed.has_end && !old.has_more_than(&parsed.table)
        {
            self.take(&mut reading, parsed, stamp);
        }
    }

    /// Asks the table in force; `asker` is told too whether the file still says
    /// the same.
    pub(super) fn ask<T>(&self, asker: impl FnOnce(&Table, bool) -> T) -> T {
        let in_force = lock(&self.in_force);
        let (table, is_current) = (Arc::clone(&in_force.table), in_force.is_current);
        drop(in_force);
        asker(&table, is_current)
    }

    /// Whether the file still is the one that the table in force is of: a change is
    /// seen here before the thread looks again. May block.
    pub(super) fn is_as_taken(&self) -> bool {
        let seen = look_at(&self.path);
        let in_force = lock(&self.in_force);
        in_force.is_current && seen == Ok(in_force.taken)
    }

    fn take(&self, reading: &mut Reading, parsed: Parsed, stamp: Stamp) {
        reading.seen = None;
        reading.refused = None;
        for warning in warnings(&self.path, &parsed) {
            log::warn!("{warning}");
        }
        let count = parsed.table.len();
        let table = Arc::new(parsed.table);
        *lock(&self.in_force) = InForce { table, taken: stamp, is_current: true };
        log::info!("users: {}{count} entries", place(&self.path, None));
    }

    fn refuse(&self, reading: &mut Reading, seen: Seen, broken: &Broken) {
        reading.refused = Some(seen);
        lock(&self.in_force).is_current = false;
        log::error!(
            "users: {}{}; the former {} entries stay, and other names get 451 4.4.3 until a good \
             file comes",
            place(&self.path, broken.line),
            broken.what,
            self.count()
        );
    }
}

impl fmt::Debug for UsersFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsersFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look_at(path: &Path) -> Seen {
    std::fs::metadata(path).map(|metadata| Stamp::of(&metadata)).map_err(|error| error.kind())
}

/// Never waits for who may write to a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads and parses a file that does not change meanwhile.
fn read(path: &Path, rules: &Rules) -> Result<(Parsed, Stamp), Broken> {
    let whole = |what: String| Broken { line: None, what };
    let cannot = |error: io::Error| whole(format!("cannot read it: {error}"));
    let file = open(path).map_err(cannot)?;
    let before = file.metadata().map_err(cannot)?;
    if !before.is_file() {
        return Err(whole("it is no regular file".to_owned()));
    }
    let mut octets = Vec::with_capacity(usize::try_from(before.len().min(OCTETS_MAX)).unwrap_or(0));
    (&file).take(OCTETS_MAX + 1).read_to_end(&mut octets).map_err(cannot)?;
    if octets.len() as u64 > OCTETS_MAX {
        return Err(whole(format!("it has more than the {OCTETS_MAX} octets that are read")));
    }
    let stamp = Stamp::of(&before);
    if Stamp::of(&file.metadata().map_err(cannot)?) != stamp {
        return Err(whole("it is being written; try again".to_owned()));
    }
    Ok((passwd_file::parse(&octets, rules)?, stamp))
}

fn warnings(path: &Path, parsed: &Parsed) -> Vec<String> {
    let warning =
        |(line, text): &(usize, String)| place(path, Some(*line).filter(|line| *line > 0)) + text;
    parsed.warnings.iter().map(warning).collect()
}

/// `PATH:LINE: `.
fn place(path: &Path, line: Option<usize>) -> String {
    let path = escape::visible(path.as_os_str().as_encoded_bytes());
    match line {
        Some(line) => format!("{path}:{line}: "),
        None => format!("{path}: "),
    }
}

#[cfg(test)]
mod tests;
