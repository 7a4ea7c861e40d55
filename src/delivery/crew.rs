//! Threads that share one queue of work, started at need.
//!
//! Lives here: when another thread is started, which of them are stuck, and how
//! all of them end.
//! May not: know what the work is.
//! Holds: there is a thread for each piece of work that is queued or being
//! done, up to the most; one that is stuck does not count among these; a panic
//! in the work ends no thread; none is started by a thread that acts as another
//! user, whose ids it would have for good.

use super::{
    alarm::{Alarm, Texts, Thread},
    seat::Seat,
};
use crate::sys::thread_identity;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A store's calls are not deep, and with many threads the stacks are most of
/// the address space.
const STACK_OCTETS: usize = 512 * 1024;
/// A thread that is this long in one piece of work is stuck: it no longer
/// counts, and another takes its place.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(1);

/// One piece of work; may block. It tells the seat for whom it works.
type Work = Box<dyn FnOnce(&Seat) + Send>;

/// The queue and the count of those who serve it.
///
/// The queue needs no limit of its own: what stands in it brings its memory along,
/// which was admitted to the budget of all sessions.
pub(super) struct Crew {
    name: &'static str,
    threads_max: usize,
    queue: Mutex<Queue>,
    /// There is work, or the crew is closed.
    available: Condvar,
    /// Work that is queued or being done, but for what is stuck.
    unfinished: AtomicUsize,
    /// Those that are not stuck.
    threads: AtomicUsize,
    /// From when the seats count.
    began: Instant,
    /// As many as there can be threads, stuck or not.
    seats: Box<[Seat]>,
    stuck_max: usize,
    stuck: Mutex<Stuck>,
    /// As many are stuck as may be, and one more.
    exhausted: AtomicBool,
}

/// Work that nobody does yet.
///
/// A lock and a condition, not a channel: a thread that waits sleeps at once. A
/// channel's receiver gives its processor away some times before that, which
/// costs more than all else here.
#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    /// Threads that wait.
    idle: usize,
    is_closed: bool,
}

/// The threads that are stuck.
struct Stuck {
    count: usize,
    alarm: Alarm,
}

impl Crew {
    /// A crew without threads yet; they will be called `NAME-1` and so on.
    /// `stuck_max` of them may be stuck and replaced at the same time.
    pub(super) fn new(
        name: &'static str,
        texts: Texts,
        threads_max: usize,
        stuck_max: usize,
    ) -> Arc<Self> {
        let threads_max = threads_max.max(1);
        Arc::new(Self {
            name,
            threads_max,
            queue: Mutex::default(),
            available: Condvar::new(),
            unfinished: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            began: Instant::now(),
            seats: (0..threads_max + stuck_max).map(|_| Seat::default()).collect(),
            stuck_max,
            stuck: Mutex::new(Stuck { count: 0, alarm: Alarm::new(texts) }),
            exhausted: AtomicBool::new(false),
        })
    }

    /// Queues work, and starts a thread where there is none for it; never blocks.
    /// Called as another user it leaves that to the next call, or to
    /// [`Crew::watch`].
    pub(super) fn put(self: &Arc<Self>, work: impl FnOnce(&Seat) + Send + 'static) {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        let mut queue = lock(&self.queue);
        queue.work.push_back(Box::new(work));
        let is_awaited = queue.idle > 0;
        drop(queue);
        if is_awaited {
            self.available.notify_one();
        }
        self.fill();
    }

    /// Replaces the threads that are stuck at `now`. Gives the moment at which to
    /// call this again: when the next may be stuck; none where nothing is under
    /// way.
    pub(super) fn watch(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let next = self.look(&mut lock(&self.stuck), now);
        self.fill();
        next
    }

    /// Lets the threads end, each after what it does now. What is still queued
    /// is not begun. A thread that hangs is not waited for.
    pub(super) fn close(&self) {
        lock(&self.queue).is_closed = true;
        self.available.notify_all();
    }

    /// Whether as many threads as may be are stuck, and one more that nobody
    /// replaces: what is queued may wait long.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Acquire)
    }

    /// Marks those that are stuck at `now`; gives the next moment to look.
    fn look(&self, stuck: &mut Stuck, now: Instant) -> Option<Instant> {
        // What begins after now is not stuck before this.
        let mut next = now + STUCK_AFTER;
        let mut exhausted = false;
        let seats = if self.has_unfinished() { &*self.seats } else { &[] };
        for (seat, number) in seats.iter().zip(1..) {
            let Some(piece) = seat.piece() else { continue };
            let stuck_at = self.began + piece.began() + STUCK_AFTER;
            if stuck_at > now {
                next = next.min(stuck_at);
            } else if stuck.count == self.stuck_max {
                exhausted = true;
            } else if seat.mark_stuck(piece) {
                stuck.count += 1;
                self.unfinished.fetch_sub(1, Ordering::AcqRel);
                self.threads.fetch_sub(1, Ordering::AcqRel);
                stuck.alarm.note(self.thread(number, seat));
            }
        }
        self.exhausted.store(exhausted, Ordering::Release);
        stuck.alarm.tell(stuck.count, self.stuck_max, now);
        if exhausted {
            stuck.alarm.exhausted(self.name, stuck.count, now);
        }
        // What is stuck may return and put new work.
        (self.has_unfinished() || stuck.count > 0).then_some(next)
    }

    fn has_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) > 0
    }

    fn thread(&self, number: usize, seat: &Seat) -> Thread {
        Thread { crew: self.name, number, transaction: seat.transaction() }
    }
}

// The threads.
impl Crew {
    /// Starts threads until there is one for each piece of work, or the most.
    fn fill(self: &Arc<Self>) {
        let more = |threads: usize| {
            let unfinished = self.unfinished.load(Ordering::Acquire);
            (threads < unfinished && threads < self.threads_max).then_some(threads + 1)
        };
        if thread_identity::is_assumed() {
            return;
        }
        while self.threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok() {
            if !self.start() {
                // The next piece of work, and the next watch, try again; the
                // deadline answers this one where no thread ever comes to it.
                self.threads.fetch_sub(1, Ordering::AcqRel);
                return;
            }
        }
    }

    /// Starts a thread that was counted already; says whether it could.
    fn start(self: &Arc<Self>) -> bool {
        // There is one free for each thread that counts and is not there yet.
        let free = self.seats.iter().zip(1..).find(|(seat, _)| seat.take());
        let Some((seat, number)) = free else { return false };
        let crew = Arc::clone(self);
        let started = thread::Builder::new()
            .name(format!("{}-{number}", self.name))
            .stack_size(STACK_OCTETS)
            .spawn(move || crew.serve(number));
        if let Err(error) = &started {
            seat.leave();
            log::error!(
                "cannot start thread {}-{number}: {error}; raise the limit on processes or lower \
                 --workers",
                self.name
            );
        }
        started.is_ok()
    }

    /// Waits for work; none once the crew is closed.
    fn next(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        loop {
            let work = queue.work.pop_front();
            if !queue.is_closed && work.is_some() {
                return work;
            }
            if let Some(work) = work {
                // Dropping it may block: here, not where the crew was closed.
                drop(queue);
                drop(work);
                queue = lock(&self.queue);
            } else if queue.is_closed {
                return None;
            } else {
                queue.idle += 1;
                queue = self.available.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }

    fn serve(self: &Arc<Self>, number: usize) {
        let Some(seat) = self.seats.get(number - 1) else { return };
        while let Some(work) = self.next() {
            seat.begin(self.began.elapsed());
            let done = catch_unwind(AssertUnwindSafe(|| work(seat)));
            let was_stuck = seat.end();
            if let Err(panic) = done {
                log::error!("panic in a {}: {}", self.name, super::outcome::panic_text(&*panic));
            }
            if was_stuck {
                if !self.comes_back(number, seat) {
                    return;
                }
            } else {
                self.unfinished.fetch_sub(1, Ordering::AcqRel);
                if self.is_exhausted() {
                    // Maybe this was the one too many.
                    self.watch(Instant::now());
                }
            }
        }
    }

    /// A thread that was stuck has done its work; says whether it counts again.
    /// If not, it has to end: the crew is full without it.
    fn comes_back(self: &Arc<Self>, number: usize, seat: &Seat) -> bool {
        let thread = self.thread(number, seat);
        let mut stuck = lock(&self.stuck);
        stuck.count -= 1;
        if stuck.count == 0 {
            stuck.alarm.over(&thread);
        }
        // Its place among the stuck may be what others wait for.
        self.look(&mut stuck, Instant::now());
        let again = |threads: usize| (threads < self.threads_max).then_some(threads + 1);
        let counts = self.threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, again).is_ok();
        if !counts {
            seat.leave();
        }
        drop(stuck);
        self.fill();
        counts
    }
}

/// A thread that panicked elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Crew, STUCK_AFTER, Texts};
    use crate::sys::{credentials::Identity, thread_identity::Assumed};
    use crossbeam_channel::{Sender, bounded};
    use std::{
        sync::{Arc, atomic::Ordering},
        thread,
        time::{Duration, Instant},
    };

    /// Work that has begun, and ends when this is dropped.
    fn held(crew: &Arc<Crew>, begun: impl FnOnce() + Send + 'static) -> Sender<()> {
        let (keep, end) = bounded(0);
        crew.put(move |_| {
            begun();
            let _ = end.recv();
        });
        keep
    }

    fn until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
    }

    #[test]
    fn a_stuck_thread_that_returns_counts_again_or_ends_where_the_crew_is_full() {
        let crew = Crew::new("test", Texts::STORE, 1, 64);
        let threads = || crew.threads.load(Ordering::Acquire);
        let (begun, begins) = bounded(1);
        let begun = || {
            let begun = begun.clone();
            move || begun.send(()).expect("the test waits")
        };
        let first = held(&crew, begun());
        begins.recv().expect("it begins");
        crew.watch(Instant::now() + STUCK_AFTER);
        assert_eq!(threads(), 0);

        let second = held(&crew, begun());
        begins.recv().expect("another thread begins it");
        drop(first);
        // What is left of the first thread is nothing; the second has one for
        // itself and one for its work.
        until(|| Arc::strong_count(&crew) == 2);
        assert_eq!(threads(), 1);

        crew.watch(Instant::now() + STUCK_AFTER);
        assert_eq!(threads(), 0);
        drop(second);
        until(|| threads() == 1);
        crew.close();
        until(|| Arc::strong_count(&crew) == 1);
    }

    #[test]
    fn a_thread_that_acts_as_another_user_starts_none_that_would_do_so_for_good() {
        if !rustix::process::geteuid().is_root() {
            println!("only root can try this");
            return;
        }
        let crew = Crew::new("test", Texts::STORE, 2, 1);
        let (tell, told) = bounded(2);
        let put = || {
            let tell = tell.clone();
            crew.put(move |_| tell.send(rustix::process::geteuid().as_raw()).expect("it waits"));
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let identity = Identity { uid: 54_321, gid: 54_321, groups: vec![54_321] };
                let _assumed = Assumed::take(&identity).expect("root may");
                put();
            });
        });
        assert_eq!(crew.threads.load(Ordering::Acquire), 0);
        crew.watch(Instant::now());
        put();
        assert_eq!([told.recv(), told.recv()], [Ok(0), Ok(0)]);
        crew.close();
    }
}
