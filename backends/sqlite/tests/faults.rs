//! Faults below SQLite: the system calls that it makes fail one at a time.
//!
//! Lives here: a process that delivers under strace, which makes its Nth call of a
//! kind fail; and what must hold whichever that was.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    HEADER, Place, assert_whole, deliver_prepared, foreign, has, mailbox, messages, number, octets,
    spooled, store_at,
};
use postino_store::MailStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

const DATABASE: &str = "POSTINO_SQLITE_DATABASE";
const END: &str = "POSTINO_SQLITE_END";

/// How the process ends: with the database closed, or as if it were killed.
const ENDS: [&str; 2] = ["closed", "killed"];

const MAILBOXES: [&str; 2] = ["a@example.org", "b@example.org"];

const MESSAGES: u64 = 5;

/// Of so many calls of a kind or fewer each is made to fail; of more every second,
/// third and so on.
const TRIES_MAX: usize = 30;

/// The body of the message of this number; one is written ahead in parts.
fn body_of(number: u64) -> Vec<u8> {
    octets(number, if number == 2 { 300_000 } else { 3_000 })
}

fn mailbox_of(number: u64) -> &'static str {
    MAILBOXES[usize::try_from(number % 2).unwrap()]
}

/// No test of its own: what the others start as a process. Makes the database,
/// delivers, says what became of each, copies the log in between and at the end,
/// if it comes to that.
#[test]
fn child() {
    let Some(path) = env::var_os(DATABASE) else { return };
    let store = store_at(path.into(), false);
    if let Err(error) = store.open() {
        println!("\nunopened {error}");
        return;
    }
    for number in 0..MESSAGES {
        match deliver_prepared(&store, mailbox(mailbox_of(number)), spooled(body_of(number))) {
            Ok(_) => println!("\nstored {number}"),
            Err(error) => println!("\nfailed {number}: {error}"),
        }
        if number == 3 {
            store.upkeep();
        }
    }
    if env::var_os(END).is_some_and(|end| end == "killed") {
        std::process::exit(0);
    }
}

/// What the process says, and what strace records of its calls of this kind.
fn traced(place: &Place, call: &str, inject: Option<&str>, end: &str) -> (String, String) {
    let record = place.directory().join("record");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o"]).arg(&record).arg("-e").arg(format!("trace={call}"));
    if let Some(inject) = inject {
        strace.arg("-e").arg(format!("inject={call}:{inject}"));
    }
    strace.arg(env::current_exe().unwrap());
    strace.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    let output = strace.env(DATABASE, place.path()).env(END, end).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{call} {inject:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), fs::read_to_string(record).unwrap())
}

/// Which calls of their thread are for files of the database, counted from one.
fn calls_for(directory: &Path, record: &str) -> Vec<usize> {
    let directory = directory.to_str().unwrap();
    let mut counts = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in record.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        if call.contains("<... ") || !call.contains('(') {
            continue; // the end of one that was begun before, or of a process
        }
        let count = counts.entry(thread.to_owned()).or_insert(0);
        *count += 1;
        if call.contains(directory) {
            found.insert(*count);
        }
    }
    found.into_iter().collect()
}

/// The numbers of the messages of which this was said.
fn said(text: &str, what: &str) -> Vec<u64> {
    let rests = text.lines().filter_map(|line| line.strip_prefix(what));
    rests.map(|rest| rest.split(':').next().unwrap().trim().parse().unwrap()).collect()
}

/// What must hold after any fault, once there are none any more.
fn assert_true(place: &Place, said: &str, stored: &[u64]) {
    place.open();
    assert_whole(&place.path());
    let database = foreign(&place.path());
    for name in MAILBOXES {
        let mut expected: Vec<_> = stored
            .iter()
            .filter(|number| mailbox_of(**number) == name)
            .map(|number| [HEADER, &body_of(*number)].concat())
            .collect();
        let mut found = messages(&database, name);
        expected.sort();
        found.sort();
        assert!(found == expected, "{} in {name}, not {}: {said}", found.len(), expected.len());
    }
    let count = number(&database, "SELECT count(*) FROM messages");
    assert_eq!(count, i64::try_from(stored.len()).unwrap(), "{said}");
    let left = place.names();
    let own = ["mail.db", "mail.db-shm", "mail.db-wal", "record"];
    assert!(left.iter().all(|name| own.contains(&name.as_str())), "{left:?}");
}

/// Makes each call of this kind fail with `error`, one a run; says how many did.
fn each_fails(call: &str, error: &str) -> usize {
    let place = Place::new();
    let (text, record) = traced(&place, call, None, ENDS[0]);
    let all: Vec<_> = (0..MESSAGES).collect();
    assert_eq!(said(&text, "stored "), all, "without a fault: {text}");
    assert_true(&place, &text, &all);
    let calls = calls_for(place.directory(), &record);

    let (mut met, mut unopened, mut failures) = (0, 0, 0);
    let step = calls.len().div_ceil(TRIES_MAX).max(1);
    let some = calls.iter().step_by(step);
    for (which, end) in some.flat_map(|which| ENDS.map(|end| (which, end))) {
        let place = Place::new();
        let inject = format!("error={error}:when={which}");
        let (text, record) = traced(&place, call, Some(&inject), end);
        let text = format!("{call} {inject}, {end}: {text}");
        let (stored, failed) = (said(&text, "stored "), said(&text, "failed "));
        if text.contains("\nunopened ") {
            unopened += 1;
            assert!(stored.is_empty() && failed.is_empty(), "{text}");
        } else {
            assert_eq!(stored.len() + failed.len(), all.len(), "{text}");
        }
        met += usize::from(record.contains("(INJECTED)"));
        failures += failed.len();
        assert_true(&place, &text, &stored);
    }
    println!(
        "{call} {error}: {met} failed in as many runs, of {} calls a run; {unopened} starts and \
         {failures} deliveries with them",
        calls.len()
    );
    met
}

#[test]
fn a_write_that_fails_costs_no_stored_message() {
    if has("strace") {
        assert!(each_fails("pwrite64", "EIO") > 0);
    }
}

#[test]
fn a_write_for_which_there_is_no_room_costs_no_stored_message() {
    if has("strace") {
        assert!(each_fails("pwrite64", "ENOSPC") > 0);
    }
}

#[test]
fn a_sync_that_fails_costs_no_stored_message() {
    if has("strace") {
        // How SQLite was built says which.
        assert!(each_fails("fsync", "EIO") + each_fails("fdatasync", "EIO") > 0);
    }
}

#[test]
fn a_cut_that_fails_costs_no_stored_message() {
    if has("strace") {
        assert!(each_fails("ftruncate", "EIO") > 0);
    }
}

#[test]
fn an_open_that_fails_costs_no_stored_message() {
    if has("strace") {
        assert!(each_fails("openat", "EIO") > 0);
    }
}
