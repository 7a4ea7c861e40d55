//! The suite that every store must pass, run against the Maildir store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, mailbox_path, messages, walk};
use postino_files::{Kernel, testing};
use postino_maildir::Maildir;
use postino_store::{MailStore, MailboxName, contract};
use std::{path::Path, sync::Arc};

struct Harness {
    place: Place,
    files: Arc<testing::Failing>,
    store: Arc<Maildir>,
    template: &'static str,
}

impl Harness {
    fn new(template: &'static str) -> Self {
        let place = Place::new();
        let files = Arc::new(testing::Failing::new(Arc::new(Kernel::new())));
        let store = Arc::new(place.store(template, files.clone()));
        store.open().unwrap();
        Self { place, files, store, template }
    }
}

impl contract::Harness for Harness {
    fn store(&self) -> Arc<dyn MailStore> {
        self.store.clone()
    }

    fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
        messages(&mailbox_path(&self.place.root(), self.template, mailbox))
    }

    /// Files in any `tmp`, and whatever stands beside the root.
    fn residue(&self) -> Vec<String> {
        walk(self.place.above())
            .into_iter()
            .filter(|path| {
                let path = Path::new(path);
                let in_tmp = path.parent().is_some_and(|parent| parent.ends_with("tmp"));
                !path.starts_with("root") || in_tmp && self.place.above().join(path).is_file()
            })
            .collect()
    }

    fn line_ends(&self) -> contract::LineEndings {
        contract::LineEndings::LfUnlessMixed
    }

    fn keeps_folders(&self) -> bool {
        true
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
fn maildirs_by_name_keep_the_contract() {
    contract::run(|| Harness::new(""));
}

#[test]
fn maildirs_by_domain_and_local_part_keep_the_contract() {
    contract::run(|| Harness::new("/%d/%n/Maildir"));
}
