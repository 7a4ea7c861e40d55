//! Queues by lane: order, fairness and batches.
//!
//! Lives here: which deliveries wait in which [`Lane`], how many of its places
//! are taken, and whether a lock lets it sleep.
//! May not: run a delivery, start a thread, wait.
//! Holds: a lane never has more turns under way than it has places; each job is
//! in one batch at a time; a lane without jobs and turns is forgotten.

use super::deadline::Job;
use postino_store::Lane;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The first wait for a lock, doubled each time up to the longest.
const LOCK_SLEEP_MIN: Duration = Duration::from_millis(10);
const LOCK_SLEEP_MAX: Duration = Duration::from_secs(1);

/// A lane's turn: whoever has it takes the next batch.
pub(super) type Turn = Arc<str>;

/// All lanes that have something to do.
#[derive(Default)]
pub(super) struct Lanes {
    states: Mutex<HashMap<Arc<str>, State>>,
}

struct State {
    at_once: usize,
    together: usize,
    queue: VecDeque<Job>,
    /// Batches being delivered.
    running: usize,
    /// Turns that were given out and not used yet.
    turns: usize,
    /// A lock is held by others: no turns until [`Lanes::wake`].
    asleep: bool,
    sleep: Duration,
}

/// What follows when a batch has ended.
pub(super) struct After {
    /// How many turns the caller has to pass on.
    pub(super) turns: usize,
    /// When [`Lanes::wake`] is to be called.
    pub(super) sleep: Option<Duration>,
}

impl Lanes {
    /// Queues a job; gives the turn that the caller has to pass on, where the
    /// lane has a place free.
    pub(super) fn push(&self, lane: &Lane, job: Job) -> Option<Turn> {
        let mut gone = Vec::new();
        let mut states = self.lock();
        let key: Arc<str> = match states.get_key_value(lane.key()) {
            Some((key, _)) => Arc::clone(key),
            None => lane.key().into(),
        };
        let state = states.entry(Arc::clone(&key)).or_insert_with(|| State::of(lane));
        // Withdrawn jobs gather here only where the lane hangs; the oldest are
        // withdrawn first.
        while state.queue.front().is_some_and(|job| !job.is_wanted()) {
            gone.extend(state.queue.pop_front());
        }
        state.queue.push_back(job);
        let turn = (state.open_turns() > 0).then_some(key);
        drop(states);
        turn
    }

    /// Uses a turn: the jobs of the next batch. None: the turn is over, and
    /// [`Lanes::give_back`] must not be called.
    pub(super) fn take(&self, turn: &Turn) -> Vec<Job> {
        let (mut jobs, mut gone) = (Vec::new(), Vec::new());
        let mut states = self.lock();
        let Some(state) = states.get_mut(turn) else { return jobs };
        state.turns = state.turns.saturating_sub(1);
        while !state.asleep && jobs.len() < state.together {
            match state.queue.pop_front() {
                Some(job) if job.is_wanted() => jobs.push(job),
                Some(job) => gone.push(job),
                None => break,
            }
        }
        if jobs.is_empty() {
            forget_idle(&mut states, turn);
        } else {
            state.running += 1;
        }
        drop(states);
        jobs
    }

    /// Ends a batch. `locked` are those of its jobs whose lock others hold, in
    /// their order: they are the next again, but not before the lane has slept,
    /// `sleep_max` at the longest.
    pub(super) fn give_back(&self, turn: &Turn, locked: Vec<Job>, sleep_max: Duration) -> After {
        let mut after = After { turns: 0, sleep: None };
        let mut states = self.lock();
        let Some(state) = states.get_mut(turn) else { return after };
        state.running = state.running.saturating_sub(1);
        if locked.is_empty() {
            state.sleep = Duration::ZERO;
        } else {
            state.sleep = (state.sleep * 2).clamp(LOCK_SLEEP_MIN, LOCK_SLEEP_MAX);
            if !state.asleep {
                state.asleep = true;
                after.sleep = Some(state.sleep.min(sleep_max));
            }
        }
        for job in locked.into_iter().rev() {
            state.queue.push_front(job);
        }
        after.turns = state.open_turns();
        forget_idle(&mut states, turn);
        after
    }

    /// Ends a lane's sleep; gives how many turns the caller has to pass on.
    pub(super) fn wake(&self, turn: &Turn) -> usize {
        let mut states = self.lock();
        let Some(state) = states.get_mut(turn) else { return 0 };
        state.asleep = false;
        let turns = state.open_turns();
        forget_idle(&mut states, turn);
        turns
    }

    /// Whether no lane has anything to do, not even later.
    pub(super) fn are_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// A thread that panicked elsewhere leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(lane: &Lane) -> Self {
        Self {
            at_once: lane.at_once(),
            together: lane.together(),
            queue: VecDeque::new(),
            running: 0,
            turns: 0,
            asleep: false,
            sleep: Duration::ZERO,
        }
    }

    /// Opens as many turns as there are free places and batches for them.
    fn open_turns(&mut self) -> usize {
        if self.asleep {
            return 0;
        }
        let batches = self.queue.len().div_ceil(self.together);
        let places = self.at_once.saturating_sub(self.running + self.turns);
        let turns = batches.saturating_sub(self.turns).min(places);
        self.turns += turns;
        turns
    }
}

fn forget_idle(states: &mut HashMap<Arc<str>, State>, key: &Turn) {
    let idle = |state: &State| state.queue.is_empty() && state.running == 0 && state.turns == 0;
    if states.get(key).is_some_and(idle) {
        states.remove(key);
    }
}
