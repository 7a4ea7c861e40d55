//! What is stored: what LMTP stores of the same message.

use crate::{
    client::Client,
    command,
    daemon::Daemon,
    kinds::{KINDS, Kind},
    program::all_here,
    run, store,
};
use std::{fs, io::Write, process::Command};

const TO: &str = "Alice+x@Example.org";
const MAILBOX: &str = "alice@example.org";

/// What comes on a pipe, and the same message on the wire.
const MESSAGES: &[(&str, &str)] = &[
    ("Subject: a\n\ntext\n", "Subject: a\r\n\r\ntext\r\n"),
    ("Subject: a\r\n\r\ntext\r\n", "Subject: a\r\n\r\ntext\r\n"),
    ("Subject: a\n\nno end", "Subject: a\r\n\r\nno end\r\n"),
    ("", ""),
    ("\n", "\r\n"),
    ("From x@y Tue Nov 24\nSubject: a\n\nb\n", "Subject: a\r\n\r\nb\r\n"),
    (
        "Subject: a\n\nFrom x\n>From x\n.\n..\n",
        "Subject: a\r\n\r\nFrom x\r\n>From x\r\n.\r\n..\r\n",
    ),
    ("Return-Path: <no@d>\n x\nSubject: a\n\n", "Subject: a\r\n\r\n"),
    ("Subject: a\n\nmixed\r\nx\n", "Subject: a\n\nmixed\r\nx\n"),
    ("Subject: a\r\n\r\nmixed\nx\r\n", "Subject: a\r\n\r\nmixed\nx\r\n"),
    ("Subject: a\n\nbare\rx\0\n", "Subject: a\r\n\r\nbare\rx\0\r\n"),
];

/// The trace lines and the rest, where Received is the last of them.
fn parted(message: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut lines = message.split_inclusive(|octet| *octet == b'\n').peekable();
    let mut trace = Vec::new();
    loop {
        let line = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
        let is_received = line.starts_with("Received: ");
        trace.push(line);
        if is_received {
            break;
        }
    }
    while let Some(folded) = lines.next_if(|line| line.starts_with(b"\t")) {
        trace.push(String::from_utf8(folded.to_vec()).unwrap());
    }
    (trace, lines.collect::<Vec<_>>().concat())
}

/// Sends by LMTP; a message that ends without a CRLF has none added.
fn send(daemon: &Daemon, message: &str) {
    let mut client = Client::connect(daemon.address());
    client.open();
    client.say(format!("MAIL FROM:<x@y.example>\r\nRCPT TO:<{TO}>\r\nDATA\r\n"));
    client.until("354 ");
    let stuffed = if message.starts_with('.') { ".".to_owned() + message } else { message.into() };
    client.say(stuffed.replace("\r\n.", "\r\n..") + ".\r\n");
    let reply = client.line();
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn a_message_is_stored_as_lmtp_stores_it() {
    if !all_here(&["python3"]) {
        return;
    }
    for kind in KINDS {
        for (piped, wire) in MESSAGES {
            let folder = tempfile::tempdir().unwrap();
            let url = kind.url(folder.path());
            store(&url, TO, piped.as_bytes());
            let [ours] = &kind.messages(folder.path(), MAILBOX)[..] else { panic!("{kind:?}") };
            let (trace, ours) = parted(ours);
            let store = format!("--store={url}");
            // By LMTP this one cannot be sent: its end is CRLF.
            if wire.is_empty() || wire.ends_with("\r\n") {
                let keep = "--bare-newlines=keep";
                let hostname = "--hostname=mx.example.org";
                let listen = "--listen=127.0.0.1:0";
                let daemon = Daemon::start(&[listen, hostname, keep, "--users=any", &store]);
                send(&daemon, wire);
                daemon.stop();
                let messages = kind.messages(folder.path(), MAILBOX);
                let theirs: Vec<_> = messages.iter().map(|message| parted(message)).collect();
                let [a, b] = &theirs[..] else { panic!("{kind:?}: {theirs:?}") };
                assert_eq!(a.0[..2], b.0[..2], "{kind:?}");
                assert_eq!(a.1, b.1, "{kind:?} {piped:?}");
            } else if kind != Kind::Mbox {
                assert_eq!(String::from_utf8_lossy(&ours), *wire, "{kind:?}");
            }
            let trace: Vec<_> = trace.iter().map(|line| line.trim_end()).collect();
            assert_eq!(
                trace[..2],
                ["Return-Path: <x@y.example>", "Delivered-To: Alice+x@Example.org"]
            );
            assert!(trace[2].starts_with("Received: by mx.example.org (postino deliver) id "));
            assert!(trace[3].starts_with("\tfor <Alice+x@Example.org>; "), "{trace:?}");
            assert_eq!(trace.len(), 4);
        }
    }
}

#[test]
fn several_recipients_have_a_copy_each_and_received_names_none() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    let flags = ["--store", &url, "-d", "c@d", "a@d", "b@d"];
    assert_eq!(run(&mut command(&flags), b"Subject: x\n\n"), (0, String::new()));
    for name in ["a@d", "b@d", "c@d"] {
        let [message] = &Kind::Maildir.messages(folder.path(), name)[..] else { panic!("{name}") };
        let text = String::from_utf8_lossy(message);
        assert!(text.contains(&format!("\nDelivered-To: {name}\n")), "{text}");
        assert!(text.starts_with("Return-Path: <>\n") && !text.contains("for <"), "{text}");
    }
}

/// Tells exit code and peak of resident memory, in KiB.
const SCRIPT: &str = "
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:], stdin=open(sys.argv[1], 'rb'))
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

const MEMORY_MAX_KIB: u64 = 20 << 10;

#[test]
fn a_large_message_is_stored_whole_in_little_memory_even_if_it_turns_out_mixed() {
    if !all_here(&["python3"]) {
        return;
    }
    let line = format!("{}\n", "7 octets".repeat(9));
    for (kind, end) in KINDS.into_iter().flat_map(|kind| [(kind, ""), (kind, "mixed\r\n")]) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("Subject: large\n\n{}{end}", line.repeat(200_000));
        let input = folder.path().join("input");
        fs::File::create(&input).unwrap().write_all(text.as_bytes()).unwrap();
        let mut python = Command::new("python3");
        python.args(["-c", SCRIPT]).arg(&input).arg(crate::daemon::postino()).arg("deliver");
        let output = python.args(["--store", &kind.url(folder.path()), MAILBOX]).output().unwrap();
        let told = String::from_utf8(output.stdout.clone()).unwrap();
        let (code, memory) = told.trim().split_once(' ').unwrap();
        assert_eq!(code, "0", "{kind:?} {output:?}");
        let [message] = &kind.messages(folder.path(), MAILBOX)[..] else { panic!("{kind:?}") };
        let (_, body) = parted(message);
        let expected = match (kind, end) {
            (Kind::Sqlite, "") => text.replace('\n', "\r\n"),
            (Kind::Mbox, _) => text.replace("\r\n", "\n"),
            _ => text,
        };
        assert!(body == expected.as_bytes(), "{kind:?} {end:?}");
        let memory: u64 = memory.parse().unwrap();
        assert!(memory < MEMORY_MAX_KIB, "{kind:?} {end:?}: {memory} KiB");
    }
}
