//! Look-ups at RCPT, on threads of their own: deliveries that hang never stop
//! them.
//!
//! Lives here: the question to the store whether a mailbox can take mail, and
//! the log lines of refused recipients.
//! May not: keep the deadline; whoever waits does.

use super::{
    Answer, LOOKUP_DEADLINE, Limits, Ticket, ToStore,
    alarm::Texts,
    budget::Reservation,
    crew::Crew,
    outcome, owners,
    record::{Answers, Path},
    seat::Seat,
};
use crate::{
    escape,
    reply::{self, Reply},
    transaction::{ForwardPath, RecipientIndex, TransactionId},
    users::{Resolved, Users},
};
use postino_store::{Class, DeliveryError, Mailbox};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// What stops many recipients, such as a store that is not there, is logged this often.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Which recipient is asked about.
pub struct Question {
    /// Who asks.
    pub ticket: Ticket,
    /// In which transaction.
    pub id: TransactionId,
    /// Which RCPT.
    pub index: RecipientIndex,
    /// Its argument.
    pub path: ForwardPath,
    /// MAIL's SIZE parameter.
    pub declared_size: Option<u64>,
    /// What the recipient uses of memory; given back with the answer, or when
    /// nobody waits for that any more.
    pub memory: Reservation,
    /// Gone once nobody waits for the answer.
    pub asker: Weak<()>,
}

/// What the threads that look up share.
pub(super) struct LookUps {
    to_store: ToStore,
    answers: Answers,
    missing: Recurring,
    foreign: Recurring,
    pub(super) crew: Arc<Crew>,
}

impl LookUps {
    pub(super) fn new(to_store: ToStore, answers: Answers, limits: &Limits) -> Self {
        let crew = Crew::new("look-up", Texts::STORE, limits.look_ups, limits.stuck);
        let (missing, foreign) = (Recurring::default(), Recurring::default());
        Self { to_store, answers, missing, foreign, crew }
    }

    /// Resolves in memory; a refusal is the answer, else a thread goes on.
    /// `is_busy`: nobody may be left to deliver.
    pub(super) fn check(
        self: &Arc<Self>,
        users: &Users,
        question: Question,
        is_busy: bool,
    ) -> Option<Reply> {
        match users.resolve(&question.path) {
            Err(reply) => {
                log_refused(&question, &reply);
                Some(reply)
            }
            Ok(_) if is_busy || self.crew.is_exhausted() => {
                let reply = reply::NO_WORKER;
                log::info!(
                    "deferred s={} to={} reply=\"{}\" cause=\"too many threads are stuck in the \
                     store\"",
                    question.id,
                    Path(&question.path),
                    reply.codes()
                );
                Some(reply)
            }
            Ok(resolved) => {
                let (look_ups, asked) = (Arc::clone(self), Instant::now());
                self.crew.put(move |seat| look_ups.look_up(question, resolved, asked, seat));
                None
            }
        }
    }

    fn admit(&self, resolved: Resolved, size: Option<u64>) -> Result<Mailbox, Obstacle> {
        match (self.ask(&resolved.mailbox, size), resolved.otherwise) {
            (Err(Obstacle::Store(DeliveryError::NoSuchMailbox)), Some(otherwise)) => {
                self.ask(&otherwise, size).map(|()| otherwise)
            }
            (result, _) => result.map(|()| resolved.mailbox),
        }
    }

    /// Asks the store about one mailbox, as its owner.
    fn ask(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), Obstacle> {
        let ToStore { store, owners, room } = &self.to_store;
        let owner = store.written_as(mailbox);
        let _assumed = owners
            .assume(owner)
            .map_err(|cause| Obstacle::Owner(owners::error(mailbox, owner, &cause)))?;
        store.admit(mailbox, size)?;
        match store.room_of(mailbox) {
            Ok(Some(found)) if !room.admits_into(found, size.unwrap_or(0)) => {
                Err(room.error().into())
            }
            // One that fails to answer is not full: its delivery will tell.
            _ => Ok(()),
        }
    }

    fn refuse(&self, question: &Question, obstacle: &Obstacle) -> Reply {
        let (Obstacle::Store(error) | Obstacle::Owner(error)) = obstacle;
        let reply = outcome::refusal(error);
        match obstacle {
            Obstacle::Owner(error) => self.foreign.log(error),
            Obstacle::Store(DeliveryError::StoreMissing { .. }) => self.missing.log(error),
            Obstacle::Store(error) if error.class() == Class::Permanent => {
                log_refused(question, &reply);
            }
            Obstacle::Store(error) => log::warn!(
                "deferred s={} to={} reply=\"{}\" cause={}",
                question.id,
                Path(&question.path),
                reply.codes(),
                escape::value(error.to_string().as_bytes())
            ),
        }
        reply
    }
}

fn log_refused(question: &Question, reply: &Reply) {
    log::info!("refused s={} to={} reply=\"{}\"", question.id, Path(&question.path), reply.codes());
}

impl LookUps {
    fn look_up(&self, question: Question, resolved: Resolved, asked: Instant, seat: &Seat) {
        if question.asker.strong_count() == 0 || asked.elapsed() >= LOOKUP_DEADLINE {
            // The client is gone, or was told so by whoever asked.
            return;
        }
        seat.serves(question.id);
        let size = question.declared_size;
        let result = catch_unwind(AssertUnwindSafe(|| self.admit(resolved, size)));
        let result = result.unwrap_or_else(|panic| {
            let text = escape::value(outcome::panic_text(&*panic).as_bytes());
            log::error!("panic in the store s={} looking up cause={text}", question.id);
            Err(DeliveryError::Unanswered.into())
        });
        let result = result.map_err(|error| self.refuse(&question, &error));
        let Question { ticket, index, memory, .. } = question;
        (self.answers)(Answer::Checked { ticket, index, result, memory });
    }
}

/// Why a recipient is refused.
enum Obstacle {
    /// The store says so.
    Store(DeliveryError),
    /// The mailbox is one that this process cannot write, whatever the store says.
    Owner(DeliveryError),
}

impl From<DeliveryError> for Obstacle {
    fn from(error: DeliveryError) -> Self {
        Self::Store(error)
    }
}

/// Logs what stops many recipients, and not for every one anew.
#[derive(Default)]
struct Recurring {
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Recurring {
    fn log(&self, error: &DeliveryError) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = match &mut *logged {
            Some((at, silent)) if at.elapsed() < LOGGED_EVERY => {
                *silent += 1;
                return;
            }
            Some((_, silent)) => *silent,
            None => 0,
        };
        *logged = Some((Instant::now(), 0));
        drop(logged);
        let text = escape::visible(error.to_string().as_bytes());
        match silent {
            0 => log::error!("{text}"),
            _ => log::error!("{text} ({silent} recipients more since the last such line)"),
        }
    }
}
