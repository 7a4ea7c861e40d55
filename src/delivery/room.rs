//! Whether the store has room: `--min-free`.
//!
//! Lives here: what the store said last of its file system, the thread that asks
//! it each second, the floor, and the log lines of a store that is full.
//! May not: ask the store where the loop would wait for it.

use crate::sys::local_time;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use postino_store::{DeliveryError, MailStore, Room};
use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How often the store is asked.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// How often a full store is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(60);
const STACK_OCTETS: usize = 128 * 1024;

/// The room of one store.
pub(super) struct Watch {
    /// What the log calls the store.
    name: String,
    /// Percent of octets, and of files, that are to stay free.
    min_free: u8,
    state: Mutex<State>,
    /// Ends the thread when dropped.
    _thread: Option<Sender<()>>,
}

#[derive(Default)]
struct State {
    room: Option<Room>,
    full: Option<Full>,
}

/// The store is full.
struct Full {
    since: SystemTime,
    logged: Option<Instant>,
    deferred: u64,
}

impl Watch {
    /// Asks the store, which may block; where it can tell, it is asked each
    /// second from now on.
    pub(super) fn start(store: Arc<dyn MailStore>, name: &str, min_free: u8) -> Arc<Self> {
        let asked = store.room();
        // A store that is not there may come, and then has room or not.
        let can_tell = !matches!(asked, Ok(None));
        let room = asked.ok().flatten();
        let (sender, ended) = bounded(0);
        let watch = Arc::new(Self {
            name: name.to_owned(),
            min_free,
            state: Mutex::new(State { room, full: None }),
            _thread: can_tell.then_some(sender),
        });
        if can_tell {
            let weak = Arc::downgrade(&watch);
            let thread = thread::Builder::new().name("room".to_owned()).stack_size(STACK_OCTETS);
            let thread = thread.spawn(move || {
                while is_wanted(&ended) {
                    // One that fails to answer is not full: its deliveries will tell.
                    let room = store.room().ok().flatten();
                    let Some(watch) = weak.upgrade() else { return };
                    watch.note(room);
                }
            });
            if let Err(error) = thread {
                log::error!("cannot start the thread that watches min-free: {error}");
            }
        }
        watch
    }

    /// Whether a message of so many octets, in so many copies, leaves what is to
    /// stay free; none where that is not known.
    pub(super) fn admits(&self, octets: u64, copies: u64) -> bool {
        let mut state = self.state();
        let Some(room) = state.room else { return true };
        let admits = self.is_enough(room, octets.saturating_mul(copies));
        // A message that is too large for what is left makes no store full.
        if !admits && !self.is_enough(room, 0) {
            // The thread that asks the store logs it.
            let now = SystemTime::now();
            let new = || Full { since: now, logged: None, deferred: 0 };
            state.full.get_or_insert_with(new).deferred += 1;
        }
        admits
    }

    /// Whether what a message of so many octets leaves of a mailbox's own room is to
    /// stay free; the store as a whole is not asked.
    pub(super) fn admits_into(&self, room: Room, octets: u64) -> bool {
        self.is_enough(room, octets)
    }

    /// The error of a message that was not admitted.
    pub(super) fn error(&self) -> DeliveryError {
        let cause = io::Error::from(io::ErrorKind::StorageFull);
        DeliveryError::io("keep min-free on", &self.name, cause)
    }

    /// What is free, for the log; none where that is not known.
    pub(super) fn free(&self) -> Option<u64> {
        self.state().room.map(|room| room.octets_free)
    }

    fn is_enough(&self, room: Room, octets: u64) -> bool {
        let floor = |all: u64| all / 100 * u64::from(self.min_free);
        let has_octets = room.octets_free.saturating_sub(octets) >= floor(room.octets)
            && octets <= room.octets_free;
        let has_files = room.files == 0 || room.files_free >= floor(room.files);
        has_octets && has_files
    }

    /// Takes what the store says, and logs what follows from it.
    fn note(&self, room: Option<Room>) {
        let mut state = self.state();
        state.room = room;
        let (Some(room), Some(full)) = (room, &mut state.full) else { return };
        let is_over = self.is_enough(room, 0);
        if !is_over && full.logged.is_some_and(|logged| logged.elapsed() < LOGGED_EVERY) {
            return;
        }
        let (since, deferred) = (full.since, full.deferred);
        full.logged = Some(Instant::now());
        if is_over {
            state.full = None;
        }
        // Whoever admits a message does not wait for the log.
        drop(state);
        let (name, numbers, since) = (&self.name, Numbers(room), Clock(since));
        if !is_over {
            log::error!(
                "store full: {name} {numbers} free, min-free {}%; {deferred} deferred since \
                 {since}; next line in {} s",
                self.min_free,
                LOGGED_EVERY.as_secs()
            );
        }
        if is_over {
            log::info!(
                "store has room again: {name} {numbers} free; {deferred} deferred since {since}"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the store is to be asked again; says whether anybody still wants
/// to know.
fn is_wanted(ended: &Receiver<()>) -> bool {
    matches!(ended.recv_timeout(ASKED_EVERY), Err(RecvTimeoutError::Timeout))
}

/// `0 of 40G, inodes 12%`.
struct Numbers(Room);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Room { octets, octets_free, files, files_free } = self.0;
        write!(f, "{} of {}", Size(octets_free), Size(octets))?;
        match (files_free.saturating_mul(100)).checked_div(files) {
            Some(percent) => write!(f, ", inodes {percent}%"),
            None => Ok(()),
        }
    }
}

/// A size as people read it: `31G`.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        match units.iter().find(|(shift, _)| self.0 >= 1 << shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The time of day, as the log's reader has it on the wall.
struct Clock(SystemTime);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_epoch = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let minutes = i64::try_from(since_epoch.as_secs() / 60).unwrap_or_default()
            + i64::from(local_time::offset_minutes(self.0));
        let of_day = minutes.rem_euclid(24 * 60);
        write!(f, "{:02}:{:02}", of_day / 60, of_day % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::{Size, Watch};
    use postino_store::{Delivery, DeliveryError, DeliveryId, MailStore, Room};
    use std::sync::Arc;

    struct Disk(Option<Room>);

    impl MailStore for Disk {
        fn deliver(&self, _: &Delivery) -> Result<DeliveryId, DeliveryError> {
            Err(DeliveryError::NoSuchMailbox)
        }

        fn room(&self) -> Result<Option<Room>, DeliveryError> {
            Ok(self.0)
        }
    }

    fn watch(room: Option<Room>) -> Arc<Watch> {
        Watch::start(Arc::new(Disk(room)), "maildir:/v", 10)
    }

    const ROOM: Room = Room { octets: 1000, octets_free: 300, files: 100, files_free: 50 };

    #[test]
    fn the_copies_of_a_message_must_leave_what_is_to_stay_free() {
        let watch = watch(Some(ROOM));
        assert!(watch.admits(0, 1) && watch.admits(200, 1) && watch.admits(20, 10));
        assert!(!watch.admits(201, 1) && !watch.admits(20, 11) && !watch.admits(u64::MAX, 2));
    }

    #[test]
    fn inodes_count_too_where_there_is_a_limit_of_them() {
        assert!(!watch(Some(Room { files_free: 9, ..ROOM })).admits(0, 1));
        assert!(watch(Some(Room { files: 0, files_free: 0, ..ROOM })).admits(0, 1));
    }

    #[test]
    fn once_there_is_room_again_messages_are_admitted() {
        let watch = watch(Some(Room { octets_free: 0, ..ROOM }));
        assert!(!watch.admits(0, 1));
        watch.note(Some(ROOM));
        assert!(watch.admits(0, 1));
    }

    #[test]
    fn a_store_that_cannot_tell_is_never_full() {
        assert!(watch(None).admits(u64::MAX, 9));
    }

    #[test]
    fn sizes_are_rounded_down_to_their_unit() {
        let sizes = [0, 1023, 1024, 5 << 20, 31 << 30].map(|size| Size(size).to_string());
        assert_eq!(sizes, ["0", "1023", "1K", "5M", "31G"]);
    }
}
