//! The commands that look into a store, or at a server: one file each.
//!
//! Lives here: their table, and from a command line to the command; the feature
//! `tools` is about this folder.
//! May not: serve.

mod arguments;
mod as_owners;
mod backup;
mod cat;
mod copy;
mod delete;
mod listing;
mod lock_wait;
mod mailboxes;
mod messages;
mod open_store;
mod ping;
mod verify;

use super::exit::Exit;
use crate::stores::Stores;
use argh::{EarlyExit, FromArgs};
use arguments::{Backup, Cat, Copy, Delete, Mailboxes, Messages, Ping, Verify};

/// The commands, and what each does.
pub(super) const TOOLS: &[(&str, &str)] = &[
    ("mailboxes", "list a store's mailboxes"),
    ("messages", "list a mailbox's messages"),
    ("cat", "print a message"),
    ("delete", "remove a message, or a mailbox"),
    ("copy", "copy mailboxes from one store into another"),
    ("verify", "check a store, and mend it"),
    ("backup", "copy a SQLite store while it is in use"),
    ("ping", "ask a server whether it is well"),
];

/// The flags that one or another of them has.
pub(super) const FLAGS: &[&str] = &[
    "store",
    "config",
    "users",
    "first-uid",
    "default-domain",
    "mail-group",
    "lock-wait",
    "json",
    "repair",
    "yes",
    "dry-run",
    "rcpt",
    "timeout",
];

/// One of them, with its arguments.
#[derive(Debug)]
pub(super) struct Tool(Asked);

#[derive(Debug)]
enum Asked {
    Mailboxes(Mailboxes),
    Messages(Messages),
    Cat(Cat),
    Delete(Delete),
    Copy(Copy),
    Verify(Verify),
    Backup(Backup),
    Ping(Ping),
}

impl Tool {
    /// Whether there is a command of this name here.
    pub(super) fn is_one(name: &str) -> bool {
        TOOLS.iter().any(|(known, _)| *known == name)
    }

    /// Reads the arguments of the command of this name; `path` is for the usage.
    pub(super) fn from_args(path: &[&str], name: &str, rest: &[&str]) -> Result<Self, EarlyExit> {
        let asked = match name {
            "mailboxes" => Mailboxes::from_args(path, rest).map(Asked::Mailboxes),
            "messages" => Messages::from_args(path, rest).map(Asked::Messages),
            "cat" => Cat::from_args(path, rest).map(Asked::Cat),
            "delete" => Delete::from_args(path, rest).map(Asked::Delete),
            "copy" => Copy::from_args(path, rest).map(Asked::Copy),
            "verify" => Verify::from_args(path, rest).map(Asked::Verify),
            "backup" => Backup::from_args(path, rest).map(Asked::Backup),
            _ => Ping::from_args(path, rest).map(Asked::Ping),
        };
        asked.map(Self)
    }

    /// Runs it.
    pub(super) fn run(self, stores: &Stores) -> Exit {
        match self.0 {
            Asked::Mailboxes(arguments) => mailboxes::run(&arguments, stores),
            Asked::Messages(arguments) => messages::run(&arguments, stores),
            Asked::Cat(arguments) => cat::run(&arguments, stores),
            Asked::Delete(arguments) => delete::run(&arguments, stores),
            Asked::Copy(arguments) => copy::run(&arguments, stores),
            Asked::Verify(arguments) => verify::run(&arguments, stores),
            Asked::Backup(arguments) => backup::run(&arguments, stores),
            Asked::Ping(arguments) => ping::run(&arguments),
        }
        .unwrap_or_else(|exit| exit)
    }
}
