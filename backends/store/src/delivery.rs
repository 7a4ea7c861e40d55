//! One recipient's delivery: what to store, and the two promises around it.
//!
//! Lives here: [`Fate`], the one compare-and-swap between the deadline and the
//! commit; [`Delivery`], which is answered exactly once, whatever happens.
//! May not: know what an answer becomes; the pool gives the function.

use crate::{DeliveryError, Mailbox, Message};
use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

/// The name of a stored message, unique in its mailbox: visible ASCII without
/// blanks, the first word behind the code of the `250`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// An id; the store keeps to the alphabet.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        debug_assert!(!id.is_empty() && id.bytes().all(|octet| octet.is_ascii_graphic()));
        Self(id)
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who was first, the commit or the deadline.
///
/// | state | becomes | by |
/// |---|---|---|
/// | open | committing | the worker, right before the message becomes visible |
/// | open | withdrawn | the deadline, or a client that is gone: nothing will appear |
/// | committing | done | the result |
/// | committing | outcome open | the deadline's second part: a late result is logged, and answers a resend |
/// | open | done | a result without a commit: a failure |
#[derive(Debug, Default)]
pub struct Fate(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const WITHDRAWN: u8 = 2;
const DONE: u8 = 3;
const OUTCOME_OPEN: u8 = 4;

impl Fate {
    fn step(&self, from: u8, to: u8) -> Result<(), u8> {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }

    /// The worker's step. Repeating it is allowed.
    pub fn begin_commit(&self) -> Result<(), DeliveryError> {
        match self.step(OPEN, COMMITTING) {
            Ok(()) | Err(COMMITTING) => Ok(()),
            Err(_) => Err(DeliveryError::Expired),
        }
    }

    /// Takes the delivery back where its commit has not begun; says whether it
    /// was taken back, by this call.
    pub fn withdraw(&self) -> bool {
        self.step(OPEN, WITHDRAWN).is_ok()
    }

    /// Stops waiting for a commit that has begun; says whether there was one.
    pub fn leave_open(&self) -> bool {
        self.step(COMMITTING, OUTCOME_OPEN).is_ok()
    }

    /// Whether the delivery was taken back: it need not be tried.
    pub fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == WITHDRAWN
    }

    /// Whether it was given up after its commit had begun: what comes now is late.
    pub fn is_outcome_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OUTCOME_OPEN
    }

    /// Notes that the result is there; says whether somebody still waits for it.
    pub fn settle(&self) -> bool {
        self.step(OPEN, DONE).or_else(|_| self.step(COMMITTING, DONE)).is_ok()
    }
}

/// Takes the result of one delivery: called once, on the worker's thread, and
/// must not block.
pub type Answer = Box<dyn Fn(Result<DeliveryId, DeliveryError>) + Send + Sync>;

/// What [`MailStore::prepare`](crate::MailStore::prepare) made for the
/// recipients of one message; dropped when the last of them is answered or taken
/// back. Dropping it may make slow calls: it happens on a thread that may block,
/// never on the event loop.
#[derive(Clone, Default)]
pub struct Prepared(Option<Arc<dyn Any + Send + Sync>>);

impl Prepared {
    /// Nothing is shared.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// This is shared.
    pub fn new(shared: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(shared)))
    }

    /// Of several stores that are one to the pool: what each has made, with the
    /// [location](Mailbox::location) of the mailboxes that it is for.
    pub fn by_location(each: Vec<(Option<String>, Self)>) -> Self {
        Self::new(ByLocation(each))
    }

    /// What is for mailboxes of this location.
    fn of(&self, location: Option<&str>) -> &Self {
        static NOTHING: Prepared = Prepared(None);
        match self.get::<ByLocation>() {
            None => self,
            Some(ByLocation(each)) => each
                .iter()
                .find(|(for_those, _)| for_those.as_deref() == location)
                .map_or(&NOTHING, |(_, prepared)| prepared),
        }
    }

    /// What was shared, where it is a `T`.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_deref().and_then(|shared| shared.downcast_ref())
    }
}

struct ByLocation(Vec<(Option<String>, Prepared)>);

/// One message for one recipient.
///
/// It is answered exactly once: by [`Delivery::finish`], or, dropped without,
/// by [`DeliveryError::Unanswered`].
pub struct Delivery {
    message: Arc<Message>,
    mailbox: Mailbox,
    recipient: String,
    header: Vec<u8>,
    prepared: Prepared,
    fate: Arc<Fate>,
    answered: AtomicBool,
    answer: Answer,
    locked: Mutex<Option<DeliveryError>>,
}

impl Delivery {
    /// A delivery of `message` to `mailbox`. `recipient` is the forward-path
    /// as given, without brackets; `header` are the lines to put before the
    /// message, each ended by CRLF. Where the message has a
    /// [common header](Message::common_header), that stands in their place.
    pub fn new(
        message: Arc<Message>,
        mailbox: Mailbox,
        recipient: String,
        header: Vec<u8>,
        fate: Arc<Fate>,
        answer: Answer,
    ) -> Self {
        Self {
            message,
            mailbox,
            recipient,
            header,
            prepared: Prepared::nothing(),
            fate,
            answered: AtomicBool::new(false),
            answer,
            locked: Mutex::new(None),
        }
    }

    /// Gives it what the recipients share.
    #[must_use]
    pub fn with_prepared(mut self, prepared: Prepared) -> Self {
        self.prepared = prepared;
        self
    }

    /// The message, shared with its other recipients.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Where it goes.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The forward-path as given, without brackets.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }

    /// The header lines of this recipient's copy, before the message's: each ends
    /// with CRLF, as the message's own do on the wire.
    pub fn header(&self) -> &[u8] {
        self.message.common_header().unwrap_or(&self.header)
    }

    /// What the recipients of this message share.
    pub fn prepared(&self) -> &Prepared {
        self.prepared.of(self.mailbox.location())
    }

    /// Asks to make the message visible: `Err` where the client has already
    /// been told that it is not stored. Right before link, append or COMMIT.
    pub fn begin_commit(&self) -> Result<(), DeliveryError> {
        self.fate.begin_commit()
    }

    /// Whether anybody still wants it; a store may save itself the work.
    pub fn is_withdrawn(&self) -> bool {
        self.fate.is_withdrawn()
    }

    /// Gives the result. Only the first one counts, but that
    /// [`DeliveryError::Locked`] is no end: the pool tries again.
    pub fn finish(&self, result: Result<DeliveryId, DeliveryError>) {
        if let Err(error @ DeliveryError::Locked { .. }) = result {
            *self.locked.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        } else {
            self.end(result);
        }
    }

    /// Takes the lock error of the last try, for the pool; none where the
    /// delivery has ended after all.
    pub fn take_locked(&self) -> Option<DeliveryError> {
        if self.answered.load(Ordering::Acquire) {
            return None;
        }
        self.locked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Gives a result that no further try follows, a lock included.
    pub fn end(&self, result: Result<DeliveryId, DeliveryError>) {
        if !self.answered.swap(true, Ordering::AcqRel) {
            (self.answer)(result);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.end(Err(DeliveryError::Unanswered));
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivery, DeliveryId, Fate};
    use crate::{Body, DeliveryError, IfMissing, Mailbox, MailboxName, Message, Timestamp};
    use std::sync::{Arc, Mutex};

    #[test]
    fn commit_and_deadline_exclude_each_other() {
        let fate = Fate::default();
        assert!(fate.begin_commit().is_ok() && fate.begin_commit().is_ok());
        assert!(!fate.withdraw() && !fate.is_withdrawn());
        assert!(fate.settle() && !fate.settle());

        let fate = Fate::default();
        assert!(fate.withdraw() && !fate.withdraw() && fate.is_withdrawn());
        assert!(matches!(fate.begin_commit(), Err(DeliveryError::Expired)));
        assert!(!fate.leave_open() && !fate.settle());
    }

    #[test]
    fn only_a_commit_that_has_begun_can_be_left_open() {
        let fate = Fate::default();
        assert!(!fate.leave_open());
        assert!(fate.begin_commit().is_ok());
        assert!(fate.leave_open() && !fate.leave_open() && fate.is_outcome_open());
        assert!(!fate.settle() && fate.is_outcome_open());
    }

    #[test]
    fn a_delivery_is_answered_once_whatever_happens() {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let delivery = || {
            let now = Timestamp::now_utc();
            let message = Message::new(now, String::new(), false, Body::in_memory(Vec::new()));
            let mailbox = MailboxName::new("a@d").unwrap();
            let answers = Arc::clone(&answers);
            Delivery::new(
                Arc::new(message),
                Mailbox::new(mailbox, IfMissing::Create),
                "a@d".to_owned(),
                Vec::new(),
                Arc::default(),
                Box::new(move |result| answers.lock().unwrap().push(result.is_ok())),
            )
        };
        let locked = || Err(DeliveryError::Locked { holder: None });
        drop(delivery());
        assert_eq!(*answers.lock().unwrap(), [false]);

        let stored = delivery();
        stored.finish(locked());
        assert!(stored.take_locked().is_some() && stored.take_locked().is_none());
        stored.finish(Ok(DeliveryId::new("1")));
        stored.finish(locked());
        assert!(stored.take_locked().is_none(), "what has ended is not tried again");
        stored.end(locked());
        drop(stored);
        assert_eq!(*answers.lock().unwrap(), [false, true]);
    }
}
