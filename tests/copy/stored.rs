//! What is in a store, found without postino.
//!
//! Lives here: the stores' URLs, and a Python program that reads them.
//! May not: use any code of postino's.

use crate::program::{bounded, succeed};
use std::path::{Path, PathBuf};

/// Prints a line for each message: its mailbox; SHA-256 of its octets; of its octets
/// with LF for CRLF and a final LF; of that with one LF for any CRs before it, and
/// without quotes.
const READER: &str = r"
import glob, hashlib, mailbox, os, re, sqlite3, sys
kind, path = sys.argv[1:]

def names():
    return [name for name in sorted(os.listdir(path))
            if not name.startswith('.') and not name.endswith('.lock')]

def of_mbox():
    for name in names():
        box = mailbox.mbox(os.path.join(path, name), create=False)
        for key in box.keys():
            yield name, re.sub(rb'(?m)^>(>*From )', rb'\1', box.get_bytes(key))

def of_maildir():
    for name in names():
        for file in glob.glob(os.path.join(glob.escape(os.path.join(path, name)), '[nc][eu][wr]', '*')):
            with open(file, 'rb') as message:
                yield name, message.read()

def of_sqlite():
    database = sqlite3.connect(path)
    found = database.execute('PRAGMA integrity_check').fetchall()
    assert found == [('ok',)], found
    rows = database.execute('''SELECT x.name, m.header, b.id, b.content FROM messages m
        JOIN bodies b ON b.id = m.body JOIN mailboxes x ON x.id = m.mailbox''').fetchall()
    for name, header, body, content in rows:
        parts = database.execute('SELECT content FROM body_parts WHERE body = ? ORDER BY part',
                                 (body,))
        yield name, header + (content or b'') + b''.join(part for part, in parts)

def digest(octets):
    return hashlib.sha256(octets).hexdigest()

for name, message in {'mbox': of_mbox, 'maildir': of_maildir, 'sqlite': of_sqlite}[kind]():
    lf = message.replace(b'\r\n', b'\n')
    if lf and not lf.endswith(b'\n'):
        lf += b'\n'
    known = re.sub(rb'(?m)^>*From ', b'From ', re.sub(rb'\r+\n', b'\n', lf))
    print(name, digest(message), digest(lf), digest(known))
";

/// A store of a test.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    kind: &'static str,
    path: PathBuf,
}

/// The digests of a store's messages, each behind its mailbox's name, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Of their octets.
    pub(crate) octets: Vec<String>,
    /// Of their octets as an mbox can hold them.
    pub(crate) with_lf: Vec<String>,
    /// By which all stores know them.
    pub(crate) known: Vec<String>,
}

impl Place {
    pub(crate) fn new(folder: &Path, kind: &'static str, name: &str) -> Self {
        Self { kind, path: folder.join(format!("{name}.{kind}")) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn url(&self) -> String {
        format!("{}:{}", self.kind, self.path.display())
    }

    /// What is in it now.
    pub(crate) fn stored(&self) -> Stored {
        let output = succeed(bounded("python3").args(["-c", READER, self.kind]).arg(&self.path));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut stored = Stored::default();
        for line in text.lines() {
            let [name, octets, with_lf, known] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            stored.octets.push(format!("{name} {octets}"));
            stored.with_lf.push(format!("{name} {with_lf}"));
            stored.known.push(format!("{name} {known}"));
        }
        stored.octets.sort_unstable();
        stored.with_lf.sort_unstable();
        stored.known.sort_unstable();
        stored
    }
}
