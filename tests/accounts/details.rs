//! Details that are meant to lead somewhere else, and what becomes of their mail.

use crate::{
    client::Client,
    doveadm::{self, doveadm},
    program::{all_here, bounded, succeed},
    store::{Kind, Place},
};
use Outcome::{Folder, Inbox, Refused};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const ACCOUNT: &str = "alice@example.org";

/// Where the mail to a detail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// In the folder of this name, its levels separated by `/`.
    Folder(&'static str),
    Inbox,
    /// At RCPT, for good.
    Refused,
}

/// Each detail, and what is meant to become of it.
fn details() -> Vec<(String, Outcome)> {
    let of = |(detail, outcome): (&str, Outcome)| (detail.to_owned(), outcome);
    let mut all: Vec<_> = [
        ("lists/2026", Folder("lists/2026")),
        ("Lists.2026", Folder("Lists/2026")),
        // Out of the mailbox.
        ("..", Inbox),
        ("../bob@example.org", Inbox),
        ("../../outside", Inbox),
        ("a/../../../outside", Inbox),
        ("/", Inbox),
        ("/etc/cron.d/x", Inbox),
        (".", Inbox),
        (".x", Inbox),
        ("x.", Inbox),
        ("x/", Inbox),
        ("x//y", Inbox),
        ("~", Inbox),
        ("~root/x", Inbox),
        ("x/~", Inbox),
        ("\\..\\..\\outside", Inbox),
        // What patterns, variables and shells make something of.
        ("%", Folder("%")),
        ("%u%h", Folder("%u%h")),
        ("*", Folder("*")),
        ("|sh", Folder("|sh")),
        ("$(id)`id`;id", Folder("$(id)`id`;id")),
        ("-rf", Folder("-rf")),
        ("\"quoted\" a\\b", Folder("\"quoted\" a\\b")),
        (" lead, trail ", Folder(" lead, trail ")),
        // Modified UTF-7, whole and broken; and what it stands for.
        ("&", Folder("&")),
        ("&AGE-", Folder("&AGE-")),
        ("&AC8-", Folder("&AC8-")),
        ("&2D0", Folder("&2D0")),
        ("a&-b", Folder("a&-b")),
        // What stores and readers keep beside the mail.
        ("INBOX", Inbox),
        ("inbox", Inbox),
        ("iNbOx/x", Inbox),
        ("new", Folder("new")),
        ("cur", Folder("cur")),
        ("tmp/x", Folder("tmp/x")),
        ("dovecot-uidlist", Folder("dovecot-uidlist")),
        ("dovecot.index", Folder("dovecot/index")),
        ("maildirfolder", Folder("maildirfolder")),
        ("maildirsize", Folder("maildirsize")),
        ("bob.lock", Folder("bob/lock")),
        ("postino", Folder("postino")),
        ("postino-removed-0", Folder("postino-removed-0")),
        // Of no address.
        ("a\0b", Refused),
        ("a\x01b", Refused),
        ("a\x1b[2J", Refused),
        ("a\tb", Refused),
        ("a\x7fb", Refused),
        // Without SMTPUTF8, which is not offered.
        ("Grüße/日本語/😊", Refused),
        ("\u{202e}sfdp\u{feff}", Refused),
    ]
    .into_iter()
    .map(of)
    .collect();
    all.push(("x".repeat(300), Refused));
    all.push((["y"; 40].join("/"), Refused));
    all.push((["z"; 9].join("/"), Inbox));
    all
}

/// What a store has otherwise.
fn outcome_in(kind: Kind, outcome: Outcome) -> Outcome {
    match (kind, outcome) {
        // Names of Dovecot's own files.
        (Kind::Mbox, Folder("dovecot-uidlist")) => Inbox,
        // What a mailbox is called while it is removed.
        (Kind::Maildir, Folder("postino-removed-0")) => Refused,
        (_, outcome) => outcome,
    }
}

fn subject(number: usize) -> String {
    format!("number {number}.")
}

/// Sends to each detail; gives what is expected of each that was not refused, by its
/// subject.
fn send_all(address: &str, kind: Kind) -> BTreeMap<String, String> {
    let mut client = Client::<TcpStream>::connect(address);
    client.open();
    let mut expected = BTreeMap::new();
    for (number, (detail, outcome)) in details().into_iter().enumerate() {
        let outcome = outcome_in(kind, outcome);
        let quoted = detail.replace('\\', "\\\\").replace('"', "\\\"");
        client.say("MAIL FROM:<>\r\n");
        client.until("250 2.1.0 ");
        client.say(format!("RCPT TO:<\"alice+{quoted}\"@example.org>\r\n"));
        let reply = client.line();
        if !reply.starts_with("250 ") {
            assert_eq!(outcome, Refused, "{detail:?}: {reply}");
            assert!(reply.starts_with('5'), "{detail:?}: {reply}");
            client.say("RSET\r\n");
            client.until("250 2.0.0 ");
            continue;
        }
        client.say("DATA\r\n");
        client.until("354 ");
        client.say(format!("Subject: {}\r\n\r\ntext\r\n.\r\n", subject(number)));
        let reply = client.line();
        assert!(reply.starts_with("250 2.0.0 "), "{detail:?}: {reply}");
        let folder = match outcome {
            Folder(folder) => folder,
            Inbox => "INBOX",
            Refused => panic!("{detail:?} is not refused"),
        };
        expected.insert(subject(number), folder.to_owned());
    }
    assert!(expected.len() > 20);
    expected
}

/// All that lies below, each with what would tell that it was changed.
fn listing(directory: &Path) -> BTreeMap<PathBuf, (u64, u32, u64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let status = fs::symlink_metadata(&path).unwrap();
        if status.is_dir() {
            all.extend(listing(&path));
            // Its size changes with its entries.
            all.insert(path, (status.ino(), status.mode(), 0));
        } else {
            all.insert(path, (status.ino(), status.mode(), status.size()));
        }
    }
    all
}

/// Delivers to all of the details, and sees that nothing is made outside the mailbox;
/// gives what is expected of each message.
fn deliver(place: &Place) -> BTreeMap<String, String> {
    let daemon = place.serve(&["--detail=create"]);
    // What is there beside her mailbox.
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("bob@example.org").starts_with("250 2.0.0 "));
    assert!(client.send("bob+x@example.org").starts_with("250 2.0.0 "));
    fs::create_dir(place.above().join("outside")).unwrap();
    fs::write(place.above().join("outside/secret"), "From nobody\n\n").unwrap();
    // A lock file goes after the reply.
    daemon.stop();
    let before = listing(place.above());
    let daemon = place.serve(&["--detail=create"]);
    let expected = send_all(daemon.address(), place.kind);
    daemon.stop();
    let after = listing(place.above());
    let own = match place.kind {
        Kind::Maildir => vec![place.account(ACCOUNT)],
        Kind::Mbox => vec![place.account(ACCOUNT), place.root().join(format!(".{ACCOUNT}"))],
        Kind::Sqlite => {
            ["mail.db", "mail.db-wal", "mail.db-shm"].map(|name| place.root().join(name)).to_vec()
        }
    };
    let is_own = |path: &Path| own.iter().any(|own| path.starts_with(own));
    for (path, status) in &after {
        assert!(is_own(path) || before.get(path) == Some(status), "{} is made", path.display());
    }
    for path in before.keys().filter(|path| !is_own(path)) {
        assert!(after.contains_key(path), "{} is gone", path.display());
    }
    expected
}

/// Where Dovecot finds each message of a store that it reads, by its subject: it must
/// list each folder, and open it under that name.
fn found_by_dovecot(place: &Place, location: &str) -> BTreeMap<String, String> {
    let listed = doveadm(place, location, "", &["mailbox", "list", "-8"]);
    let mut found = BTreeMap::new();
    for folder in listed.lines() {
        // Of a pattern each line says which folder it is of.
        let query = ["-f", "tab", "fetch", "--", "mailbox hdr.subject", "mailbox", folder, "ALL"];
        let table = doveadm(place, location, "", &query);
        for line in table.lines().skip(1) {
            let (of, subject) = line.split_once('\t').unwrap();
            if of == folder {
                let is_new = found.insert(subject.to_owned(), folder.to_owned()).is_none();
                assert!(is_new, "{subject} is there twice");
            }
        }
    }
    found
}

#[test]
fn dovecot_finds_the_mail_to_hostile_details_in_folders_of_the_maildir() {
    if !all_here(&doveadm::PROGRAMS) {
        return;
    }
    let place = Place::new(Kind::Maildir);
    let mut expected = deliver(&place);
    // So it shows the levels of a Maildir.
    for folder in expected.values_mut() {
        *folder = folder.replace('/', ".");
    }
    let location = format!("maildir:{}", place.account(ACCOUNT).display());
    assert_eq!(found_by_dovecot(&place, &location), expected);
}

#[test]
fn dovecot_finds_the_mail_to_hostile_details_in_mboxes() {
    if !all_here(&doveadm::PROGRAMS) {
        return;
    }
    let place = Place::new(Kind::Mbox);
    let expected = deliver(&place);
    let root = place.root();
    let root = root.display();
    let location = format!("mbox:{root}/.{ACCOUNT}:INBOX={root}/{ACCOUNT}:UTF-8");
    assert_eq!(found_by_dovecot(&place, &location), expected);
}

/// Prints folder and subject of each message of an account.
const READER: &str = r"
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute('''SELECT b.folder, c.content
    FROM messages m JOIN mailboxes b ON b.id = m.mailbox JOIN bodies c ON c.id = m.body
    WHERE b.name = ?''', sys.argv[2:])
for folder, content in rows:
    subject = content.split(b'\r\n')[0].removeprefix(b'Subject: ').decode()
    print(folder or 'INBOX', subject, sep='\t')
";

#[test]
fn python_finds_the_mail_to_hostile_details_in_rows_of_the_account() {
    if !all_here(&["python3"]) {
        return;
    }
    let place = Place::new(Kind::Sqlite);
    let expected = deliver(&place);
    let mut python = bounded("python3");
    python.args(["-c", READER]).arg(place.account(ACCOUNT)).arg(ACCOUNT);
    let output = succeed(python.env("PYTHONUTF8", "1"));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| line.split_once('\t').unwrap());
    let found: BTreeMap<_, _> =
        rows.map(|(folder, subject)| (subject.to_owned(), folder.to_owned())).collect();
    assert_eq!(found, expected);
}
