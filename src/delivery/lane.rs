//! Queues by lane: order, fairness and batches.
//!
//! Lives here: which deliveries wait in which [`Lane`], how many of its places
//! are taken, whether a lock lets it sleep, and which lanes wait for a place of the
//! account that caps them.
//! May not: run a delivery, start a thread, wait.
//! Holds: a lane never has more turns under way than it has places, nor an account
//! in all of its lanes; each job is in one batch at a time; a lane without jobs and
//! turns is forgotten, and so is an account; while an account has a free place none
//! of its lanes waits for one.

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
    states: Mutex<States>,
}

#[derive(Default)]
struct States {
    lanes: HashMap<Arc<str>, State>,
    accounts: HashMap<Arc<str>, Account>,
}

struct State {
    at_once: usize,
    together: usize,
    account: Option<Arc<str>>,
    queue: VecDeque<Job>,
    /// Batches being delivered.
    running: usize,
    /// Turns that were given out and not used yet.
    turns: usize,
    /// A lock is held by others: no turns until [`Lanes::wake`].
    asleep: bool,
    sleep: Duration,
    /// It is among those that wait in its account.
    waits: bool,
}

/// What caps several lanes.
struct Account {
    /// Places that no turn and no batch has.
    free: usize,
    /// Lanes that it caps, those that sleep among them.
    lanes: usize,
    /// Lanes that would have more turns, each once.
    waiting: VecDeque<Turn>,
}

/// What follows when a batch has ended.
#[derive(Default)]
pub(super) struct After {
    /// How many turns of the same lane the caller has to pass on.
    pub(super) turns: usize,
    /// Turns of other lanes, to be passed on too.
    pub(super) others: Vec<Turn>,
    /// When [`Lanes::wake`] is to be called.
    pub(super) sleep: Option<Duration>,
}

impl Lanes {
    /// Queues a job; gives the turn that the caller has to pass on, where the
    /// lane has a place free.
    pub(super) fn push(&self, lane: &Lane, job: Job) -> Option<Turn> {
        let mut gone = Vec::new();
        let mut states = self.lock();
        let key: Arc<str> = match states.lanes.get_key_value(lane.key()) {
            Some((key, _)) => Arc::clone(key),
            None => states.add(lane),
        };
        if let Some(state) = states.lanes.get_mut(&key) {
            // Withdrawn jobs gather here only where the lane hangs; the oldest are
            // withdrawn first.
            while state.queue.front().is_some_and(|job| !job.is_wanted()) {
                gone.extend(state.queue.pop_front());
            }
            state.queue.push_back(job);
        }
        let turn = (states.open_turns(&key) > 0).then_some(key);
        drop(states);
        turn
    }

    /// Uses a turn: the jobs of the next batch. None: the turn is over, and
    /// [`Lanes::give_back`] must not be called. Where its lane has nothing left to do
    /// it becomes that of another one that waits in the same account.
    pub(super) fn take(&self, turn: &mut Turn) -> Vec<Job> {
        let (mut jobs, mut gone) = (Vec::new(), Vec::new());
        let mut states = self.lock();
        while let Some(state) = states.lanes.get_mut(turn) {
            state.turns = state.turns.saturating_sub(1);
            while !state.asleep && jobs.len() < state.together {
                match state.queue.pop_front() {
                    Some(job) if job.is_wanted() => jobs.push(job),
                    Some(job) => gone.push(job),
                    None => break,
                }
            }
            if !jobs.is_empty() {
                state.running += 1;
                break;
            }
            let other = states.leave_place(turn).pop();
            states.forget_idle(turn);
            match other {
                Some(other) => *turn = other,
                None => break,
            }
        }
        drop(states);
        jobs
    }

    /// Ends a batch. `locked` are those of its jobs whose lock others hold, in
    /// their order: they are the next again, but not before the lane has slept,
    /// `sleep_max` at the longest.
    pub(super) fn give_back(&self, turn: &Turn, locked: Vec<Job>, sleep_max: Duration) -> After {
        let mut after = After::default();
        let mut states = self.lock();
        let Some(state) = states.lanes.get_mut(turn) else { return after };
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
        // Others first: those that have waited longer.
        after.others = states.leave_place(turn);
        after.turns = states.open_turns(turn);
        states.forget_idle(turn);
        after
    }

    /// Ends a lane's sleep; gives how many turns the caller has to pass on.
    pub(super) fn wake(&self, turn: &Turn) -> usize {
        let mut states = self.lock();
        let Some(state) = states.lanes.get_mut(turn) else { return 0 };
        state.asleep = false;
        let turns = states.open_turns(turn);
        states.forget_idle(turn);
        turns
    }

    /// Whether no lane has anything to do, not even later.
    pub(super) fn are_idle(&self) -> bool {
        self.lock().lanes.is_empty()
    }

    /// A thread that panicked elsewhere leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl States {
    fn add(&mut self, lane: &Lane) -> Turn {
        let key: Turn = lane.key().into();
        let account = lane.account().map(|(name, at_once)| {
            let name: Arc<str> = match self.accounts.get_key_value(name) {
                Some((name, _)) => Arc::clone(name),
                None => name.into(),
            };
            let new = || Account { free: at_once, lanes: 0, waiting: VecDeque::new() };
            self.accounts.entry(Arc::clone(&name)).or_insert_with(new).lanes += 1;
            name
        });
        let state = State {
            at_once: lane.at_once(),
            together: lane.together(),
            account,
            queue: VecDeque::new(),
            running: 0,
            turns: 0,
            asleep: false,
            sleep: Duration::ZERO,
            waits: false,
        };
        self.lanes.insert(Arc::clone(&key), state);
        key
    }

    /// Opens as many turns as there are free places and batches for them; a lane
    /// that its account has no place for waits there.
    fn open_turns(&mut self, key: &Turn) -> usize {
        let Some(state) = self.lanes.get_mut(key) else { return 0 };
        let mut turns = state.wanted();
        if turns == 0 {
            return 0;
        }
        if let Some(account) = state.account.as_ref().and_then(|key| self.accounts.get_mut(key)) {
            if turns > account.free {
                turns = account.free;
                account.wait(state, key);
            }
            account.free -= turns;
        }
        state.turns += turns;
        turns
    }

    /// Gives a lane's place back to its account; gives the turns of other lanes, or
    /// of this one, that follow.
    fn leave_place(&mut self, key: &Turn) -> Vec<Turn> {
        let mut turns = Vec::new();
        let account = self.lanes.get(key).and_then(|state| state.account.as_ref());
        let Some(account) = account.and_then(|key| self.accounts.get_mut(key)) else {
            return turns;
        };
        account.free += 1;
        while account.free > 0
            && let Some(next) = account.waiting.pop_front()
        {
            let Some(state) = self.lanes.get_mut(&next) else { continue };
            state.waits = false;
            let wanted = state.wanted();
            if wanted == 0 {
                continue;
            }
            account.free -= 1;
            state.turns += 1;
            if wanted > 1 {
                account.wait(state, &next);
            }
            turns.push(next);
        }
        turns
    }

    fn forget_idle(&mut self, key: &Turn) {
        let idle = |state: &State| state.queue.is_empty() && state.running == 0 && state.turns == 0;
        if !self.lanes.get(key).is_some_and(idle) {
            return;
        }
        let Some(State { account: Some(name), waits, .. }) = self.lanes.remove(key) else { return };
        let Some(account) = self.accounts.get_mut(&name) else { return };
        if waits {
            account.waiting.retain(|waiting| waiting != key);
        }
        account.lanes -= 1;
        if account.lanes == 0 {
            self.accounts.remove(&name);
        }
    }
}

impl State {
    /// How many turns could be opened, if its account had places for them.
    fn wanted(&self) -> usize {
        if self.asleep {
            return 0;
        }
        let batches = self.queue.len().div_ceil(self.together);
        let places = self.at_once.saturating_sub(self.running + self.turns);
        batches.saturating_sub(self.turns).min(places)
    }
}

impl Account {
    fn wait(&mut self, state: &mut State, key: &Turn) {
        if !state.waits {
            state.waits = true;
            self.waiting.push_back(Arc::clone(key));
        }
    }
}
