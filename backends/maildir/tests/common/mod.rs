//! A place for a store, and a view behind it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod foreign;

use postino_files::Files;
use postino_maildir::{Maildir, Options};
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Fate, IfMissing, MailStore, Mailbox, MailboxName,
    Message, PathTemplate, Timestamp,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
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

    /// A store whose mailboxes lie at `template` behind the root.
    pub(crate) fn store(&self, template: &str, files: Arc<dyn Files>) -> Maildir {
        self.store_with(template, files, Options::default())
    }

    pub(crate) fn store_with(
        &self,
        template: &str,
        files: Arc<dyn Files>,
        options: Options,
    ) -> Maildir {
        let template = format!("{}{template}", self.root().display());
        Maildir::new(PathTemplate::parse(&template).unwrap(), options, files)
    }
}

pub(crate) const HEADER: &[u8] = b"Return-Path: <s@example.net>\r\n";

pub(crate) fn mailbox(name: &str, if_missing: IfMissing) -> Mailbox {
    Mailbox::new(MailboxName::new(name).unwrap(), if_missing)
}

pub(crate) fn delivery(
    mailbox: Mailbox,
    body: &[u8],
    bare_newlines: bool,
    fate: Arc<Fate>,
) -> Delivery {
    let message = Message::new(
        Timestamp::now_utc(),
        "s@example.net".to_owned(),
        bare_newlines,
        Body::in_memory(body.to_vec()),
    );
    let recipient = mailbox.name().to_string();
    Delivery::new(Arc::new(message), mailbox, recipient, HEADER.to_vec(), fate, Box::new(|_| {}))
}

/// Delivers a short message.
pub(crate) fn deliver(store: &Maildir, mailbox: Mailbox) -> Result<DeliveryId, DeliveryError> {
    store.deliver(&delivery(mailbox, b"Subject: x\r\n\r\ntext\r\n", false, Arc::default()))
}

pub(crate) fn deliver_to(store: &Maildir, name: &str) -> Result<DeliveryId, DeliveryError> {
    deliver(store, mailbox(name, IfMissing::Create))
}

/// A mailbox's place, found without the store's own code.
pub(crate) fn mailbox_path(root: &Path, template: &str, mailbox: &MailboxName) -> PathBuf {
    let template = if template.is_empty() { "/%u" } else { template };
    let account = mailbox.account();
    let (local, domain) = account.rsplit_once('@').unwrap_or((account, ""));
    let components = template.split('/').filter(|component| !component.is_empty());
    let account = components.fold(root.to_owned(), |path, component| match component {
        "%u" => path.join(account),
        "%n" => path.join(local),
        "%d" => path.join(domain),
        text => path.join(text),
    });
    match mailbox.folder() {
        Some(folder) if !folder.eq_ignore_ascii_case("INBOX") => account.join(folder_name(folder)),
        _ => account,
    }
}

/// A folder's directory: RFC 3501 section 5.1.3, bit by bit.
fn folder_name(folder: &str) -> String {
    let mut name = String::new();
    for level in folder.split('/') {
        name.push('.');
        let mut rest = level;
        while let Some(first) = rest.chars().next() {
            let is_plain = |c: char| (' '..='~').contains(&c) && c != '&';
            let ends = |c: char| is_plain(c) || c == '&';
            let end =
                if ends(first) { first.len_utf8() } else { rest.find(ends).unwrap_or(rest.len()) };
            let (run, after) = rest.split_at(end);
            rest = after;
            if ends(first) {
                name.push_str(if first == '&' { "&-" } else { run });
                continue;
            }
            let units: Vec<String> =
                run.encode_utf16().map(|unit| format!("{unit:016b}")).collect();
            let mut bits = units.concat();
            while !bits.len().is_multiple_of(6) {
                bits.push('0');
            }
            let letters: Vec<char> =
                ('A'..='Z').chain('a'..='z').chain('0'..='9').chain("+,".chars()).collect();
            name.push('&');
            for at in (0..bits.len()).step_by(6) {
                name.push(letters[usize::from_str_radix(&bits[at..at + 6], 2).unwrap()]);
            }
            name.push('-');
        }
    }
    name
}

/// The names in a directory, sorted; none where there is no directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A mailbox's messages in the order of their names' time and counter.
pub(crate) fn messages(mailbox: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for directory in ["new", "cur"].map(|name| mailbox.join(name)) {
        for name in names(&directory) {
            let counter = name.split_once('Q').unwrap().1.split_once('R').unwrap().0;
            let octets = fs::read(directory.join(&name)).unwrap();
            found.push((counter.parse::<u64>().unwrap(), octets));
        }
    }
    found.sort();
    found.into_iter().map(|(_, octets)| octets).collect()
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
