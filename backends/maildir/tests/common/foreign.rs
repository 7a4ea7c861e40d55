//! A Maildir that another program has made and filled.

use super::Place;
use postino_files::Kernel;
use postino_maildir::Maildir;
use postino_store::{MailReader, MailboxName, MessageInfo, Stray};
use std::{
    fs,
    io::Read,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A store without a marker, as another program leaves it, of one mailbox.
pub(crate) struct Foreign {
    pub(crate) place: Place,
    pub(crate) store: Maildir,
}

impl Foreign {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        for directory in ["tmp", "new", "cur"] {
            fs::create_dir_all(place.root().join("alice").join(directory)).unwrap();
        }
        let store = place.store("", Arc::new(Kernel::new()));
        Self { place, store }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.place.root().join("alice").join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, content: &str) -> &Self {
        fs::write(self.path(name), content).unwrap();
        self
    }
}

pub(crate) fn alice() -> MailboxName {
    MailboxName::new("alice").unwrap()
}

pub(crate) fn visit(reader: &dyn MailReader) -> (Vec<MessageInfo>, Vec<Stray>) {
    let (mut messages, mut strays) = (Vec::new(), Vec::new());
    reader
        .messages(&alice(), &mut |found| {
            match found {
                Ok(message) => messages.push(message),
                Err(stray) => strays.push(stray),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    (messages, strays)
}

pub(crate) fn ids(reader: &dyn MailReader) -> Vec<String> {
    visit(reader).0.into_iter().map(|message| message.id.to_string()).collect()
}

pub(crate) fn content(reader: &dyn MailReader, message: &MessageInfo) -> String {
    let open = reader.open(&alice(), message).unwrap();
    let mut text = String::new();
    open.body.reader().read_to_string(&mut text).unwrap();
    text
}
