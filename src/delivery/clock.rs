//! The one thread that wakes lanes whose lock others hold.
//!
//! Lives here: a heap of moments, and a thread that sleeps until the first.
//! May not: deliver; it only gives turns out.

use super::lane::Turn;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

const STACK_OCTETS: usize = 64 * 1024;

/// Ends a lane's sleep.
pub(super) type Waker = Box<dyn Fn(&Turn) + Send>;

/// The lanes that sleep. The thread ends when this is dropped.
#[derive(Default)]
pub(super) struct Clock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A lane sleeps that did not, or the clock is closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Each lane that sleeps stands here once.
    sleeping: BinaryHeap<Reverse<(Instant, Turn)>>,
    has_thread: bool,
    is_closed: bool,
}

impl Clock {
    /// Has the lane woken after `sleep`, by such a waker as this makes.
    pub(super) fn wake_after(&self, sleep: Duration, lane: Turn, waker: impl Fn() -> Waker) {
        let mut state = self.0.lock();
        if !state.has_thread {
            let (shared, its) = (Arc::clone(&self.0), waker());
            let thread = thread::Builder::new().name("clock".to_owned()).stack_size(STACK_OCTETS);
            match thread.spawn(move || shared.run(&its)) {
                Ok(_) => state.has_thread = true,
                Err(error) => {
                    drop(state);
                    log::error!("cannot start the thread that waits for locks: {error}");
                    // The worker waits itself: slow, but no lane sleeps for ever,
                    // and none is tried in a busy loop.
                    thread::sleep(sleep);
                    return waker()(&lane);
                }
            }
        }
        state.sleeping.push(Reverse((Instant::now() + sleep, lane)));
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, waker: &Waker) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = Instant::now();
            let rest =
                state.sleeping.peek().map(|Reverse((at, _))| at.saturating_duration_since(now));
            state = match rest {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    let due = state.sleeping.pop();
                    drop(state);
                    if let Some(Reverse((_, lane))) = due {
                        waker(&lane);
                    }
                    self.lock()
                }
                Some(rest) => {
                    let waited = self.changed.wait_timeout(state, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
