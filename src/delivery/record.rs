//! What is known of a transaction for its answers and its log lines.
//!
//! Lives here: the way of each recipient's result to whoever submitted it, and
//! the log line beside it.
//! May not: print an octet of a client's that has not been escaped.

use super::{
    Answer, Ticket,
    duplicates::{Claim, Claimed, Duplicates},
    full_accounts::FullAccounts,
    outcome::{self, OverQuota},
    resend::{Known, Resends, Sent},
};
use crate::{
    escape,
    reply::{self, Reply},
    transaction::{ForwardPath, HeaderFacts, RecipientIndex, ReversePath, TransactionId},
};
use postino_store::{Class, DeliveryError, DeliveryId, EnhancedCode, Fate, Mailbox, Message};
use std::{
    fmt::{self, Display},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// Takes each answer.
pub(super) type Answers = Arc<dyn Fn(Answer) + Send + Sync>;

/// One transaction's facts.
pub(super) struct Record {
    pub(super) ticket: Ticket,
    pub(super) id: TransactionId,
    pub(super) reverse_path: ReversePath,
    pub(super) header: HeaderFacts,
    /// By RFC 1870 section 5.
    pub(super) octets: u64,
    /// It is no larger than MAIL's SIZE, which was accepted.
    pub(super) is_promised: bool,
    pub(super) over_quota: OverQuota,
    /// When the last octet came.
    pub(super) received: Instant,
    /// For the log line of a lock that outlasted it.
    pub(super) lock_wait: Duration,
    pub(super) recipients: Box<[Recipient]>,
    pub(super) answers: Answers,
    pub(super) resends: Arc<Resends>,
    /// None: the same message is stored as often as it comes.
    pub(super) duplicates: Option<Arc<Duplicates>>,
    pub(super) full: Arc<FullAccounts>,
}

/// One recipient's.
pub(super) struct Recipient {
    pub(super) index: RecipientIndex,
    pub(super) path: ForwardPath,
    pub(super) mailbox: Mailbox,
    /// Where the message goes in place of that, by a rule about its header.
    pub(super) filed: OnceLock<Mailbox>,
    pub(super) fate: Arc<Fate>,
}

impl Recipient {
    /// Where the message goes.
    pub(super) fn destination(&self) -> &Mailbox {
        self.filed.get().unwrap_or(&self.mailbox)
    }
}

/// The right to store a recipient's message.
pub(super) struct Claims {
    claim: Claim,
    /// The places of those whose message is the same.
    twins: Vec<usize>,
}

impl Record {
    /// Takes the result of the recipient at this place: answered where somebody
    /// waits for it, and logged.
    pub(super) fn finish(
        &self,
        recipient: &Recipient,
        result: Result<&DeliveryId, &DeliveryError>,
    ) {
        if recipient.fate.settle() {
            let reply = match result {
                Ok(id) => {
                    let reply = outcome::stored(id);
                    self.log_delivered(recipient, id, &reply);
                    reply
                }
                Err(error) => {
                    let reply = outcome::failure(error, self.over_quota, self.is_promised);
                    self.log_failure(recipient, error, &reply);
                    reply
                }
            };
            self.answer(recipient, reply);
        } else if recipient.fate.is_outcome_open() {
            self.log_late(recipient, result);
            self.resends.late(self.sent(recipient), result);
        } else if recipient.fate.is_withdrawn()
            && let Ok(id) = result
        {
            // Only a store that does not ask before its commit comes here.
            log::error!(
                "stored after the client was told otherwise {} id={id}: a resend makes a second \
                 copy; the store must ask before its commit",
                self.names(recipient)
            );
        }
    }

    /// Stops waiting for a commit that has begun; says whether it had.
    pub(super) fn leave_open(&self, recipient: &Recipient) -> bool {
        self.resends.leave_open(self.sent(recipient), &recipient.fate)
    }

    /// The recipient's delivery has ended in the store: what came late there will
    /// be known when it is sent again. May block.
    pub(super) fn has_ended(&self, recipient: &Recipient, message: &Message) {
        if recipient.fate.is_outcome_open() {
            self.resends.complete(self.sent(recipient), message);
        }
        if let Some(duplicates) = &self.duplicates {
            duplicates.write_down();
        }
    }

    fn sent<'a>(&'a self, recipient: &'a Recipient) -> Sent<'a> {
        Sent {
            transaction: self.id,
            index: recipient.index,
            sender: self.reverse_path.as_str(),
            recipient: recipient.path.as_str(),
            octets: self.octets,
            message_id: self.header.message_id.as_deref(),
        }
    }

    /// Answers the recipients for whom the message came before, where what became
    /// of that was left open. Says for each recipient whether it is to be
    /// delivered. May block.
    pub(super) fn answer_resends(&self, message: &Message) -> Vec<bool> {
        let mut wanted = vec![true; self.recipients.len()];
        let sent = self.recipients.iter().map(|recipient| self.sent(recipient));
        let known = self.resends.known(&sent, message);
        for ((recipient, known), wanted) in self.recipients.iter().zip(known).zip(&mut wanted) {
            if let Some(known) = known {
                *wanted = false;
                self.finish_resend(recipient, &known);
            }
        }
        wanted
    }

    fn finish_resend(&self, recipient: &Recipient, known: &Known) {
        if !recipient.fate.settle() {
            return;
        }
        let names = format!("s={} from={} {}", self.id, Sender(&self.reverse_path), To(recipient));
        let reply = if let Some(id) = &known.stored {
            let reply = outcome::stored(id);
            log::info!(
                "resend {names} id={id} first={} reply=\"{}\": it was stored late; no second copy",
                known.first,
                reply.codes()
            );
            self.resends.forget(known);
            reply
        } else {
            let reply = reply::STORE_TIMEOUT;
            log::warn!(
                "not delivered {names} size={} first={} reply=\"{}\" cause=\"a resend whose first \
                 outcome is still open\"",
                self.octets,
                known.first,
                reply.codes()
            );
            reply
        };
        self.answer(recipient, reply);
    }

    /// Answers the recipients, of those that are `wanted`, for whom the message is
    /// stored already, and takes them out. Gives, for each of the others, the right to
    /// store it, where duplicates are looked for at all; with it are those who get
    /// his answer. May block.
    pub(super) fn answer_duplicates(
        &self,
        message: &Message,
        wanted: &mut [bool],
    ) -> Vec<Option<Claims>> {
        let mut claims: Vec<Option<Claims>> = wanted.iter().map(|_| None).collect();
        let Some(duplicates) = self.duplicates.as_ref().filter(|_| wanted.contains(&true)) else {
            return claims;
        };
        // What cannot be read here cannot be stored either.
        let Ok(body) = duplicates.of_body(message.body()) else { return claims };
        for (at, (recipient, wanted)) in self.recipients.iter().zip(wanted).enumerate() {
            if !*wanted {
                continue;
            }
            let (path, mailbox) = (&recipient.path, recipient.mailbox.name());
            let digest = duplicates.of_copy(body, &self.reverse_path, path, mailbox);
            *wanted = false;
            match duplicates.claim(digest, (self.id, at), &recipient.fate) {
                Claimed::New(claim) => {
                    *wanted = true;
                    if let Some(place) = claims.get_mut(at) {
                        *place = Some(Claims { claim, twins: Vec::new() });
                    }
                }
                Claimed::Twin(of) => {
                    if let Some(Some(claims)) = claims.get_mut(of) {
                        claims.twins.push(at);
                    }
                }
                Claimed::Stored(id) => self.finish_duplicate(recipient, Ok(&id)),
                Claimed::Pending => {
                    let error = DeliveryError::Other {
                        class: Class::Temporary,
                        code: EnhancedCode::new(3, 0),
                        cause: "the same message is being stored for another transaction".into(),
                    };
                    self.finish(recipient, Err(&error));
                }
            }
        }
        claims
    }

    /// Takes the result of the recipient at this place, for those too whose message
    /// is the same.
    pub(super) fn finish_claimed(
        &self,
        at: usize,
        claims: Option<&Claims>,
        result: Result<&DeliveryId, &DeliveryError>,
    ) {
        if let Some(Claims { claim, .. }) = claims {
            // First, as a resend may follow the answer at once.
            claim.end(result);
        }
        if let Some(recipient) = self.recipients.get(at) {
            self.finish(recipient, result);
        }
        let twins = claims.map(|claims| &*claims.twins).unwrap_or_default();
        for twin in twins.iter().filter_map(|twin| self.recipients.get(*twin)) {
            self.finish_duplicate(twin, result);
        }
    }

    /// The result of the first copy, for the recipient of one that is not stored.
    fn finish_duplicate(&self, recipient: &Recipient, result: Result<&DeliveryId, &DeliveryError>) {
        // One that was answered at the deadline is no copy that came too late.
        if !recipient.fate.settle() {
            return;
        }
        let reply = match result {
            Ok(id) => {
                let reply = outcome::stored(id);
                log::info!(
                    "duplicate s={} from={} {} id={id} reply=\"{}\": it is stored; no second copy",
                    self.id,
                    Sender(&self.reverse_path),
                    To(recipient),
                    reply.codes()
                );
                reply
            }
            Err(error) => {
                let reply = outcome::failure(error, self.over_quota, self.is_promised);
                self.log_failure(recipient, error, &reply);
                reply
            }
        };
        self.answer(recipient, reply);
    }

    fn answer(&self, recipient: &Recipient, reply: Reply) {
        (self.answers)(Answer::Delivered { ticket: self.ticket, index: recipient.index, reply });
    }

    /// The reply to a recipient whose delivery came too late to begin.
    pub(super) fn expired(&self, recipient: &Recipient) -> (RecipientIndex, Reply) {
        let reply = reply::STORE_TIMEOUT;
        self.log_failure(recipient, &DeliveryError::Expired, &reply);
        (recipient.index, reply)
    }

    /// The reply to a recipient whose delivery the server's end prevented.
    pub(super) fn withdrawn(&self, recipient: &Recipient) -> (RecipientIndex, Reply) {
        let reply = reply::NOT_DELIVERED_SHUTDOWN;
        log::warn!("not delivered {} reply=\"{}\"", self.names(recipient), reply.codes());
        (recipient.index, reply)
    }

    /// The reply to a recipient whose commit does not end.
    pub(super) fn left_open(&self, recipient: &Recipient) -> (RecipientIndex, Reply) {
        log::error!(
            "outcome open {}: the store was asked to commit and has not answered; a resend will \
             not make a second copy while this process runs",
            self.names(recipient)
        );
        (recipient.index, reply::STORE_TIMEOUT)
    }

    fn log_delivered(&self, recipient: &Recipient, id: &DeliveryId, reply: &Reply) {
        let pair = |key, octets: Option<&[u8]>| {
            octets.map(|octets| format!(" {key}={}", escape::value(octets))).unwrap_or_default()
        };
        self.full.has_room(recipient.destination().name().account());
        log::info!(
            "delivered s={}{}{} from={} {} id={id} size={} rcpts={} ms={} reply=\"{}\"",
            self.id,
            pair("qid", self.header.queue_id.as_deref()),
            pair("mid", self.header.message_id.as_deref()),
            Sender(&self.reverse_path),
            To(recipient),
            self.octets,
            self.recipients.len(),
            self.received.elapsed().as_millis(),
            reply.codes()
        );
    }

    fn log_failure(&self, recipient: &Recipient, error: &DeliveryError, reply: &Reply) {
        if let DeliveryError::Locked { holder } = error {
            log::warn!(
                "locked: {} held {} s by {}; {} s={}",
                escape::value(recipient.destination().name().as_str().as_bytes()),
                self.lock_wait.as_secs(),
                escape::visible(holder.as_deref().unwrap_or("another process").as_bytes()),
                reply.codes(),
                self.id
            );
            return;
        }
        let mut cause = error.to_string();
        if let DeliveryError::OverQuota { .. } = error {
            let full = self.full.note(recipient.destination().name().account());
            cause = format!("{cause}; {full}");
        }
        log::warn!(
            "not delivered s={} from={} {} size={} ms={} reply=\"{}\" cause={}",
            self.id,
            Sender(&self.reverse_path),
            To(recipient),
            self.octets,
            self.received.elapsed().as_millis(),
            reply.codes(),
            escape::value(cause.as_bytes())
        );
    }

    fn log_late(&self, recipient: &Recipient, result: Result<&DeliveryId, &DeliveryError>) {
        let (names, ms) = (self.names(recipient), self.received.elapsed().as_millis());
        match result {
            Ok(id) => log::warn!("late outcome: stored after all {names} id={id} ms={ms}"),
            Err(error) => log::warn!(
                "late outcome: not stored {names} ms={ms} cause={}",
                escape::value(error.to_string().as_bytes())
            ),
        }
    }

    fn names(&self, recipient: &Recipient) -> String {
        format!("s={} {}", self.id, To(recipient))
    }
}

/// `<x@y>`, escaped.
pub(super) struct Sender<'a>(pub(super) &'a ReversePath);

impl Display for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::value(self.0.to_string().as_bytes()))
    }
}

struct To<'a>(&'a Recipient);

impl Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mailbox = escape::value(self.0.destination().name().as_str().as_bytes());
        write!(f, "to={} mailbox={mailbox}", Path(&self.0.path))
    }
}

/// A forward-path in its brackets, escaped.
pub(super) struct Path<'a>(pub(super) &'a ForwardPath);

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape::value(self.0.to_string().as_bytes()))
    }
}
