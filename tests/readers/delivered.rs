//! A store that the running program filled, and the user who owns it.
//!
//! Lives here: delivering the messages, programs as that user.
//! May not: know a reader.

use crate::{
    RECIPIENTS,
    client::Client,
    daemon::{Daemon, folder},
    messages::Message,
    program::bounded,
};
use rustix::process::geteuid;
use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Whose mail it is where the test runs as root, to whom Dovecot shows no mail.
const READER: (&str, u32) = ("nobody", 65534);

/// Who sends; each in its turn. The words of a From line end at blanks.
const SENDERS: [&str; 3] = ["sender@example.net", "", "\"a b\"@example.net"];

pub(crate) struct Delivered(TempDir);

impl Delivered {
    /// Has a store of this kind with all of the messages, and nobody who writes.
    pub(crate) fn to(kind: &str, messages: &[Message]) -> Self {
        let folder = folder();
        let store = format!("--store={kind}:{}", folder.path().join("mail").display());
        let mut flags = vec!["--listen=127.0.0.1:0", "--hostname=mx.example.org", "--users=any"];
        flags.extend(["--bare-newlines=keep", &store]);
        let user = format!("--user={}", READER.0);
        if geteuid().is_root() {
            chown(folder.path(), Some(READER.1), Some(READER.1)).unwrap();
            flags.push(&user);
        }
        let daemon = Daemon::start(&flags);
        let mut client = Client::connect(daemon.address());
        client.open();
        for (message, sender) in messages.iter().zip(SENDERS.iter().cycle()) {
            let recipients = &RECIPIENTS[..if message.to_all { RECIPIENTS.len() } else { 1 }];
            client.say(format!("MAIL FROM:<{sender}>\r\n"));
            client.until("250 2.1.0 ");
            for recipient in recipients {
                client.say(format!("RCPT TO:<{recipient}>\r\n"));
                client.until("250 2.1.5 ");
            }
            client.say("DATA\r\n");
            client.until("354 ");
            client.say(message.said());
            for recipient in recipients {
                let reply = client.line();
                assert!(reply.starts_with("250 2.0.0 "), "{}, {recipient}: {reply}", message.name);
            }
        }
        daemon.stop();
        Self(folder)
    }

    /// A directory of the reader's own.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn mailbox(&self, name: &str) -> PathBuf {
        self.0.path().join("mail").join(name)
    }
}

/// A program that runs as whose mail it is, with this home.
pub(crate) fn as_reader(program: &str, home: &Path) -> Command {
    let mut command = if geteuid().is_root() {
        let id = READER.1;
        let mut command = bounded("setpriv");
        command.args([format!("--reuid={id}"), format!("--regid={id}")]);
        command.arg("--clear-groups").arg(program);
        command
    } else {
        bounded(program)
    };
    command.current_dir(home).env("HOME", home).env("USER", "reader").env("LC_ALL", "C.UTF-8");
    command
}
