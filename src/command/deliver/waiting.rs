//! The pool, for one who has nothing else to do than to wait for it.
//!
//! Lives here: the pool's answers, and its threads that hang, while a command waits.
//! May not: know what is waited for.

use crate::delivery::{Answer, Limits, Pool};
use postino_store::MailStore;
use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

/// Between two looks whether all is done, at first and at the most.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(10)];

/// A pool and its answers.
pub(super) struct Waiting {
    /// The pool.
    pub(super) pool: Pool,
    answers: Receiver<Answer>,
}

impl Waiting {
    /// A pool for this store. Asks the store for its room, so it may block.
    pub(super) fn new(store: Arc<dyn MailStore>, limits: Limits) -> Self {
        let (sender, answers) = mpsc::channel();
        let pool = Pool::new(store, limits, move |answer| {
            // Nobody waits any more: it is logged, and that is all.
            let _ = sender.send(answer);
        });
        Self { pool, answers }
    }

    /// The next answer; none where there is none until then.
    pub(super) fn next(&self, until: Instant) -> Option<Answer> {
        loop {
            let now = Instant::now();
            let look = self.pool.watch(now).map_or(until, |look| look.min(until));
            match self.answers.recv_timeout(look.saturating_duration_since(now)) {
                Ok(Answer::HasMemory) => {}
                Ok(answer) => return Some(answer),
                Err(_) if Instant::now() >= until => return None,
                Err(_) => {}
            }
        }
    }

    /// Waits until the store has nothing more to do, such as its upkeep, but not
    /// longer than this.
    pub(super) fn settle(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let [mut pause, longest] = LOOK_AGAIN;
        while self.pool.watch(Instant::now()).is_some() && Instant::now() < until {
            thread::sleep(pause);
            pause = (2 * pause).min(longest);
        }
    }
}
