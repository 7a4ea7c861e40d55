//! Stores of each kind, filled, and the program run on them.

use postino::stores::{Options, Stores};
use postino_store::{
    Body, Delivery, IfMissing, MailStore, Mailbox, MailboxName, Message, Timestamp,
};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

pub(crate) const ALICE: &str = "alice@example.org";

/// What every message of a test begins with.
pub(crate) const HEADER: &str = "Delivered-To: x\r\n";

/// A store of one kind in a directory of its own.
pub(crate) struct Filled {
    pub(crate) directory: TempDir,
    pub(crate) url: String,
    store: Arc<dyn MailStore>,
}

/// One of each kind, empty.
pub(crate) fn each() -> Vec<Filled> {
    ["maildir:mail", "mbox:mail", "sqlite:mail.db"].map(Filled::of).into()
}

impl Filled {
    /// The store of a URL with a relative path.
    pub(crate) fn of(url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (scheme, path) = url.split_once(':').unwrap();
        let url = format!("{scheme}:{}", directory.path().join(path).display());
        let options = Options {
            hostname: "mx.example.org".to_owned(),
            require_marker: false,
            several_domains: false,
            shared_with_group: false,
            base: None,
        };
        let store = Stores::built_in().open(&url, &options).unwrap().store;
        store.open().unwrap();
        Self { directory, url, store }
    }

    /// Its directory or file.
    pub(crate) fn path(&self) -> &Path {
        Path::new(self.url.split_once(':').unwrap().1)
    }

    /// Stores a message of these lines; its id.
    pub(crate) fn deliver(&self, mailbox: &str, body: &str) -> String {
        let now = Timestamp::now_utc();
        let body = Body::in_memory(body.as_bytes().to_vec());
        let result = Arc::new(Mutex::new(None));
        let given = Arc::clone(&result);
        let delivery = Delivery::new(
            Arc::new(Message::new(now, "sender@example.net".to_owned(), false, body)),
            Mailbox::new(MailboxName::new(mailbox).unwrap(), IfMissing::Create),
            mailbox.to_owned(),
            HEADER.as_bytes().to_vec(),
            Arc::default(),
            Box::new(move |result| *given.lock().unwrap() = Some(result)),
        );
        self.store.deliver_batch(&[delivery]);
        let id = result.lock().unwrap().take().unwrap().unwrap();
        id.to_string()
    }

    /// Runs a command on it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        let store = format!("--store={}", self.url);
        let (command, rest) = arguments.split_first().unwrap();
        run(&[&[*command, &store], rest].concat())
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Told {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }
}

pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_postino"));
    program.stdin(Stdio::null());
    program
}

pub(crate) fn run(arguments: &[&str]) -> Told {
    Told::of(program().args(arguments).output().unwrap())
}
