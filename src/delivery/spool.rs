//! Where large messages wait for their deliveries: one file without a name each.
//!
//! Lives here: the threads that write and close such files, and what all of them
//! may use of the disk and of descriptors.
//! May not: wait for a thread; decide which message is spooled.
//! Holds: whoever drops the last handle on a file closes it elsewhere: freeing
//! a large file's blocks takes time that the loop does not have.

use super::{
    Answer, Limits, Ticket,
    alarm::Texts,
    budget::{Budget, Reservation},
    crew::Crew,
    outcome::{self, OverQuota},
    record::Answers,
    seat::Seat,
};
use crate::{
    escape,
    reply::{self, Reply},
    transaction::TransactionId,
};
use postino_files::{File, Files};
use postino_store::{DeliveryError, Octets};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Threads that write, at the most: all files are on one disk.
const THREADS_MAX: usize = 4;

const FILE_MODE: u32 = 0o600;

const CREW: Texts = Texts { place: "spool directory", exhausted: "large messages get 451 4.3.0" };

/// What the threads share.
pub(super) struct Spool {
    files: Arc<dyn Files>,
    directory: PathBuf,
    disk: Arc<Budget>,
    descriptors: Arc<Budget>,
    answers: Answers,
    pub(super) crew: Arc<Crew>,
}

/// A part on its way into a file.
pub(super) struct Append {
    ticket: Ticket,
    id: TransactionId,
    file: Arc<SpoolFile>,
    part: Vec<u8>,
    memory: Reservation,
}

/// One message's file. It is made by the first part; parts come one after the
/// other.
pub struct SpoolFile {
    spool: Arc<Spool>,
    file: OnceLock<File>,
    disk: Mutex<Reservation>,
    descriptor: Reservation,
}

impl fmt::Debug for SpoolFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolFile({:?})", self.file)
    }
}

impl Spool {
    pub(super) fn new(limits: &Limits, answers: Answers) -> Self {
        Self {
            files: Arc::clone(&limits.files),
            directory: limits.spool_directory.clone(),
            disk: Budget::new(limits.spool_octets, || {}),
            descriptors: Budget::new(limits.spool_files, || {}),
            answers,
            crew: Crew::new("spool", CREW, THREADS_MAX, limits.stuck),
        }
    }

    /// A place for one message; none where too many have one.
    pub(super) fn place(self: &Arc<Self>) -> Option<Arc<SpoolFile>> {
        let descriptor = self.descriptors.try_reserve(1)?;
        Some(Arc::new(SpoolFile {
            spool: Arc::clone(self),
            file: OnceLock::new(),
            disk: Mutex::new(self.disk.reserve_nothing()),
            descriptor,
        }))
    }

    /// Has a part appended; the answer is an [`Answer::Spooled`]. `Err`: there is
    /// no room for it.
    pub(super) fn append(self: &Arc<Self>, append: Append) -> Result<(), Reply> {
        let octets = append.part.len() as u64;
        if !lock(&append.file.disk).try_grow(octets) {
            log::warn!(
                "spool full: {octets} octets more would be over max-spool, {}; {} s={}",
                self.disk.limit(),
                reply::STORAGE_FULL.codes(),
                append.id
            );
            return Err(reply::STORAGE_FULL);
        }
        let spool = Arc::clone(self);
        self.crew.put(move |seat| spool.write_part(append, seat));
        Ok(())
    }

    fn write(&self, file: &OnceLock<File>, part: &[u8]) -> Result<(), DeliveryError> {
        let directory = &self.directory;
        let failed = |doing, cause| DeliveryError::io(doing, directory, cause);
        let open = if let Some(open) = file.get() {
            open
        } else {
            let directory = self
                .files
                .open_root(directory)
                .map_err(|cause| failed("open the spool directory", cause))?;
            let made = self
                .files
                .create_unnamed(&directory, FILE_MODE)
                .map_err(|cause| failed("make a file in the spool directory", cause))?;
            file.get_or_init(|| made)
        };
        self.files
            .write_all(open, part)
            .map_err(|cause| failed("write a file in the spool directory", cause))
    }
}

impl Append {
    pub(super) fn new(
        ticket: Ticket,
        id: TransactionId,
        file: &Arc<SpoolFile>,
        part: Vec<u8>,
        memory: Reservation,
    ) -> Self {
        Self { ticket, id, file: Arc::clone(file), part, memory }
    }
}

impl Spool {
    fn write_part(&self, append: Append, seat: &Seat) {
        let Append { ticket, id, file, part, memory } = append;
        seat.serves(id);
        let result = match self.write(&file.file, &part) {
            Ok(()) => Ok((part, memory)),
            Err(error) => {
                let reply = outcome::refusal(&error, OverQuota::Defer);
                let cause = escape::value(error.to_string().as_bytes());
                log::warn!("not spooled s={id} reply=\"{}\" cause={cause}", reply.codes());
                Err(reply)
            }
        };
        drop(file);
        (self.answers)(Answer::Spooled { ticket, id, result });
    }
}

impl SpoolFile {
    /// Reads what was spooled, from this place on; says how many octets. May block.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.file.get() {
            Some(file) => self.spool.files.read_at(file, buffer, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let used = [lock(&self.disk).split(u64::MAX), self.descriptor.split(u64::MAX)];
            self.spool.crew.put(move |_| {
                drop(file);
                drop(used);
            });
        }
    }
}

/// A spooled message's octets, if there are any.
pub(super) struct Spooled(pub(super) Option<Arc<SpoolFile>>);

impl Octets for Spooled {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.0 {
            Some(place) => place.read_at(buffer, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Looks at a spool's directory, at the start: whether files can be made there.
/// Gives what an administrator should know.
pub fn inspect(files: &dyn Files, directory: &Path) -> Result<Option<String>, DeliveryError> {
    let failed = |doing, cause| DeliveryError::io(doing, directory, cause);
    let open =
        files.open_root(directory).map_err(|cause| failed("open the spool directory", cause))?;
    files
        .create_unnamed(&open, FILE_MODE)
        .map_err(|cause| failed("make a file in the spool directory", cause))?;
    let space = files
        .space(&open)
        .map_err(|cause| failed("ask for the room in the spool directory", cause))?;
    Ok(space.in_memory.then(|| {
        format!(
            "the spool directory {} lies in memory (tmpfs): large messages use up to max-spool of \
             memory beyond memory-budget; name one on a disk by spool-dir",
            directory.display()
        )
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
