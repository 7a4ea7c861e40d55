//! The suite that every store must pass.
//!
//! Lives here: the promises of [`MailStore`] as rules that any store can be run
//! against, its faults included, and nothing that only one store knows.
//! May not: look into a store but through its [`Harness`].
//!
//! # How to run it
//!
//! Take this crate with the feature `contract` as a dev-dependency, implement
//! [`Harness`] for a store in a fresh place, and call [`run`] in a test:
//!
//! ```
//! use postino_store::{contract, Delivery, DeliveryError, DeliveryId, MailStore, MailboxName};
//! use std::{collections::HashMap, io::Read, sync::{Arc, Mutex}};
//!
//! #[derive(Default)]
//! struct Heap(Mutex<HashMap<MailboxName, Vec<Vec<u8>>>>);
//!
//! impl MailStore for Heap {
//!     fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
//!         # if delivery.mailbox().if_missing() == postino_store::IfMissing::Refuse {
//!         #     let mailboxes = self.0.lock().unwrap();
//!         #     if !mailboxes.contains_key(delivery.mailbox().name()) {
//!         #         return Err(DeliveryError::NoSuchMailbox);
//!         #     }
//!         # }
//!         let mut octets = delivery.header().to_vec();
//!         let mut body = delivery.message().body().reader();
//!         body.read_to_end(&mut octets)
//!             .map_err(|cause| DeliveryError::io("read the message", "", cause))?;
//!         delivery.begin_commit()?;
//!         let mut mailboxes = self.0.lock().unwrap();
//!         let messages = mailboxes.entry(delivery.mailbox().name().clone()).or_default();
//!         messages.push(octets);
//!         Ok(DeliveryId::new(messages.len().to_string()))
//!     }
//!     # fn admit(&self, mailbox: &postino_store::Mailbox, _: Option<u64>) -> Result<(), DeliveryError> {
//!     #     match mailbox.if_missing() {
//!     #         postino_store::IfMissing::Refuse if !self.0.lock().unwrap().contains_key(mailbox.name()) =>
//!     #             Err(DeliveryError::NoSuchMailbox),
//!     #         _ => Ok(()),
//!     #     }
//!     # }
//!     // lane, admit and what else the store has
//! }
//!
//! struct HeapHarness(Arc<Heap>);
//!
//! impl contract::Harness for HeapHarness {
//!     fn store(&self) -> Arc<dyn MailStore> {
//!         self.0.clone()
//!     }
//!     fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
//!         self.0.0.lock().unwrap().get(mailbox).cloned().unwrap_or_default()
//!     }
//! }
//!
//! contract::run(|| HeapHarness(Arc::default()));
//! ```
//!
//! A store with a [reading side](crate::MailReader) has the rules for that checked
//! too. One that can make its calls fail says so by [`Harness::faults`]: the suite
//! then delivers with the first call failing, with the second, and so on, until a
//! delivery needs fewer calls, with each [`Fault`].

mod faults;
mod folders;
pub mod parts;
mod reading;
mod rules;

use crate::{
    Delivery, DeliveryError, DeliveryId, Fate, IfMissing, MailStore, Mailbox, MailboxName, Message,
    Timestamp, message::Body,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// A store in a fresh place, and the view behind it.
pub trait Harness {
    /// The store, made and open.
    fn store(&self) -> Arc<dyn MailStore>;

    /// The messages that a reader finds in this mailbox, in the order of their
    /// delivery as far as the store keeps one; none where it does not exist.
    /// Marks of the store's own around a message (an mbox's From_ line, its
    /// quoting and its blank line) are undone.
    fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>>;

    /// Whatever is there that should not be: drafts of deliveries that are over,
    /// locks, and all that lies outside of the store's place. One line each.
    fn residue(&self) -> Vec<String> {
        Vec::new()
    }

    /// What becomes of a message's line ends.
    fn line_ends(&self) -> LineEndings {
        LineEndings::AsReceived
    }

    /// Whether a message of another store keeps its flags, if the store can be read.
    fn keeps_flags(&self) -> bool {
        true
    }

    /// Whether the store keeps the folders of an account apart.
    fn keeps_folders(&self) -> bool {
        false
    }

    /// Whether a folder that holds messages may have folders in it.
    fn nests_folders(&self) -> bool {
        true
    }

    /// Whether [`Harness::arm`] works.
    fn faults(&self) -> bool {
        false
    }

    /// From now on the `n`th call (counted from 1) of the store to the system
    /// fails, once.
    fn arm(&self, _n: usize, _fault: Fault) {}

    /// No call fails any more; says whether the chosen one came.
    fn disarm(&self) -> bool {
        false
    }
}

/// What becomes of line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEndings {
    /// Every octet stays.
    AsReceived,
    /// CRLF becomes LF, but in a message with bare CRs or LFs every octet stays.
    LfUnlessMixed,
    /// Every CRLF becomes LF, and a message that does not end with an LF gets one.
    Lf,
}

/// How a call of the store to the system fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Io,
    /// ENOSPC: to be answered 452 4.3.1.
    NoSpace,
    /// EDQUOT: to be answered 452 4.2.2.
    Quota,
    /// EMFILE.
    TooManyFiles,
    /// EINTR; the store may go on.
    Interrupted,
    /// A write takes fewer octets than given; the store should go on.
    ShortWrite,
}

/// A rule's name, and its check.
type Rule = (&'static str, fn(&dyn Harness));

/// Runs every rule, each against a harness of its own.
///
/// # Panics
///
/// When a rule does not hold, once all have been tried: names each.
pub fn run<H: Harness>(fresh: impl Fn() -> H) {
    let broken: Vec<_> = rules::RULES
        .iter()
        .chain(folders::RULES)
        .chain(reading::RULES)
        .chain(faults::RULES)
        .filter(|(name, check)| {
            let kept = catch_unwind(AssertUnwindSafe(|| check(&fresh()))).is_ok();
            println!("{} {name}", if kept { "kept  " } else { "BROKEN" });
            !kept
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(broken.is_empty(), "the store does not keep: {}", broken.join("; "));
}

/// The header lines that the suite's deliveries have.
const HEADER: &[u8] = b"Return-Path: <sender@example.net>\r\nDelivered-To: <x@example.org>\r\n";

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn message(body: &[u8]) -> Arc<Message> {
    Arc::new(Message::new(
        Timestamp::now_utc(),
        "sender@example.net".to_owned(),
        has_bare_newlines(body),
        Body::in_memory(body.to_vec()),
    ))
}

/// A delivery of `body` that nobody waits for.
fn delivery(mailbox: Mailbox, body: &[u8], fate: Arc<Fate>) -> Delivery {
    let recipient = mailbox.name().to_string();
    let answer = Box::new(|_| {});
    Delivery::new(message(body), mailbox, recipient, HEADER.to_vec(), fate, answer)
}

/// Delivers into a mailbox that is made at need.
fn deliver(
    store: &dyn MailStore,
    mailbox: &MailboxName,
    body: &[u8],
) -> Result<DeliveryId, DeliveryError> {
    let mailbox = Mailbox::new(mailbox.clone(), IfMissing::Create);
    store.deliver(&delivery(mailbox, body, Arc::default()))
}

/// What a reader is to find of `body`.
fn expected(harness: &dyn Harness, body: &[u8]) -> Vec<u8> {
    let message = [HEADER, body].concat();
    match harness.line_ends() {
        LineEndings::AsReceived => message,
        LineEndings::LfUnlessMixed if has_bare_newlines(body) => message,
        LineEndings::LfUnlessMixed | LineEndings::Lf => {
            let mut lines = Vec::new();
            for (at, octet) in message.iter().enumerate() {
                if *octet != b'\r' || message.get(at + 1) != Some(&b'\n') {
                    lines.push(*octet);
                }
            }
            if harness.line_ends() == LineEndings::Lf && !lines.ends_with(b"\n") {
                lines.push(b'\n');
            }
            lines
        }
    }
}

fn has_bare_newlines(body: &[u8]) -> bool {
    body.iter().enumerate().any(|(at, octet)| match octet {
        b'\r' => body.get(at + 1) != Some(&b'\n'),
        b'\n' => at.checked_sub(1).and_then(|before| body.get(before)) != Some(&b'\r'),
        _ => false,
    })
}

/// Panics where a mailbox does not hold exactly these messages, in any order.
fn assert_stored(harness: &dyn Harness, mailbox: &MailboxName, bodies: &[&[u8]], when: &str) {
    let mut found = harness.stored(mailbox);
    for body in bodies {
        let wanted = expected(harness, body);
        let at = found.iter().position(|message| *message == wanted).unwrap_or_else(|| {
            panic!(
                "{when}: {mailbox} lacks a message of {} octets, \"{}\"; it holds {}",
                wanted.len(),
                shown(&wanted),
                listed(&found)
            )
        });
        found.swap_remove(at);
    }
    assert!(found.is_empty(), "{when}: {mailbox} also holds {}", listed(&found));
}

fn assert_no_residue(harness: &dyn Harness, when: &str) {
    let residue = harness.residue();
    assert!(residue.is_empty(), "{when}: left behind: {}", residue.join(", "));
}

fn listed(messages: &[Vec<u8>]) -> String {
    let messages: Vec<_> = messages
        .iter()
        .map(|message| format!("\"{}\" ({} octets)", shown(message), message.len()))
        .collect();
    format!("[{}]", messages.join(", "))
}

/// A message's last octets, behind the header lines that all have in common.
fn shown(message: &[u8]) -> String {
    let start = message.len().saturating_sub(40);
    message.get(start..).unwrap_or_default().escape_ascii().to_string()
}
