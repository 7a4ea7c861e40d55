//! A place for a database, and a view behind the store.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use postino_files::Kernel;
use postino_sqlite::{Options, Sqlite};
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Fate, IfMissing, MailStore, Mailbox, MailboxName,
    Message, Octets, Timestamp,
};
use rusqlite::{Connection, OpenFlags};
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

pub(crate) const HEADER: &[u8] = b"Return-Path: <s@example.net>\r\n";

/// A directory of the test's own, with a database in it that is not made yet.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("mail.db")
    }

    /// The store, which is not open yet.
    pub(crate) fn store(&self) -> Sqlite {
        store_at(self.path(), false)
    }

    /// The store, open.
    pub(crate) fn open(&self) -> Sqlite {
        let store = self.store();
        store.open().unwrap();
        store
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn store_at(path: PathBuf, require_marker: bool) -> Sqlite {
    Sqlite::new(path, Options { require_marker }, Arc::new(Kernel::new()))
}

/// A connection as any program's: triggers run, nothing is defended.
pub(crate) fn foreign(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection
}

/// What one query gives.
pub(crate) fn number(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

/// The message's octets, by the documented query.
pub(crate) fn message(connection: &Connection, id: &str) -> Vec<u8> {
    let (mut octets, body, content): (Vec<u8>, i64, Option<Vec<u8>>) = connection
        .query_row(
            "SELECT m.header, b.id, b.content FROM messages m JOIN bodies b ON b.id = m.body
                 WHERE m.id = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    octets.extend(content.unwrap_or_default());
    let mut parts =
        connection.prepare("SELECT content FROM body_parts WHERE body = ?1 ORDER BY part").unwrap();
    for part in parts.query_map([body], |row| row.get::<_, Vec<u8>>(0)).unwrap() {
        octets.extend(part.unwrap());
    }
    octets
}

/// The messages of a mailbox, or `ACCOUNT/FOLDER`, in the order of their ids.
pub(crate) fn messages(connection: &Connection, mailbox: &str) -> Vec<Vec<u8>> {
    let mut ids = connection
        .prepare(
            "SELECT m.id FROM messages m JOIN mailboxes b ON b.id = m.mailbox
                 WHERE iif(b.folder = '', b.name, b.name || '/' || b.folder) = ?1 ORDER BY m.id",
        )
        .unwrap();
    let ids = ids.query_map([mailbox], |row| row.get::<_, String>(0)).unwrap();
    ids.map(|id| message(connection, &id.unwrap())).collect()
}

/// What is not as it should be: damage, wrong counters, bodies that nobody needs.
pub(crate) fn faults(connection: &Connection) -> Vec<String> {
    let mut faults = Vec::new();
    let damage: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if damage != "ok" {
        faults.push(damage);
    }
    for (what, query) in [
        (
            "mailboxes whose counters are wrong",
            "SELECT count(*) FROM mailboxes b WHERE (b.messages, b.octets) IS NOT
                 (SELECT count(*), coalesce(sum(m.octets), 0) FROM messages m
                      WHERE m.mailbox = b.id)",
        ),
        (
            "messages without a mailbox",
            "SELECT count(*) FROM messages WHERE mailbox NOT IN (SELECT id FROM mailboxes)",
        ),
        (
            "messages without a body",
            "SELECT count(*) FROM messages WHERE body NOT IN (SELECT id FROM bodies)",
        ),
        (
            "bodies that no message has",
            "SELECT count(*) FROM bodies WHERE id NOT IN (SELECT body FROM messages)",
        ),
        (
            "parts of no body",
            "SELECT count(*) FROM body_parts WHERE body NOT IN (SELECT id FROM bodies)",
        ),
        (
            "messages of another size than they say",
            "SELECT count(*) FROM messages m JOIN bodies b ON b.id = m.body
                 WHERE m.octets IS NOT length(m.header) + b.octets",
        ),
        (
            "bodies of another size than they say",
            "SELECT count(*) FROM bodies b WHERE b.octets IS NOT coalesce(length(b.content),
                 (SELECT sum(length(p.content)) FROM body_parts p WHERE p.body = b.id))",
        ),
    ] {
        let count = number(connection, query);
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    faults
}

#[track_caller]
pub(crate) fn assert_whole(path: &Path) {
    assert_eq!(faults(&foreign(path)), [""; 0]);
}

pub(crate) fn mailbox(name: &str) -> Mailbox {
    Mailbox::new(MailboxName::new(name).unwrap(), IfMissing::Create)
}

pub(crate) fn known_mailbox(name: &str) -> Mailbox {
    Mailbox::new(MailboxName::new(name).unwrap(), IfMissing::Refuse)
}

pub(crate) fn shared(body: Body) -> Arc<Message> {
    Arc::new(Message::new(Timestamp::now_utc(), "s@example.net".to_owned(), false, body))
}

pub(crate) type Answers = Arc<Mutex<Vec<Option<Result<DeliveryId, DeliveryError>>>>>;

/// Deliveries of one message, and their answers.
pub(crate) fn deliveries(
    message: &Arc<Message>,
    mailboxes: &[Mailbox],
) -> (Vec<Delivery>, Answers) {
    let answers: Answers = Arc::new(Mutex::new(mailboxes.iter().map(|_| None).collect()));
    let made = mailboxes.iter().enumerate().map(|(at, mailbox)| {
        let answers = Arc::clone(&answers);
        Delivery::new(
            Arc::clone(message),
            mailbox.clone(),
            mailbox.name().to_string(),
            HEADER.to_vec(),
            Arc::default(),
            Box::new(move |result| answers.lock().unwrap()[at] = Some(result)),
        )
    });
    (made.collect(), answers)
}

pub(crate) fn delivery(mailbox: Mailbox, body: &[u8], fate: Arc<Fate>) -> Delivery {
    let recipient = mailbox.name().to_string();
    let message = shared(Body::in_memory(body.to_vec()));
    Delivery::new(message, mailbox, recipient, HEADER.to_vec(), fate, Box::new(|_| {}))
}

/// Delivers a short message.
pub(crate) fn deliver(store: &Sqlite, mailbox: Mailbox) -> Result<DeliveryId, DeliveryError> {
    store.deliver(&delivery(mailbox, b"Subject: x\r\n\r\ntext\r\n", Arc::default()))
}

/// Delivers a message as the pool does it.
pub(crate) fn deliver_prepared(
    store: &Sqlite,
    mailbox: Mailbox,
    body: Body,
) -> Result<DeliveryId, DeliveryError> {
    let message = shared(body);
    let prepared = store.prepare(&message, &[&mailbox])?;
    let recipient = mailbox.name().to_string();
    let answer = Box::new(|_| {});
    store.deliver(
        &Delivery::new(message, mailbox, recipient, HEADER.to_vec(), Arc::default(), answer)
            .with_prepared(prepared),
    )
}

/// A body that does not lie in memory, as a spooled one.
pub(crate) struct Spooled(pub(crate) Vec<u8>);

impl Octets for Spooled {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        rest.read(buffer)
    }
}

pub(crate) fn spooled(octets: Vec<u8>) -> Body {
    let count = octets.len() as u64;
    Body::elsewhere(Spooled(octets), count)
}

/// So many octets that do not repeat within the message.
pub(crate) fn octets(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        })
        .collect()
}

/// Whether a program is here. Where not, the test is to return, and says so; under
/// `CI=true` it fails instead.
pub(crate) fn has(program: &str) -> bool {
    let is_here = Command::new(program).arg("-V").output().is_ok();
    assert!(is_here || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no {program}");
    if !is_here {
        // Not `eprintln!`, which the test runner keeps to itself.
        let _ = writeln!(io::stderr(), "SKIPPED a test of postino-sqlite: {program} is missing");
    }
    is_here
}

/// Runs a script with Python's own SQLite on the database; gives what it prints.
pub(crate) fn python(path: &Path, script: &str) -> String {
    let preamble = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n";
    let output = Command::new("python3")
        .arg("-c")
        .arg(format!("{preamble}{script}\n"))
        .arg(path)
        .output()
        .expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The commits that stand in the log: frames that say the database's size.
pub(crate) fn commits_in_log(path: &Path) -> usize {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = std::fs::read(log).unwrap();
    let frames = log.get(32..).unwrap_or_default().chunks(4096 + 24);
    frames.filter(|frame| frame.get(4..8).is_some_and(|size| size != [0; 4])).count()
}
