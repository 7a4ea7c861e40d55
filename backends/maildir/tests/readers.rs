//! What others find: the names, and every octet.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, delivery, mailbox, names};
use postino_files::Kernel;
use postino_maildir::Options;
use postino_store::{IfMissing, MailStore};
use std::{fs, process::Command, sync::Arc};

/// Prints each message's key and octets, in hexadecimal.
const READER: &str = "
import mailbox, sys
box = mailbox.Maildir(sys.argv[1], create=False)
for key in sorted(box.keys()):
    print(key, box.get_bytes(key).hex())
";

#[test]
fn python_reads_back_every_octet() {
    let place = Place::new();
    let store = place.store("", Arc::new(Kernel::new()));
    store.open().unwrap();
    let mut wanted = Vec::new();
    for (body, bare_newlines, stored) in [
        (&b"Subject: x\r\n\r\ntext\r\n"[..], false, &b"Subject: x\n\ntext\n"[..]),
        (b"", false, b""),
        (
            b"Subject: NUL\r\n\r\n\0\xff\x80\r\nno newline",
            false,
            b"Subject: NUL\n\n\0\xff\x80\nno newline",
        ),
        (b"a\rb\nc\r\n", true, b"a\rb\nc\r\n"),
    ] {
        let alice = mailbox("alice", IfMissing::Create);
        let id = store.deliver(&delivery(alice, body, bare_newlines, Arc::default())).unwrap();
        let header = String::from_utf8(HEADER.to_vec()).unwrap();
        // Where CRLFs stay in the message, our own lines have them too.
        let header = if bare_newlines { header } else { header.replace("\r\n", "\n") };
        wanted.push((id.as_str().to_owned(), [header.as_bytes(), stored].concat()));
    }
    let python = Command::new("python3")
        .args(["-c", READER])
        .arg(place.root().join("alice"))
        .output()
        .expect("python3 is needed for this test");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let text = String::from_utf8(python.stdout).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let (key, octets) = line.split_once(' ').unwrap();
        let octets: Vec<_> = (0..octets.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&octets[at..at + 2], 16).unwrap())
            .collect();
        let id = key.split_once(".localhost").unwrap().0;
        found.push((id.to_owned(), octets));
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

#[test]
fn the_name_tells_the_file_s_size_and_its_size_with_crlf() {
    for (body, bare_newlines, size, virtual_size) in [
        (b"a\r\nb\r\n".to_vec(), false, 4, 6),
        (Vec::new(), false, 0, 0),
        (b"a\nb\r\nc\r".to_vec(), true, 7, 8),
        // Over the borders of buffers.
        (b"0123456789\r\n".repeat(20_000), false, 220_000, 240_000),
        ([&b"x"[..], &b"\r\n".repeat(70_000)].concat(), false, 70_001, 140_001),
    ] {
        let place = Place::new();
        let options = Options { hostname: "a/b:c,d".to_owned(), ..Options::default() };
        let store = place.store_with("", Arc::new(Kernel::new()), options);
        store.open().unwrap();
        let alice = mailbox("alice", IfMissing::Create);
        let id = store.deliver(&delivery(alice, &body, bare_newlines, Arc::default())).unwrap();
        let new = place.root().join("alice/new");
        let name = names(&new).remove(0);
        // The header line ends with CRLF where the message's own do.
        let size = size + HEADER.len() - usize::from(!bare_newlines);
        let virtual_size = virtual_size + HEADER.len();
        assert_eq!(name, format!("{id}.a\\057b\\072c\\054d,S={size},W={virtual_size}"));
        assert_eq!(fs::metadata(new.join(&name)).unwrap().len(), size as u64);
    }
}
