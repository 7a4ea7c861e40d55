//! What is refused, what fails, and what a dry run does.

use crate::{
    copying::{copy, copy_all, run},
    daemon::postino,
    program::{all_here, bounded},
    stored::Place,
    varied,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
};

/// All that is below a directory: content, time and number of each file. Directories
/// are named alone: a reader's lock file, which comes and goes, changes their times.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, [i64; 2], u64)> {
    let mut tree = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let facts = fs::symlink_metadata(&path).unwrap();
        let (content, time) = if facts.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            (Vec::new(), [0; 2])
        } else if facts.is_file() {
            (fs::read(&path).unwrap(), [facts.mtime(), facts.mtime_nsec()])
        } else {
            (Vec::new(), [facts.mtime(), facts.mtime_nsec()])
        };
        tree.insert(path, (content, time, facts.ino()));
    }
    tree
}

#[test]
fn one_store_is_not_copied_into_itself_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = Place::new(folder.path(), "maildir", "mail");
    varied::maildir(&maildir, 0..4);
    for kind in ["mbox", "sqlite"] {
        copy_all(&maildir, &Place::new(folder.path(), kind, "mail"));
    }
    for kind in ["maildir", "mbox", "sqlite"] {
        let store = Place::new(folder.path(), kind, "mail");
        let link = folder.path().join(format!("link-to-{kind}"));
        symlink(store.path(), &link).unwrap();
        let roundabout =
            folder.path().join(format!("../{}", folder.path().file_name().unwrap().display()));
        let before = tree(folder.path());
        for path in [store.path(), &link, Place::new(&roundabout, kind, "mail").path()] {
            let run = run(&store.url(), &format!("{kind}:{}", path.display()), &[]);
            assert_eq!(run.code, 78, "{kind}: {run:?}");
            assert!(run.complaints.contains("are the same store; nothing was changed"), "{run:?}");
        }
        assert!(tree(folder.path()) == before, "{kind}");
    }
}

#[test]
fn root_writes_nothing_into_another_users_store() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = Place::new(folder.path(), "maildir", "mail");
    varied::maildir(&source, 0..4);
    for kind in ["maildir", "mbox"] {
        let target = Place::new(folder.path(), kind, &format!("{kind}-target"));
        fs::create_dir(target.path()).unwrap();
        fs::write(target.path().join(".postino"), "postino store 1\n").unwrap();
        chown(target.path(), Some(65_534), Some(65_534)).unwrap();
        let refused = copy(&source, &target, &[]);
        assert_eq!(refused.code, 77, "{refused:?}");
        assert!(refused.complaints.contains("belongs to uid 65534"), "{refused:?}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "{kind}");
    }
}

#[test]
fn mailboxes_of_several_domains_are_not_made_one() {
    let folder = tempfile::tempdir().unwrap();
    let source = Place::new(folder.path(), "maildir", "mail");
    for mailbox in ["alice@a.example", "alice@b.example"] {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(source.path().join(mailbox).join(part)).unwrap();
        }
    }
    let target = format!("maildir:{}/%n", folder.path().join("target").display());
    let refused = run(&source.url(), &target, &[]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.complaints.contains("would share a mailbox"), "{refused:?}");
    assert!(!folder.path().join("target").exists());
    let one = run(&source.url(), &target, &["alice@a.example"]);
    assert_eq!((one.code, one.count("mailboxes")), (0, 1), "{one:?}");
}

/// A mail program marks a message as read in its header, as Python's mailbox does
/// here.
#[test]
fn what_was_read_since_it_was_copied_is_not_copied_again() {
    const MARK: &str = r"
import mailbox, sys
box = mailbox.mbox(sys.argv[1], create=False)
box.lock()
for key in list(box.keys())[::2]:
    message = box[key]
    message.set_flags('RO')
    box[key] = message
box.close()
";
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let maildir = Place::new(folder.path(), "maildir", "mail");
    let mailbox = maildir.path().join("alice@example.org");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(mailbox.join(part)).unwrap();
    }
    for n in 0..6 {
        let text = format!("Subject: {n}\n\ntext {n}\n");
        fs::write(mailbox.join(format!("cur/{n}.x.host:2,")), text).unwrap();
    }
    let mbox = Place::new(folder.path(), "mbox", "mbox");
    assert_eq!(copy_all(&maildir, &mbox), 6);
    let file = mbox.path().join("alice@example.org");
    let marked = bounded("python3").args(["-c", MARK]).arg(&file).status().unwrap();
    assert!(marked.success());
    assert!(fs::read_to_string(&file).unwrap().contains("Status: RO"));
    assert_eq!(copy_all(&maildir, &mbox), 0);
    assert_eq!(copy_all(&mbox, &maildir), 0);
}

#[test]
fn a_dry_run_says_what_would_be_copied_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let source = place("maildir", "source");
    varied::maildir(&source, 0..40);
    for kind in ["maildir", "mbox", "sqlite"] {
        let (target, absent) = (place(kind, "target"), place(kind, "absent"));
        assert_eq!(copy(&source, &target, &["a@example.org"]).code, 0);
        let before = tree(folder.path());
        for (to, all) in [(&target, 14), (&absent, 40)] {
            let run = copy(&source, to, &["--dry-run"]);
            assert_eq!((run.code, run.count("to_copy")), (0, all), "{kind}: {run:?}");
        }
        assert!(tree(folder.path()) == before, "{kind}");
        assert!(!absent.path().exists());
    }
}

#[test]
fn a_mailbox_that_the_source_has_not_is_a_failure_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let (source, target) = (place("maildir", "source"), place("sqlite", "target"));
    varied::maildir(&source, 0..9);
    let run = copy(&source, &target, &["nobody@example.org", "B@example.org"]);
    assert_eq!((run.code, run.count("copied"), run.count("mailboxes")), (1, 3, 1), "{run:?}");
    let expected =
        format!("not copied: nobody@example.org: {} has no such mailbox\n", source.url());
    assert_eq!(run.complaints, expected);
}

#[test]
fn what_is_no_message_is_said_and_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let (source, target) = (place("maildir", "source"), place("mbox", "target"));
    varied::maildir(&source, 0..9);
    symlink("/etc/passwd", source.path().join("a@example.org/cur/stray:2,")).unwrap();
    let run = copy(&source, &target, &[]);
    assert_eq!((run.code, run.count("copied"), run.count("failed")), (1, 9, 1), "{run:?}");
    assert!(
        run.complaints.starts_with("not read: ") && run.complaints.contains("stray"),
        "{run:?}"
    );
}

#[test]
fn a_full_store_is_the_end() {
    if !all_here(&["sh"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let (source, target) = (place("maildir", "source"), place("maildir", "target"));
    varied::maildir(&source, 0..100);
    // The file of the largest message may not grow any more.
    let limited = "ulimit -f 2000 && exec \"$@\"";
    let output = bounded("sh")
        .args(["-c", limited, "sh"])
        .arg(postino())
        .args(["copy", &source.url(), &target.url()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(complaints.ends_with("stopped: make room, and run it again\n"), "{complaints}");
    copy_all(&source, &target);
}

#[test]
fn what_a_command_line_lacks_is_said() {
    let run = |arguments: &[&str]| {
        let output = bounded(postino()).arg("copy").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, code, text) in [
        (&[][..], 64, "from"),
        (&["maildir:/nowhere"], 64, "to"),
        (&["maildir:/a", "mbox:/b", "--lock-wait=soon"], 64, "\"soon\" is not a duration"),
        (&["maildir:/a", "/b"], 78, "SCHEME:PATH"),
        (&["maildir:/nowhere/at/all", "mbox:/nowhere/either"], 74, "maildir:/nowhere/at/all"),
    ] {
        let (exit, complaint) = run(arguments);
        assert!(exit == code && complaint.contains(text), "{arguments:?}: {exit} {complaint}");
    }
}
