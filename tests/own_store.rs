//! The example of a store of one's own: it keeps the contract, and serves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/pipe.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main and its way to it are the example's")]
mod pipe;

use postino_store::{
    Body, Delivery, DeliveryError, Fate, IfMissing, MailStore, Mailbox, MailboxName, Message,
    Timestamp, contract,
};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, thread, time::Duration};
use tempfile::TempDir;

/// What the example pipes to: a directory for each mailbox, a file for each
/// message, which has its name once it is safe.
const PROGRAM: &str = r#"#!/bin/sh
set -e
box="${0%/*}/$2"
case $1 in
check) [ -d "$box" ] || exit 67 ;;
init) mkdir -p "$box" ;;
deliver)
    mkdir -p "$box"
    draft=$(mktemp "${0%/*}/draft.XXXXXX")
    cat >"$draft"
    sync "$draft"
    mv "$draft" "$box/${draft##*/}"
    sync "$box"
    ;;
esac
"#;

struct Harness(TempDir);

impl Harness {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, PROGRAM).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("program")
    }
}

impl contract::Harness for Harness {
    fn store(&self) -> Arc<dyn MailStore> {
        Arc::new(pipe::Pipe::new(self.program()))
    }

    fn stored(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.0.path().join(mailbox.as_str())) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
        paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
    }
}

#[test]
fn what_the_program_has_started_dies_with_it() {
    let harness = Harness::new();
    // More than a pipe holds: it is read from by the time that all is sent.
    let body = Body::in_memory(vec![b'x'; 1024 * 1024]);
    let message = Message::new(Timestamp::now_utc(), String::new(), false, body);
    let mailbox = Mailbox::new(MailboxName::new("alice").unwrap(), IfMissing::Create);
    let fate = Arc::new(Fate::default());
    assert!(fate.withdraw());
    let delivery = Delivery::new(
        Arc::new(message),
        mailbox,
        "alice".to_owned(),
        Vec::new(),
        fate,
        Box::new(|_| {}),
    );
    fs::write(harness.program(), "#!/bin/sh\n(cat; echo stored >\"$0.stored\")\nexit 0\n").unwrap();
    let store = pipe::Pipe::new(harness.program());
    assert!(matches!(store.deliver(&delivery), Err(DeliveryError::Expired)));
    thread::sleep(Duration::from_millis(500));
    assert!(!harness.0.path().join("program.stored").exists());
}

#[test]
fn the_example_keeps_the_contract() {
    contract::run(Harness::new);
}
