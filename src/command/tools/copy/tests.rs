//! The rules of a copy, on stores in memory.

use super::{copy_all, mailbox::Route, tally::Tally, target::Target};
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Failure, Finding, Flags, Lane, MailReader,
    MailStore, Mailbox, MailboxName, MessageInfo, OpenMessage, ReadError, Repair, Stray, Timestamp,
    Verified, Visit,
};
use std::{
    ffi::OsString,
    io::{self, Read},
    ops::ControlFlow,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A message as it is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    mailbox: String,
    octets: Vec<u8>,
    flags: String,
    reverse_path: String,
    recipient: String,
}

/// What stands in a message, and what the store does with that.
type Poison = (&'static [u8], fn() -> DeliveryError);

/// A store in memory.
struct Heap {
    messages: Mutex<Vec<Kept>>,
    made: Mutex<Vec<String>>,
    at_once: usize,
    together: usize,
    /// Deliveries and listings that find it locked.
    locked: AtomicUsize,
    listing_locked: AtomicUsize,
    /// Times that a message called `moved` is not where the listing has it.
    moves: AtomicUsize,
    /// Messages for which it has room.
    room: usize,
    /// What it does with a message of this in it.
    poison: Option<Poison>,
    running: AtomicUsize,
    ran_at_once: AtomicUsize,
}

impl Heap {
    fn new(at_once: usize, together: usize) -> Self {
        Self {
            messages: Mutex::default(),
            made: Mutex::default(),
            at_once,
            together,
            locked: AtomicUsize::new(0),
            listing_locked: AtomicUsize::new(0),
            moves: AtomicUsize::new(0),
            room: usize::MAX,
            poison: None,
            running: AtomicUsize::new(0),
            ran_at_once: AtomicUsize::new(0),
        }
    }

    fn holding<'a>(messages: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let store = Self::new(4, 1);
        let kept = messages.into_iter().map(|(mailbox, octets)| Kept {
            mailbox: mailbox.to_owned(),
            octets: octets.to_vec(),
            flags: "S".to_owned(),
            reverse_path: "x@y".to_owned(),
            recipient: String::new(),
        });
        store.messages.lock().unwrap().extend(kept);
        store
    }

    /// What is in a mailbox, in its order.
    fn octets(&self, mailbox: &str) -> Vec<Vec<u8>> {
        let messages = self.messages.lock().unwrap();
        let there = messages.iter().filter(|kept| kept.mailbox == mailbox);
        there.map(|kept| kept.octets.clone()).collect()
    }
}

/// Whether it is, which is so one time less then.
fn is_locked(tries: &AtomicUsize) -> bool {
    let one_less = |tries: usize| tries.checked_sub(1);
    tries.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
}

impl MailStore for Heap {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        let mut octets = delivery.header().to_vec();
        let mut body = delivery.message().body().reader();
        body.read_to_end(&mut octets).map_err(|error| DeliveryError::io("read", "", error))?;
        if let Some((poison, error)) = self.poison
            && octets.windows(poison.len()).any(|window| window == poison)
        {
            return Err(error());
        }
        delivery.begin_commit()?;
        let mut messages = self.messages.lock().unwrap();
        if messages.len() >= self.room {
            let cause = io::ErrorKind::StorageFull.into();
            let failure = Failure { doing: "write", path: "heap".into(), cause };
            return Err(DeliveryError::StorageFull(failure));
        }
        messages.push(Kept {
            mailbox: delivery.mailbox().name().to_string(),
            octets,
            flags: delivery.message().flags().map_or("new", Flags::as_str).to_owned(),
            reverse_path: delivery.message().reverse_path.clone(),
            recipient: delivery.recipient().to_owned(),
        });
        Ok(DeliveryId::new(messages.len().to_string()))
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        assert!(deliveries.len() <= self.together);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.ran_at_once.fetch_max(running, Ordering::SeqCst);
        let is_locked = is_locked(&self.locked);
        for delivery in deliveries {
            let locked = Err(DeliveryError::Locked { holder: None });
            delivery.finish(if is_locked { locked } else { self.deliver(delivery) });
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        Lane::of(mailbox.name().as_str(), self.at_once, self.together)
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        self.made.lock().unwrap().extend(mailboxes.iter().map(MailboxName::to_string));
        Ok(())
    }

    fn reader(&self) -> Option<&dyn MailReader> {
        Some(self)
    }
}

impl MailReader for Heap {
    fn identity(&self) -> Result<String, ReadError> {
        Ok(format!("{self:p}"))
    }

    fn mailboxes(&self, _: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        Ok(())
    }

    fn messages(
        &self,
        mailbox: &MailboxName,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError> {
        if is_locked(&self.listing_locked) {
            return Err(DeliveryError::Locked { holder: None }.into());
        }
        let messages = self.messages.lock().unwrap().clone();
        for (at, kept) in messages.iter().enumerate() {
            if kept.mailbox != mailbox.as_str() {
                continue;
            }
            let found = if kept.octets == b"stray" {
                Err(Stray { path: format!("/{at}").into(), why: "is a FIFO".to_owned() })
            } else {
                Ok(MessageInfo {
                    id: DeliveryId::new(at.to_string()),
                    octets: kept.octets.len() as u64,
                    received: Timestamp::now_utc(),
                    flags: Some(Flags::from_letters(&kept.flags)),
                    hint: OsString::new(),
                })
            };
            if visit(found) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn find(&self, _: &MailboxName, _: &str) -> Result<MessageInfo, ReadError> {
        Err(ReadError::NoSuchMessage)
    }

    fn open(&self, _: &MailboxName, info: &MessageInfo) -> Result<OpenMessage, ReadError> {
        let messages = self.messages.lock().unwrap();
        let kept = messages.get(info.id.as_str().parse::<usize>().unwrap()).unwrap();
        match &kept.octets[..] {
            b"gone" => Err(ReadError::NoSuchMessage),
            b"moved" if is_locked(&self.moves) => Err(ReadError::NoSuchMessage),
            b"torn" => Err(ReadError::Damaged { what: "torn".to_owned() }),
            octets => Ok(OpenMessage {
                info: info.clone(),
                reverse_path: (!kept.reverse_path.is_empty()).then(|| kept.reverse_path.clone()),
                recipient: (!kept.recipient.is_empty()).then(|| kept.recipient.clone()),
                body: Body::in_memory(octets.to_vec()),
            }),
        }
    }

    fn remove(&self, _: &MailboxName, _: &MessageInfo) -> Result<(), ReadError> {
        panic!("a copy removes nothing");
    }

    fn remove_mailbox(&self, _: &MailboxName) -> Result<(), ReadError> {
        panic!("a copy removes nothing");
    }

    fn verify(&self, _: Repair, _: &mut dyn FnMut(Finding)) -> Result<Verified, ReadError> {
        Ok(Verified::default())
    }
}

/// Copies the mailboxes a and b.
fn copied(source: &Heap, to: &Heap) -> Tally {
    copied_within(source, to, Duration::from_secs(30), false)
}

fn copied_within(source: &Heap, to: &Heap, lock_wait: Duration, dry_run: bool) -> Tally {
    let tally = Tally::default();
    let target = Target::new(to, None, lock_wait);
    let route = Route { source, target: &target, held: Some(to), dry_run, tally: &tally };
    let names = ["a", "b"].map(|name| MailboxName::new(name).unwrap());
    copy_all(&route, &names, Instant::now());
    tally
}

fn counts(tally: &Tally) -> [u64; 4] {
    [&tally.copied, &tally.already, &tally.failed, &tally.done].map(super::tally::Count::get)
}

#[test]
fn of_each_message_the_target_gets_as_many_as_it_lacks() {
    let source = Heap::holding([
        ("a", b"x\n".as_slice()),
        ("a", b"x\r\n"),
        ("a", b"y"),
        ("a", b"x"),
        ("b", b"x\n"),
    ]);
    let target = Heap::holding([("a", b"x\r\n".as_slice()), ("a", b"z")]);
    let tally = copied(&source, &target);
    assert_eq!(counts(&tally), [4, 1, 0, 5]);
    assert_eq!(tally.octets.get(), 3 + 1 + 1 + 2);
    let mut there = target.octets("a");
    there.sort();
    assert_eq!(there, [b"x".as_slice(), b"x\r\n", b"x\r\n", b"y", b"z"]);
    assert_eq!(target.octets("b"), [b"x\n"]);
    assert_eq!(counts(&copied(&source, &target)), [0, 5, 0, 5]);
}

#[test]
fn a_batch_is_never_larger_nor_more_at_once_than_the_lane_says_and_order_is_kept() {
    let texts: Vec<String> = (0..1000).map(|number| format!("message {number}")).collect();
    let source = Heap::holding(texts.iter().map(|text| ("a", text.as_bytes())));
    let target = Heap::new(1, 7);
    assert_eq!(counts(&copied(&source, &target)), [1000, 0, 0, 1000]);
    assert_eq!(target.octets("a"), source.octets("a"));
    assert_eq!(target.ran_at_once.load(Ordering::SeqCst), 1);
}

#[test]
fn octets_flags_sender_and_recipient_are_kept() {
    let trace: &[u8] = b"Return-Path: <p@q>\nDelivered-To: B@d\nReceived: x\n\ty\nSubject: s\n\nt";
    let large = [trace, &vec![b'l'; 200_000][..]].concat();
    let source = Heap::holding([("a", trace), ("a", &large), ("b", b"plain")]);
    source.messages.lock().unwrap()[0].reverse_path.clear();
    let target = Heap::new(1, 64);
    assert_eq!(counts(&copied(&source, &target)), [3, 0, 0, 3]);
    let kept = target.messages.lock().unwrap();
    let facts = |octets: &[u8]| {
        let kept = kept.iter().find(|kept| kept.octets == octets).expect("the octets are kept");
        [&kept.flags[..], &kept.reverse_path, &kept.recipient].map(str::to_owned)
    };
    assert_eq!(facts(trace), ["S", "p@q", "B@d"]);
    assert_eq!(facts(&large), ["S", "x@y", "B@d"]);
    assert_eq!(facts(b"plain"), ["S", "x@y", "b"]);
}

/// In an mbox a message has another id once a mail program has marked it as read.
#[test]
fn what_moves_while_it_is_copied_is_listed_again() {
    let source = Heap::holding([("a", b"one".as_slice()), ("a", b"moved"), ("b", b"two")]);
    source.moves.store(1, Ordering::SeqCst);
    let target = Heap::new(1, 64);
    assert_eq!(counts(&copied(&source, &target)), [3, 0, 0, 3]);
    assert_eq!(target.octets("a"), [b"one".to_vec(), b"moved".to_vec()]);
    // The same while the target's are read: nothing is copied twice.
    target.moves.store(1, Ordering::SeqCst);
    assert_eq!(counts(&copied(&source, &target)), [0, 3, 0, 3]);
}

#[test]
fn what_the_target_has_and_cannot_be_read_stops_its_mailbox() {
    let source = Heap::holding([("a", b"one".as_slice()), ("b", b"two")]);
    let target = Heap::holding([("a", b"stray".as_slice())]);
    assert_eq!(counts(&copied(&source, &target)), [1, 0, 1, 1]);
    assert_eq!(target.octets("a"), [b"stray".to_vec()]);
}

#[test]
fn what_cannot_be_read_or_stored_stops_nothing_else() {
    let source = Heap::holding([
        ("a", b"one".as_slice()),
        ("a", b"stray"),
        ("a", b"torn"),
        ("a", b"gone"),
        ("a", b"bad"),
        ("a", b"two"),
        ("b", b"three"),
    ]);
    let mut target = Heap::new(4, 1);
    target.poison = Some((b"bad", || DeliveryError::Unanswered));
    let tally = copied(&source, &target);
    assert_eq!(counts(&tally), [3, 0, 4, 6]);
    assert_eq!(tally.mailboxes.get(), 2);

    target.poison = Some((b"bad", || panic!("the store's own fault")));
    assert_eq!(counts(&copied(&source, &target)), [0, 3, 4, 6]);
}

#[test]
fn nothing_is_copied_to_where_a_message_cannot_be_compared() {
    let source = Heap::holding([("a", b"one".as_slice()), ("b", b"two")]);
    let target = Heap::holding([("a", b"torn".as_slice())]);
    let tally = copied(&source, &target);
    assert_eq!(counts(&tally), [1, 0, 1, 1]);
    assert_eq!(target.octets("a"), [b"torn"]);
}

#[test]
fn a_lock_is_waited_for_only_so_long() {
    let source = Heap::holding([("a", b"one".as_slice()), ("a", b"two")]);
    let target = Heap::new(1, 64);
    source.listing_locked.store(3, Ordering::SeqCst);
    target.locked.store(3, Ordering::SeqCst);
    assert_eq!(counts(&copied(&source, &target)), [2, 0, 0, 2]);

    let target = Heap::new(1, 64);
    target.locked.store(1000, Ordering::SeqCst);
    let tally = copied_within(&source, &target, Duration::from_millis(30), false);
    assert_eq!(counts(&tally), [0, 0, 2, 2], "each message");
    source.listing_locked.store(1000, Ordering::SeqCst);
    let tally = copied_within(&source, &target, Duration::from_millis(30), false);
    assert_eq!(counts(&tally), [0, 0, 2, 0], "each mailbox");
}

#[test]
fn a_full_disk_is_the_end_of_all() {
    let texts: Vec<String> = (0..100).map(|number| format!("message {number}")).collect();
    let source = Heap::holding(texts.iter().map(|text| ("a", text.as_bytes())));
    let mut target = Heap::new(1, 1);
    target.room = 10;
    let tally = copied(&source, &target);
    assert!(matches!(tally.take_stop(), Some(DeliveryError::StorageFull(_))));
    let [copied, _, failed, done] = counts(&tally);
    assert!(copied == 10 && failed == 0 && done < 14, "{copied}, {failed}, {done}");
}

#[test]
fn an_empty_mailbox_is_made_and_a_dry_run_makes_nothing() {
    let source = Heap::holding([("a", b"one".as_slice())]);
    let target = Heap::new(4, 1);
    let tally = copied_within(&source, &target, Duration::ZERO, true);
    assert_eq!(counts(&tally), [1, 0, 0, 1]);
    assert!(target.messages.lock().unwrap().is_empty() && target.made.lock().unwrap().is_empty());
    copied(&source, &target);
    assert_eq!(*target.made.lock().unwrap(), ["b"]);
}
