//! The suite that every store must pass, run against the SQLite store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, faults, foreign, messages};
use postino_sqlite::Sqlite;
use postino_store::{MailStore, MailboxName, contract};
use std::sync::Arc;

struct Harness {
    place: Place,
    store: Arc<Sqlite>,
}

impl Harness {
    fn new() -> Self {
        let place = Place::new();
        let store = Arc::new(place.open());
        Self { place, store }
    }
}

impl contract::Harness for Harness {
    fn store(&self) -> Arc<dyn MailStore> {
        self.store.clone()
    }

    fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
        messages(&foreign(&self.place.path()), mailbox.as_str())
    }

    fn keeps_folders(&self) -> bool {
        true
    }

    /// Files beside the database, and rows that nothing refers to.
    fn residue(&self) -> Vec<String> {
        let own = ["mail.db", "mail.db-shm", "mail.db-wal"];
        let mut residue = self.place.names();
        residue.retain(|name| !own.contains(&name.as_str()));
        residue.extend(faults(&foreign(&self.place.path())));
        residue
    }
}

#[test]
fn the_database_keeps_the_contract() {
    contract::run(Harness::new);
}
