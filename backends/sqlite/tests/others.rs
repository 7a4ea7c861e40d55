//! Other processes at the database: they read and delete while postino runs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    HEADER, Place, assert_whole, deliver, deliver_prepared, deliveries, foreign, has, mailbox,
    number, octets, python, shared, spooled,
};
use postino_store::{Body, DeliveryError, IfMissing, MailStore, Mailbox};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// A Python that keeps a transaction open until it is told to end.
struct Holder(Child);

impl Holder {
    fn new(path: &Path, statements: &str) -> Self {
        let script = format!(
            "import sqlite3, sys\n\
             db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
             {statements}\n\
             print('held', flush=True)\n\
             sys.stdin.readline()\n\
             db.execute('ROLLBACK')\n"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }

    fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn counters_and_bodies_are_right_after_others_delete() {
    if !has("python3") {
        return;
    }
    let place = Place::new();
    let store = place.open();
    let (small, large) = (octets(1, 1_000), octets(2, 300_000));
    for name in ["alice@example.org", "bob@example.org"] {
        for body in [&small, &large, &octets(3, 50)] {
            deliver_prepared(&store, mailbox(name), spooled(body.clone())).unwrap();
        }
    }
    let list = "print(db.execute('SELECT name, messages, octets FROM mailboxes ORDER BY name')\
                .fetchall(), db.execute('SELECT count(*) FROM bodies').fetchone()[0], \
                db.execute('SELECT count(*) FROM body_parts').fetchone()[0])";
    let header = HEADER.len();
    let all = 1_000 + 300_000 + 50 + 3 * header;
    assert_eq!(
        python(&place.path(), list),
        format!("[('alice@example.org', 3, {all}), ('bob@example.org', 3, {all})] 3 5")
    );
    let delete = "db.execute(\"DELETE FROM messages WHERE octets > 100000 AND mailbox = \
                  (SELECT id FROM mailboxes WHERE name = ?)\", (name,)); db.commit()";
    let rest = all - 300_000 - header;
    assert_eq!(
        python(&place.path(), &format!("name = 'alice@example.org'\n{delete}\n{list}")),
        format!("[('alice@example.org', 2, {rest}), ('bob@example.org', 3, {all})] 3 5")
    );
    // The last message of the large body.
    assert_eq!(
        python(&place.path(), &format!("name = 'bob@example.org'\n{delete}\n{list}")),
        format!("[('alice@example.org', 2, {rest}), ('bob@example.org', 2, {rest})] 2 0")
    );
    // Moving, flags, and a whole mailbox.
    let script = "db.execute(\"UPDATE messages SET flags = 'S', mailbox = (SELECT id FROM mailboxes \
                  WHERE name = 'bob@example.org') WHERE octets < 500\")\n\
                  db.execute(\"DELETE FROM mailboxes WHERE name = 'alice@example.org'\")\n\
                  db.commit()";
    let (three, message) = (1_000 + 2 * 50 + 3 * header, 1_000 + header);
    assert!(message < three);
    assert_eq!(
        python(&place.path(), &format!("{script}\n{list}")),
        format!("[('bob@example.org', 3, {three})] 2 0")
    );
    deliver(&store, mailbox("alice@example.org")).unwrap();
    assert_whole(&place.path());
}

#[test]
fn a_foreign_writers_lock_is_told_at_once_and_nothing_is_lost() {
    if !has("python3") {
        return;
    }
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let holder = Holder::new(&place.path(), "db.execute('BEGIN IMMEDIATE')");
    let began = Instant::now();
    let refused = deliver(&store, mailbox("alice@example.org")).unwrap_err();
    assert!(matches!(refused, DeliveryError::Locked { holder: None }), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Looking up takes no lock; writing ahead waits a little, and is no failure.
    store
        .admit(&Mailbox::new(mailbox("alice@example.org").name().clone(), IfMissing::Refuse), None)
        .unwrap();
    let message = shared(spooled(octets(1, 1 << 20)));
    let prepared = store.prepare(&message, &[]).unwrap();
    let (batch, answers) = common::deliveries(&message, &[mailbox("bob@example.org")]);
    let batch: Vec<_> =
        batch.into_iter().map(|each| each.with_prepared(prepared.clone())).collect();
    store.deliver_batch(&batch);
    assert!(matches!(batch[0].take_locked(), Some(DeliveryError::Locked { .. })));
    assert!(answers.lock().unwrap()[0].is_none());
    holder.end();
    store.deliver_batch(&batch);
    assert!(matches!(answers.lock().unwrap()[0], Some(Ok(_))));
    assert_whole(&place.path());
    // Another's reading stands in nobody's way.
    let holder =
        Holder::new(&place.path(), "db.execute('BEGIN'); db.execute('SELECT 1 FROM messages')");
    deliver(&store, mailbox("alice@example.org")).unwrap();
    holder.end();
}

#[test]
fn a_schema_that_others_change_is_refused_until_it_is_as_before() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    for (change, undo, named) in [
        (
            "CREATE TRIGGER spy AFTER INSERT ON messages BEGIN \
                 DELETE FROM messages WHERE id <> NEW.id; END",
            "DROP TRIGGER spy",
            "trigger \"spy\"",
        ),
        ("CREATE TABLE notes (text)", "DROP TABLE notes", "table \"notes\""),
        (
            "DROP INDEX messages_by_body",
            "CREATE INDEX messages_by_body ON messages (body)",
            "no INDEX messages_by_body",
        ),
        ("ALTER TABLE messages ADD COLUMN colour TEXT", "", "table \"messages\""),
    ] {
        let other = foreign(&place.path());
        other.execute_batch(change).unwrap();
        let before = number(&other, "PRAGMA data_version");
        for result in [
            deliver(&store, mailbox("alice@example.org")).map(drop),
            store.admit(&mailbox("alice@example.org"), None),
            place.store().open(),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, DeliveryError::Misconfigured(_)), "{error:?}");
            assert!(error.to_string().contains(named), "{error}");
        }
        assert_eq!(number(&other, "PRAGMA data_version"), before, "it was written");
        if !undo.is_empty() {
            other.execute_batch(undo).unwrap();
            deliver(&store, mailbox("alice@example.org")).unwrap();
            store.admit(&mailbox("alice@example.org"), None).unwrap();
        }
    }
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 4);
}

#[test]
fn others_may_vacuum_and_analyze() {
    if !has("python3") {
        return;
    }
    let place = Place::new();
    let store = place.open();
    for seed in 0..5 {
        deliver_prepared(&store, mailbox("alice@example.org"), spooled(octets(seed, 300_000)))
            .unwrap();
    }
    python(
        &place.path(),
        "db.execute('DELETE FROM messages WHERE id > (SELECT min(id) FROM messages)'); db.commit(); db.execute('ANALYZE'); db.commit(); db.execute('VACUUM')",
    );
    deliver(&store, mailbox("alice@example.org")).unwrap();
    place.store().open().unwrap();
    assert_whole(&place.path());
}

#[test]
fn a_newer_version_that_comes_while_running_is_refused() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    foreign(&place.path()).pragma_update(None, "user_version", 2).unwrap();
    for _ in 0..2 {
        let error = deliver(&store, mailbox("alice@example.org")).unwrap_err();
        assert!(matches!(error, DeliveryError::Misconfigured(_)), "{error:?}");
        assert!(error.to_string().contains("a newer postino made it"), "{error}");
        let error = store.admit(&mailbox("alice@example.org"), None).unwrap_err();
        assert!(matches!(error, DeliveryError::Misconfigured(_)), "{error:?}");
    }
}

#[test]
fn the_log_is_checkpointed_by_upkeep_and_begins_anew() {
    if !has("python3") {
        return;
    }
    let place = Place::new();
    let store = place.open();
    let log = || {
        let mut path = place.path().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).unwrap().len()
    };
    let fill = |seed| {
        let body = Body::in_memory(octets(seed, 200_000));
        deliver_prepared(&store, mailbox("alice@example.org"), body).unwrap();
    };
    assert!(!store.wants_upkeep());
    (0..25).for_each(fill);
    assert!(store.wants_upkeep());
    store.upkeep();
    fill(100);
    assert!(!store.wants_upkeep());
    let settled = log();
    for seed in 200..260 {
        fill(seed);
        if store.wants_upkeep() {
            store.upkeep();
        }
    }
    assert!(log() < 2 * settled, "{} after {settled}", log());

    // As long as somebody reads, it grows; upkeep is not asked for all the time.
    let holder = Holder::new(
        &place.path(),
        "db.execute('BEGIN'); db.execute('SELECT count(*) FROM messages').fetchone()",
    );
    let mut upkeeps = 0;
    for seed in 300..360 {
        fill(seed);
        if store.wants_upkeep() {
            store.upkeep();
            upkeeps += 1;
        }
    }
    assert!((1..=4).contains(&upkeeps), "{upkeeps} upkeeps");
    holder.end();
    assert_whole(&place.path());
}

/// What the store logs.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_long_reader_that_makes_the_log_grow_is_told_of() {
    if !has("python3") {
        return;
    }
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let place = Place::new();
    let store = place.open();
    let told = || {
        let lines = LINES.0.lock().unwrap();
        let of = format!("write-ahead log of {} has ", place.path().display());
        lines.iter().filter(|line| line.starts_with(&of)).count()
    };
    let mut body = octets(1, 8 << 20);
    let mut deliver = |n: u8| {
        body[0] = n;
        deliver_prepared(&store, mailbox("alice@example.org"), spooled(body.clone())).unwrap();
        store.upkeep();
    };
    (0..9).for_each(&mut deliver);
    assert_eq!(told(), 0, "nobody reads");
    let holder = Holder::new(
        &place.path(),
        "db.execute('BEGIN'); db.execute('SELECT count(*) FROM messages').fetchone()",
    );
    (10..20).for_each(&mut deliver);
    assert_eq!(told(), 1, "{:?}", LINES.0.lock().unwrap());
    holder.end();
}

#[test]
fn what_a_foreign_writers_lock_has_left_is_removed_by_upkeep() {
    let place = Place::new();
    let store = place.open();
    let database = foreign(&place.path());
    let prepare = |seed| {
        let message = shared(spooled(octets(seed, 1 << 20)));
        let prepared = store.prepare(&message, &[]).unwrap();
        (message, prepared)
    };
    let bodies = || number(&database, "SELECT count(*) FROM bodies");
    let leave = |what| {
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        drop(what);
        store.upkeep();
        assert!(store.wants_upkeep(), "it has forgotten what it left");
        database.execute_batch("COMMIT").unwrap();
    };
    let (message, prepared) = prepare(1);
    assert!(!store.wants_upkeep());
    leave(prepare(2));
    assert_eq!(bodies(), 2);
    store.upkeep();
    assert!(!store.wants_upkeep());
    assert_eq!(bodies(), 1);
    // Where no batch ends, the next large message does it.
    leave(prepare(3));
    drop(prepare(4));
    assert!(!store.wants_upkeep());
    assert_eq!(bodies(), 1);
    // Which is still needed.
    let (batch, answers) = deliveries(&message, &[mailbox("a@example.org")]);
    let batch: Vec<_> =
        batch.into_iter().map(|each| each.with_prepared(prepared.clone())).collect();
    store.deliver_batch(&batch);
    assert!(matches!(answers.lock().unwrap()[0], Some(Ok(_))));
    drop((batch, prepared));
    assert_eq!(number(&database, "SELECT max(id) FROM bodies"), 1);
    assert_whole(&place.path());
}
