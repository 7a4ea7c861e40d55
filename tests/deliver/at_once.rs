//! Several of it and a running server, on one store at the same time.

use crate::{client::Client, daemon::Daemon, kinds::KINDS, program::all_here, store};
use std::{collections::BTreeMap, thread};

const PROCESSES: usize = 8;
const MESSAGES_EACH: usize = 6;
const MAILBOX: &str = "alice@d";

/// A message that is torn nowhere unseen; each its own.
fn message(who: usize, number: usize) -> String {
    format!("Subject: {who}-{number}\n\n{}end {who}-{number}\n", "some text\n".repeat(200))
}

#[test]
fn processes_and_a_server_into_one_mailbox_lose_and_tear_and_double_nothing() {
    if !all_here(&["python3"]) {
        return;
    }
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let url = kind.url(folder.path());
        let flag = format!("--store={url}");
        let daemon = Daemon::start(&["--listen=127.0.0.1:0", "--users=any", &flag]);
        thread::scope(|scope| {
            for who in 0..PROCESSES {
                let url = &url;
                scope.spawn(move || {
                    for number in 0..MESSAGES_EACH {
                        store(url, MAILBOX, message(who, number).as_bytes());
                    }
                });
            }
            for who in PROCESSES..PROCESSES + 2 {
                let address = daemon.address();
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    client.open();
                    for number in 0..MESSAGES_EACH {
                        client.open_data(MAILBOX);
                        client.say(message(who, number).replace('\n', "\r\n") + ".\r\n");
                        client.until("250 2.0.0 ");
                    }
                });
            }
        });
        daemon.stop();
        let mut found = BTreeMap::new();
        for octets in kind.messages(folder.path(), MAILBOX) {
            let text = String::from_utf8(octets).unwrap().replace("\r\n", "\n");
            let subject = text.find("Subject: ").unwrap();
            *found.entry(text[subject..].to_owned()).or_insert(0) += 1;
        }
        let expected: BTreeMap<_, _> = (0..PROCESSES + 2)
            .flat_map(|who| (0..MESSAGES_EACH).map(move |number| (message(who, number), 1)))
            .collect();
        assert!(found == expected, "{kind:?}: {} of {}", found.len(), expected.len());
    }
}
