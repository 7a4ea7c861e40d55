//! What holds for a store that keeps folders; the others are not asked.

use super::{Harness, Rule, assert_no_residue, assert_stored, deliver, delivery, name};
use crate::{
    Class, DeliveryError, IfMissing, IfNoFolder, MailReader, MailStore, Mailbox, MailboxName,
};
use std::{ops::ControlFlow, sync::Arc};

pub(super) const RULES: &[Rule] = &[
    ("a folder is made where it may be", |harness| keeping(harness, a_folder_is_made)),
    ("a missing folder's mail goes to the inbox", |harness| keeping(harness, inbox_instead)),
    ("folders whose names look alike are different", |harness| keeping(harness, alike)),
    ("the inbox is no folder of its own", |harness| keeping(harness, the_inbox_is_no_folder)),
    ("a hostile folder stays in its account or is refused", |harness| keeping(harness, hostile)),
    ("a missing account has no folder", |harness| keeping(harness, a_missing_account)),
    ("init makes folders", |harness| keeping(harness, init_makes_folders)),
    ("folders are listed and read", |harness| reading(harness, folders_are_listed)),
    ("a folder is removed alone, an account whole", |harness| reading(harness, removing)),
];

const BODY: &[u8] = b"Subject: folder\r\n\r\ntext\r\n";
const OTHER: &[u8] = b"Subject: other\r\n\r\ntext\r\n";

fn keeping(harness: &dyn Harness, check: fn(&dyn Harness, &dyn MailStore)) {
    if harness.keeps_folders() {
        check(harness, &*harness.store());
    }
}

fn reading(harness: &dyn Harness, check: fn(&dyn Harness, &dyn MailStore, &dyn MailReader)) {
    let store = harness.store();
    if let Some(reader) = store.reader().filter(|_| harness.keeps_folders()) {
        check(harness, &*store, reader);
    }
}

/// Delivers into a folder that is made at need, or not.
fn deliver_to(
    store: &dyn MailStore,
    folder: &MailboxName,
    if_no_folder: IfNoFolder,
    body: &[u8],
) -> Result<(), DeliveryError> {
    let mailbox = Mailbox::new(folder.inbox(), IfMissing::Create);
    let mailbox = match folder.folder() {
        Some(folder) => mailbox.in_folder(folder, if_no_folder),
        None => Ok(mailbox),
    };
    let mailbox = mailbox.unwrap_or_else(|error| panic!("{folder}: {error}"));
    store.admit(&mailbox, Some(body.len() as u64))?;
    store.deliver(&delivery(mailbox, body, Arc::default())).map(drop)
}

fn made(store: &dyn MailStore, folder: &MailboxName, body: &[u8]) {
    deliver_to(store, folder, IfNoFolder::Create, body)
        .unwrap_or_else(|error| panic!("{folder}: {error}"));
}

fn folder(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn a_folder_is_made(harness: &dyn Harness, store: &dyn MailStore) {
    let above = if harness.nests_folders() { "a@d/Lists" } else { "a@d/Other" };
    for text in ["a@d/Lists/2026", above, "a@d/Grüße & \"x\"", "a@d/日本語/😊"] {
        let folder = folder(text);
        made(store, &folder, BODY);
        assert_stored(harness, &folder, &[BODY], text);
        made(store, &folder, OTHER);
        assert_stored(harness, &folder, &[BODY, OTHER], text);
        assert_stored(harness, &folder.inbox(), &[], text);
    }
    assert_no_residue(harness, "after folders");
}

fn inbox_instead(harness: &dyn Harness, store: &dyn MailStore) {
    let folder = folder("a@d/Lists/2026");
    let to_inbox = |body| {
        deliver_to(store, &folder, IfNoFolder::Inbox, body)
            .unwrap_or_else(|error| panic!("{error}"));
    };
    to_inbox(BODY);
    assert_stored(harness, &folder.inbox(), &[BODY], "no folder");
    assert_stored(harness, &folder, &[], "no folder");
    made(store, &folder, OTHER);
    to_inbox(BODY);
    assert_stored(harness, &folder, &[OTHER, BODY], "a folder");
    assert_stored(harness, &folder.inbox(), &[BODY], "a folder");
    assert_no_residue(harness, "after all");
}

fn alike(harness: &dyn Harness, store: &dyn MailStore) {
    let above = if harness.nests_folders() { "a@d/x" } else { "a@d/x.y" };
    let names = ["a@d/x/y", "a@d/X/y", above, "a@d/x&AC4-y", "a@d/&", "b@d/x"];
    for text in names {
        made(store, &folder(text), format!("Subject: {text}\r\n\r\n").as_bytes());
    }
    for text in names {
        let body = format!("Subject: {text}\r\n\r\n");
        assert_stored(harness, &folder(text), &[body.as_bytes()], text);
    }
}

fn the_inbox_is_no_folder(harness: &dyn Harness, store: &dyn MailStore) {
    for (n, text) in ["a@d/INBOX", "a@d/inbox", "a@d/Inbox"].into_iter().enumerate() {
        deliver_to(store, &folder(text), IfNoFolder::Create, BODY)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_stored(harness, &name("a@d"), &vec![BODY; n + 1], text);
    }
}

fn hostile(harness: &dyn Harness, store: &dyn MailStore) {
    let bystander = name("b@d");
    deliver(store, &bystander, OTHER).unwrap_or_else(|error| panic!("{error}"));
    let long = "x".repeat(120);
    let wide = "é&".repeat(40);
    let details = [
        "cur",
        "new",
        "tmp",
        "new/x",
        "a.",
        "a..b",
        "a/b.c./d",
        "~",
        "~/x",
        "*",
        "%",
        "a\\b",
        "-",
        " ",
        "a/ /b",
        "'; DROP TABLE messages; --",
        "\u{202e}x",
        "\u{feff}",
        "b@d",
        "dovecot.x",
        "maildirfolder",
        "postino-lost",
        "postino-removed-x",
        "x.lock",
        &long,
        &wide,
    ];
    for (n, detail) in details.into_iter().enumerate() {
        let account = name(&format!("hostile{n}@d"));
        let folder = account.in_folder(detail).unwrap_or_else(|error| panic!("{detail}: {error}"));
        match deliver_to(store, &folder, IfNoFolder::Create, BODY) {
            Ok(()) => {
                let places = [&folder, &account].map(|place| harness.stored(place).len());
                assert!(places[0] + places[1] == 1, "{detail:?}: stored {places:?}");
            }
            Err(error) => {
                assert_eq!(error.class(), Class::Permanent, "{detail:?}: {error}");
                assert!(harness.stored(&account).is_empty(), "{detail:?}: refused and stored");
            }
        }
        assert_stored(harness, &bystander, &[OTHER], detail);
        assert_no_residue(harness, detail);
    }
}

fn a_missing_account(_: &dyn Harness, store: &dyn MailStore) {
    deliver(store, &name("there@d"), BODY).unwrap_or_else(|error| panic!("{error}"));
    let missing = Mailbox::new(name("missing@d"), IfMissing::Refuse);
    let missing = missing.in_folder("x", IfNoFolder::Create);
    let missing = missing.unwrap_or_else(|error| panic!("{error}"));
    let asked = store.admit(&missing, None);
    assert!(matches!(asked, Err(DeliveryError::NoSuchMailbox)), "{asked:?}");
    let stored = store.deliver(&delivery(missing, BODY, Arc::default()));
    assert!(matches!(stored, Err(DeliveryError::NoSuchMailbox)), "{stored:?}");
}

fn init_makes_folders(harness: &dyn Harness, store: &dyn MailStore) {
    let folder = folder("a@d/Lists/2026");
    for _ in 0..2 {
        store.init(std::slice::from_ref(&folder)).unwrap_or_else(|error| panic!("{error}"));
    }
    let stored = deliver_to(store, &folder, IfNoFolder::Inbox, BODY);
    stored.unwrap_or_else(|error| panic!("{error}"));
    assert_stored(harness, &folder, &[BODY], "after init");
}

fn listed(reader: &dyn MailReader) -> Vec<String> {
    let mut names = Vec::new();
    let visited = reader.mailboxes(&mut |found| {
        names.push(found.unwrap_or_else(|stray| panic!("{stray}")).to_string());
        ControlFlow::Continue(())
    });
    visited.unwrap_or_else(|error| panic!("{error}"));
    names
}

fn folders_are_listed(_: &dyn Harness, store: &dyn MailStore, reader: &dyn MailReader) {
    let mut names = ["a@d", "a@d/Lists/2026", "a@d/Ä & b", "a@d.net", "b@d", "b@d/x"];
    for text in names {
        made(store, &folder(text), BODY);
    }
    names.sort_unstable_by_key(|text| folder(text));
    assert_eq!(listed(reader), names);
    for text in names {
        let folder = folder(text);
        let mut found = Vec::new();
        let visited = reader.messages(&folder, &mut |message| {
            found.push(message.unwrap_or_else(|stray| panic!("{stray}")));
            ControlFlow::Continue(())
        });
        visited.unwrap_or_else(|error| panic!("{text}: {error}"));
        let [message] = &found[..] else { panic!("{text}: {} messages", found.len()) };
        let same = reader.find(&folder, message.id.as_str());
        assert_eq!(same.ok().as_ref(), Some(message), "{text}");
        assert!(reader.open(&folder, message).is_ok(), "{text}");
        let contents = reader.contents(&folder).map(|contents| contents.messages);
        assert_eq!(contents.ok(), Some(1), "{text}");
    }
}

fn removing(harness: &dyn Harness, store: &dyn MailStore, reader: &dyn MailReader) {
    let below = if harness.nests_folders() { "a@d/x/y" } else { "a@d/y" };
    for text in ["a@d", "a@d/x", below, "a@d/z", "b@d", "b@d/x"] {
        made(store, &folder(text), BODY);
        made(store, &folder(text), OTHER);
    }
    let one = folder("a@d/z");
    let mut first = None;
    let visited = reader.messages(&one, &mut |message| {
        first = message.ok();
        ControlFlow::Break(())
    });
    let first = first.filter(|_| visited.is_ok()).unwrap_or_else(|| panic!("{one} is empty"));
    reader.remove(&one, &first).unwrap_or_else(|error| panic!("{one}: {error}"));
    assert_eq!(harness.stored(&one).len(), 1);
    let remove = |text: &str| {
        let removed = reader.remove_mailbox(&folder(text));
        removed.unwrap_or_else(|error| panic!("{text}: {error}"));
    };
    remove("a@d/x");
    assert_eq!(listed(reader), ["a@d", below, "a@d/z", "b@d", "b@d/x"]);
    assert!(reader.remove_mailbox(&folder("a@d/x")).is_err(), "it is gone");
    remove("a@d");
    assert_eq!(listed(reader), ["b@d", "b@d/x"]);
    assert_stored(harness, &folder("b@d/x"), &[BODY, OTHER], "after removing others");
    assert_no_residue(harness, "after removing");
}
