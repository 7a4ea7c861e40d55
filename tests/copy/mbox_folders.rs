//! Folders are copied as what they are, however many there are.

use crate::copying::run;
use std::{collections::BTreeMap, fs, path::Path};

const ALICE: &str = "alice@example.org";

fn message(what: &str) -> String {
    format!("From s@example.net Tue Nov 24 08:47:49 2026\nSubject: {what}\n\ntext\n\n")
}

/// The mbox files below a directory.
fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.ends_with(".postino") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

fn put(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, message(name)).unwrap();
}

#[test]
fn folders_come_through_a_database_and_back() {
    let place = tempfile::tempdir().unwrap();
    let (from, back) = (place.path().join("from"), place.path().join("back"));
    put(&from, ALICE);
    put(&from, "bob@example.org");
    // More than deliveries would make.
    for n in 0..120 {
        put(&from, &format!(".{ALICE}/Lists/{n}"));
    }
    fs::write(from.join(format!(".{ALICE}/empty")), "").unwrap();
    let url = |root: &Path| format!("mbox:{}", root.display());
    let database = format!("sqlite:{}", place.path().join("mail.db").display());
    for (from, to) in [(&url(&from), &database), (&database, &url(&back))] {
        let copied = run(from, to, &[]);
        assert_eq!((copied.code, copied.count("copied")), (0, 122), "{copied:?}");
        assert_eq!(run(from, to, &[]).count("copied"), 0);
    }
    assert_eq!(files(&back), files(&from));
}

#[test]
fn an_accounts_name_means_its_folders_too_and_a_folders_only_itself() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    for name in [ALICE, ".alice@example.org/a", ".alice@example.org/c/b", "bob@example.org"] {
        put(&from, name);
    }
    let url = |root: &str| format!("mbox:{}", place.path().join(root).display());
    for (wanted, count) in [(ALICE, 3), ("Alice@example.org/a", 1), ("alice@example.org/c/b", 1)] {
        let copied = run(&url("from"), &url(&format!("to{count}{}", wanted.len())), &[wanted]);
        assert_eq!((copied.code, copied.count("copied")), (0, count), "{copied:?}");
    }
    let missing = run(&url("from"), &url("none"), &["alice@example.org/x"]);
    assert_eq!(missing.code, 1, "{missing:?}");
}

#[test]
fn a_folder_that_the_target_cannot_have_is_said_and_not_mixed_with_others() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    put(&from, ALICE);
    put(&from, ".alice@example.org/a/b");
    put(&to, ".alice@example.org/a");
    let url = |root: &Path| format!("mbox:{}", root.display());
    let copied = run(&url(&from), &url(&to), &[]);
    assert_eq!((copied.code, copied.count("copied")), (1, 1), "{copied:?}");
    assert!(copied.complaints.contains("alice@example.org/a/b"), "{copied:?}");
    assert_eq!(files(&to).len(), 2);
}
