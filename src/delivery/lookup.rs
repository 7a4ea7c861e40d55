//! Look-ups at RCPT, on threads of their own: deliveries that hang never stop
//! them.
//!
//! Lives here: the question to the store whether a mailbox can take mail, and
//! the log lines of refused recipients.
//! May not: keep the deadline; whoever waits does.

use super::{
    Answer, LOOKUP_DEADLINE, Limits, Ticket,
    alarm::Texts,
    budget::Reservation,
    crew::Crew,
    outcome,
    record::{Answers, Path},
    seat::Seat,
};
use crate::{
    escape,
    reply::{self, Reply},
    transaction::{ForwardPath, RecipientIndex, TransactionId},
    users::{Resolved, Users},
};
use postino_store::{Class, DeliveryError, MailStore, Mailbox};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// A store that is not there is logged this often.
const MISSING_LOGGED_EVERY: Duration = Duration::from_secs(60);

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
    store: Arc<dyn MailStore>,
    answers: Answers,
    missing: Missing,
    pub(super) crew: Arc<Crew>,
}

impl LookUps {
    pub(super) fn new(store: Arc<dyn MailStore>, answers: Answers, limits: &Limits) -> Self {
        let crew = Crew::new("look-up", Texts::STORE, limits.look_ups, limits.stuck);
        Self { store, answers, missing: Missing::default(), crew }
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

    fn admit(&self, resolved: Resolved, size: Option<u64>) -> Result<Mailbox, DeliveryError> {
        match (self.store.admit(&resolved.mailbox, size), resolved.otherwise) {
            (Err(DeliveryError::NoSuchMailbox), Some(otherwise)) => {
                self.store.admit(&otherwise, size).map(|()| otherwise)
            }
            (result, _) => result.map(|()| resolved.mailbox),
        }
    }

    fn refuse(&self, question: &Question, error: &DeliveryError) -> Reply {
        let reply = outcome::refusal(error);
        match error {
            DeliveryError::StoreMissing { .. } => self.missing.log(error),
            _ if error.class() == Class::Permanent => log_refused(question, &reply),
            _ => log::warn!(
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
            Err(DeliveryError::Unanswered)
        });
        let result = result.map_err(|error| self.refuse(&question, &error));
        let Question { ticket, index, memory, .. } = question;
        (self.answers)(Answer::Checked { ticket, index, result, memory });
    }
}

/// Logs that the store is not there, and not for every recipient anew.
#[derive(Default)]
struct Missing {
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Missing {
    fn log(&self, error: &DeliveryError) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = match &mut *logged {
            Some((at, silent)) if at.elapsed() < MISSING_LOGGED_EVERY => {
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
