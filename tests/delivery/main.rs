//! The pool against stores that hang, lock, panic and fail: what each recipient
//! is answered, and what never happens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod deadline;
mod duplicates;
mod filing;
mod lanes;
mod locks;
mod log_lines;
mod look_ups;
mod owners;
mod resends;
mod stuck;
mod system_users;
mod upkeep;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use postino::{
    delivery::{Answer, Budget, InProgress, Limits, OverQuota, Pool, Submission},
    transaction::{
        Address, BodyType, Envelope, ForwardPath, HeaderFacts, Origin, ReceivedBody, Recipient,
        RecipientIndex, ReversePath, Transaction, TransactionId,
    },
    users::{Source, System, Users},
};
use postino_store::{
    Delivery, DeliveryError, DeliveryId, IfMissing, Lane, MailStore, Mailbox, MailboxName, Message,
    Prepared,
};
use std::{
    io::Read,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Where a test would hang, it fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome = Result<DeliveryId, DeliveryError>;

/// A store whose every batch asks the test what to do.
struct Puppet {
    calls: Sender<Call>,
    lane: fn(&Mailbox) -> Lane,
    running: AtomicUsize,
    most_running: Arc<AtomicUsize>,
}

/// Mailboxes whose batches are not counted.
const OTHER: &str = "@other";

/// A batch inside the store, which stays there until the test lets it go.
struct Call {
    mailboxes: Vec<String>,
    steps: Sender<Step>,
    begun: Receiver<bool>,
}

enum Step {
    BeginCommit,
    Finish(Outcome),
    Panic,
}

impl MailStore for Puppet {
    fn deliver(&self, _: &Delivery) -> Outcome {
        unreachable!("only batches are asked for")
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        (self.lane)(mailbox)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        // Others come and go at once: one of them may have its answer, and not be over.
        let counts = deliveries.iter().all(|each| !each.mailbox().name().as_str().ends_with(OTHER));
        let running = self.running.fetch_add(counts.into(), Ordering::SeqCst) + 1;
        if counts {
            self.most_running.fetch_max(running, Ordering::SeqCst);
        }
        let (steps, next) = unbounded();
        let (report, begun) = unbounded();
        let mailboxes = deliveries.iter().map(|each| each.mailbox().name().to_string()).collect();
        self.calls.send(Call { mailboxes, steps, begun }).unwrap();
        let mut rest = deliveries.iter();
        // Ends when the test drops the call.
        for step in next {
            match step {
                Step::BeginCommit => {
                    let all = deliveries.iter().all(|each| each.begin_commit().is_ok());
                    report.send(all).unwrap();
                }
                Step::Finish(outcome) => rest.next().expect("one more").finish(outcome),
                Step::Panic => {
                    self.running.fetch_sub(counts.into(), Ordering::SeqCst);
                    panic!("as the test wished");
                }
            }
        }
        self.running.fetch_sub(counts.into(), Ordering::SeqCst);
    }
}

impl Call {
    fn finish(&self, outcome: Outcome) {
        self.steps.send(Step::Finish(outcome)).unwrap();
    }

    fn begin_commit(&self) -> bool {
        self.steps.send(Step::BeginCommit).unwrap();
        self.begun.recv_timeout(PATIENCE).unwrap()
    }

    /// All of it is stored.
    fn succeed(self) {
        for _ in &self.mailboxes {
            self.finish(Ok(DeliveryId::new("id")));
        }
    }
}

/// A pool with the ends that a test holds.
struct Rig {
    pool: Pool,
    answers: Receiver<Answer>,
    calls: Receiver<Call>,
    most_running: Arc<AtomicUsize>,
}

fn limits(workers: usize) -> Limits {
    Limits { workers, lock_wait: PATIENCE, ..Limits::default() }
}

fn pool(store: impl MailStore + 'static, limits: Limits) -> (Pool, Receiver<Answer>) {
    let (sender, answers) = unbounded();
    let pool = Pool::new(Arc::new(store), limits, move |answer| {
        // The test may be over.
        let _ = sender.send(answer);
    });
    (pool, answers)
}

fn puppet(calls: Sender<Call>, lane: fn(&Mailbox) -> Lane) -> Puppet {
    Puppet { calls, lane, running: AtomicUsize::new(0), most_running: Arc::default() }
}

fn rig(workers: usize, lane: fn(&Mailbox) -> Lane) -> Rig {
    let (sender, calls) = unbounded();
    let store = puppet(sender, lane);
    let most_running = Arc::clone(&store.most_running);
    let (pool, answers) = pool(store, limits(workers));
    Rig { pool, answers, calls, most_running }
}

impl Rig {
    fn deliver(&self, ticket: u64, recipients: &[&str]) -> InProgress {
        self.pool.deliver(submission(ticket, recipients))
    }

    fn call(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("the store is called")
    }

    fn answer(&self) -> (u64, u64, String) {
        next(&self.answers)
    }
}

fn next(answers: &Receiver<Answer>) -> (u64, u64, String) {
    match answers.recv_timeout(PATIENCE).expect("an answer comes") {
        Answer::Delivered { ticket, index, reply } => (ticket, index.0, reply.codes().to_string()),
        Answer::Checked { ticket, index, result, .. } => {
            let text = match result {
                Ok(mailbox) => mailbox.name().to_string(),
                Err(reply) => reply.codes().to_string(),
            };
            (ticket, index.0, text)
        }
        other => panic!("{other:?}"),
    }
}

/// Waits for what another thread is about to do.
fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

fn path(address: &str) -> ForwardPath {
    ForwardPath::Address(Address::parse(address.as_bytes()).unwrap())
}

fn name(address: &str) -> MailboxName {
    MailboxName::new(address).unwrap()
}

const ID: TransactionId = TransactionId { session: 0x7f3a, transaction: 2 };

fn submission(ticket: u64, recipients: &[&str]) -> Submission {
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        declared_size: None,
        body_type: BodyType::SevenBit,
        recipients: (0..)
            .zip(recipients)
            .map(|(index, to)| Recipient {
                index: RecipientIndex(index),
                path: path(to),
                original: None,
            })
            .collect(),
    };
    let body = b"Subject: x\r\n\r\ntext\r\n".to_vec();
    Submission {
        ticket,
        transaction: Transaction {
            id: ID,
            client_name: "client.example.org".into(),
            envelope,
            octets_received: body.len() as u64,
            body: ReceivedBody::InMemory(body),
            bare_newlines: false,
            header: HeaderFacts::default(),
        },
        mailboxes: recipients
            .iter()
            .map(|address| Mailbox::new(name(&address.to_lowercase()), IfMissing::Create))
            .collect(),
        origin: Origin::Client(None),
        hostname: "mx.example.org".into(),
        filing: Arc::default(),
        spool: None,
        memory: Budget::new(u64::MAX, || {}).reserve_nothing(),
    }
}

/// One place for each mailbox.
fn alone(mailbox: &Mailbox) -> Lane {
    Lane::of(mailbox.name().as_str(), 1, 1)
}

/// Two places for each mailbox.
fn pairs(mailbox: &Mailbox) -> Lane {
    Lane::of(mailbox.name().as_str(), 2, 1)
}

/// Two places for each mailbox, three for all of a domain.
fn capped(mailbox: &Mailbox) -> Lane {
    pairs(mailbox).within(mailbox.name().domain().unwrap(), 3)
}

/// One place for each domain, three deliveries together.
fn batches(mailbox: &Mailbox) -> Lane {
    Lane::of(mailbox.name().domain().unwrap(), 1, 3)
}
