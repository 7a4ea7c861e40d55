//! One account's part of a Maildir store.

#![allow(clippy::unwrap_used, reason = "tests")]

use postino_files::Kernel;
use postino_maildir::{Maildir, Options};
use postino_store::{MailStore, PathTemplate, contract::parts};
use std::sync::Arc;

const IN_HOME: &str = "Maildir";

fn open(template: &str) -> Arc<dyn MailStore> {
    let template = PathTemplate::parse(template).unwrap();
    Arc::new(Maildir::new(template, Options::default(), Arc::new(Kernel::new())))
}

#[test]
fn of_a_home_only_the_mailbox_and_its_folders_are_seen() {
    let home = tempfile::tempdir().unwrap();
    parts::of_a_home_only_the_mailbox_and_its_folders_are_seen(home.path(), IN_HOME, &open);
}

#[test]
fn of_a_root_only_the_account_is_seen() {
    let root = tempfile::tempdir().unwrap();
    parts::of_a_root_only_the_account_is_seen(root.path(), &open);
}

#[test]
fn a_home_that_is_missing_is_never_made() {
    let place = tempfile::tempdir().unwrap();
    parts::a_home_that_is_missing_is_never_made(place.path(), IN_HOME, &open);
}
