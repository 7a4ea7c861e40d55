//! The suite that every store must pass, run against the mbox store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, messages, walk};
use postino_files::{Kernel, testing};
use postino_mbox::{LockKind, Mbox, Options};
use postino_store::{MailStore, MailboxName, contract};
use std::{path::PathBuf, sync::Arc};

struct Harness {
    place: Place,
    files: Arc<testing::Failing>,
    store: Arc<Mbox>,
    template: &'static str,
}

impl Harness {
    fn new(template: &'static str, locks: &str) -> Self {
        let place = Place::new();
        let files = Arc::new(testing::Failing::new(Arc::new(Kernel::new())));
        let locks = LockKind::list(locks).unwrap();
        let options = Options { locks, ..Options::default() };
        let store = Arc::new(place.store_with(template, files.clone(), options));
        store.open().unwrap();
        Self { place, files, store, template }
    }

    /// A mailbox's file, found without the store's own code.
    fn file(&self, mailbox: &MailboxName) -> PathBuf {
        let account = mailbox.account();
        let (local, domain) = account.rsplit_once('@').unwrap();
        let (directory, name) = match self.template {
            "" => (self.place.root(), account),
            _ => (self.place.root().join(domain).join(local), "mbox"),
        };
        match mailbox.folder() {
            None => directory.join(name),
            Some(folder) => directory.join(format!(".{name}")).join(folder),
        }
    }
}

impl contract::Harness for Harness {
    fn store(&self) -> Arc<dyn MailStore> {
        self.store.clone()
    }

    fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
        messages(&self.file(mailbox))
    }

    /// Lock files, drafts, and whatever stands beside the root.
    fn residue(&self) -> Vec<String> {
        walk(self.place.above())
            .into_iter()
            .filter(|path| {
                !path.starts_with("root")
                    || path.contains(".postino-")
                    || std::path::Path::new(path).extension().is_some_and(|end| end == "lock")
            })
            .collect()
    }

    fn line_ends(&self) -> contract::LineEndings {
        contract::LineEndings::Lf
    }

    fn keeps_folders(&self) -> bool {
        true
    }

    fn nests_folders(&self) -> bool {
        false
    }

    fn keeps_flags(&self) -> bool {
        false // others keep them in header fields, which a delivery leaves alone
    }

    fn faults(&self) -> bool {
        true
    }

    fn arm(&self, n: usize, fault: contract::Fault) {
        self.files.arm(
            n,
            match fault {
                contract::Fault::Io => testing::Fault::Io,
                contract::Fault::NoSpace => testing::Fault::NoSpace,
                contract::Fault::Quota => testing::Fault::Quota,
                contract::Fault::TooManyFiles => testing::Fault::TooManyFiles,
                contract::Fault::Interrupted => testing::Fault::Interrupted,
                contract::Fault::ShortWrite => testing::Fault::ShortWrite,
            },
        );
    }

    fn disarm(&self) -> bool {
        self.files.disarm()
    }
}

#[test]
fn mboxes_by_name_keep_the_contract() {
    contract::run(|| Harness::new("", "fcntl,dotlock"));
}

#[test]
fn mboxes_by_domain_and_local_part_keep_the_contract() {
    contract::run(|| Harness::new("/%d/%n/mbox", "dotlock,flock,fcntl"));
}

#[test]
fn mboxes_with_one_kind_of_lock_keep_the_contract() {
    for lock in ["fcntl", "flock", "dotlock"] {
        contract::run(|| Harness::new("", lock));
    }
}
