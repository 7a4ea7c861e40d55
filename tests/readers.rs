//! What readers that others wrote find in the mailboxes of the program as it is
//! built: Dovecot every octet of a Maildir and of an mbox file, neomutt every
//! message of an mbox file.
//!
//! One that is not installed skips its test with a line on standard error; under
//! `CI=true` that is a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

#[path = "readers/delivered.rs"]
mod delivered;
#[path = "readers/dovecot.rs"]
mod dovecot;
#[path = "readers/messages.rs"]
mod messages;

use delivered::{Delivered, as_reader};
use messages::{Message, messages};
use program::{all_here, succeed};
use std::fs;

/// Has all of the messages; the others have those that went to several.
const ALICE: &str = "alice@example.org";
const RECIPIENTS: [&str; 3] = [ALICE, "bob@example.org", "carol@example.org"];

#[test]
fn dovecot_fetches_every_octet_of_the_maildirs() {
    if !all_here(&["doveadm", "setpriv"]) {
        return;
    }
    let messages = messages();
    let delivered = Delivered::to("maildir", &messages);
    for recipient in RECIPIENTS {
        let directory = delivered.mailbox(recipient);
        let mut stored: Vec<Vec<u8>> = fs::read_dir(directory.join("new"))
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        let mut fetched =
            dovecot::fetch(delivered.folder(), &format!("maildir:{}", directory.display()));
        stored.sort();
        fetched.sort();
        assert_same(&fetched, &stored, recipient);

        let sent = sent_to(recipient, &messages);
        assert_eq!(fetched.len(), sent.len(), "{recipient}");
        for message in sent {
            let wanted = message.in_maildir();
            let found = fetched.iter().filter(|text| own_header(text, &wanted, recipient)).count();
            assert_eq!(found, 1, "{recipient}: {}", message.name);
        }
    }
}

#[test]
fn dovecot_fetches_every_octet_of_the_mbox_files() {
    if !all_here(&["doveadm", "setpriv"]) {
        return;
    }
    let messages = messages();
    let delivered = Delivered::to("mbox", &messages);
    for recipient in RECIPIENTS {
        let file = delivered.mailbox(recipient);
        // Before Dovecot writes the numbers that it gives into it.
        let stored = split_mbox(&fs::read(&file).unwrap());
        let indices = delivered.folder().join(format!("indices-{recipient}"));
        let location = format!("mbox:{}:INBOX={}", indices.display(), file.display());
        let fetched = dovecot::fetch(delivered.folder(), &location);
        let shown: Vec<_> = stored.iter().map(|text| dovecot::shown_of_mbox(text)).collect();
        assert_same(&fetched, &shown, recipient);

        let sent = sent_to(recipient, &messages);
        assert_eq!(stored.len(), sent.len(), "{recipient}");
        for (text, message) in stored.iter().zip(sent) {
            let right = own_header(text, &message.in_mbox(), recipient);
            assert!(right, "{recipient}: {} is stored otherwise than sent", message.name);
        }
    }
}

#[test]
fn neomutt_lists_every_message_of_the_mbox_file() {
    if !all_here(&["neomutt", "script", "stty", "setpriv"]) {
        return;
    }
    let messages = messages();
    let delivered = Delivered::to("mbox", &messages);
    let settings = delivered.folder().join("neomuttrc");
    let text = format!(
        "set folder={folder:?} index_format='[%C] %s;' sort=mailbox-order\n\
         set read_only quit=yes sleep_time=0 move=no mark_old=no\n\
         set status_format='%m messages' help=no\n",
        folder = delivered.folder()
    );
    fs::write(&settings, text).unwrap();
    // A screen for all of them; it is drawn once before a key is taken.
    let rows = messages.len() + 10;
    let line = format!(
        "stty rows {rows} cols 100 && exec neomutt -n -F {} -f {} -e 'push <quit>'",
        settings.display(),
        delivered.mailbox(ALICE).display()
    );
    let mut script = as_reader("script", delivered.folder());
    let output = succeed(script.args(["-qec", &line, "/dev/null"]).env("TERM", "vt100"));
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    for (message, number) in messages.iter().zip(1..) {
        let listed = format!("[{number}] {};", message.subject());
        assert!(screen.contains(&listed), "no {listed:?} on the screen {screen:?}");
    }
    assert!(screen.contains(&format!("{} messages", messages.len())), "{screen:?}");
}

/// What a recipient was sent, in its order.
fn sent_to<'a>(recipient: &str, messages: &'a [Message]) -> Vec<&'a Message> {
    messages.iter().filter(|message| recipient == ALICE || message.to_all).collect()
}

/// Whether a text is `sent` behind the lines that postino puts before it.
fn own_header(text: &[u8], sent: &[u8], recipient: &str) -> bool {
    let Some(header) = text.strip_suffix(sent) else { return false };
    let header = String::from_utf8_lossy(header).replace("\r\n", "\n");
    let fields = header.lines().filter(|line| !line.starts_with('\t'));
    let names: Vec<_> = fields.map(|field| field.split(": ").next().unwrap()).collect();
    names == ["Return-Path", "Delivered-To", "Received"]
        && header.contains(&format!("\nDelivered-To: {recipient}\n"))
        && header.ends_with('\n')
}

/// The messages of an mbox file: what stands between each `From ` line and the
/// empty line that ends the message. No line of a message begins so.
fn split_mbox(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !file.is_empty() {
        assert!(file.starts_with(b"From "), "{:?}", String::from_utf8_lossy(file));
        let begin = file.iter().position(|octet| *octet == b'\n').unwrap() + 1;
        let end = file[begin..].windows(6).position(|six| six == b"\nFrom ");
        let end = end.map_or(file.len(), |at| begin + at + 1);
        let message = file[begin..end].strip_suffix(b"\n").unwrap();
        assert!(message.ends_with(b"\n"), "no empty line behind a message");
        messages.push(message.to_owned());
        file = &file[end..];
    }
    messages
}

/// Not `assert_eq`, which would print what is of megabytes.
fn assert_same(fetched: &[Vec<u8>], wanted: &[Vec<u8>], mailbox: &str) {
    assert_eq!(fetched.len(), wanted.len(), "messages of {mailbox}");
    for (fetched, wanted) in fetched.iter().zip(wanted) {
        let shown =
            |text: &[u8]| String::from_utf8_lossy(&text[..text.len().min(2000)]).into_owned();
        assert!(fetched == wanted, "{mailbox}: {:?} for {:?}", shown(fetched), shown(wanted));
    }
}
