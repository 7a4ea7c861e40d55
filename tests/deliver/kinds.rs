//! The three kinds of stores, and what others find in them.
//!
//! Lives here: reading a mailbox's messages without postino.
//! May not: know how they came there.

use crate::program::{bounded, succeed};
use std::{fs, path::Path};

/// Dumps a mailbox's messages, each behind its length.
const SCRIPT: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for header, content, body in db.execute(
    'SELECT m.header, b.content, b.id FROM messages m JOIN bodies b ON b.id = m.body'
    ' JOIN mailboxes x ON x.id = m.mailbox WHERE x.name = ? ORDER BY m.id', (sys.argv[2],)
).fetchall():
    text = header + (content or b'')
    for part, in db.execute('SELECT content FROM body_parts WHERE body = ? ORDER BY part', (body,)):
        text += part
    sys.stdout.buffer.write(str(len(text)).encode() + b'\\n' + text)";

pub(crate) const KINDS: [Kind; 3] = [Kind::Maildir, Kind::Mbox, Kind::Sqlite];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Maildir,
    Mbox,
    Sqlite,
}

impl Kind {
    pub(crate) fn url(self, folder: &Path) -> String {
        let folder = folder.display();
        match self {
            Self::Maildir => format!("maildir:{folder}/maildir"),
            Self::Mbox => format!("mbox:{folder}/mbox"),
            Self::Sqlite => format!("sqlite:{folder}/mail.db"),
        }
    }

    /// A mailbox's messages; of an mbox with their quotes, but not the lines that
    /// part them.
    pub(crate) fn messages(self, folder: &Path, mailbox: &str) -> Vec<Vec<u8>> {
        match self {
            Self::Maildir => {
                let new = folder.join("maildir").join(mailbox).join("new");
                let files = fs::read_dir(new).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
                files.into_iter().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
            }
            Self::Mbox => {
                let file = fs::read(folder.join("mbox").join(mailbox)).unwrap_or_default();
                messages_of_mbox(&file)
            }
            Self::Sqlite => {
                let database = folder.join("mail.db");
                let mut python = bounded("python3");
                python.args(["-c", SCRIPT]).arg(database).arg(mailbox);
                messages_behind_lengths(&succeed(&mut python).stdout)
            }
        }
    }
}

fn messages_of_mbox(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !file.is_empty() {
        assert!(file.starts_with(b"From "), "{}", String::from_utf8_lossy(file));
        let begin = file.iter().position(|octet| *octet == b'\n').unwrap() + 1;
        let end = file.windows(7).position(|octets| octets == b"\n\nFrom ");
        let end = end.map_or(file.len(), |end| end + 2);
        assert!(file[..end].ends_with(b"\n\n"), "torn: {}", String::from_utf8_lossy(file));
        messages.push(file[begin..end - 1].to_vec());
        file = &file[end..];
    }
    messages
}

fn messages_behind_lengths(mut dump: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(end) = dump.iter().position(|octet| *octet == b'\n') {
        let octets: usize = std::str::from_utf8(&dump[..end]).unwrap().parse().unwrap();
        let (message, rest) = dump[end + 1..].split_at(octets);
        messages.push(message.to_vec());
        dump = rest;
    }
    messages
}
