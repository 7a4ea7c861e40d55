//! Filing by header, by the whole program: rules in the config file, and their
//! reload.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;

use client::Client;
use daemon::{Daemon, until};
use std::{fs, net::TcpStream, path::Path};

fn configure(folder: &Path, rules: &str) -> String {
    let file = folder.join("postino.toml");
    let store = folder.join("mail/%n");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nusers = \"any\"\nhostname = \"mx\"\nstore = \"maildir:{}\"\n{rules}",
        store.display()
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const RULES: &str = "[[file]]\nheader = \"X-Spam-Flag\"\nvalue = \"yes*\"\nfolder = \"Junk\"\n\
    [[file]]\nheader = \"List-Id\"\nvalue = \"*\"\nfolder = \"Lists/all\"\n";

/// The mailbox that a message goes to, as the log says.
#[track_caller]
fn mailbox_of(daemon: &Daemon, client: &mut Client<TcpStream>, message: &str) -> String {
    client.open_data("alice@example.org");
    client.say(format!("{message}.\r\n"));
    let reply = client.line();
    let id = reply.strip_prefix("250 2.0.0 ").and_then(|rest| rest.split(' ').next());
    let id = format!(" id={} ", id.unwrap_or_else(|| panic!("{reply}")));
    let line = || daemon.log().lines().find(|line| line.contains(&id)).map(str::to_owned);
    until(|| daemon.log(), || line().is_some());
    let line = line().unwrap();
    line.split(" mailbox=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned()
}

fn connect(daemon: &Daemon) -> Client<TcpStream> {
    let mut client = Client::connect(daemon.address());
    client.open();
    client
}

#[test]
fn messages_go_where_the_first_rule_that_fits_says() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&["--config", &configure(folder.path(), RULES)]);
    let mut client = connect(&daemon);
    let long = format!("Received: {}\r\n", "x".repeat(300 * 1024));
    for (message, expected) in [
        ("X-Spam-Flag: YES\r\n\r\n", "alice@example.org/Junk"),
        ("List-Id: <a.b>\r\nx-spam-flag:\r\n yes, 7.1\r\n\r\n", "alice@example.org/Junk"),
        ("List-Id: <a.b>\r\n\r\n", "alice@example.org/Lists/all"),
        ("X-Spam-Flag: no\r\n\r\n", "alice@example.org"),
        ("Subject: x\r\n\r\nX-Spam-Flag: YES\r\n", "alice@example.org"),
        (&format!("List-Id: x\r\n{long}\r\n"), "alice@example.org/Lists/all"),
        // Spooled, and the field lies too far behind.
        (&format!("{long}List-Id: x\r\n\r\n"), "alice@example.org"),
    ] {
        let found = mailbox_of(&daemon, &mut client, message);
        assert_eq!(found, expected, "{}", message.get(..60).unwrap_or(message));
    }
    daemon.stop();
}

#[test]
fn at_sighup_new_sessions_have_the_new_rules() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&["--config", &configure(folder.path(), "")]);
    let mut old = connect(&daemon);
    let junk = "X-Spam-Flag: yes\r\n\r\n";
    assert_eq!(mailbox_of(&daemon, &mut old, junk), "alice@example.org");

    let reload = |rules: &str, expected: &str| {
        configure(folder.path(), rules);
        let pid = rustix::process::Pid::from_raw(daemon.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        until(|| daemon.log(), || daemon.log().contains(expected));
    };
    reload("[[file]]\nheader = \"X\"\n", "postino.toml:5:1: a [[file]] table has no value");
    assert_eq!(mailbox_of(&daemon, &mut connect(&daemon), junk), "alice@example.org");
    reload(RULES, "reloaded; ");
    until(
        || daemon.log(),
        || mailbox_of(&daemon, &mut connect(&daemon), junk) == "alice@example.org/Junk",
    );
    assert_eq!(mailbox_of(&daemon, &mut old, junk), "alice@example.org");
    daemon.stop();
}
