//! A 250 behind the data means that the message survives a power cut: seen by
//! strace, system call by system call.
//!
//! Lives here: the rules, held against a trace of the program, and against
//! traces that break them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clients/conversation.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod conversation;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;
#[path = "durability/trace.rs"]
mod trace;

use conversation::Conversation;
use daemon::{Daemon, Store, folder, postino, until};
use program::all_here;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use trace::{Call, calls, parent};

#[test]
fn what_is_acknowledged_was_synced_before() {
    if !all_here(&["strace"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let (trace, acknowledged) = deliveries_under_strace(folder.path(), &store);
    let calls = calls(&trace);
    assert_eq!(acknowledgements(&calls).len(), acknowledged, "replies seen in\n{trace}");
    let faults = faults(&calls, store.root());
    assert!(faults.is_empty(), "{}\nin the trace\n{trace}", faults.join("\n"));

    // The check can fail: without the syncs of any one file or directory it does.
    let synced: BTreeSet<PathBuf> = calls.iter().filter_map(Call::synced).collect();
    let marker = |path: &Path| path.to_string_lossy().contains("/.postino");
    let asked_for: Vec<&PathBuf> =
        synced.iter().filter(|path| is_mail(path, &store) && !marker(path)).collect();
    // At least: the message's file, new, and the made directories.
    assert!(asked_for.len() >= 8, "{asked_for:?}\n{trace}");
    for path in asked_for {
        let mut fewer = calls.clone();
        fewer.retain(|call| call.synced().as_ref() != Some(path));
        assert!(!self::faults(&fewer, store.root()).is_empty(), "unneeded: fsync of {path:?}");
    }
}

/// A first delivery, which makes the mailbox, a second, and one to two
/// recipients, of whom one is new; gives the trace and the number of replies.
fn deliveries_under_strace(folder: &Path, store: &Store) -> (String, usize) {
    let output = folder.join("trace");
    let mut strace = Command::new("strace");
    // -D: the process that is started becomes postino's, strace a child of it.
    // -s: each text whole, so that no reply is cut off.
    strace.args(["-D", "-f", "-y", "-s", "100000", "-e", "signal=none", "-o"]).arg(&output);
    strace.args(["-e", &format!("trace={}", trace::CALLS)]).arg(postino());
    let daemon = Daemon::start_by(
        &mut strace,
        &[
            "--listen",
            "127.0.0.1:0",
            "--store",
            &store.url(),
            "--users",
            "any",
            "--hostname",
            "mx.example.org",
        ],
    );
    let mut client = Conversation::over_tcp(daemon.address());
    client.open();
    let message = "Subject: test\r\n\r\nHello\r\n";
    let mut acknowledged = client.send(&["alice@example.org"], message).len();
    acknowledged += client.send(&["alice@example.org"], message).len();
    acknowledged += client.send(&["alice@example.org", "bob@example.org"], message).len();
    client.quit();
    let pid = daemon.pid().to_string();
    daemon.stop();
    let mut text = String::new();
    until(
        || format!("for the end of process {pid} in the trace"),
        || {
            text = String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).into_owned();
            // Process ids are in a column of their own, filled up with blanks.
            text.lines().filter_map(|line| line.split_once(' ')).any(|(who, what)| {
                who == pid && what.trim_start().starts_with("+++ exited with 0 ")
            })
        },
    );
    (text, acknowledged)
}

/// Whether a path is the store's; the parent of its root counts, as it holds
/// the root's name.
fn is_mail(path: &Path, store: &Store) -> bool {
    path.starts_with(store.root()) || path == parent(store.root())
}

/// A `250 2.0.0 ID stored` that was written to a socket.
struct Acknowledgement {
    id: String,
    at: usize,
}

fn acknowledgements(calls: &[Call]) -> Vec<Acknowledgement> {
    let mut found = Vec::new();
    for call in calls {
        let texts = call.is_one_of(&["write", "writev", "sendto", "sendmsg"]);
        if !texts || !call.is_to_socket() {
            continue;
        }
        let text = call.argument(1);
        let words: Vec<&str> = text.split(|c: char| !c.is_ascii_graphic() || c == '"').collect();
        // One call may hold several replies, and then the last word of one and
        // the first of the next stand together: `A stored\r\n250 2.0.0 B stored`.
        for reply in words.windows(4) {
            if let [code, "2.0.0", id, stored] = reply
                && code.ends_with("250")
                && stored.starts_with("stored")
            {
                found.push(Acknowledgement { id: (*id).to_owned(), at: call.began });
            }
        }
    }
    found
}

/// Every promise that a 250 in the trace breaks.
fn faults(calls: &[Call], root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for Acknowledgement { id, at } in acknowledgements(calls) {
        let synced = |path: &Path, after: usize, before: usize| {
            calls.iter().any(|call| {
                call.synced().as_deref() == Some(path) && call.began > after && call.ended < before
            })
        };
        let published = calls.iter().find_map(|call| {
            let (from, to) = call.renamed()?;
            let named = to.file_name()?.to_string_lossy().starts_with(&id);
            (named && parent(&to).ends_with("new")).then_some((call, from, to))
        });
        let Some((publish, from, to)) = published.filter(|(call, _, _)| call.ended < at) else {
            faults.push(format!("{id}: acknowledged before it appeared in new"));
            continue;
        };
        let writes = calls.iter().filter(|call| call.written().as_ref() == Some(&from));
        match writes.map(|call| call.ended).max() {
            None => faults.push(format!("{id}: nothing was written to {}", from.display())),
            Some(last) if !synced(&from, last, publish.began) => {
                faults.push(format!("{id}: {} appeared in new before its fsync", from.display()));
            }
            Some(_) => {}
        }
        let new = parent(&to);
        if !synced(&new, publish.ended, at) {
            faults.push(format!("{id}: acknowledged before the fsync of {}", new.display()));
        }
        let mailbox = parent(&new);
        for call in calls.iter().filter(|call| call.ended < at) {
            let Some(made) = call.made_directory().filter(|made| made.starts_with(root)) else {
                continue;
            };
            // Another recipient's mailbox is another reply's promise.
            if !made.starts_with(&mailbox) && !mailbox.starts_with(&made) {
                continue;
            }
            for directory in [parent(&made), made.clone()] {
                if !synced(&directory, call.ended, at) {
                    faults.push(format!(
                        "{id}: {} was made, acknowledged before the fsync of {}",
                        made.display(),
                        directory.display()
                    ));
                }
            }
        }
    }
    faults
}

/// A sound delivery, in which two threads interrupt each other.
const SOUND: &str = r#"
7 mkdir("/s", 0700) = 0
7 fsync(3</s>) = 0
7 fsync(3</>) = 0
7 mkdirat(4</s>, "new", 0700) = 0
7 fsync(3</s/new>) = 0
7 fsync(3</s>) = 0
7 openat(AT_FDCWD</>, "/s/tmp/1.x", O_WRONLY|O_CREAT|O_EXCL, 0600) = 5</s/tmp/1.x>
7 write(5</s/tmp/1.x>, "Subject: \"a\", (b\n\n250 2.0.0 0.x stored", 30) = 30
7 fsync(5</s/tmp/1.x> <unfinished ...>
8 write(2<pipe:[1]>, "250 2.0.0 1.x stored\r\n", 22) = 22
7 <... fsync resumed>) = 0
7 renameat2(4</s/tmp>, "1.x", 6</s/new>, "1.x,S=4", RENAME_NOREPLACE) = 0
7 fsync(6</s/new> <unfinished ...>
8 sendto(9<socket:[2]>, "250 2.1.5 Recipient ok\r\n", 24, MSG_NOSIGNAL, NULL, 0) = 24
7 <... fsync resumed>)  = 0
8 sendto(9<socket:[2]>, "250 2.0.0 1.x stored\r\n", 22, MSG_NOSIGNAL, NULL, 0) = 22
7 +++ exited with 0 +++
"#;

fn faults_of(trace: &str) -> Vec<String> {
    faults(&calls(trace), Path::new("/s"))
}

#[test]
fn a_sound_trace_passes() {
    assert_eq!(acknowledgements(&calls(SOUND)).len(), 1);
    assert_eq!(faults_of(SOUND), [""; 0]);
}

#[test]
fn each_sync_that_a_trace_lacks_is_a_fault() {
    let without = |lines: &[&str]| {
        let kept: Vec<&str> = SOUND
            .lines()
            .filter(|line| !lines.iter().any(|dropped| line.starts_with(dropped)))
            .collect();
        faults_of(&kept.join("\n"))
    };
    assert_eq!(without(&["7 fsync(3</>)"]).len(), 1);
    assert_eq!(without(&["7 fsync(3</s/new>)", "7 fsync(6</s/new>", "7 <... fsync"]).len(), 3);
    assert_eq!(without(&["7 fsync(3</s>)"]).len(), 2);
    assert_eq!(without(&["7 fsync(5", "7 <... fsync resumed>) = 0"]).len(), 1);
    assert_eq!(without(&["7 renameat2"]).len(), 1);
}

#[test]
fn a_sync_that_fails_or_comes_late_is_a_fault() {
    for (right, wrong) in [
        // The file's fsync failed.
        ("7 <... fsync resumed>) = 0", "7 <... fsync resumed>) = -1 EIO (Input/output error)"),
        // It was written once more behind its fsync.
        ("7 renameat2", "7 write(5</s/tmp/1.x>, \"x\", 1) = 1\n7 renameat2"),
        // The reply went while the fsync of new was under way.
        (
            "8 sendto(9<socket:[2]>, \"250 2.1.5 Recipient ok",
            "8 sendto(9<socket:[2]>, \"250 2.0.0 1.x stored",
        ),
        // The reply went too early, with another in one call.
        (
            "8 sendto(9<socket:[2]>, \"250 2.1.5",
            "8 writev(9<TCP:[1->2]>, [{iov_base=\"250 2.1.5 Ok\\r\\n250 2.0.0 1.x stored\\r\\n\", \
             iov_len=40}], 1) = 40\n8 sendto(9<socket:[2]>, \"250 2.1.5",
        ),
    ] {
        let trace = SOUND.replacen(right, wrong, 1);
        assert_ne!(trace, SOUND, "{right}");
        assert_ne!(faults_of(&trace), [""; 0], "{wrong}");
    }
}
