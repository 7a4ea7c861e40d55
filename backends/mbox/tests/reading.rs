//! What is listed and read of mailboxes, this store's and others'.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    BODY, HEADER, Place, STORED, alice, deliver_to, delivery, listed, mailbox, mailboxes, read,
    reading,
};
use postino_files::{Files, Kernel, Lock, testing::Recording};
use postino_mbox::{Format, Mbox, Options};
use postino_store::{
    Body, DeliveryError, DeliveryId, Flags, IfMissing, MailStore, MailboxName, MessageInfo,
    ReadError, Repair,
};
use std::{
    fs,
    io::{BufRead, Read, Write},
    ops::ControlFlow,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::Arc,
};

fn deliver_body(store: &Mbox, body: &[u8]) -> String {
    let delivery = delivery(mailbox("alice", IfMissing::Create), body, Arc::default());
    store.deliver(&delivery).unwrap().to_string()
}

/// Messages that are not easy to store in an mbox.
fn difficult() -> Vec<Vec<u8>> {
    vec![
        BODY.to_vec(),
        b"From a\r\n\r\nFrom b Tue Nov 24 08:47:49 2026\r\n>From c\r\n>>>From d\r\n>Fro\r\n"
            .to_vec(),
        b"\r\n".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        b"Subject: x\r\n\r\n\0\0 \xff \r alone\r\n.\r\n".to_vec(),
        b">".repeat(20_000),
        [&b"Subject: long\r\n\r\n"[..], &b"x".repeat(200_000), b"\r\nFrom x\r\n"].concat(),
        b"Content-Length: 3\r\n\r\nFrom x\r\n".to_vec(),
        b"a line\r\n".repeat(300_000),
    ]
}

/// What is stored of a delivery, without quotes.
fn with_lf(body: &[u8]) -> Vec<u8> {
    let text = [HEADER, body].concat();
    let mut lf = Vec::new();
    for (at, octet) in text.iter().enumerate() {
        if *octet != b'\r' || text.get(at + 1) != Some(&b'\n') {
            lf.push(*octet);
        }
    }
    if !lf.ends_with(b"\n") {
        lf.push(b'\n');
    }
    lf
}

#[test]
fn difficult_messages_read_back_octet_for_octet_under_the_ids_of_their_deliveries() {
    let place = Place::new();
    let store = place.open();
    let bodies = difficult();
    let ids: Vec<_> = bodies.iter().map(|body| deliver_body(&store, body)).collect();
    let found = listed(reading(&store), &alice());
    assert_eq!(found.iter().map(|found| found.id.to_string()).collect::<Vec<_>>(), ids);
    for (message, body) in found.iter().zip(&bodies) {
        assert_eq!(reading(&store).find(&alice(), message.id.as_str()).unwrap(), *message);
        let wanted = with_lf(body);
        assert_eq!(message.octets, wanted.len() as u64);
        assert_eq!(message.received.since_epoch.as_secs(), 1_795_510_069);
        assert!(read(reading(&store), &alice(), message) == wanted, "{}", message.id);
        let open = reading(&store).open(&alice(), message).unwrap();
        assert_eq!(open.reverse_path.as_deref(), Some("s@example.net"));
        assert_eq!(open.info, *message);
    }
    // Read and stored once more they are the same, but for the header of a delivery.
    let again = place.store_with("/again-%u", Arc::new(Kernel::new()), Options::default());
    for message in &found {
        let body = reading(&store).open(&alice(), message).unwrap().body;
        let message = Arc::new(common::message(body).with_flags(Flags::default()));
        let delivery = postino_store::Delivery::new(
            message,
            mailbox("alice", IfMissing::Create),
            "alice".to_owned(),
            Vec::new(),
            Arc::default(),
            Box::new(|_| {}),
        );
        again.open().unwrap();
        again.deliver(&delivery).unwrap();
    }
    assert!(
        fs::read(place.alice()).unwrap() == fs::read(place.root().join("again-alice")).unwrap()
    );
}

#[test]
fn a_text_reads_alike_from_any_place() {
    let place = Place::new();
    let store = place.open();
    let body = b"text\r\nFrom x\r\n>From y\r\n>\r\n>>\r\n".repeat(4_000);
    deliver_body(&store, &body);
    let wanted = with_lf(&body);
    let message = &listed(reading(&store), &alice())[0];
    let body = reading(&store).open(&alice(), message).unwrap().body;
    let mut readers: Vec<_> = (0..7).map(|_| (body.reader(), Vec::new())).collect();
    // In turns, each at its own pace.
    while readers.iter().any(|(_, read)| read.len() < wanted.len()) {
        for (nth, (reader, read)) in readers.iter_mut().enumerate() {
            let octets = reader.fill_buf().unwrap();
            let count = octets.len().min(5_000 * (nth + 1));
            read.extend_from_slice(&octets[..count]);
            reader.consume(count);
        }
    }
    assert!(readers.iter().all(|(_, read)| *read == wanted));
}

#[test]
fn mboxo_gives_back_what_began_with_from() {
    let place = Place::new();
    let store = place.open_with(Options { format: Format::Mboxo, ..Options::default() });
    deliver_body(&store, b"From a\r\n>>From b\r\n");
    let message = &listed(reading(&store), &alice())[0];
    assert_eq!(read(reading(&store), &alice(), message), with_lf(b"From a\r\n>>From b\r\n"));
}

#[test]
fn a_message_is_found_after_others_have_moved_it() {
    let place = Place::new();
    let store = place.open();
    let ids: Vec<_> =
        ["one", "two", "three"].iter().map(|body| deliver_body(&store, body.as_bytes())).collect();
    let before = listed(reading(&store), &alice());
    let octets = fs::read(place.alice()).unwrap();
    let second: usize = ids[1].split_once('-').unwrap().0.parse().unwrap();
    fs::write(place.alice(), &octets[second..]).unwrap();
    let gone = reading(&store).find(&alice(), &ids[0]);
    assert!(matches!(gone, Err(ReadError::NoSuchMessage)), "{gone:?}");
    for (at, body) in [(1, "two"), (2, "three")] {
        let found = reading(&store).find(&alice(), &ids[at]).unwrap();
        assert_eq!(read(reading(&store), &alice(), &found), with_lf(body.as_bytes()));
        // What was listed before opens too, under the id that it has now.
        let open = reading(&store).open(&alice(), &before[at]).unwrap();
        assert_eq!(open.info, found);
    }
    assert!(matches!(reading(&store).open(&alice(), &before[0]), Err(ReadError::NoSuchMessage)));
}

#[test]
fn many_messages_that_others_have_moved_are_found_by_one_search() {
    let place = Place::new();
    let counting = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store_with("", counting.clone(), Options::default());
    store.open().unwrap();
    let count: usize = 60;
    for n in 0..count {
        deliver_body(&store, format!("{n}\r\n{}", "text\r\n".repeat(5_000)).as_bytes());
    }
    let messages = listed(reading(&store), &alice());
    counting.take();
    let reads = || counting.take().iter().filter(|line| line.starts_with("read_at")).count();
    let _ = listed(reading(&store), &alice());
    let search = reads();
    let digest = |message: &MessageInfo| message.id.as_str().split_once('-').unwrap().1.to_owned();
    let other = place.open();
    for gone in [0, 30] {
        reading(&other).remove(&alice(), &messages[gone]).unwrap();
        for message in &messages {
            let opened = reading(&store).open(&alice(), message);
            match &opened {
                Ok(open) => assert_eq!(digest(&open.info), digest(message)),
                Err(error) => assert!(matches!(error, ReadError::NoSuchMessage), "{error}"),
            }
            let is_gone = message == &messages[0] || (gone == 30 && message == &messages[30]);
            assert_eq!(opened.is_err(), is_gone);
        }
        let reads = reads();
        assert!(reads < 4 * search + 12 * count, "{reads} calls; a search makes {search}");
    }
    // What comes later is not taken for missing.
    let last = deliver_body(&other, b"last\r\n");
    let moved = MessageInfo {
        id: DeliveryId::new(format!("7-{}", &last[last.len() - 12..])),
        ..messages[1].clone()
    };
    assert_eq!(reading(&store).open(&alice(), &moved).unwrap().info.id.as_str(), last);
}

#[test]
fn a_message_that_changes_under_a_slow_reader_ends_with_an_error() {
    type Change = fn(&Path);
    let large = b"a line of a large message\r\n".repeat(20_000);
    let cut: Change =
        |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(9_000).unwrap();
    let moved: Change = |path| {
        let octets = fs::read(path).unwrap();
        fs::write(path, &octets[STORED.len()..]).unwrap();
    };
    let rewritten: Change = |path| {
        let mut octets = fs::read(path).unwrap();
        let last = octets.len() - 10;
        octets[last] = b'X';
        fs::write(path, octets).unwrap();
    };
    for change in [cut, moved, rewritten] {
        let place = Place::new();
        let store = place.open();
        deliver_to(&store, "alice").unwrap();
        deliver_body(&store, &large);
        let message = &listed(reading(&store), &alice())[1];
        let open = reading(&store).open(&alice(), message).unwrap();
        let mut reader = open.body.reader();
        reader.read_exact(&mut [0; 100]).unwrap();
        change(&place.alice());
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("was changed"), "{error}");
    }
    // Whoever puts another file under the name disturbs nobody.
    let place = Place::new();
    let store = place.open();
    deliver_body(&store, &large);
    let open = reading(&store).open(&alice(), &listed(reading(&store), &alice())[0]).unwrap();
    fs::remove_file(place.alice()).unwrap();
    fs::write(place.alice(), STORED).unwrap();
    let mut octets = Vec::new();
    open.body.reader().read_to_end(&mut octets).unwrap();
    assert_eq!(octets, with_lf(&large));
}

#[test]
fn what_other_programs_write_is_cut_where_they_cut_it() {
    let place = Place::new();
    let store = place.open();
    let texts = [
        // mutt: an empty line and flags; two blanks before the date, a zone.
        (
            "From a@b  Tue Nov 24 09:47:49 2026 +0100\n",
            "Status: RO\nX-Status: AF\n\nFrom me to you\n",
            "\n",
        ),
        // No empty line before the next.
        ("From MAILER-DAEMON Tue Nov 24 08:47 2026\n", "X-Status: D\nStatus: O\n\ntext\n", ""),
        // Dovecot: the length tells that this is one message.
        (
            "From c@d  Tue Nov 24 08:47:49 2026\n",
            "Content-Length: 55\n\nFrom the start\n\nFrom e@f Tue Nov 24 08:47:49 2026\ntext\n",
            "\n",
        ),
        // A length that is none.
        ("From g@h Tue Nov 24 08:47:49 2026\n", "Content-Length: 99\n\ntext\n", "\n"),
        ("From i@j Tue Nov 24 08:47:49 2026\n", "x-status: t\n\n\n\n", "\n"),
        ("From k@l Tue Nov 24 08:47:49 2026\n", "", "\n"),
        ("From - Tue Nov 24 08:47:49 2026\n", "no end", ""),
    ];
    let mbox: String = texts.iter().flat_map(|(line, text, end)| [*line, *text, *end]).collect();
    fs::write(place.alice(), mbox).unwrap();
    let found = listed(reading(&store), &alice());
    let read: Vec<_> = found
        .iter()
        .map(|message| String::from_utf8(read(reading(&store), &alice(), message)).unwrap())
        .collect();
    assert_eq!(read, texts.map(|(_, text, _)| text));
    let flags: Vec<_> =
        found.iter().map(|message| message.flags.clone().unwrap().to_string()).collect();
    assert_eq!(flags, ["FRS", "T", "", "", "", "", ""]);
    let senders =
        found.iter().map(|message| reading(&store).open(&alice(), message).unwrap().reverse_path);
    let senders: Vec<_> = senders.map(Option::unwrap).collect();
    assert_eq!(senders, ["a@b", "", "c@d", "g@h", "i@j", "k@l", "-"]);
    assert_eq!(found[0].received.offset_minutes, 60);
    assert_eq!(found[0].received.since_epoch.as_secs(), 1_795_510_069);
}

#[test]
fn what_is_no_mailbox_is_a_stray_and_not_read() {
    let place = Place::new();
    let store = place.open();
    deliver_to(&store, "alice").unwrap();
    let secret = place.above().join("secret");
    fs::write(&secret, STORED).unwrap();
    let at = |name: &str| place.root().join(name);
    symlink(&secret, at("link")).unwrap();
    fs::hard_link(&secret, at("hard")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    fs::write(at("notes"), "Dear diary").unwrap();
    fs::write(at("bob.lock"), "1").unwrap();
    fs::write(at("\u{1}"), "").unwrap();
    fs::create_dir(at(".imap")).unwrap();
    fs::create_dir(at(".postino-lost")).unwrap();
    fs::write(at("empty"), "").unwrap();
    let mut expected = vec!["directory", "fifo", "hard", "link", "notes", "\u{1}"];
    fs::write(at("other"), STORED).unwrap();
    // Only root can give a file away.
    let has_other = std::os::unix::fs::chown(at("other"), Some(12_345), None).is_ok();
    if has_other {
        expected.push("other");
    } else {
        fs::remove_file(at("other")).unwrap();
    }
    let (names, strays) = mailboxes(reading(&store));
    assert_eq!(names, ["alice", "empty"]);
    let mut found: Vec<_> =
        strays.iter().map(|stray| stray.path.file_name().unwrap().to_str().unwrap()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for name in expected.iter().filter(|name| **name != "\u{1}") {
        let name = MailboxName::new(*name).unwrap();
        let refused = |result: Result<(), ReadError>| {
            assert!(matches!(result, Err(ReadError::Stray(_))), "{name}: {result:?}");
        };
        refused(reading(&store).messages(&name, &mut |_| panic!("{name} is read")));
        refused(reading(&store).find(&name, "0-000000000000").map(drop));
        refused(reading(&store).remove_mailbox(&name));
    }
    assert!(at("link").is_symlink() && at("hard").exists() && secret.exists());
}

#[test]
fn a_directory_of_another_name_or_kind_hides_no_mailbox() {
    let place = Place::new();
    let store = place.store_with("/%d/%n/mbox", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    for name in ["b@z.example", "a@z.example", "c@a.example"] {
        deliver_to(&store, name).unwrap();
    }
    symlink(place.root().join("z.example"), place.root().join("link.example")).unwrap();
    fs::write(place.root().join("file"), "x").unwrap();
    let (names, strays) = mailboxes(reading(&store));
    assert_eq!(names, ["a@z.example", "b@z.example", "c@a.example"]);
    assert_eq!(strays, []);
}

#[test]
fn what_is_torn_is_neither_listed_nor_mended_by_a_reader() {
    let place = Place::new();
    let store = place.open();
    let torn = format!("{STORED}{}", &STORED[..60]);
    fs::write(place.alice(), &torn).unwrap();
    common::leave_lock(&place, STORED.len(), 2 * STORED.len());
    for _ in 0..2 {
        assert_eq!(listed(reading(&store), &alice()).len(), 1);
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), torn);
    }
    // The next delivery still knows.
    deliver_to(&store, "alice").unwrap();
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
    fs::write(place.alice(), format!("{STORED}{}", "\0".repeat(10_000))).unwrap();
    assert_eq!(listed(reading(&store), &alice()).len(), 1);
}

#[test]
fn a_mailbox_that_others_keep_locked_is_locked() {
    let place = Place::new();
    let store = place.open();
    let id = deliver_to(&store, "alice").unwrap().to_string();
    let message = reading(&store).find(&alice(), &id).unwrap();
    let kernel = Kernel::new();
    let root = kernel.open_root(&place.root()).unwrap();
    let other = kernel.open_update(&root, Path::new("alice")).unwrap();
    assert!(kernel.try_lock(&other, Lock::Fcntl).unwrap());
    let locked = |result: Result<(), ReadError>| {
        let is_locked = matches!(result, Err(ReadError::Store(DeliveryError::Locked { .. })));
        assert!(is_locked, "{result:?}");
    };
    locked(reading(&store).messages(&alice(), &mut |_| ControlFlow::Continue(())));
    locked(reading(&store).find(&alice(), &id).map(drop));
    locked(reading(&store).remove(&alice(), &message));
    locked(reading(&store).remove_mailbox(&alice()));
    assert_eq!(read(reading(&store), &alice(), &message), with_lf(BODY), "no lock is needed");
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED);
}

#[test]
fn a_listing_misses_nothing_that_stays_while_others_deliver_and_remove() {
    let place = Place::new();
    let store = place.open();
    let large = b"a line of a large message\r\n".repeat(60_000);
    let stay: Vec<_> = (0..6).map(|_| deliver_body(&store, &large)).collect();
    let digests = |ids: &[String]| -> Vec<String> {
        ids.iter().map(|id| id.split_once('-').unwrap().1.to_owned()).collect()
    };
    let wanted = digests(&stay);
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The locks may be taken, as in life.
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(id) = deliver_to(&store, "alice") else { continue };
                let found = reading(&store).find(&alice(), id.as_str());
                let _ = found.and_then(|message| reading(&store).remove(&alice(), &message));
            }
        });
        let mut rounds = 0;
        while rounds < 3 {
            let mut ids = Vec::new();
            let visited = reading(&store).messages(&alice(), &mut |found| {
                ids.push(found.unwrap().id.to_string());
                ControlFlow::Continue(())
            });
            if visited.is_ok() {
                rounds += 1;
                let short = digests(&ids).into_iter().filter(|digest| wanted.contains(digest));
                assert_eq!(short.collect::<Vec<_>>(), wanted);
            }
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_root_that_is_not_there_is_missing_and_one_without_a_marker_is_read() {
    let place = Place::new();
    let store = place.store_with("", Arc::new(Kernel::new()), Options::default());
    let missing = |result: Result<(), ReadError>| {
        let is_missing =
            matches!(result, Err(ReadError::Store(DeliveryError::StoreMissing { .. })));
        assert!(is_missing, "{result:?}");
    };
    missing(reading(&store).identity().map(drop));
    missing(reading(&store).messages(&alice(), &mut |_| ControlFlow::Continue(())));
    missing(reading(&store).verify(Repair::No, &mut |_| {}).map(drop));
    fs::create_dir(place.root()).unwrap();
    missing(reading(&store).mailboxes(&mut |_| ControlFlow::Continue(())));
    fs::write(place.alice(), STORED).unwrap();
    assert_eq!(mailboxes(reading(&store)).0, ["alice"]);
    assert_eq!(listed(reading(&store), &alice()).len(), 1);
    assert!(!place.root().join(".postino").exists());
    symlink(place.root(), place.above().join("way")).unwrap();
    let template = place.above().join("way").display().to_string();
    let template = postino_store::PathTemplate::parse(&template).unwrap();
    let other = Mbox::new(template, Options::default(), Arc::new(Kernel::new()));
    assert_eq!(reading(&store).identity().unwrap(), reading(&other).identity().unwrap());
    assert_eq!(reading(&Place::new().open()).identity().unwrap().matches(':').count(), 1);
}

#[test]
fn a_large_message_takes_little_memory_and_is_read_in_one_pass() {
    let place = Place::new();
    let counting = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store_with("", counting.clone(), Options::default());
    store.open().unwrap();
    let octets = 5 * 1024 * 1024;
    deliver_body(&store, &b"From a line of text\r\n".repeat(octets / 21));
    let message = &listed(reading(&store), &alice())[0];
    let open = reading(&store).open(&alice(), message).unwrap();
    counting.take();
    let copied = std::io::copy(&mut open.body.reader(), &mut std::io::sink()).unwrap();
    assert_eq!(copied, message.octets);
    let reads = counting.take().iter().filter(|line| line.starts_with("read_at")).count();
    assert!(reads <= octets / (8 * 1024), "{reads} calls");
    std::io::stdout().flush().unwrap();
    assert!(Body::in_memory(Vec::new()).is_empty());
}
