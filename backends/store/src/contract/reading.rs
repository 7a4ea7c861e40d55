//! What holds for a store that can be read; the others are not asked.

use super::{
    HEADER, Harness, Rule, assert_no_residue, assert_stored, deliver, expected, name,
    rules::difficult_bodies,
};
use crate::{
    Body, Contents, Delivery, DeliveryError, Flags, IfMissing, MailReader, Mailbox, MailboxName,
    Message, MessageInfo, ReadError, Repair, Timestamp,
};
use std::{
    io::{self, Read},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

pub(super) const RULES: &[Rule] = &[
    ("a message reads back as it was stored", |harness| reading(harness, reads_back)),
    ("mailboxes are listed by their names", |harness| reading(harness, mailboxes_are_listed)),
    ("messages are listed in the order they came", |harness| reading(harness, order_is_kept)),
    ("what is not there is unknown", |harness| reading(harness, what_is_missing_is_unknown)),
    ("removing removes that message alone", |harness| reading(harness, one_is_removed)),
    ("removing a mailbox leaves the others", |harness| reading(harness, a_mailbox_is_removed)),
    ("nothing is held while somebody reads", |harness| reading(harness, nothing_is_held)),
    ("a copied message keeps its time and its flags", |harness| reading(harness, copies_keep)),
    ("a sound store has nothing to repair", |harness| reading(harness, nothing_to_repair)),
];

fn reading(harness: &dyn Harness, check: fn(&dyn Harness, &dyn MailReader)) {
    let store = harness.store();
    if let Some(reader) = store.reader() {
        check(harness, reader);
    }
}

fn stored(harness: &dyn Harness, mailbox: &MailboxName, body: &[u8]) -> String {
    match deliver(&*harness.store(), mailbox, body) {
        Ok(id) => id.as_str().to_owned(),
        Err(error) => panic!("{mailbox}: {error}"),
    }
}

fn messages(reader: &dyn MailReader, mailbox: &MailboxName) -> Vec<MessageInfo> {
    let mut messages = Vec::new();
    let visited = reader.messages(mailbox, &mut |found| {
        messages.push(found.unwrap_or_else(|stray| panic!("{mailbox}: {stray}")));
        ControlFlow::Continue(())
    });
    visited.unwrap_or_else(|error| panic!("{mailbox}: {error}"));
    messages
}

fn mailboxes(reader: &dyn MailReader) -> Vec<String> {
    let mut names = Vec::new();
    let visited = reader.mailboxes(&mut |found| {
        names.push(found.unwrap_or_else(|stray| panic!("{stray}")).to_string());
        ControlFlow::Continue(())
    });
    visited.unwrap_or_else(|error| panic!("{error}"));
    names
}

fn octets(reader: &dyn MailReader, mailbox: &MailboxName, message: &MessageInfo) -> Vec<u8> {
    let read = || -> Result<Vec<u8>, String> {
        let open = reader.open(mailbox, message).map_err(|error| error.to_string())?;
        let mut octets = Vec::new();
        let read = open.body.reader().read_to_end(&mut octets);
        read.map_err(|error| error.to_string())?;
        assert_eq!(open.body.len(), octets.len() as u64, "the length of {}", message.id);
        Ok(octets)
    };
    read().unwrap_or_else(|error| panic!("{mailbox} {}: {error}", message.id))
}

fn reads_back(harness: &dyn Harness, reader: &dyn MailReader) {
    for (n, body) in difficult_bodies().iter().enumerate() {
        let mailbox = name(&format!("reads{n}@example.org"));
        let id = stored(harness, &mailbox, body);
        let listed = messages(reader, &mailbox);
        let ids: Vec<&str> = listed.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids, [id.as_str()], "difficult message {n}");
        let found = reader.find(&mailbox, &id).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(found, listed[0], "difficult message {n} by its id");
        let read = octets(reader, &mailbox, &found);
        assert!(harness.stored(&mailbox) == [&read[..]], "difficult message {n} reads otherwise");
        assert_eq!(found.octets, read.len() as u64, "the octets of difficult message {n}");
        let expected = Contents { messages: 1, octets: found.octets };
        assert_eq!(reader.contents(&mailbox).ok(), Some(expected));
        reads_from_any_place(reader, &mailbox, &found, &read);
    }
    assert_no_residue(harness, "after reading");
}

/// A body's octets can be asked for from any place, and by several at once.
fn reads_from_any_place(
    reader: &dyn MailReader,
    mailbox: &MailboxName,
    message: &MessageInfo,
    octets: &[u8],
) {
    let Ok(open) = reader.open(mailbox, message) else { panic!("{mailbox} cannot be opened") };
    let (mut one, mut other) = (open.body.reader(), open.body.reader());
    let half = octets.len() as u64 / 2;
    let (mut first, mut all, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = || -> io::Result<()> {
        one.by_ref().take(half).read_to_end(&mut first)?;
        other.read_to_end(&mut all)?;
        one.read_to_end(&mut rest)?;
        Ok(())
    };
    read().unwrap_or_else(|error| panic!("{mailbox}: two readers: {error}"));
    first.append(&mut rest);
    assert!(first == octets && all == octets, "{mailbox}: two readers of one message differ");
}

fn mailboxes_are_listed(harness: &dyn Harness, reader: &dyn MailReader) {
    let names = ["zoe@example.org", "alice@example.org", "alice@example.net", "b+c@example.org"];
    for text in names {
        stored(harness, &name(text), b"x\r\n");
    }
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(mailboxes(reader), expected);
    let mut first = Vec::new();
    let visited = reader.mailboxes(&mut |found| {
        first.push(found.unwrap_or_else(|stray| panic!("{stray}")).to_string());
        ControlFlow::Break(())
    });
    assert!(visited.is_ok() && first == [expected[0]], "the visit did not end when told to");
    assert_eq!(reader.identity().ok(), reader.identity().ok());
    assert!(reader.identity().is_ok_and(|identity| !identity.is_empty()));
}

fn order_is_kept(harness: &dyn Harness, reader: &dyn MailReader) {
    let mailbox = name("order@example.org");
    // More than are read at once.
    let ids: Vec<String> = (0..300)
        .map(|n| stored(harness, &mailbox, format!("message {n}\r\n").as_bytes()))
        .collect();
    let listed: Vec<_> = messages(reader, &mailbox).iter().map(|m| m.id.to_string()).collect();
    assert_eq!(listed, ids);
    let before = Timestamp::now_utc().since_epoch.saturating_sub(Duration::from_secs(600));
    assert!(messages(reader, &mailbox).iter().all(|m| m.received.since_epoch >= before));
    let mut visited = 0;
    let end = reader.messages(&mailbox, &mut |_| {
        visited += 1;
        if visited == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(end.is_ok() && visited == 7, "the visit did not end when told to");
}

fn what_is_missing_is_unknown(harness: &dyn Harness, reader: &dyn MailReader) {
    let (mailbox, other) = (name("here@example.org"), name("nobody@example.org"));
    let id = stored(harness, &mailbox, b"x\r\n");
    let found = reader.find(&mailbox, &id).unwrap_or_else(|error| panic!("{error}"));
    let no_mailbox =
        |error: &ReadError| matches!(error, ReadError::Store(DeliveryError::NoSuchMailbox));
    assert!(
        reader.messages(&other, &mut |_| ControlFlow::Continue(())).is_err_and(|e| no_mailbox(&e))
    );
    assert!(reader.contents(&other).is_err_and(|error| no_mailbox(&error)));
    assert!(reader.find(&other, &id).is_err_and(|error| no_mailbox(&error)));
    assert!(reader.open(&other, &found).is_err());
    assert!(reader.remove(&other, &found).is_err());
    assert!(reader.remove_mailbox(&other).is_err_and(|error| no_mailbox(&error)));
    for unknown in ["", "x", "../x", "new/x", "0-000000000000", &format!("{id}x"), "%", "*"] {
        let error = reader.find(&mailbox, unknown).err();
        assert!(matches!(error, Some(ReadError::NoSuchMessage)), "{unknown:?}: {error:?}");
    }
    assert_eq!(harness.stored(&mailbox).len(), 1);
}

fn one_is_removed(harness: &dyn Harness, reader: &dyn MailReader) {
    let mailbox = name("removes@example.org");
    let bodies: [&[u8]; 5] = [
        b"first
", b"second
", b"third
", b"From x
", b"last
",
    ];
    let ids: Vec<_> = bodies.iter().map(|body| stored(harness, &mailbox, body)).collect();
    let found: Vec<_> = messages(reader, &mailbox);
    for (at, left) in [(1, &[0, 2, 3, 4][..]), (4, &[0, 2, 3]), (0, &[2, 3])] {
        reader.remove(&mailbox, &found[at]).unwrap_or_else(|error| panic!("{at}: {error}"));
        let left: Vec<&[u8]> = left.iter().map(|at| bodies[*at]).collect();
        assert_stored(harness, &mailbox, &left, "after a removal");
        assert!(matches!(reader.open(&mailbox, &found[at]), Err(ReadError::NoSuchMessage)));
        assert!(matches!(reader.remove(&mailbox, &found[at]), Err(ReadError::NoSuchMessage)));
        assert!(matches!(reader.find(&mailbox, &ids[at]), Err(ReadError::NoSuchMessage)));
    }
    for at in [2, 3] {
        let still = reader.find(&mailbox, &ids[at]).unwrap_or_else(|error| panic!("{at}: {error}"));
        let read = octets(reader, &mailbox, &still);
        assert_eq!(read, expected(harness, bodies[at]), "message {at} after removals");
        reader.remove(&mailbox, &still).unwrap_or_else(|error| panic!("{at}: {error}"));
    }
    assert_stored(harness, &mailbox, &[], "after all removals");
    assert_eq!(reader.contents(&mailbox).ok(), Some(Contents::default()));
    stored(harness, &mailbox, b"again\r\n");
    assert_stored(harness, &mailbox, &[b"again\r\n"], "after a delivery");
    assert_no_residue(harness, "after removals");
}

fn a_mailbox_is_removed(harness: &dyn Harness, reader: &dyn MailReader) {
    let (gone, stays) = (name("gone@example.org"), name("stays@example.org"));
    for body in [&b"one\r\n"[..], b"two\r\n"] {
        stored(harness, &gone, body);
        stored(harness, &stays, body);
    }
    reader.remove_mailbox(&gone).unwrap_or_else(|error| panic!("{error}"));
    assert_stored(harness, &gone, &[], "after the mailbox was removed");
    assert_stored(harness, &stays, &[b"one\r\n", b"two\r\n"], "after another was removed");
    assert_eq!(mailboxes(reader), ["stays@example.org"]);
    let refused = Mailbox::new(gone.clone(), IfMissing::Refuse);
    let admitted = harness.store().admit(&refused, None);
    assert!(matches!(admitted, Err(DeliveryError::NoSuchMailbox)), "{admitted:?}");
    stored(harness, &gone, b"three\r\n");
    assert_stored(harness, &gone, &[b"three\r\n"], "after it was made again");
    assert_no_residue(harness, "after removing a mailbox");
}

fn nothing_is_held(harness: &dyn Harness, reader: &dyn MailReader) {
    let mailbox = name("slow@example.org");
    let large = b"a line of a large message\r\n".repeat(40_000);
    stored(harness, &mailbox, &large);
    stored(harness, &mailbox, b"second\r\n");
    let mut visited = Vec::new();
    let end = reader.messages(&mailbox, &mut |found| {
        if visited.is_empty() {
            // Both would fail, or never end, if the visit held anything.
            stored(harness, &mailbox, b"third\r\n");
            assert_eq!(mailboxes(reader), ["slow@example.org"]);
        }
        visited.push(found.unwrap_or_else(|stray| panic!("{stray}")));
        ControlFlow::Continue(())
    });
    assert!(end.is_ok() && visited.len() >= 2, "{end:?}");
    let open = reader.open(&mailbox, &visited[0]).unwrap_or_else(|error| panic!("{error}"));
    let mut read = open.body.reader();
    let mut some = [0; 1000];
    assert!(read.read_exact(&mut some).is_ok());
    stored(harness, &mailbox, b"fourth\r\n");
    let mut rest = Vec::new();
    assert!(read.read_to_end(&mut rest).is_ok(), "a delivery has disturbed a reader");
    assert_eq!((some.len() + rest.len()) as u64, visited[0].octets);
    let bodies: [&[u8]; 4] = [&large, b"second\r\n", b"third\r\n", b"fourth\r\n"];
    assert_stored(harness, &mailbox, &bodies, "after slow readers");
}

fn copies_keep(harness: &dyn Harness, reader: &dyn MailReader) {
    let mailbox = name("copies@example.org");
    let received = Timestamp { since_epoch: Duration::from_secs(1_000_000_000), offset_minutes: 0 };
    for letters in ["", "S", "FRS", "DFPRST"] {
        let body = format!("Subject: {letters}\r\n\r\ntext\r\n").into_bytes();
        let sender = "sender@example.net".to_owned();
        let message = Message::new(received, sender, false, Body::in_memory(body))
            .with_flags(Flags::from_letters(letters));
        let delivery = Delivery::new(
            Arc::new(message),
            Mailbox::new(mailbox.clone(), IfMissing::Create),
            mailbox.to_string(),
            HEADER.to_vec(),
            Arc::default(),
            Box::new(|_| {}),
        );
        let id = harness.store().deliver(&delivery).unwrap_or_else(|error| panic!("{error}"));
        let found = reader.find(&mailbox, id.as_str()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.received, received, "the time received of a copy");
        if harness.keeps_flags() {
            assert_eq!(found.flags, Some(Flags::from_letters(letters)), "the flags of a copy");
        }
    }
    assert_no_residue(harness, "after copies");
}

fn nothing_to_repair(harness: &dyn Harness, reader: &dyn MailReader) {
    for (n, body) in difficult_bodies().iter().enumerate() {
        let mailbox = name(&format!("sound{}@example.org", n % 3));
        stored(harness, &mailbox, body);
    }
    for repair in [Repair::No, Repair::Yes] {
        let mut findings = Vec::new();
        let verified = reader.verify(repair, &mut |finding| findings.push(finding));
        let verified = verified.unwrap_or_else(|error| panic!("{error}"));
        assert!(findings.is_empty(), "found in a sound store: {findings:?}");
        let count = difficult_bodies().len() as u64;
        assert_eq!((verified.mailboxes, verified.messages), (3, count));
    }
    assert_no_residue(harness, "after verifying");
}
