//! What an administrator is told of threads that are stuck.
//!
//! Lives here: the log lines, and how often there is one.
//! May not: find out who is stuck; `crew` does.
//! Holds: however many become stuck and return, there is no more than one line
//! of each kind in [`LOGGED_EVERY`].

use crate::transaction::TransactionId;
use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

/// How many of a crew may be stuck and replaced at the same time; fewer where
/// descriptors are few.
pub(super) const STUCK_MAX: usize = 64;
/// The first of a crew that becomes stuck is logged at once, those after it
/// together, this often.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// What a crew's log lines say.
#[derive(Clone, Copy)]
pub(super) struct Texts {
    /// Where its threads hang.
    pub(super) place: &'static str,
    /// What it means that none is left.
    pub(super) exhausted: &'static str,
}

impl Texts {
    /// Of those who call the store.
    pub(super) const STORE: Self =
        Self { place: "store", exhausted: "each recipient gets 451 4.3.2" };
}

/// One crew's.
pub(super) struct Alarm {
    texts: Texts,
    logged: Option<Instant>,
    unlogged: usize,
    /// Who became stuck last.
    last: Option<Thread>,
    /// There was a line, and none yet that it is over.
    is_told: bool,
    exhaustion_logged: Option<Instant>,
}

/// A thread, and for whom it works.
pub(super) struct Thread {
    pub(super) crew: &'static str,
    pub(super) number: usize,
    pub(super) transaction: Option<TransactionId>,
}

impl Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.crew, self.number)?;
        match self.transaction {
            Some(id) => write!(f, " s={id}"),
            None => Ok(()),
        }
    }
}

impl Alarm {
    pub(super) fn new(texts: Texts) -> Self {
        Self {
            texts,
            logged: None,
            unlogged: 0,
            last: None,
            is_told: false,
            exhaustion_logged: None,
        }
    }

    /// Notes one that has become stuck; [`Alarm::tell`] logs it.
    pub(super) fn note(&mut self, thread: Thread) {
        self.unlogged += 1;
        self.last = Some(thread);
    }

    /// Logs what was noted, if it is time; `stuck` are all that are stuck now.
    pub(super) fn tell(&mut self, stuck: usize, stuck_max: usize, now: Instant) {
        if self.unlogged == 0 || !is_due(self.logged, now) {
            return;
        }
        let Some(thread) = self.last.take() else { return };
        let more = match self.unlogged - 1 {
            0 => String::new(),
            more => format!(" more={more}"),
        };
        log::warn!(
            "stuck thread={thread}{more} stuck={stuck}/{stuck_max}: over 1 s in the {place}; others \
             take its place; is the disk or network of the {place} slow, or gone?",
            place = self.texts.place
        );
        self.logged = Some(now);
        self.unlogged = 0;
        self.is_told = true;
    }

    /// Logs that no thread takes the place of those that are stuck from now on.
    pub(super) fn exhausted(&mut self, crew: &str, stuck: usize, now: Instant) {
        if is_due(self.exhaustion_logged, now) {
            log::error!(
                "no {crew} left: {stuck} are stuck in the {}, and one more; {} until one returns",
                self.texts.place,
                self.texts.exhausted
            );
            self.exhaustion_logged = Some(now);
        }
    }

    /// Logs that this was the last one that was stuck.
    pub(super) fn over(&mut self, thread: &Thread) {
        if self.is_told {
            self.is_told = false;
            log::warn!(
                "no {} is stuck any more thread={thread}: the last has returned",
                thread.crew
            );
        }
    }
}

fn is_due(logged: Option<Instant>, now: Instant) -> bool {
    logged.is_none_or(|at| now.saturating_duration_since(at) >= LOGGED_EVERY)
}
