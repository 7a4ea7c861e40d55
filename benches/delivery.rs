//! How many deliveries a second the pool and the Maildir store make durable, and
//! how near that is to what the disk can do.
//!
//! Lives here: messages that are handed to the pool as a server does, without a
//! session or a log; and the disk's floor, which is the same system calls made by
//! plain threads, measured in turns with the pool, since a disk is not as fast
//! now as a second ago.
//! May not: leave anything behind; judge what it measures.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with a few digits")]

#[path = "delivery/floor.rs"]
mod floor;
mod measure;

use floor::Floor;
use measure::{Allocations, Arguments, allocations, median, percentile};
use postino::{
    delivery::{Answer, Limits, Pool, Submission},
    stores,
    transaction::{
        Address, BodyType, Envelope, ForwardPath, HeaderFacts, Origin, ReceivedBody, Recipient,
        RecipientIndex, ReversePath, Transaction, TransactionId,
    },
};
use postino_store::{IfMissing, Mailbox, MailboxName};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
const MESSAGE_OCTETS: usize = 4096;
/// As many as the pool has by default.
const THREADS_MAX: usize = 16;

/// How long the pool works in a round, and the disk alone before and after it.
#[derive(Clone, Copy)]
struct Times {
    pool: Duration,
    floor: Duration,
}

#[derive(Clone, Copy)]
struct Row {
    in_flight: usize,
    recipients: usize,
    mailboxes: usize,
    single_instance: bool,
}

/// What one round of the pool has shown.
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    allocations: f64,
    octets: f64,
}

fn main() {
    let arguments = Arguments::read();
    let (pool, floor) = if arguments.is_quick { (160, 80) } else { (600, 300) };
    let times = Times { pool: Duration::from_millis(pool), floor: Duration::from_millis(floor) };
    let place = place(&arguments);
    let directory = tempfile::Builder::new().prefix("bench-delivery-").tempdir_in(place).unwrap();
    println!("below {}", directory.path().display());
    println!(
        "{:9} {:>10} {:>12} {:>7} {:>7} {:>12} {:>12} {:>12} {:>7} {:>8}",
        "in flight",
        "recipients",
        "deliveries/s",
        "p50 ms",
        "p99 ms",
        "allocs/dlvry",
        "octets/dlvry",
        "the disk's/s",
        "of disk",
        "of above"
    );
    let alone = |in_flight| Row { in_flight, recipients: 1, mailboxes: 64, single_instance: false };
    let many =
        |single_instance| Row { in_flight: 1, recipients: 50, mailboxes: 200, single_instance };
    let mut before = None;
    for row in [alone(1), alone(16), alone(64), many(false), many(true)] {
        let per_second = row.measure(directory.path(), times, before);
        before = Some(per_second);
    }
}

/// Where to write: on the disk of the build directory, if not told otherwise.
fn place(arguments: &Arguments) -> PathBuf {
    let told = arguments.rest.first().map(PathBuf::from);
    let place = told
        .or_else(|| env::var_os("POSTINO_BENCH_DIR").map(PathBuf::from))
        .unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    fs::create_dir_all(&place).unwrap();
    place
}

impl Row {
    /// Prints the row; gives its deliveries a second. `before` are those of the
    /// row that has no single instance.
    fn measure(self, directory: &Path, times: Times, before: Option<f64>) -> f64 {
        let directory = tempfile::tempdir_in(directory).unwrap();
        let floor = Floor::new(&directory.path().join("floor"), self, &message());
        let mut client = Client::new(&directory.path().join("store"), self);
        let mut floors = vec![floor.measure(times.floor)];
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(client.measure(times.pool));
            floors.push(floor.measure(times.floor));
        }
        let around = floors.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
        let ratios = rounds.iter().zip(around).map(|(round, floor)| round.per_second / floor);
        let of_disk = median(ratios);
        let middle = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
        let per_second = middle(|round| round.per_second);
        let of_above = before
            .filter(|_| self.single_instance)
            .map_or_else(|| "-".to_owned(), |before| format!("{:.2}", per_second / before));
        let recipients =
            format!("{}{}", self.recipients, if self.single_instance { ", 1 file" } else { "" });
        println!(
            "{:9} {recipients:>10} {per_second:12.0} {:7.2} {:7.2} {:12.1} {:12.0} {:12.0} \
             {of_disk:7.2} {of_above:>8}",
            self.in_flight,
            middle(|round| round.p50),
            middle(|round| round.p99),
            middle(|round| round.allocations),
            middle(|round| round.octets),
            median(floors),
        );
        per_second
    }
}

fn message() -> Vec<u8> {
    let header = "From: Bob <bob@example.org>\r\nTo: Alice <alice@example.org>\r\n\
                  Subject: four KiB\r\n\r\n";
    let line = "The quick brown fox jumps over the lazy dog, and over one dog more, too.\r\n";
    let mut message = [header, &line.repeat(MESSAGE_OCTETS / line.len())].concat().into_bytes();
    message.truncate(MESSAGE_OCTETS - 2);
    message.extend_from_slice(b"\r\n");
    message
}

/// Who hands messages to the pool and waits for the answers.
struct Client {
    row: Row,
    pool: Pool,
    answers: Receiver<(Answer, Instant)>,
    mailboxes: Vec<MailboxName>,
    hostname: Arc<str>,
    lhlo_name: Arc<str>,
    message: Vec<u8>,
    messages: usize,
    /// What making one submission takes: in a server the session has made it.
    own: Allocations,
}

/// A message on its way.
#[derive(Clone, Copy)]
struct UnderWay {
    since: Instant,
    unanswered: usize,
}

impl Client {
    fn new(root: &Path, row: Row) -> Self {
        let options = stores::Options {
            hostname: "mx.example.org".to_owned(),
            require_marker: false,
            several_domains: true,
            shared_with_group: false,
            base: None,
        };
        let store = stores::Stores::built_in()
            .open(&format!("maildir:{}", root.display()), &options)
            .unwrap()
            .store;
        store.open().unwrap();
        let mailboxes: Vec<MailboxName> = (0..row.mailboxes)
            .map(|number| MailboxName::new(format!("user{number:03}@example.org")).unwrap())
            .collect();
        store.init(&mailboxes).unwrap();
        let limits = Limits {
            workers: THREADS_MAX,
            single_instance: row.single_instance,
            ..Limits::default()
        };
        let (sender, answers) = channel();
        let pool = Pool::new(store, limits, move |answer| {
            // At the end nobody waits any more.
            let _ = sender.send((answer, Instant::now()));
        });
        let mut client = Self {
            row,
            pool,
            answers,
            mailboxes,
            hostname: "mx.example.org".into(),
            lhlo_name: "client.example.org".into(),
            message: message(),
            messages: 0,
            own: Allocations { count: 0, octets: 0 },
        };
        // The pool has its threads then, and the store knows every mailbox.
        client.round(Duration::ZERO, row.mailboxes / row.recipients, &mut Vec::new());
        client.own = allocations(|| client.submission(0)).1;
        client
    }

    fn measure(&mut self, time: Duration) -> Round {
        let messages_before = self.messages;
        // So large that it does not grow while allocations are counted.
        let mut latencies = Vec::with_capacity(1 << 18);
        let (per_second, all) = allocations(|| self.round(time, 0, &mut latencies));
        let messages = (self.messages - messages_before) as u64;
        let deliveries = (messages * self.row.recipients as u64) as f64;
        let per_delivery =
            |all: u64, own: u64| all.saturating_sub(messages * own) as f64 / deliveries;
        Round {
            per_second,
            p50: percentile(&mut latencies, 50),
            p99: percentile(&mut latencies, 99),
            allocations: per_delivery(all.count, self.own.count),
            octets: per_delivery(all.octets, self.own.octets),
        }
    }

    /// Keeps as many messages on their way as the row says, for so long and until
    /// so many were sent. Gives the deliveries a second within that time; adds
    /// the milliseconds that each took.
    fn round(&mut self, time: Duration, messages_min: usize, latencies: &mut Vec<f64>) -> f64 {
        let began = Instant::now();
        let last_message = self.messages + messages_min;
        let mut under_way: Vec<UnderWay> =
            (0..self.row.in_flight).map(|slot| self.submit(slot)).collect();
        let mut in_time = 0_u32;
        let mut slots_left = under_way.len();
        while slots_left > 0 {
            let (answer, at) = self.answers.recv().unwrap();
            let Answer::Delivered { ticket, reply, .. } = answer else { continue };
            assert!(reply.is_positive(), "not delivered: {reply}");
            let slot = usize::try_from(ticket).unwrap();
            let message = &mut under_way[slot];
            latencies.push((at - message.since).as_secs_f64() * 1e3);
            message.unanswered -= 1;
            in_time += u32::from(at - began <= time);
            if message.unanswered > 0 {
                continue;
            }
            if began.elapsed() < time || self.messages < last_message {
                under_way[slot] = self.submit(slot);
            } else {
                slots_left -= 1;
            }
        }
        f64::from(in_time) / time.as_secs_f64()
    }

    fn submit(&mut self, slot: usize) -> UnderWay {
        let submission = self.submission(slot);
        self.messages += 1;
        let since = Instant::now();
        self.pool.deliver(submission);
        UnderWay { since, unanswered: self.row.recipients }
    }

    /// The next message: its recipients are those behind the last one's.
    fn submission(&self, slot: usize) -> Submission {
        let first = self.messages * self.row.recipients;
        let names = || (first..first + self.row.recipients).map(|at| self.name(at));
        let recipients = (0..).zip(names()).map(|(index, name)| Recipient {
            index: RecipientIndex(index),
            path: ForwardPath::Address(Address::parse(name.as_str().as_bytes()).unwrap()),
            original: None,
        });
        Submission {
            ticket: slot as u64,
            transaction: Transaction {
                id: TransactionId { session: 0x7f3a, transaction: 1 },
                client_name: Arc::clone(&self.lhlo_name),
                envelope: Envelope {
                    reverse_path: ReversePath::Null,
                    declared_size: None,
                    body_type: BodyType::EightBitMime,
                    recipients: recipients.collect(),
                },
                body: ReceivedBody::InMemory(self.message.clone()),
                octets_received: self.message.len() as u64,
                bare_newlines: false,
                header: HeaderFacts::default(),
            },
            mailboxes: names().map(|name| Mailbox::new(name.clone(), IfMissing::Create)).collect(),
            origin: Origin::Client(None),
            hostname: Arc::clone(&self.hostname),
            filing: Arc::default(),
            spool: None,
            memory: self.pool.memory().reserve_nothing(),
        }
    }

    fn name(&self, at: usize) -> &MailboxName {
        &self.mailboxes[at % self.mailboxes.len()]
    }
}
