//! What the tests of this crate share.
#![allow(dead_code, reason = "each test takes what it needs")]

use postino_files::{Files, Kernel};
use postino_mbox::{Mbox, Options};
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Fate, IfMissing, MailStore, Mailbox, MailboxName,
    Message, MessageInfo, PathTemplate, Stray, Timestamp,
};
use std::{
    fs,
    io::Read,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// A directory of the test's own, with a root in it that is not made yet.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn above(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// The mailbox `alice`.
    pub(crate) fn alice(&self) -> PathBuf {
        self.root().join("alice")
    }

    /// The lock file beside it.
    pub(crate) fn dotlock(&self) -> PathBuf {
        self.root().join("alice.lock")
    }

    pub(crate) fn store_with(
        &self,
        template: &str,
        files: Arc<dyn Files>,
        options: Options,
    ) -> Mbox {
        let template = format!("{}{template}", self.root().display());
        Mbox::new(PathTemplate::parse(&template).unwrap(), options, files)
    }

    /// A store of the kernel's files, open.
    pub(crate) fn open_with(&self, options: Options) -> Mbox {
        let store = self.store_with("", Arc::new(Kernel::new()), options);
        store.open().unwrap();
        store
    }

    pub(crate) fn open(&self) -> Mbox {
        self.open_with(Options::default())
    }
}

pub(crate) const HEADER: &[u8] = b"Return-Path: <s@example.net>\r\n";
pub(crate) const BODY: &[u8] = b"Subject: x\r\n\r\ntext\r\n";

/// What stands in a mailbox of a delivery of [`BODY`].
pub(crate) const STORED: &str = "From s@example.net Tue Nov 24 08:47:49 2026\n\
    Return-Path: <s@example.net>\nSubject: x\n\ntext\n\n";

pub(crate) fn mailbox(name: &str, if_missing: IfMissing) -> Mailbox {
    Mailbox::new(MailboxName::new(name).unwrap(), if_missing)
}

pub(crate) fn message(body: Body) -> Message {
    let received =
        Timestamp { since_epoch: Duration::from_secs(1_795_510_069), offset_minutes: 60 };
    Message::new(received, "s@example.net".to_owned(), false, body)
}

pub(crate) fn delivery(mailbox: Mailbox, body: &[u8], fate: Arc<Fate>) -> Delivery {
    let message = Arc::new(message(Body::in_memory(body.to_vec())));
    let recipient = mailbox.name().to_string();
    Delivery::new(message, mailbox, recipient, HEADER.to_vec(), fate, Box::new(|_| {}))
}

/// Delivers a short message.
pub(crate) fn deliver(store: &Mbox, mailbox: Mailbox) -> Result<DeliveryId, DeliveryError> {
    store.deliver(&delivery(mailbox, BODY, Arc::default()))
}

pub(crate) fn deliver_to(store: &Mbox, name: &str) -> Result<DeliveryId, DeliveryError> {
    deliver(store, mailbox(name, IfMissing::Create))
}

/// The results of a batch, by the place in it.
pub(crate) type Results = Arc<Mutex<Vec<(usize, Result<String, String>)>>>;

/// A batch for `alice` of these bodies, whose results are noted.
pub(crate) fn batch(bodies: Vec<Body>) -> (Vec<Delivery>, Results) {
    let results = Results::default();
    let deliveries = bodies
        .into_iter()
        .enumerate()
        .map(|(at, body)| {
            let results = Arc::clone(&results);
            Delivery::new(
                Arc::new(message(body)),
                mailbox("alice", IfMissing::Create),
                "alice".to_owned(),
                HEADER.to_vec(),
                Arc::default(),
                Box::new(move |result| {
                    let result = result.map(|id| id.to_string()).map_err(|error| error.to_string());
                    results.lock().unwrap().push((at, result));
                }),
            )
        })
        .collect();
    (deliveries, results)
}

/// The messages of an mbox as a reader that undoes mboxrd finds them; none where
/// there is no file.
pub(crate) fn messages(file: &Path) -> Vec<Vec<u8>> {
    let Ok(octets) = fs::read(file) else { return Vec::new() };
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty_line = true;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        if after_empty_line && line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else {
            let message = messages.last_mut().expect("octets before the first From_ line");
            let arrows = line.iter().take_while(|octet| **octet == b'>').count();
            let quoted = arrows > 0 && line[arrows..].starts_with(b"From ");
            message.extend_from_slice(&line[usize::from(quoted)..]);
        }
        after_empty_line = line == b"\n";
    }
    for message in &mut messages {
        assert_eq!(message.pop(), Some(b'\n'), "no empty line behind a message");
    }
    messages
}

/// The names in a directory, sorted; none where there is no directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Everything below a directory, by path relative to it.
pub(crate) fn walk(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            found.push(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn alice() -> MailboxName {
    MailboxName::new("alice").unwrap()
}

/// The messages that a mailbox is listed with.
pub(crate) fn listed(
    reader: &dyn postino_store::MailReader,
    mailbox: &MailboxName,
) -> Vec<MessageInfo> {
    let mut found = Vec::new();
    reader
        .messages(mailbox, &mut |message| {
            found.push(message.unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// What opening a message and reading it to its end gives.
pub(crate) fn read(
    reader: &dyn postino_store::MailReader,
    mailbox: &MailboxName,
    message: &MessageInfo,
) -> Vec<u8> {
    let mut octets = Vec::new();
    let open = reader.open(mailbox, message).unwrap();
    open.body.reader().read_to_end(&mut octets).unwrap();
    octets
}

/// The mailboxes and the strays that a store is listed with.
pub(crate) fn mailboxes(reader: &dyn postino_store::MailReader) -> (Vec<String>, Vec<Stray>) {
    let (mut names, mut strays) = (Vec::new(), Vec::new());
    reader
        .mailboxes(&mut |found| {
            match found {
                Ok(name) => names.push(name.to_string()),
                Err(stray) => strays.push(stray),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    (names, strays)
}

/// What begins the SHA-256 of the first line of [`STORED`].
pub(crate) const FROM_LINE: &str = "4e40b327";

/// A lock file of a process that is gone, with the mailbox's lengths; one message
/// begins at the old one.
pub(crate) fn leave_lock(place: &Place, old: usize, new: usize) {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let host = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let pids = fs::read_link("/proc/self/ns/pid").unwrap();
    let (gone, pids) = (u32::MAX, pids.display());
    fs::write(
        place.dotlock(),
        format!(
            "{gone}\nhost={host}boot={boot}pids={pids}\nappend={old}-{old}:{FROM_LINE}-{new}\n"
        ),
    )
    .unwrap();
}

/// A store's reading side.
pub(crate) fn reading(store: &Mbox) -> &dyn postino_store::MailReader {
    store.reader().unwrap()
}
