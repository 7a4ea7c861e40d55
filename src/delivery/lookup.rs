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
    full_accounts::FullAccounts,
    outcome::{self, OverQuota},
    owners,
    record::{Answers, Path},
    seat::Seat,
};
use crate::{
    escape,
    reply::{self, Reply},
    transaction::{ForwardPath, RecipientIndex, TransactionId},
    users::{Refusal, Resolution, Resolved, Users},
};
use postino_store::{DeliveryError, Mailbox};
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
    over_quota: OverQuota,
    full: Arc<FullAccounts>,
    pub(super) crew: Arc<Crew>,
}

impl LookUps {
    pub(super) fn new(
        to_store: ToStore,
        answers: Answers,
        full: Arc<FullAccounts>,
        limits: &Limits,
    ) -> Self {
        let crew = Crew::new("look-up", Texts::STORE, limits.look_ups, limits.stuck);
        let (missing, foreign) = (Recurring::default(), Recurring::default());
        let over_quota = limits.over_quota;
        Self { to_store, answers, missing, foreign, over_quota, full, crew }
    }

    /// Resolves in memory as far as that can; a refusal is the answer, else a
    /// thread goes on.
    /// `is_busy`: nobody may be left to deliver.
    pub(super) fn check(
        self: &Arc<Self>,
        users: &Users,
        question: Question,
        is_busy: bool,
    ) -> Option<Reply> {
        match users.resolve(&question.path) {
            Err(refusal) => Some(told(&question, refusal)),
            Ok(_) if is_busy || self.crew.is_exhausted() => {
                let cause = Some("too many threads are stuck in the store".to_owned());
                Some(told(&question, Refusal { reply: reply::NO_WORKER, cause }))
            }
            Ok(resolution) => {
                let (look_ups, asked) = (Arc::clone(self), Instant::now());
                self.crew.put(move |seat| look_ups.look_up(question, resolution, asked, seat));
                None
            }
        }
    }

    fn find(&self, question: &Question, resolution: Resolution) -> Result<Mailbox, Reply> {
        let resolved = resolution.finish().map_err(|refusal| told(question, refusal))?;
        let admitted = self.admit(resolved, question.declared_size);
        admitted.map_err(|obstacle| self.refuse(question, &obstacle))
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
        store.admit(mailbox, size).map_err(|error| match error {
            DeliveryError::OverQuota { what } => {
                let full = self.full.note(mailbox.name().account());
                DeliveryError::OverQuota { what: format!("{what}; {full}") }
            }
            error => error,
        })?;
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
        let reply = outcome::refusal(error, self.over_quota);
        let recurring = match obstacle {
            Obstacle::Owner(_) => Some(&self.foreign),
            Obstacle::Store(DeliveryError::StoreMissing { .. }) => Some(&self.missing),
            Obstacle::Store(_) => None,
        };
        if let Some(recurring) = recurring {
            recurring.log(error);
            return reply;
        }
        // Of a refusal for good the reply says it all.
        let cause = (!reply.is_permanent() || matches!(error, DeliveryError::OverQuota { .. }))
            .then(|| error.to_string());
        told(question, Refusal { reply, cause })
    }
}

/// Logs what the client is told, and gives it.
fn told(question: &Question, Refusal { reply, cause }: Refusal) -> Reply {
    let (id, to, codes) = (question.id, Path(&question.path), reply.codes());
    let cause = cause.map(|cause| format!(" cause={}", escape::value(cause.as_bytes())));
    let cause = cause.unwrap_or_default();
    if reply.is_permanent() {
        log::info!("refused s={id} to={to} reply=\"{codes}\"{cause}");
    } else {
        log::warn!("deferred s={id} to={to} reply=\"{codes}\"{cause}");
    }
    reply
}

impl LookUps {
    fn look_up(&self, question: Question, resolution: Resolution, asked: Instant, seat: &Seat) {
        if question.asker.strong_count() == 0 || asked.elapsed() >= LOOKUP_DEADLINE {
            // The client is gone, or was told so by whoever asked.
            return;
        }
        seat.serves(question.id);
        let result = catch_unwind(AssertUnwindSafe(|| self.find(&question, resolution)));
        let result = result.unwrap_or_else(|panic| {
            let text = escape::value(outcome::panic_text(&*panic).as_bytes());
            log::error!("panic in the store s={} looking up cause={text}", question.id);
            Err(self.refuse(&question, &DeliveryError::Unanswered.into()))
        });
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
