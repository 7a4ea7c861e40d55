//! Who may receive, asked of the program as it is built: users files that change
//! under it, the users of this system, and settings that are wrong.
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

#[path = "users/changing_file.rs"]
mod changing_file;
#[cfg(feature = "tools")]
#[path = "users/commands.rs"]
mod commands;
#[path = "users/made.rs"]
mod made;
#[path = "users/mailboxes.rs"]
mod mailboxes;
#[path = "users/name_service.rs"]
mod name_service;
#[path = "users/own_stores.rs"]
mod own_stores;
#[path = "users/system.rs"]
mod system;
#[path = "users/wrong_settings.rs"]
mod wrong_settings;

use client::Client;
use daemon::Daemon;
use std::{fs, net::TcpStream, path::Path};

/// A server for a users file in this folder.
fn serve(folder: &Path, users: &str, flags: &[&str]) -> Daemon {
    let file = folder.join("users");
    fs::write(&file, users).unwrap();
    serve_as(&format!("--users=file:{}", file.display()), folder, flags)
}

fn serve_as(users: &str, folder: &Path, flags: &[&str]) -> Daemon {
    let store = format!("maildir:{}", folder.join("mail").display());
    let mut all =
        vec!["--listen=127.0.0.1:0", "--hostname=mx.example.org", "--store", &store, users];
    all.extend(flags);
    Daemon::start(&all)
}

/// A session in a transaction, for questions.
struct Asking(Client<TcpStream>);

impl Asking {
    fn of(daemon: &Daemon) -> Self {
        let mut client = Client::connect(daemon.address());
        client.open();
        client.say("MAIL FROM:<>\r\n");
        client.until("250 ");
        Self(client)
    }

    /// The codes that a recipient is answered: `250 2.1.5`. An accepted one fills
    /// the transaction, so it is dropped.
    fn codes(&mut self, recipient: &str) -> String {
        let Self(client) = self;
        client.say(format!("RCPT TO:<{recipient}>\r\nRSET\r\nMAIL FROM:<>\r\n"));
        let reply = client.line();
        client.until("250 2.0.0");
        client.until("250 2.1.0");
        reply.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }
}
