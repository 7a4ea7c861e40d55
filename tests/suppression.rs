//! Suppression of duplicates, by the whole program and with each store: clients
//! that are cut off between the final dot and the reply.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "suppression/cutting_proxy.rs"]
mod cutting_proxy;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

use client::Client;
use cutting_proxy::{Cut, CuttingProxy};
use daemon::{Daemon, PATIENCE, Store};
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

fn serve(store: &str, flags: &[&str]) -> Daemon {
    let store = format!("--store={store}");
    let mut all = vec!["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", &store];
    all.extend(flags);
    Daemon::start(&all)
}

const ON: &[&str] = &["--suppress-duplicates=24h"];

fn message(number: usize) -> String {
    format!("Subject: number {number}.\r\n\r\ntext\r\n.\r\n")
}

/// Sends until it is stored, as a client with a queue does; gives the reply.
fn send_until_stored(address: &str, to: &str, message: &str) -> String {
    let start = Instant::now();
    loop {
        let mut client = Client::connect(address);
        client.open();
        client.open_data(to);
        client.say(message);
        let reply = client.line();
        if reply.starts_with("250 ") {
            return reply;
        }
        assert!(reply.starts_with("451 4.3.0 ") && start.elapsed() < PATIENCE, "{reply}");
        // The client's own waiting, much shortened.
        thread::sleep(Duration::from_millis(5));
    }
}

/// Messages of all numbers are sent through a proxy that cuts, then again; `copies`
/// counts.
fn one_copy_each(store: &str, copies: impl Fn(usize) -> usize) {
    let daemon = serve(store, ON);
    for number in 0..12 {
        let cut = if number % 2 == 0 { Cut::AtTheDot } else { Cut::InPlaceOfTheReply };
        let proxy = CuttingProxy::before(daemon.address(), cut);
        let mut client = Client::<TcpStream>::connect(proxy.address());
        client.open();
        client.open_data("alice@example.org");
        client.say(message(number));
        assert!(client.rest().is_empty(), "no reply came through");
        proxy.join();
        let reply = send_until_stored(daemon.address(), "alice@example.org", &message(number));
        let again = send_until_stored(daemon.address(), "alice@example.org", &message(number));
        assert_eq!(reply, again, "the id is the first copy's");
    }
    daemon.stop();
    // Nothing is forgotten at a restart.
    let daemon = serve(store, ON);
    send_until_stored(daemon.address(), "alice@example.org", &message(3));
    daemon::until(|| daemon.log(), || daemon.log().contains("no second copy"));
    daemon.stop();
    for number in 0..12 {
        assert_eq!(copies(number), 1, "of message {number}");
    }
    is_nothing_strange_to_verify(store);
}

/// What postino keeps beside its mail is no stray.
fn is_nothing_strange_to_verify(store: &str) {
    if cfg!(feature = "tools") {
        let mut verify = Command::new(daemon::postino());
        let output = verify.args(["verify", "--store", store]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains(" 0 stray"), "{output:?}");
    }
}

fn holds(text: &[u8], number: usize) -> usize {
    String::from_utf8_lossy(text).matches(&format!("Subject: number {number}.")).count()
}

fn count(store: &Store, mailbox: &str, number: usize) -> usize {
    store.messages(mailbox).iter().map(|message| holds(message, number)).sum()
}

#[cfg(feature = "maildir")]
#[test]
fn a_message_sent_again_after_a_cut_has_one_copy_in_a_maildir() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::below(folder.path());
    one_copy_each(&store.url(), |number| count(&store, "alice@example.org", number));
}

#[cfg(feature = "mbox")]
#[test]
fn a_message_sent_again_after_a_cut_has_one_copy_in_an_mbox() {
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    one_copy_each(&format!("mbox:{}", mail.display()), |number| {
        holds(&fs::read(mail.join("alice@example.org")).unwrap(), number)
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn a_message_sent_again_after_a_cut_has_one_copy_in_a_database() {
    if !program::all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("mail.db");
    one_copy_each(&format!("sqlite:{}", database.display()), |number| copies_in(&database, number));
}

/// Counts messages, not bodies, of which there is one however many refer to it.
#[cfg(feature = "sqlite")]
fn copies_in(database: &Path, number: usize) -> usize {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        print(db.execute('SELECT count(*) FROM messages m JOIN bodies b ON b.id = m.body WHERE \
        instr(CAST(b.content AS TEXT), ?)', ['number ' + sys.argv[2] + '.']).fetchone()[0])";
    let mut python = program::bounded("python3");
    let output =
        program::succeed(python.args(["-c", script]).arg(database).arg(number.to_string()));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[cfg(feature = "maildir")]
#[test]
fn the_same_recipient_twice_has_one_copy_with_suppression_and_two_without() {
    for (flags, expected) in [(ON, 1), (&["--suppress-duplicates=off"], 2), (&[], 2)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::below(folder.path());
        let daemon = serve(&store.url(), flags);
        let mut client = Client::<TcpStream>::connect(daemon.address());
        client.open();
        client.say("MAIL FROM:<>\r\nRCPT TO:<bob@d>\r\nRCPT TO:<Bob@D>\r\nDATA\r\n");
        client.until("354 ");
        client.say(message(1));
        let replies = [client.line(), client.line()];
        assert!(replies.iter().all(|reply| reply.starts_with("250 2.0.0 ")), "{replies:?}");
        assert_eq!(replies[0] == replies[1], expected == 1, "{replies:?}");
        assert_eq!(count(&store, "bob@d", 1), expected, "{flags:?}");
        daemon.stop();
    }
}

#[cfg(feature = "maildir")]
#[test]
fn once_the_window_is_over_the_same_message_is_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::below(folder.path());
    let daemon = serve(&store.url(), &["--suppress-duplicates=1s"]);
    let send = || send_until_stored(daemon.address(), "bob@d", &message(1));
    let first = send();
    daemon::until(|| daemon.log(), || send() != first);
    assert_eq!(count(&store, "bob@d", 1), 2);
    daemon.stop();
}
