//! `postino deliver`: one message from standard input into its recipients' mailboxes.
//!
//! Lives here: the order in which it is checked, read and stored; below, in `lines`
//! and `input` the message, in `results` what is told of it.
//! May not: store; the pool does, as for the daemon.
//! Holds: it ends with 0, 67 or 75, whatever happens: Postfix bounces what ends
//! otherwise.

mod addresses;
mod input;
mod lines;
mod results;
mod waiting;

use super::{
    exit::Exit,
    names::Names,
    serve::{open_spool, prepare_process, warn_of_root},
};
use crate::{
    config::{Effective, effective::Sources},
    delivery::{
        Answer, COMMIT_WAIT, InProgress, LOOKUP_DEADLINE, Question, Reservation, Submission,
    },
    escape, log as log_thread,
    reply::{self, Reply},
    sys::credentials,
    transaction::{
        BodyType, Envelope, ForwardPath, Origin, Recipient, RecipientIndex, ReversePath,
        Transaction, TransactionId,
    },
};
use input::{Input, Message, Spooling, Unread};
use lines::Lines;
use postino_store::{Class, DeliveryError, Mailbox};
use results::Results;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::Arc,
    time::{Duration, Instant},
};
use waiting::Waiting;

/// What a recipient uses of memory.
const RECIPIENT_OCTETS: u64 = 2 * 1024;

/// How long the end waits for what the store has still to do for itself.
const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// Delivers the message.
pub(super) fn run(names: &Names, sources: &Sources) -> Exit {
    let mut input = Input::default();
    let results = catch_unwind(AssertUnwindSafe(|| deliver(names, sources, &mut input)));
    let results = results.unwrap_or_else(|_| {
        // The panic was logged where it happened.
        Results::nothing("3.0", "a fault of the program's own; the log has it")
    });
    input.drain();
    let exit = results.tell(&id());
    log_thread::finish();
    exit
}

/// Says what is wrong with the command line.
pub(super) fn refuse(complaint: &str) -> Exit {
    Input::default().drain();
    Results::nothing("3.5", complaint).tell(&id())
}

/// The transaction's name: no other process has it at the same time.
fn id() -> TransactionId {
    TransactionId { session: process::id(), transaction: 1 }
}

fn deliver(names: &Names, sources: &Sources, input: &mut Input) -> Results {
    let mut config = match sources.load() {
        Ok(config) => config,
        Err(errors) => return Results::nothing("3.5", errors),
    };
    log_thread::start(config.log_target, config.log_level);
    if let Err(results) = prepare(&mut config) {
        return results;
    }
    // With one exit code for all, those beyond a limit would have the others stored
    // anew at each try.
    let count = names.recipients.len() as u64;
    if count > u64::from(config.server.session.recipients_max) {
        return Results::nothing("5.3", format!("{count} recipients are more than max-recipients"));
    }
    if count * RECIPIENT_OCTETS > config.limits.memory / 2 {
        return Results::nothing("3.1", format!("{count} recipients need a larger memory-budget"));
    }
    let waiting = Waiting::new(Arc::clone(&config.store), config.limits.clone());
    let mut delivery = Delivery { config: &config, waiting: &waiting, recipients: Vec::new() };
    let results = match delivery.run(names, input) {
        Ok(()) => Results::Each(delivery.told()),
        Err(cause) => {
            log::warn!("not delivered s={}: cannot read the message: {cause}", id());
            Results::nothing("3.0", format!("cannot read the message: {cause}"))
        }
    };
    waiting.settle(SETTLE_WAIT);
    results
}

/// Makes the process ready, and the store.
fn prepare(config: &mut Effective) -> Result<(), Results> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    // There is no client, so none can be too many.
    config.server.connections_max = 1;
    prepare_process(config).map_err(|_| Results::nothing("3.0", "the log says what is wrong"))?;
    if let Some(identity) = &config.identity {
        credentials::become_user(identity).map_err(|error| {
            log::error!("cannot become uid {}: {error}", identity.uid);
            let uid = identity.uid;
            Results::nothing("3.5", format!("cannot become uid {uid}: {error}"))
        })?;
    }
    if let Err(error) = credentials::no_new_privs() {
        log::warn!("cannot set no_new_privs: {error}");
    }
    if let Err(error) = log_thread::spawn_thread() {
        log::warn!("cannot start the thread that writes the log: {error}");
    }
    warn_of_root(config);
    match config.store.open() {
        Ok(()) => {
            if let Some(notice) = config.store.notice() {
                log::warn!("{notice}");
            }
        }
        // Each recipient is told.
        Err(DeliveryError::StoreMissing { .. }) => {}
        Err(error) => {
            log::error!("{}: {error}", config.store_url);
            let code = error.code();
            let detail = match error.class() {
                Class::Temporary => format!("{}.{}", code.subject, code.detail),
                Class::Permanent => "3.0".to_owned(),
            };
            let shown = escape::visible(format!("{}: {error}", config.store_url).as_bytes());
            return Err(Results::nothing(&detail, shown));
        }
    }
    open_spool(config)
        .map_err(|_| Results::nothing("3.5", "spool-dir cannot be used; the log says why"))
}

/// One recipient.
struct Addressee {
    /// As results show him.
    shown: String,
    state: State,
}

enum State {
    /// He is asked about.
    Asked(ForwardPath),
    /// He has a mailbox.
    Accepted(ForwardPath, Mailbox),
    /// The message is stored.
    Stored,
    Refused(Reply),
}

/// The message on its way to its recipients.
struct Delivery<'a> {
    config: &'a Effective,
    waiting: &'a Waiting,
    /// In their order; an index is a place here.
    recipients: Vec<Addressee>,
}

impl Delivery<'_> {
    /// Delivers as far as possible; `Err`: the message cannot be read, and nobody
    /// has it.
    fn run(
        &mut self,
        Names { sender, recipients }: &Names,
        input: &mut Input,
    ) -> Result<(), std::io::Error> {
        let session = &self.config.server.session;
        let admitted = self.waiting.pool.admit(None);
        let sender =
            admitted.and_then(|()| addresses::sender(sender.as_deref(), &session.hostname));
        let sender = match sender {
            Ok(sender) => sender,
            Err(refusal) => {
                for word in recipients {
                    self.refuse_word(word, refusal.clone());
                }
                return Ok(());
            }
        };
        let memory = self.check(recipients);
        if !self.recipients.iter().any(|each| matches!(each.state, State::Accepted(..))) {
            return Ok(());
        }
        let read = Spooling::new(self.waiting, id(), memory).map_err(Unread::Refused);
        let read = read.and_then(|spooling| {
            let lines = Lines::new(session.bare_newlines, session.message_size_max);
            input.message(lines, spooling)
        });
        match read {
            Ok(message) => self.store(sender, message),
            Err(Unread::Refused(refusal)) => {
                log::info!("refused s={} reply=\"{}\"", id(), refusal.codes());
                self.refuse_rest(&refusal);
            }
            Err(Unread::Failed(cause)) => return Err(cause),
        }
        Ok(())
    }

    /// Asks for each recipient's mailbox; gives what they use of memory.
    fn check(&mut self, words: &[String]) -> Reservation {
        let server = &self.config.server;
        let domain = default_domain(self.config);
        let pool = &self.waiting.pool;
        let mut memory = pool.memory().reserve_nothing();
        // Gone once nobody waits any more.
        let asker = Arc::new(());
        let mut count = 0;
        for (at, word) in (0..).zip(words) {
            let path = match addresses::recipient(word, domain) {
                _ if count >= server.session.recipients_max => Err(reply::TOO_MANY_RECIPIENTS),
                Ok(_) if !memory.try_grow(RECIPIENT_OCTETS) => Err(reply::OUT_OF_MEMORY),
                path => path,
            };
            let path = match path {
                Ok(path) => path,
                Err(refusal) => {
                    self.refuse_word(word, refusal);
                    continue;
                }
            };
            count += 1;
            let question = Question {
                ticket: 0,
                id: id(),
                index: RecipientIndex(at),
                path: path.clone(),
                declared_size: None,
                memory: memory.split(RECIPIENT_OCTETS),
                asker: Arc::downgrade(&asker),
            };
            let shown = shown(&path);
            let state = match pool.check(&server.users, question) {
                Some(refusal) => State::Refused(refusal),
                None => State::Asked(path),
            };
            self.recipients.push(Addressee { shown, state });
        }
        let until = Instant::now() + LOOKUP_DEADLINE;
        while self.recipients.iter().any(|each| matches!(each.state, State::Asked(_))) {
            match self.waiting.next(until) {
                Some(Answer::Checked { index, result, memory: used, .. }) => {
                    memory.merge(used);
                    self.checked(index, result);
                }
                Some(_) => {}
                None => {
                    log::warn!("look-up timed out s={}; 451 4.4.3", id());
                    for each in &mut self.recipients {
                        if let State::Asked(_) = each.state {
                            each.state = State::Refused(reply::LOOKUP_TIMEOUT);
                        }
                    }
                }
            }
        }
        memory
    }

    fn checked(&mut self, RecipientIndex(at): RecipientIndex, result: Result<Mailbox, Reply>) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(each) = self.recipients.get_mut(at)
            && let State::Asked(path) = &each.state
        {
            each.state = match result {
                Ok(mailbox) => State::Accepted(path.clone(), mailbox),
                Err(refusal) => State::Refused(refusal),
            };
        }
    }

    /// Stores a message that came whole.
    fn store(&mut self, sender: ReversePath, message: Message) {
        let ended = Instant::now();
        let Message { received, body, spool, memory } = message;
        let (recipients, mailboxes) = (0..)
            .zip(&self.recipients)
            .filter_map(|(at, each)| match &each.state {
                State::Accepted(path, mailbox) => {
                    let (index, path) = (RecipientIndex(at), path.clone());
                    Some((Recipient { index, path, original: None }, mailbox.clone()))
                }
                _ => None,
            })
            .unzip();
        let in_progress = self.waiting.pool.deliver(Submission {
            ticket: 0,
            transaction: Transaction {
                id: id(),
                client_name: "".into(),
                envelope: Envelope {
                    reverse_path: sender,
                    declared_size: None,
                    body_type: BodyType::EightBitMime,
                    recipients,
                },
                body,
                octets_received: received.octets,
                bare_newlines: received.bare_newlines,
                header: received.header,
            },
            mailboxes,
            origin: Origin::Command,
            hostname: self.config.server.session.hostname.as_str().into(),
            filing: Arc::clone(&self.config.server.filing),
            spool,
            memory,
        });
        let deadline = ended + self.config.server.delivery_timeout;
        self.wait_for(&in_progress, deadline);
    }

    /// Waits for each recipient's answer as the daemon does: after the deadline only
    /// for commits that have begun.
    fn wait_for(&mut self, in_progress: &InProgress, deadline: Instant) {
        self.collect(deadline);
        for (index, reply) in in_progress.expire() {
            self.delivered(index, reply);
        }
        self.collect(deadline + COMMIT_WAIT);
        for (index, reply) in in_progress.leave_open() {
            self.delivered(index, reply);
        }
        // Nobody is left, but that a message is stored is never taken for granted.
        self.refuse_rest(&reply::STORE_ERROR);
    }

    /// Takes answers until everybody has his, or until then.
    fn collect(&mut self, until: Instant) {
        while self.recipients.iter().any(|each| matches!(each.state, State::Accepted(..))) {
            match self.waiting.next(until) {
                Some(Answer::Delivered { index, reply, .. }) => self.delivered(index, reply),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn delivered(&mut self, RecipientIndex(at): RecipientIndex, reply: Reply) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(each) = self.recipients.get_mut(at) {
            each.state = if reply.is_positive() { State::Stored } else { State::Refused(reply) };
        }
    }

    fn refuse_word(&mut self, word: &str, refusal: Reply) {
        let shown = match addresses::recipient(word, default_domain(self.config)) {
            Ok(path) => shown(&path),
            Err(_) => format!("<{}>", escape::visible(word.as_bytes())),
        };
        let to = escape::value(shown.as_bytes());
        log::info!("refused s={} to={to} reply=\"{}\"", id(), refusal.codes());
        self.recipients.push(Addressee { shown, state: State::Refused(refusal) });
    }

    /// Refuses the message to everybody who was accepted.
    fn refuse_rest(&mut self, refusal: &Reply) {
        for each in &mut self.recipients {
            if let State::Accepted(..) = each.state {
                each.state = State::Refused(refusal.clone());
            }
        }
    }

    /// The recipients as they are told, and the refusals among them.
    fn told(self) -> Vec<(String, Option<Reply>)> {
        let told = |Addressee { shown, state }| match state {
            State::Stored => (shown, None),
            State::Refused(refusal) => (shown, Some(refusal)),
            State::Asked(_) | State::Accepted(..) => (shown, Some(reply::STORE_ERROR)),
        };
        self.recipients.into_iter().map(told).collect()
    }
}

/// The domain of recipients without one.
fn default_domain(config: &Effective) -> &str {
    let server = &config.server;
    server.users.default_domain.as_deref().unwrap_or(&server.session.hostname)
}

fn shown(path: &ForwardPath) -> String {
    escape::visible(path.to_string().as_bytes())
}
