//! The whole program with a store that is a SQLite database, which another
//! program reads, locks and deletes from meanwhile.

use crate::{
    client::Client,
    daemon::{Daemon, postino, until},
    program::{all_here, bounded, succeed},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

/// Runs a script with Python's own SQLite; gives what it prints.
fn python(database: &Path, script: &str) -> String {
    let script = format!("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n{script}");
    let output = succeed(bounded("python3").args(["-c", &script]).arg(database));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn serve(database: &Path, flags: &[&str]) -> Daemon {
    let store = format!("--store=sqlite:{}", database.display());
    let mut all = vec!["--listen=127.0.0.1:0", "--hostname=mx.example.org", &store];
    all.extend(flags);
    Daemon::start(&all)
}

/// The ids of a message's copies.
fn send(client: &mut Client<std::net::TcpStream>, to: &[&str], text: &str) -> Vec<String> {
    client.say("MAIL FROM:<bob@example.net>\r\n");
    client.until("250 2.1.0 ");
    for to in to {
        client.say(format!("RCPT TO:<{to}>\r\n"));
        client.until("250 2.1.5 ");
    }
    client.say("DATA\r\n");
    client.until("354 ");
    client.say(format!("{text}.\r\n"));
    let replies = to.iter().map(|_| client.line());
    replies.map(|reply| reply.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
}

#[test]
fn messages_are_stored_in_a_database_that_others_read_and_delete_from() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("lib/mail.db");
    let url = format!("sqlite:{}", database.display());
    let made = Command::new(postino()).args(["init", &url, "alice@d", "carol@d"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");

    let daemon = serve(&database, &["--users=store", "--require-marker", "--lock-wait=1s"]);
    let mut client = Client::connect(daemon.address());
    client.open();
    // Over 256 KiB: from the spool into parts.
    let line = format!("{}\r\n", "7 octets".repeat(9));
    let large = format!("Subject: large\r\n\r\n{}", line.repeat(10_000));
    let ids = send(&mut client, &["alice@d", "Carol+x@d"], &large);
    let ids: Vec<_> = ids.into_iter().chain(send(&mut client, &["alice@d"], "\r\nx\r\n")).collect();
    client.say("MAIL FROM:<>\r\nRCPT TO:<nobody@d>\r\n");
    client.until("550 5.1.1 ");

    let listed = python(
        &database,
        "for row in db.execute('SELECT m.id, b.name, m.recipient, m.reverse_path FROM messages m \
         JOIN mailboxes b ON b.id = m.mailbox ORDER BY m.id'): print(*row)",
    );
    let mut wanted: Vec<_> = ids
        .iter()
        .zip(["alice@d alice@d", "carol@d Carol+x@d", "alice@d alice@d"])
        .map(|(id, names)| format!("{id} {names} bob@example.net"))
        .collect();
    wanted.sort();
    assert_eq!(listed.lines().collect::<Vec<_>>(), wanted);
    let read = python(
        &database,
        &format!(
            "header, body = db.execute('SELECT header, body FROM messages WHERE id = ?', \
             ('{}',)).fetchone()\n\
             parts = db.execute('SELECT content FROM body_parts WHERE body = ? ORDER BY part', \
             (body,))\n\
             sys.stdout.buffer.write(header + b''.join(part for part, in parts))",
            ids[1]
        ),
    );
    let (header, rest) = read.split_once("Subject: large").unwrap();
    assert!(header.starts_with("Return-Path: <bob@example.net>\r\n"), "{header}");
    assert!(header.contains("\r\nDelivered-To: Carol+x@d\r\n"), "{header}");
    assert!(large.ends_with(&format!("{rest}\r\n")), "the body is not as it was sent");

    // A lock that is held too long is 450; no 250 was for nothing.
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.readline()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(&database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    client.say("RSET\r\n");
    client.until("250 ");
    let reply = client.send("carol@d");
    assert!(reply.starts_with("450 4.2.0 "), "{reply}");
    holder.stdin.take().unwrap().write_all(b"\n").unwrap();
    holder.wait().unwrap();
    assert!(client.send("carol@d").starts_with("250 2.0.0 "));

    let counted = python(
        &database,
        "db.execute('DELETE FROM messages WHERE octets > 100000'); db.commit()\n\
         print(db.execute('SELECT name, messages FROM mailboxes ORDER BY name').fetchall(), \
         *db.execute('SELECT count(*) FROM body_parts').fetchone(), \
         *db.execute('PRAGMA integrity_check').fetchone())",
    );
    assert_eq!(counted, "[('alice@d', 1), ('carol@d', 1)] 0 ok");
    daemon.stop();
}

#[test]
fn a_database_that_is_not_postinos_ends_the_start() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("other.db");
    python(&database, "db.execute('CREATE TABLE t (a)')");
    let store = format!("--store=sqlite:{}", database.display());
    let output = Command::new(postino())
        .args(["serve", "--listen=127.0.0.1:0", "--users=any", &store])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && log.contains("it is not postino's"), "{log}");
}

#[test]
fn a_database_that_goes_while_running_is_451_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("mail.db");
    let daemon = serve(&database, &["--users=any"]);
    assert!(daemon.log().contains("is a new database"));
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("a@d").starts_with("250 2.0.0 "));
    let files = ["mail.db", "mail.db-wal", "mail.db-shm"];
    let rename = |from: &str, to: &str| {
        for file in files {
            let (from, to) = (format!("{from}{file}"), format!("{to}{file}"));
            std::fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
        }
    };
    rename("", "away-");
    client.say("MAIL FROM:<>\r\nRCPT TO:<a@d>\r\n");
    client.until("451 4.3.0 ");
    assert!(!database.exists());
    rename("away-", "");
    client.say("RSET\r\n");
    client.until("250 ");
    assert!(client.send("a@d").starts_with("250 2.0.0 "));
    until(|| "for the log".to_owned(), || daemon.log().contains("there is no database"));
    daemon.stop();
}
