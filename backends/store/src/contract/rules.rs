//! What holds while the system does what it is asked.

use super::{
    HEADER, Harness, Rule, assert_no_residue, assert_stored, deliver, delivery, expected,
    has_bare_newlines, message, name,
};
use crate::{
    Body, Delivery, DeliveryError, Fate, IfMissing, Mailbox, MailboxName, Message, Octets,
    Timestamp,
};
use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{Arc, Barrier, Mutex, PoisonError},
    thread,
    time::Instant,
};

pub(super) const RULES: &[Rule] = &[
    ("every octet of a message is kept", every_octet_is_kept),
    ("a message that does not lie in memory is stored alike", octets_elsewhere_are_kept),
    ("a message that cannot be read is no message", what_cannot_be_read_is_not_stored),
    ("bare newlines are kept as the store's line ends say", bare_newlines_are_kept),
    ("ids are unique, visible and without blanks", ids_are_unique),
    ("each delivery stores its own copy", each_delivery_stores_its_own_copy),
    ("deliveries at the same time are all stored", deliveries_at_the_same_time_are_all_stored),
    ("a batch is stored in order and each answered once", a_batch_is_stored_in_order),
    ("a lane is the same every time and tells mailboxes apart", lanes_are_pure),
    ("a name cannot lead out of the store", a_name_cannot_lead_out),
    ("mailboxes whose names look alike are different", names_that_look_alike_differ),
    ("what was withdrawn never appears", what_was_withdrawn_never_appears),
    ("either the deadline or the commit is first", either_the_deadline_or_the_commit_is_first),
    ("the commit has begun when the result is Ok", the_commit_has_begun),
    ("a missing mailbox that may not be made is unknown", a_missing_mailbox_is_unknown),
    ("init makes mailboxes and leaves what is there alone", init_leaves_alone),
];

/// Messages that a careless store changes.
pub(super) fn difficult_bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        &b"Subject: plain\r\n\r\ntext\r\n"[..],
        b"",
        b"\r\n",
        b"Subject: no final newline\r\n\r\ntext",
        b"Subject: NUL \0 and 8-bit \xff\xfe\x80\r\n\r\n\0\0\xe9\r\n\x1a\x04\r\n",
        b"From here\r\n\r\nFrom there\r\n>From it\r\n>>From him\r\n.\r\n..\r\n",
        b"\r\n\r\n\r\n\r\n",
        b" \t\r\n \r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    bodies.push((0..=255).filter(|octet| !b"\r\n".contains(octet)).collect());
    // Line ends at every place about the borders of likely buffers.
    for octets in [4_096, 65_536, 65_536 - HEADER.len(), 262_144] {
        for length in octets - 3..octets + 3 {
            let mut body = vec![b'x'; length];
            body.extend_from_slice(b"\r\nlast\r\n");
            bodies.push(body);
        }
    }
    let line = [&[b'l'; 70][..], b"\r\n"].concat();
    bodies.push(line.repeat(30_000));
    bodies.push(vec![b'y'; 3_000_000]);
    bodies
}

fn every_octet_is_kept(harness: &dyn Harness) {
    let store = harness.store();
    for (n, body) in difficult_bodies().iter().enumerate() {
        let mailbox = name(&format!("octets{n}@example.org"));
        let when = format!("difficult message {n}");
        if let Err(error) = deliver(&*store, &mailbox, body) {
            panic!("{when}: {error}");
        }
        assert_stored(harness, &mailbox, &[body], &when);
    }
    assert_no_residue(harness, "after all");
}

/// A message as it lies in a spool: in no memory, read piece by piece.
struct Spooled(Vec<u8>);

impl Octets for Spooled {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.0.get(from..).unwrap_or_default();
        // A disk gives as much as it likes.
        let count = buffer.len().min(10_007);
        rest.read(buffer.get_mut(..count).unwrap_or_default())
    }
}

fn octets_elsewhere_are_kept(harness: &dyn Harness) {
    let store = harness.store();
    for (n, body) in difficult_bodies().into_iter().enumerate() {
        let mailbox = name(&format!("elsewhere{n}@example.org"));
        let count = body.len() as u64;
        let elsewhere = Body::elsewhere(Spooled(body.clone()), count);
        let delivery = delivery_of(&mailbox, has_bare_newlines(&body), elsewhere);
        if let Err(error) = store.deliver(&delivery) {
            panic!("difficult message {n}: {error}");
        }
        assert_stored(harness, &mailbox, &[&body], &format!("difficult message {n}"));
    }
    assert_no_residue(harness, "after all");
}

fn what_cannot_be_read_is_not_stored(harness: &dyn Harness) {
    let store = harness.store();
    let mailbox = name("unreadable@example.org");
    let before = b"before\r\n";
    deliver(&*store, &mailbox, before).unwrap_or_else(|error| panic!("before: {error}"));
    for octets in [0, 10, 100_000, 1_000_000] {
        let torn = Body::elsewhere(Spooled(vec![b'x'; octets]), octets as u64 + 1);
        let result = store.deliver(&delivery_of(&mailbox, false, torn));
        assert!(result.is_err(), "a message of which {octets} octets could be read was stored");
    }
    assert_stored(harness, &mailbox, &[before], "after unreadable messages");
    assert_no_residue(harness, "after unreadable messages");
}

fn delivery_of(mailbox: &MailboxName, bare_newlines: bool, body: Body) -> Delivery {
    let sender = "sender@example.net".to_owned();
    let message = Message::new(Timestamp::now_utc(), sender, bare_newlines, body);
    let recipient = mailbox.to_string();
    let mailbox = Mailbox::new(mailbox.clone(), IfMissing::Create);
    let fate = Arc::default();
    Delivery::new(Arc::new(message), mailbox, recipient, HEADER.to_vec(), fate, Box::new(|_| {}))
}

fn bare_newlines_are_kept(harness: &dyn Harness) {
    let store = harness.store();
    for (n, body) in
        [&b"a\rb\r\nc\nd\r\n"[..], b"\n\r\n\r", b"a\r\r\n", b"\r", b"\n", b"Subject: x\n\ny\n"]
            .iter()
            .enumerate()
    {
        let mailbox = name(&format!("bare{n}@example.org"));
        let when = format!("\"{}\"", body.escape_ascii());
        if let Err(error) = deliver(&*store, &mailbox, body) {
            panic!("{when}: {error}");
        }
        assert_stored(harness, &mailbox, &[body], &when);
    }
}

fn ids_are_unique(harness: &dyn Harness) {
    let store = harness.store();
    let mailbox = name("ids@example.org");
    let mut ids = HashSet::new();
    for n in 0..50 {
        let id = deliver(&*store, &mailbox, format!("message {n}\r\n").as_bytes())
            .unwrap_or_else(|error| panic!("message {n}: {error}"));
        let text = id.as_str().to_owned();
        assert!(!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()), "{text:?}");
        assert!(ids.insert(text.clone()), "the id {text} was given twice");
    }
}

fn each_delivery_stores_its_own_copy(harness: &dyn Harness) {
    let store = harness.store();
    let (one, other) = (name("one@example.org"), name("other@example.org"));
    let body = b"the same\r\n";
    for mailbox in [&one, &one, &other] {
        deliver(&*store, mailbox, body).unwrap_or_else(|error| panic!("{mailbox}: {error}"));
    }
    assert_stored(harness, &one, &[body, body], "the same message twice");
    assert_stored(harness, &other, &[body], "the same message to another");
}

fn deliveries_at_the_same_time_are_all_stored(harness: &dyn Harness) {
    const THREADS: usize = 8;
    const EACH: usize = 12;
    let store = harness.store();
    let mailboxes = [name("busy@example.org"), name("busier@example.org")];
    let body = |thread, n| format!("thread {thread} message {n}\r\n").into_bytes();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, mailboxes) = (&store, &mailboxes);
            scope.spawn(move || {
                for n in 0..EACH {
                    let mailbox = &mailboxes[n % mailboxes.len()];
                    // The pool too tries again after a lock.
                    loop {
                        match deliver(&**store, mailbox, &body(thread, n)) {
                            Ok(_) => break,
                            Err(DeliveryError::Locked { .. }) => thread::yield_now(),
                            Err(error) => panic!("thread {thread}, message {n}: {error}"),
                        }
                    }
                }
            });
        }
    });
    for (at, mailbox) in mailboxes.iter().enumerate() {
        let bodies: Vec<_> = (0..THREADS)
            .flat_map(|thread| (0..EACH).map(move |n| (thread, n)))
            .filter(|(_, n)| n % mailboxes.len() == at)
            .map(|(thread, n)| body(thread, n))
            .collect();
        let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
        assert_stored(harness, mailbox, &bodies, "after all threads");
    }
    assert_no_residue(harness, "after all threads");
}

fn a_batch_is_stored_in_order(harness: &dyn Harness) {
    const MESSAGES: usize = 20;
    let store = harness.store();
    let mailbox = Mailbox::new(name("order@example.org"), IfMissing::Create);
    let bodies: Vec<_> = (0..MESSAGES).map(|n| format!("message {n}\r\n").into_bytes()).collect();
    let answers: Arc<Mutex<Vec<_>>> = Arc::default();
    let deliveries: Vec<Delivery> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let answers = Arc::clone(&answers);
            Delivery::new(
                message(body),
                mailbox.clone(),
                mailbox.name().to_string(),
                HEADER.to_vec(),
                Arc::default(),
                Box::new(move |result| {
                    let failure = result.err().map(|error| error.to_string());
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((n, failure));
                }),
            )
        })
        .collect();
    for batch in deliveries.chunks(store.lane(&mailbox).together()) {
        store.deliver_batch(batch);
    }
    let mut answered = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answered.sort_unstable();
    let wanted: Vec<_> = (0..MESSAGES).map(|n| (n, None)).collect();
    assert_eq!(answered, wanted, "(message, failure) as answered by deliver_batch");
    let wanted: Vec<_> = bodies.iter().map(|body| expected(harness, body)).collect();
    assert!(harness.stored(mailbox.name()) == wanted, "the messages stand in another order");
}

fn lanes_are_pure(harness: &dyn Harness) {
    let store = harness.store();
    let mailbox = Mailbox::new(name("lane@example.org"), IfMissing::Create);
    let before = store.lane(&mailbox);
    assert!(before.at_once() >= 1 && before.together() >= 1);
    deliver(&*store, mailbox.name(), b"text\r\n").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.lane(&mailbox), before, "a delivery has changed the lane");
    assert!(harness.stored(&name("never@example.org")).is_empty(), "lane() is not to store");
}

fn a_name_cannot_lead_out(harness: &dyn Harness) {
    let store = harness.store();
    for (n, text) in [
        "%d@example.org",
        "%n%u@%d",
        "-rf@example.org",
        "~root@example.org",
        "back\\slash@example.org",
        "a..b@example.org",
        "two words@example.org",
        "quote'\";--@example.org",
        "tmp@example.org",
        "gr\u{fc}n@example.org",
        "a@b@example.org",
        &format!("{}@example.org", "l".repeat(64)),
        &format!("{}@{}", "l".repeat(300), "d".repeat(300)),
        &format!("{}@example.org", "\u{2603}".repeat(2_000)),
    ]
    .iter()
    .enumerate()
    {
        let mailbox = name(text);
        let body = format!("for name {n}\r\n").into_bytes();
        let admitted = store.admit(&Mailbox::new(mailbox.clone(), IfMissing::Create), None);
        match deliver(&*store, &mailbox, &body) {
            Ok(_) => {
                assert_stored(harness, &mailbox, &[&body], text);
                assert!(admitted.is_ok(), "{text}: not admitted, but stored");
            }
            Err(DeliveryError::UnusableName(_)) => {
                assert!(
                    matches!(admitted, Err(DeliveryError::UnusableName(_))),
                    "{text}: unusable after the data, and not so at RCPT"
                );
            }
            Err(error) => panic!("{text}: neither stored nor an unusable name: {error}"),
        }
        assert_no_residue(harness, text);
    }
}

fn names_that_look_alike_differ(harness: &dyn Harness) {
    let store = harness.store();
    let names = ["a@example.org", "a@example.net", "a.b@example.org", "a_b@example.org"].map(name);
    for mailbox in &names {
        let body = format!("for {mailbox}\r\n");
        deliver(&*store, mailbox, body.as_bytes())
            .unwrap_or_else(|error| panic!("{mailbox}: {error}"));
    }
    for mailbox in &names {
        let body = format!("for {mailbox}\r\n");
        assert_stored(harness, mailbox, &[body.as_bytes()], "names that look alike");
    }
}

fn what_was_withdrawn_never_appears(harness: &dyn Harness) {
    let store = harness.store();
    for (text, made_before) in [("new@example.org", false), ("old@example.org", true)] {
        let mailbox = name(text);
        let mut there: Vec<&[u8]> = Vec::new();
        if made_before {
            deliver(&*store, &mailbox, b"before\r\n").unwrap_or_else(|error| panic!("{error}"));
            there.push(b"before\r\n");
        }
        let fate = Arc::new(Fate::default());
        assert!(fate.withdraw());
        let late = delivery(Mailbox::new(mailbox.clone(), IfMissing::Create), b"late\r\n", fate);
        match store.deliver(&late) {
            Err(DeliveryError::Expired) => {}
            Err(error) => panic!("the refusal of begin_commit() is the result, not: {error}"),
            Ok(id) => panic!("stored as {id} after the client had been told otherwise"),
        }
        assert_stored(harness, &mailbox, &there, "after a withdrawn delivery");
        assert_no_residue(harness, "after a withdrawn delivery");
    }
}

/// The deadline comes at many moments of a delivery. Whichever they are, a
/// delivery that was taken back is never seen, and one that was not is stored.
fn either_the_deadline_or_the_commit_is_first(harness: &dyn Harness) {
    const TRIES: u32 = 200;
    let store = harness.store();
    let mailbox = name("race@example.org");
    deliver(&*store, &mailbox, b"before\r\n").unwrap_or_else(|error| panic!("{error}"));
    let began = Instant::now();
    deliver(&*store, &mailbox, b"timed\r\n").unwrap_or_else(|error| panic!("{error}"));
    let duration = began.elapsed();
    let mut there = vec![b"before\r\n".to_vec(), b"timed\r\n".to_vec()];
    for n in 0..TRIES {
        let body = format!("try {n}\r\n").into_bytes();
        let fate = Arc::new(Fate::default());
        let racing =
            delivery(Mailbox::new(mailbox.clone(), IfMissing::Create), &body, Arc::clone(&fate));
        let start = Barrier::new(2);
        let (withdrawn, result) = thread::scope(|scope| {
            let deadline = scope.spawn(|| {
                start.wait();
                let began = Instant::now();
                while began.elapsed() < duration * n / TRIES {
                    std::hint::spin_loop();
                }
                fate.withdraw()
            });
            start.wait();
            let result = store.deliver(&racing);
            (deadline.join().unwrap_or_else(|_| panic!("the deadline's thread")), result)
        });
        match (withdrawn, &result) {
            (true, Err(DeliveryError::Expired)) => {}
            (false, Ok(_)) => there.push(body),
            _ => panic!("try {n}: taken back: {withdrawn}, result: {result:?}"),
        }
    }
    let there: Vec<_> = there.iter().map(Vec::as_slice).collect();
    assert_stored(harness, &mailbox, &there, "after all tries");
    assert_no_residue(harness, "after all tries");
}

fn the_commit_has_begun(harness: &dyn Harness) {
    let store = harness.store();
    let fate = Arc::new(Fate::default());
    let mailbox = Mailbox::new(name("commit@example.org"), IfMissing::Create);
    let late = delivery(mailbox, b"text\r\n", Arc::clone(&fate));
    store.deliver(&late).unwrap_or_else(|error| panic!("{error}"));
    assert!(!fate.withdraw(), "stored without begin_commit(): the deadline could not stop it");
}

fn a_missing_mailbox_is_unknown(harness: &dyn Harness) {
    let store = harness.store();
    // A store without any mailbox may say that it is the store that is missing.
    let present = name("present@example.org");
    deliver(&*store, &present, b"text\r\n").unwrap_or_else(|error| panic!("{error}"));
    let missing = Mailbox::new(name("missing@example.org"), IfMissing::Refuse);
    let results = [
        ("admit", store.admit(&missing, None).err()),
        ("deliver", store.deliver(&delivery(missing.clone(), b"x\r\n", Arc::default())).err()),
        ("admit after deliver", store.admit(&missing, None).err()),
    ];
    for (call, result) in results {
        assert!(matches!(result, Some(DeliveryError::NoSuchMailbox)), "{call}: {result:?}");
    }
    assert_stored(harness, missing.name(), &[], "after a refusal");
    let present = Mailbox::new(present, IfMissing::Refuse);
    store.admit(&present, Some(1)).unwrap_or_else(|error| panic!("admit: {error}"));
    store
        .deliver(&delivery(present, b"more\r\n", Arc::default()))
        .unwrap_or_else(|error| panic!("deliver: {error}"));
}

fn init_leaves_alone(harness: &dyn Harness) {
    let store = harness.store();
    let (old, new) = (name("old@example.org"), name("new@example.org"));
    deliver(&*store, &old, b"text\r\n").unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        store.init(&[old.clone(), new.clone()]).unwrap_or_else(|error| panic!("init: {error}"));
    }
    assert_stored(harness, &old, &[b"text\r\n"], "after init");
    assert_stored(harness, &new, &[], "after init");
    let new = Mailbox::new(new, IfMissing::Refuse);
    // A store whose mailboxes need no making has nothing that init could make.
    match store.admit(&new, None) {
        Ok(()) | Err(DeliveryError::NoSuchMailbox) => {}
        Err(error) => panic!("admit after init: {error}"),
    }
    assert_no_residue(harness, "after init");
}
