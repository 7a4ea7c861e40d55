//! `postino deliver`, as an MTA runs it: what it stores, says and ends with.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]
#![cfg(all(feature = "tools", feature = "maildir", feature = "mbox", feature = "sqlite"))]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

#[path = "deliver/at_once.rs"]
mod at_once;
#[path = "deliver/endings.rs"]
mod endings;
#[path = "deliver/faults.rs"]
mod faults;
#[path = "deliver/kinds.rs"]
mod kinds;
#[path = "deliver/stored.rs"]
mod stored;

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

/// `postino deliver` with these arguments, not started.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(daemon::postino());
    command.arg("deliver").args(arguments);
    command
}

/// Starts it with pipes.
fn start(command: &mut Command) -> Child {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pipes.spawn().unwrap()
}

/// Its exit code, and what it said on standard error; nothing is on standard output.
fn ended(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs it to its end with this message.
fn run(command: &mut Command, message: &[u8]) -> (i32, String) {
    let mut child = start(command);
    // It reads all, whatever it makes of it.
    child.stdin.take().unwrap().write_all(message).unwrap();
    ended(child)
}

/// Delivers a message; fails unless it is stored.
fn store(url: &str, to: &str, message: &[u8]) {
    let flags = ["--store", url, "--hostname=mx.example.org", "-f", "x@y.example", to];
    assert_eq!(run(&mut command(&flags), message), (0, String::new()));
}

/// Makes a store and mailboxes in it.
fn init(url: &str, mailboxes: &[&str], folder: &Path) {
    let mut init = Command::new(daemon::postino());
    let output = init.arg("init").arg(url).args(mailboxes).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
