//! Each store in a directory of its own, and whose it is.
//!
//! Lives here: its URL, a server for it.
//! May not: read it.

use crate::daemon::{Daemon, folder};
use rustix::process::geteuid;
use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Whose mail it is where the test runs as root, to whom Dovecot shows no mail.
pub(crate) const READER: (&str, u32) = ("nobody", 65534);

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Maildir,
    Mbox,
    Sqlite,
}

/// A store that is not there yet, in the directory `root` of its owner.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) kind: Kind,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let place = Self { folder: folder(), kind };
        fs::create_dir(place.root()).unwrap();
        if geteuid().is_root() {
            chown(place.above(), Some(READER.1), Some(READER.1)).unwrap();
            chown(place.root(), Some(READER.1), Some(READER.1)).unwrap();
        }
        place
    }

    /// What else the test makes is here.
    pub(crate) fn above(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.above().join("root")
    }

    /// The file or directory of the account `name`.
    pub(crate) fn account(&self, name: &str) -> PathBuf {
        match self.kind {
            Kind::Maildir | Kind::Mbox => self.root().join(name),
            Kind::Sqlite => self.root().join("mail.db"),
        }
    }

    /// A server that writes as the owner.
    pub(crate) fn serve(&self, flags: &[&str]) -> Daemon {
        let root = self.root();
        let store = match self.kind {
            Kind::Maildir => format!("--store=maildir:{}", root.display()),
            Kind::Mbox => format!("--store=mbox:{}", root.display()),
            Kind::Sqlite => format!("--store=sqlite:{}/mail.db", root.display()),
        };
        let user = format!("--user={}", READER.0);
        let mut all =
            vec!["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", &store];
        all.extend(flags);
        if geteuid().is_root() {
            all.push(&user);
        }
        Daemon::start(&all)
    }
}
