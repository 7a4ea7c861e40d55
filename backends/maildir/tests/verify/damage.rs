//! A store, and the ways in which its mail comes to harm.

use crate::common::{Place, deliver_to, walk};
use FindingKind::{Damage, Stray};
use postino_files::Kernel;
use postino_maildir::Maildir;
use postino_store::{Finding, FindingKind, MailReader, MailStore, Repair, Verified};
use std::{
    fs::{self, File, FileTimes, Permissions},
    os::unix::fs::{FileTypeExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A marked store with a message for alice in it.
pub(crate) struct Store {
    pub(crate) place: Place,
    pub(crate) maildir: Maildir,
}

impl Store {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let maildir = place.store("", Arc::new(Kernel::new()));
        MailStore::open(&maildir).unwrap();
        deliver_to(&maildir, "alice").unwrap();
        Self { place, maildir }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.place.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(path), content).unwrap();
    }

    pub(crate) fn write_old(&self, path: &str, content: &str, hours: u64) {
        self.write(path, content);
        let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        File::open(self.path(path)).unwrap().set_times(times).unwrap();
    }

    pub(crate) fn verify(&self, repair: Repair) -> (Vec<Finding>, Verified) {
        let mut findings = Vec::new();
        let verified = self.maildir.verify(repair, &mut |finding| findings.push(finding));
        (findings, verified.unwrap())
    }

    /// The only finding.
    pub(crate) fn finding(&self, repair: Repair) -> Finding {
        let (mut findings, _) = self.verify(repair);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0)
    }

    /// What all regular files hold, sorted; links and directories as such.
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        let mut contents: Vec<_> = walk(&self.place.root())
            .iter()
            .filter_map(|path| {
                let path = self.path(path);
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                match () {
                    () if kind.is_file() => Some(read_unseen(&path)),
                    () if kind.is_symlink() => {
                        Some(fs::read_link(path).unwrap().into_os_string().into_encoded_bytes())
                    }
                    () if kind.is_fifo() => Some(b"FIFO".to_vec()),
                    () => None,
                }
            })
            .collect();
        contents.sort();
        contents
    }
}

/// Reads a file and leaves it as old as it was.
fn read_unseen(path: &Path) -> Vec<u8> {
    let status = fs::metadata(path).unwrap();
    let times = FileTimes::new().set_accessed(status.accessed().unwrap());
    let content = fs::read(path).unwrap();
    File::open(path).unwrap().set_times(times).unwrap();
    content
}

/// A kind of damage: how it is done, where, how bad it is, words that say what, and
/// whether a repair moves it away.
pub(crate) type Damaged = (fn(&Store), &'static str, FindingKind, &'static str, bool);

pub(crate) const DAMAGED: &[Damaged] = &[
    (
        |store| store.write_old("alice/tmp/17.draft", "half", 37),
        "alice/tmp/17.draft",
        Stray,
        "36 hours",
        true,
    ),
    (
        |store| fs::create_dir(store.path("alice/tmp/odd")).unwrap(),
        "alice/tmp/odd",
        Stray,
        "directory",
        true,
    ),
    (
        |store| symlink("/nowhere", store.path("alice/tmp/odd")).unwrap(),
        "alice/tmp/odd",
        Stray,
        "link",
        true,
    ),
    (
        |store| store.write("alice/new/17.empty.mx", ""),
        "alice/new/17.empty.mx",
        Damage,
        "empty",
        true,
    ),
    (
        |store| store.write("alice/cur/17.empty.mx,S=5:2,S", ""),
        "alice/cur/17.empty.mx,S=5:2,S",
        Damage,
        "empty",
        true,
    ),
    (
        |store| store.write("alice/cur/17.x:2,", vec![0; 70_000]),
        "alice/cur/17.x:2,",
        Damage,
        "NULs",
        true,
    ),
    (
        |store| store.write("alice/cur/17.x,S=5:2,", [0; 5]),
        "alice/cur/17.x,S=5:2,",
        Damage,
        "NULs",
        true,
    ),
    (
        |store| store.write("alice/new/17.x,S=9", "text"),
        "alice/new/17.x,S=9",
        Damage,
        "part of it is missing",
        false,
    ),
    (
        |store| store.write("alice/new/17.x,S=2,W=2", "text"),
        "alice/new/17.x,S=2,W=2",
        Damage,
        "grown",
        false,
    ),
    (
        |store| {
            store.write("alice/new/17.x.mx,S=1", "a");
            store.write("alice/cur/17.x.mx,S=2:2,S", "bb");
        },
        "alice/cur/17.x.mx,S=2:2,S",
        Stray,
        "new/17.x.mx,S=1",
        false,
    ),
    (
        |store| symlink("/etc/passwd", store.path("alice/cur/17.x:2,S")).unwrap(),
        "alice/cur/17.x:2,S",
        Stray,
        "link",
        true,
    ),
    (|store| mkfifo(&store.path("alice/new/17.x")), "alice/new/17.x", Stray, "FIFO", true),
    (
        |store| {
            fs::create_dir(store.path("alice/new/17.x")).unwrap();
            store.write("alice/new/17.x/inner", "inner");
        },
        "alice/new/17.x",
        Stray,
        "directory",
        true,
    ),
    (
        |store| store.write_old("alice/cur/.17.x.Ab3dEf", "half", 40),
        "alice/cur/.17.x.Ab3dEf",
        Stray,
        "hidden",
        true,
    ),
    (
        |store| store.write("alice/cur/17.x.mx,S=4;2,S", "text"),
        "alice/cur/17.x.mx,S=4;2,S",
        Stray,
        "colon",
        false,
    ),
    (
        |store| {
            store.write("alice/cur/17.x", "text");
            fs::set_permissions(store.path("alice/cur/17.x"), Permissions::from_mode(0o040))
                .unwrap();
        },
        "alice/cur/17.x",
        Damage,
        "0040",
        false,
    ),
    (
        |store| {
            fs::set_permissions(store.path("alice/tmp"), Permissions::from_mode(0o500)).unwrap();
        },
        "alice/tmp",
        Damage,
        "0500",
        false,
    ),
    (
        |store| {
            fs::rename(store.path("alice/cur"), store.place.above().join("cur")).unwrap();
            symlink("../../cur", store.path("alice/cur")).unwrap();
        },
        "alice/cur",
        Damage,
        "directory",
        false,
    ),
    (|store| fs::create_dir_all(store.path("bad@/new")).unwrap(), "bad@", Stray, "name", false),
    (|store| symlink("alice", store.path("bob")).unwrap(), "bob", Stray, "link", false),
    (|store| store.write("notes", "notes"), "notes", Stray, "file", false),
    (
        |store| fs::create_dir_all(store.path("bob/tmp")).unwrap(),
        "bob",
        Stray,
        "not made to its end",
        false,
    ),
    (
        |store| fs::create_dir_all(store.path(".postino-removed-0123456789abcdef/new")).unwrap(),
        ".postino-removed-0123456789abcdef",
        Stray,
        "broken off",
        false,
    ),
    (
        |store| store.write_old(".postino.new", "postino store 1", 40),
        ".postino.new",
        Stray,
        "crash",
        true,
    ),
    (|store| store.write(".postino", "other"), ".postino", Stray, "marker", false),
    (|store| fs::remove_file(store.path(".postino")).unwrap(), ".postino", Stray, "missing", false),
];

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
