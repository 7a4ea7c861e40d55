//! Folders: copied as folders, with their account or alone.

use crate::copying::run;
use std::{fs, path::Path};

/// A Maildir, made by nobody's code, of these messages.
fn fill(maildir: &Path, messages: &[&str]) {
    for directory in ["tmp", "new", "cur"] {
        fs::create_dir_all(maildir.join(directory)).unwrap();
    }
    for (n, message) in messages.iter().enumerate() {
        fs::write(maildir.join(format!("cur/{n}.M1P1.host:2,S")), message).unwrap();
    }
}

fn count(maildir: &Path) -> usize {
    fs::read_dir(maildir.join("cur")).map_or(0, Iterator::count)
}

#[test]
fn folders_are_copied_with_their_account_and_none_twice() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fill(&from.join("alice"), &["one", "two"]);
    fill(&from.join("alice/.Lists.2026"), &["one", "three"]);
    fill(&from.join("alice/.Gr&APwA3w-e"), &["four"]);
    fill(&from.join("alice/.Empty"), &[]);
    fill(&from.join("bob/.Lists"), &["five"]);
    fill(&from.join("bob"), &["six"]);
    // More than a delivery would make.
    for n in 0..120 {
        fill(&from.join(format!("alice/.f{n}")), &["seven"]);
    }
    let url = |path: &Path| format!("maildir:{}", path.display());
    let copy = |mailboxes: &[&str]| {
        let run = run(&url(&from), &url(&to), mailboxes);
        assert!(run.code == 0 && run.complaints.is_empty(), "{run:?}");
        run.count("copied")
    };
    assert_eq!(copy(&["alice/Lists/2026"]), 2);
    assert_eq!(count(&to.join("alice")), 0);
    assert_eq!(copy(&["Alice"]), 3 + 120);
    assert!(!to.join("bob").exists());
    assert_eq!(copy(&[]), 2);
    assert_eq!(copy(&[]), 0);
    for (folder, messages) in
        [("", 2), (".Lists.2026", 2), (".Gr&APwA3w-e", 1), (".f119", 1), (".Empty", 0)]
    {
        let folder = to.join("alice").join(folder);
        assert_eq!(count(&folder), messages, "{}", folder.display());
        assert_eq!(folder.join("maildirfolder").exists(), !folder.ends_with("alice"));
    }
}
