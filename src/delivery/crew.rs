//! Threads that share one queue of work, started at need.
//!
//! Lives here: when another thread is started, and how all of them end.
//! May not: know what the work is.
//! Holds: there is a thread for each piece of work that is queued or being
//! done, up to the most; a panic in the work ends no thread.

use crossbeam_channel::{Receiver, Sender, unbounded};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// A store's calls are not deep, and with many threads the stacks are most of
/// the address space.
const STACK_OCTETS: usize = 512 * 1024;

/// What a crew works for.
pub(super) trait Workplace: Send + Sync + 'static {
    /// One piece of work.
    type Work: Send + 'static;

    /// The crew of this place.
    fn crew(&self) -> &Crew<Self::Work>;

    /// Does one piece of work; may block.
    fn work(self: Arc<Self>, work: Self::Work);
}

/// The queue and the count of those who serve it.
///
/// The queue needs no limit of its own: what stands in it belongs to sessions
/// whose number and memory are limited where they are admitted.
pub(super) struct Crew<W> {
    name: &'static str,
    threads_max: usize,
    /// `None` only wakes a thread, so that it sees that the crew is closed.
    queue: (Sender<Option<W>>, Receiver<Option<W>>),
    /// Work that is queued or being done.
    unfinished: AtomicUsize,
    threads: AtomicUsize,
    closed: AtomicBool,
}

impl<W: Send + 'static> Crew<W> {
    /// A crew without threads yet; they will be called `NAME-1` and so on.
    pub(super) fn new(name: &'static str, threads_max: usize) -> Self {
        Self {
            name,
            threads_max: threads_max.max(1),
            queue: unbounded(),
            unfinished: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Lets the threads end, each after what it does now. What is still queued
    /// is not begun. A thread that hangs is not waited for.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for _ in 0..self.threads.load(Ordering::Acquire) {
            // Both ends are in `self`, so the channel is open.
            let _ = self.queue.0.send(None);
        }
    }
}

/// Queues work, and starts a thread where there is none for it; never blocks.
pub(super) fn put<P: Workplace>(place: &Arc<P>, work: P::Work) {
    let crew = place.crew();
    crew.unfinished.fetch_add(1, Ordering::AcqRel);
    let _ = crew.queue.0.send(Some(work));
    let more = |threads: usize| {
        let unfinished = crew.unfinished.load(Ordering::Acquire);
        (threads < unfinished && threads < crew.threads_max).then_some(threads + 1)
    };
    if let Ok(before) = crew.threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
        start(place, before + 1);
    }
}

fn start<P: Workplace>(place: &Arc<P>, number: usize) {
    let crew = place.crew();
    let mine = Arc::clone(place);
    let started = thread::Builder::new()
        .name(format!("{}-{number}", crew.name))
        .stack_size(STACK_OCTETS)
        .spawn(move || serve(&mine));
    if let Err(error) = started {
        // The next piece of work tries again; the deadline answers this one
        // where no thread ever comes to it.
        crew.threads.fetch_sub(1, Ordering::AcqRel);
        log::error!(
            "cannot start thread {}-{number}: {error}; raise the limit on processes or lower \
             --workers",
            crew.name
        );
    }
}

fn serve<P: Workplace>(place: &Arc<P>) {
    let crew = place.crew();
    while let Ok(Some(work)) = crew.queue.1.recv() {
        if crew.closed.load(Ordering::Acquire) {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| Arc::clone(place).work(work)));
        crew.unfinished.fetch_sub(1, Ordering::AcqRel);
        if let Err(panic) = done {
            log::error!("panic in a {}: {}", crew.name, super::outcome::panic_text(&*panic));
        }
    }
}
