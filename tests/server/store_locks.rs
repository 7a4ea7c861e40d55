//! Stores whose lock another program holds and never gives back: it is stopped.
//!
//! Lives here: the holders, each a Python of its own.
//! May not: know how a store locks; only what other programs do.

use crate::{
    client::Client,
    daemon::{Daemon, until},
    program::all_here,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const LOCK_WAIT: Duration = Duration::from_secs(2);

/// When the reply comes: clocks are read at both ends, and a machine may be busy.
const REPLY: Range<Duration> = Duration::from_millis(1_900)..Duration::from_secs(10);

/// The lock of fcntl(2), on the whole file.
const FCNTL: &str = "
import fcntl
file = open(path, 'r+b')
fcntl.lockf(file, fcntl.LOCK_EX)";

/// A lock file that says whose it is, and where that runs.
const DOTLOCK: &str = "
import os
lock = os.open(path + '.lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
boot = open('/proc/sys/kernel/random/boot_id').read().strip()
os.write(lock, f'{os.getpid()}\\nhost={os.uname().nodename}\\nboot={boot}\\n\
pids={os.readlink(\"/proc/self/ns/pid\")}\\n'.encode())";

/// The database's write lock.
#[cfg(feature = "sqlite")]
const TRANSACTION: &str = "
import sqlite3
database = sqlite3.connect(path, isolation_level=None)
database.execute('BEGIN IMMEDIATE')";

/// A process that holds a lock and is stopped; killed when dropped.
struct Holder(Child);

impl Holder {
    fn stopped(statements: &str, path: &Path) -> Self {
        let script = format!(
            "import sys\npath = sys.argv[1]\n{statements}\nprint('held', flush=True)\ninput()"
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
        let holder = Self(child);
        assert_eq!(line, "held\n");
        kill_process(Pid::from_child(&holder.0), Signal::STOP).unwrap();
        let state = format!("/proc/{}/stat", holder.0.id());
        until(
            || "for the holder to be stopped".to_owned(),
            || fs::read_to_string(&state).unwrap().contains(") T "),
        );
        holder
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(store: &str) -> Daemon {
    let wait = format!("--lock-wait={}s", LOCK_WAIT.as_secs());
    let store = format!("--store={store}");
    let hostname = "--hostname=mx.example.org";
    Daemon::start(&["--listen=127.0.0.1:0", "--users=any", hostname, &wait, &store])
}

fn connect(daemon: &Daemon) -> Client<TcpStream> {
    let mut client = Client::connect(daemon.address());
    client.open();
    client
}

#[track_caller]
fn assert_about_lock_wait(waited: Duration) {
    assert!(REPLY.contains(&waited), "the reply took {waited:?}");
}

/// One mailbox's file is held; the others are free; the end of the holder frees it.
fn mbox_is_450_while_held_by(lock: &str) {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    let daemon = serve(&format!("mbox:{}/%n", mail.display()));
    let (mut client, mut other) = (connect(&daemon), connect(&daemon));
    assert!(client.send("alice@example.org").starts_with("250 "));

    let holder = Holder::stopped(lock, &mail.join("alice"));
    client.open_data("alice@example.org");
    let began = Instant::now();
    client.say("Subject: x\r\n\r\ntext\r\n.\r\n");
    for recipient in ["bob", "carol", "dave"].repeat(3) {
        let reply = other.send(&format!("{recipient}@example.org"));
        assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    }
    let others = began.elapsed();
    assert!(others < LOCK_WAIT, "the other mailboxes took {others:?}");
    let reply = client.line();
    assert!(reply.starts_with("450 4.2.0 "), "{reply}");
    assert_about_lock_wait(began.elapsed());
    let (seconds, pid) = (LOCK_WAIT.as_secs(), holder.pid());
    let line = format!("locked: alice@example.org held {seconds} s by pid {pid} (");
    until(|| format!("for {line:?} in\n{}", daemon.log()), || daemon.log().contains(&line));

    drop(holder);
    let reply = client.send("alice@example.org");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    drop((client, other));
    daemon.stop();
    let text = fs::read_to_string(mail.join("alice")).unwrap();
    assert_eq!(text.matches("\nSubject: x\n").count(), 2, "{text}");
    assert!(!mail.join("alice.lock").exists());
}

#[test]
fn a_stopped_holder_of_an_mboxs_fcntl_lock_is_450_after_the_lock_wait() {
    mbox_is_450_while_held_by(FCNTL);
}

#[test]
fn a_stopped_holder_of_an_mboxs_dotlock_is_450_after_the_lock_wait() {
    mbox_is_450_while_held_by(DOTLOCK);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_stopped_writer_of_the_database_is_450_after_the_lock_wait() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("mail.db");
    let daemon = serve(&format!("sqlite:{}", database.display()));
    let mut client = connect(&daemon);
    assert!(client.send("alice@example.org").starts_with("250 "));

    let holder = Holder::stopped(TRANSACTION, &database);
    client.open_data("alice@example.org");
    let began = Instant::now();
    client.say("Subject: x\r\n\r\ntext\r\n.\r\n");
    let reply = client.line();
    assert!(reply.starts_with("450 4.2.0 "), "{reply}");
    assert_about_lock_wait(began.elapsed());
    let line = format!("locked: alice@example.org held {} s by ", LOCK_WAIT.as_secs());
    until(|| format!("for {line:?} in\n{}", daemon.log()), || daemon.log().contains(&line));

    drop(holder);
    let reply = client.send("alice@example.org");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    drop(client);
    daemon.stop();
}
