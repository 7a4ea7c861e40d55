//! What stands in the files, and that other programs read it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{BODY, HEADER, Place, STORED, deliver_to, delivery, mailbox, messages, names};
use postino_mbox::{Format, Options};
use postino_store::{DeliveryError, IfMissing, MailStore, MailboxName};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::Arc,
};

fn deliver_body(store: &dyn MailStore, body: &[u8]) -> String {
    let delivery = delivery(mailbox("alice", IfMissing::Create), body, Arc::default());
    store.deliver(&delivery).unwrap().to_string()
}

#[test]
fn a_message_has_its_from_line_its_quotes_and_an_empty_line() {
    for (format, quoted) in [(Format::Mboxrd, ">>From c\n"), (Format::Mboxo, ">From c\n")] {
        let place = Place::new();
        let store = place.open_with(Options { format, ..Options::default() });
        deliver_body(&store, b"From a\r\n\r\nFrom b\r\n>From c\r\nbare\rlone\nno end");
        let (start, _) = STORED.split_once("Subject").unwrap();
        assert_eq!(
            fs::read_to_string(place.alice()).unwrap(),
            format!("{start}>From a\n\n>From b\n{quoted}bare\rlone\nno end\n\n")
        );
    }
}

#[test]
fn an_id_is_the_place_and_the_digest_of_the_message_as_sha256sum_sees_it() {
    let place = Place::new();
    let store = place.open();
    let first = deliver_to(&store, "alice").unwrap().to_string();
    let second = deliver_body(&store, b"From a\r\n");
    let octets = fs::read(place.alice()).unwrap();
    for id in [first, second] {
        let (offset, digest) = id.split_once('-').unwrap();
        let from: usize = offset.parse().unwrap();
        let start = from + octets[from..].iter().position(|octet| *octet == b'\n').unwrap() + 1;
        let end = match from {
            0 => STORED.len() - 1,
            _ => octets.len() - 1,
        };
        assert!(octets[from..].starts_with(b"From s@example.net "));
        fs::write(place.above().join("text"), &octets[start..end]).unwrap();
        let sum = Command::new("sha256sum").arg(place.above().join("text")).output().unwrap();
        assert_eq!(digest, &String::from_utf8(sum.stdout).unwrap()[..12]);
    }
}

#[test]
fn python_reads_every_octet_back() {
    let place = Place::new();
    let store = place.open();
    let bodies: [&[u8]; 5] = [
        BODY,
        b"Subject: y\r\n\r\nFrom a\r\n>From b\r\n\r\n\r\n",
        b"Subject: z\r\n\r\n\0 \xff \r alone\r\n.\r\n",
        b"\r\n",
        b"Subject: long\r\n\r\nno end",
    ];
    for body in bodies {
        deliver_body(&store, body);
    }
    // It leaves the empty lines out, and the quotes in.
    let script = "
import mailbox, sys
box = mailbox.mbox(sys.argv[1], create=False)
for key in box.keys():
    octets = box.get_bytes(key)
    sys.stdout.buffer.write(b'%d\\n' % len(octets) + octets)
";
    let python = Command::new("python3")
        .args(["-c", script])
        .arg(place.alice())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(python.status.success());
    let mut rest = &python.stdout[..];
    for wanted in messages(&place.alice()) {
        let end = rest.iter().position(|octet| *octet == b'\n').unwrap();
        let length: usize = std::str::from_utf8(&rest[..end]).unwrap().parse().unwrap();
        let (octets, behind) = rest[end + 1..].split_at(length);
        rest = behind;
        let mut quoted = Vec::new();
        for line in wanted.split_inclusive(|octet| *octet == b'\n') {
            let arrows = line.iter().take_while(|octet| **octet == b'>').count();
            quoted.extend(line[arrows..].starts_with(b"From ").then_some(b'>'));
            quoted.extend_from_slice(line);
        }
        assert_eq!(octets.escape_ascii().to_string(), quoted.escape_ascii().to_string());
    }
    assert!(rest.is_empty(), "python found more messages");
}

#[test]
fn files_and_directories_have_the_mode_asked_for() {
    let place = Place::new();
    let options = Options { file_mode: 0o660, ..Options::default() };
    let files = Arc::new(postino_files::Kernel::new());
    let store = place.store_with("/%d/%n", files, options);
    store.open().unwrap();
    deliver_to(&store, "alice@example.org").unwrap();
    store.init(&[MailboxName::new("bob@example.org").unwrap()]).unwrap();
    let mode =
        |path: &str| fs::metadata(place.root().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("example.org"), 0o770);
    assert_eq!((mode("example.org/alice"), mode("example.org/bob")), (0o660, 0o660));

    let place = Place::new();
    deliver_to(&place.open(), "alice").unwrap();
    assert_eq!(fs::metadata(place.alice()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_the_last_writer_left_out_is_added() {
    for (before, added) in [("text", "\n\n"), ("text\n", "\n"), ("text\n\n", "")] {
        let place = Place::new();
        let store = place.open();
        let before = format!("From x Tue Nov 24 08:47:49 2026\n\n{before}");
        fs::write(place.alice(), &before).unwrap();
        let id = deliver_to(&store, "alice").unwrap();
        let wanted = format!("{before}{added}{STORED}");
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), wanted);
        let at = before.len() + added.len();
        assert!(id.as_str().starts_with(&format!("{at}-")), "{id}");
    }
}

#[test]
fn no_name_is_a_lock_file_or_the_marker() {
    let place = Place::new();
    let store =
        place.store_with("/.%n", Arc::new(postino_files::Kernel::new()), Options::default());
    store.open().unwrap();
    let long = "l".repeat(252);
    for name in ["alice.lock", "postino", "postino.new", &long] {
        let result = deliver_to(&store, name);
        assert!(matches!(result, Err(DeliveryError::UnusableName(_))), "{name}: {result:?}");
        let asked = store.admit(&mailbox(name, IfMissing::Create), None);
        assert!(matches!(asked, Err(DeliveryError::UnusableName(_))), "{name}: {asked:?}");
    }
    deliver_to(&store, "bob").unwrap();
    assert_eq!(names(&place.root()), [".bob", ".postino"]);
}

#[test]
fn two_names_of_one_file_share_a_lane() {
    let place = Place::new();
    let files = Arc::new(postino_files::Kernel::new());
    let store = place.store_with("/%n", files, Options::default());
    let lane = |name| store.lane(&mailbox(name, IfMissing::Create));
    assert_eq!(lane("alice@one.example"), lane("alice@other.example"));
    assert_ne!(lane("alice@one.example").key(), lane("bob@one.example").key());
    assert_eq!(lane("alice@one.example").key(), place.alice().to_str().unwrap());
    assert_eq!((lane("alice").at_once(), lane("alice").together()), (1, 64));
    assert!(HEADER.ends_with(b"\r\n"));
}
