//! SIGTERM and SIGHUP.

use crate::{
    client::{Client, serve},
    daemon::{Daemon, until},
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

const SHUTTING_DOWN: &str = "421 4.3.2 mx.example.org Shutting down";

#[test]
fn at_sigterm_an_idle_session_and_one_within_data_get_421_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let (mut idle, mut busy) =
        (Client::connect(daemon.address()), Client::connect(daemon.address()));
    idle.open();
    busy.open();
    busy.open_data("a@example.org");
    busy.say("half a message\r\n");
    signal(&daemon, Signal::TERM);
    for client in [&mut idle, &mut busy] {
        let lines = client.rest();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(SHUTTING_DOWN), "{lines:?}");
    }
    until(|| daemon.log(), || daemon.log().ends_with("stopped"));
    assert!(!folder.path().join("mail/a@example.org").exists());
}

#[test]
fn at_sigterm_who_was_told_of_a_delivery_may_still_say_quit() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let (mut quits, mut goes_on, mut waits) = (
        Client::connect(daemon.address()),
        Client::connect(daemon.address()),
        Client::connect(daemon.address()),
    );
    for client in [&mut quits, &mut goes_on, &mut waits] {
        client.open();
        assert!(client.send("a@example.org").starts_with("250 2.0.0 "));
    }
    signal(&daemon, Signal::TERM);
    until(|| daemon.log(), || daemon.log().contains("shutting down"));
    quits.say("QUIT\r\n");
    assert_eq!(quits.rest(), ["221 2.0.0 mx.example.org Bye"]);
    goes_on.say("MAIL FROM:<>\r\n");
    assert!(goes_on.line().starts_with(SHUTTING_DOWN));
    // Who says nothing is not waited for longer than a second.
    assert!(waits.line().starts_with(SHUTTING_DOWN));
    drop((goes_on, waits));
    until(|| daemon.log(), || daemon.log().ends_with("stopped"));
}

#[test]
fn at_sighup_new_sessions_have_new_settings_and_open_ones_are_unbroken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postino.toml");
    let write = |size: &str, workers: u32| {
        let store = folder.path().join("mail");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nusers = \"any\"\nhostname = \"mx\"\nstore = \"maildir:{}\"\n\
             max-message-size = {size}\nworkers = {workers}\n",
            store.display()
        );
        fs::write(&file, text).unwrap();
    };
    write("1000", 3);
    let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
    let size = || {
        let mut client = Client::connect(daemon.address());
        client.say("LHLO c\r\n");
        (client.until("250 SIZE"), client)
    };
    let (old, mut open) = size();
    assert_eq!(old, "250 SIZE 1000");

    write("\"nonsense\"", 3);
    signal(&daemon, Signal::HUP);
    until(|| daemon.log(), || daemon.log().contains("the old settings stay"));
    assert!(daemon.log().contains("postino.toml:5:1: max-message-size"), "{}", daemon.log());
    assert_eq!(size().0, "250 SIZE 1000");

    write("1001", 4);
    signal(&daemon, Signal::HUP);
    until(|| daemon.log(), || daemon.log().contains("reloaded"));
    assert!(daemon.log().contains("workers has changed, which only a restart brings"));
    until(|| daemon.log(), || size().0 == "250 SIZE 1001");
    open.say("LHLO c\r\n");
    assert_eq!(open.until("250 SIZE"), "250 SIZE 1000");
    assert!(open.send("a@example.org").starts_with("250 2.0.0 "));
    daemon.stop();
}

#[test]
fn at_the_end_of_a_drain_who_is_logged_as_delivered_was_told_so() {
    const CLIENTS: usize = 6;
    const RECIPIENTS: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--drain-timeout=1"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(daemon.address())).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let recipients: Vec<String> =
            (0..RECIPIENTS).map(|m| format!("RCPT TO:<u{n}-{m}@x>\r\n")).collect();
        client.open();
        client.say(format!("MAIL FROM:<>\r\n{}DATA\r\n", recipients.concat()));
        client.until("354 ");
        client.say("x\r\n.\r\n");
    }
    // Who is still within DATA would get the 421 alone.
    let has_begun = |n: usize| daemon.log().contains(&format!("to=<u{n}-"));
    until(|| daemon.log(), || (0..CLIENTS).all(has_begun));
    signal(&daemon, Signal::TERM);
    let mut told = 0;
    for client in &mut clients {
        let lines = client.rest();
        let replies = lines.iter().filter(|line| !line.starts_with("421 ")).count();
        assert_eq!(replies, RECIPIENTS, "one reply for each recipient: {:?}", lines.last());
        told += lines.iter().filter(|line| line.starts_with("250 2.0.0 ")).count();
    }
    drop(clients);
    until(|| daemon.log(), || daemon.log().ends_with("stopped"));
    let log = daemon.log();
    let delivered = log.lines().filter(|line| line.starts_with("delivered ")).count();
    // What was dropped of the log is said there.
    assert!(!log.contains("lines dropped"), "{log}");
    assert_eq!(delivered, told);
}
