//! What crashes leave at the end of a mailbox, and that the next delivery mends
//! it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FROM_LINE, Place, STORED, deliver_to, leave_lock, mailbox, message, messages};
use postino_files::{
    Files, Kernel, Lock,
    testing::{Call, Failing, Fault, Recording},
};
use postino_mbox::{LockKind, Options};
use postino_store::{Body, Delivery, DeliveryError, IfMissing, MailStore};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

#[test]
fn a_torn_message_is_cut_where_the_lock_file_says_so() {
    let whole = STORED.len();
    // Nothing was written, something, all but one octet.
    for there in [0, 1, 5, 60, whole - 1] {
        for locks in ["fcntl,dotlock", "dotlock,flock", "dotlock"] {
            let place = Place::new();
            let locks = LockKind::list(locks).unwrap();
            let store = place.open_with(Options { locks, ..Options::default() });
            fs::write(place.alice(), format!("{STORED}{}", &STORED[..there])).unwrap();
            leave_lock(&place, whole, 2 * whole);
            deliver_to(&store, "alice").unwrap();
            assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2), "{there}");
            assert!(!place.dotlock().exists());
        }
    }
}

#[test]
fn a_torn_first_message_is_cut_too() {
    for there in [1, 4, 5, 60] {
        let place = Place::new();
        let store = place.open();
        fs::write(place.alice(), &STORED[..there]).unwrap();
        leave_lock(&place, 0, STORED.len());
        deliver_to(&store, "alice").unwrap();
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED, "{there}");
    }
}

#[test]
fn what_is_whole_or_somebody_else_s_is_never_cut() {
    let whole = STORED.len();
    let three = STORED.repeat(3);
    let other = "From x Tue Nov 24 08:47:49 2026\n\nanother, longer message than those of ours: \
        a reader has removed the first and put this one there, which nobody announced\n\n";
    for (text, old, new) in [
        // All was written, and more behind it.
        (&three[..2 * whole], whole, 2 * whole),
        (&three[..], whole, 2 * whole),
        // Others have made the mailbox shorter.
        (&three[..whole], 2 * whole, 3 * whole),
        (other, 40, 400),
    ] {
        let place = Place::new();
        let store = place.open();
        fs::write(place.alice(), text).unwrap();
        leave_lock(&place, old, new);
        deliver_to(&store, "alice").unwrap();
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), format!("{text}{STORED}"));
    }
}

/// What others append with the kernel's lock alone.
const OTHERS: &str = "From x@y Tue Nov 24 08:47:49 2026\n\nanother's\n\n";

#[test]
fn what_others_append_to_a_torn_message_is_never_cut() {
    let whole = STORED.len();
    let like_ours = format!("\n\n{STORED}");
    let behind = format!("\n\n{OTHERS}");
    // Across the octets that are looked at together.
    let long = "a line\n".repeat(20_000);
    let cases = [
        (STORED[..60].to_owned(), &behind[..]),
        (STORED[..60].to_owned(), &like_ours[..]),
        // Without an empty line, as some do.
        (STORED[..whole - 1].to_owned(), OTHERS),
        // In the place of ours, of which nothing was written, or little.
        (String::new(), OTHERS),
        ("Fr".to_owned(), &behind[..]),
        (STORED[..20].to_owned(), OTHERS),
    ];
    let filled = (65_500..65_600).map(|end| (format!("{STORED}{long}")[..end].to_owned(), "\n\n"));
    let filled = filled.map(|(torn, line_ends)| (format!("{torn}{line_ends}"), OTHERS));
    for (torn, others) in cases.into_iter().chain(filled) {
        let place = Place::new();
        let store = place.open();
        let text = format!("{STORED}{torn}{others}");
        fs::write(place.alice(), &text).unwrap();
        leave_lock(&place, whole, 10 * text.len());
        deliver_to(&store, "alice").unwrap();
        let stored = fs::read_to_string(place.alice()).unwrap();
        assert!(stored == format!("{text}{STORED}"), "{torn:?} {others:?}: {stored:?}");
        assert!(!place.dotlock().exists());
    }
}

#[test]
fn a_batch_torn_in_any_of_its_messages_is_cut_whole() {
    let whole = STORED.len();
    let messages = STORED.repeat(3);
    for others in ["", "\n\nFrom x@y Tue Nov 24 08:47:49 2026\n\nanother's\n\n"] {
        for torn in whole..3 * whole {
            let place = Place::new();
            let store = place.open();
            let text = format!("{STORED}{}{others}", &messages[..torn]);
            fs::write(place.alice(), &text).unwrap();
            leave_lock(&place, 0, 0);
            let lock = fs::read_to_string(place.dotlock()).unwrap();
            let starts = (1..=3).map(|nth| format!("-{}:{FROM_LINE}", nth * whole));
            let starts: String = starts.collect();
            let append = format!("{lock}append={whole}{starts}-{}\n", 9 * whole);
            fs::write(place.dotlock(), append).unwrap();
            deliver_to(&store, "alice").unwrap();
            let wanted = if others.is_empty() { STORED } else { &text };
            let stored = fs::read_to_string(place.alice()).unwrap();
            assert_eq!(stored, format!("{wanted}{STORED}"), "{torn}");
        }
    }
}

#[test]
fn the_lock_file_of_another_user_is_broken_but_not_believed() {
    let place = Place::new();
    let store = place.open();
    let torn = format!("{STORED}{}", &STORED[..60]);
    fs::write(place.alice(), &torn).unwrap();
    leave_lock(&place, STORED.len(), 2 * STORED.len());
    // Only root can give a file away.
    if std::os::unix::fs::chown(place.dotlock(), Some(12_345), None).is_ok() {
        deliver_to(&store, "alice").unwrap();
        assert!(fs::read_to_string(place.alice()).unwrap().starts_with(&torn));
        assert_eq!(messages(&place.alice()).len(), 3);
    }
}

#[test]
fn a_file_made_long_is_not_read_to_its_beginning() {
    let place = Place::new();
    let store = place.open();
    deliver_to(&store, "alice").unwrap();
    let file = fs::OpenOptions::new().write(true).open(place.alice()).unwrap();
    // It takes no room on the disk, and hours to read.
    let length = 1 << 42;
    file.set_len(length).unwrap();
    let refused = deliver_to(&store, "alice").unwrap_err();
    assert!(refused.to_string().contains("more NULs stand in it"), "{refused}");
    assert_eq!(file.metadata().unwrap().len(), length);
}

#[test]
fn what_a_lock_file_says_of_lengths_makes_nobody_read_or_hold_that_much() {
    let length = 1_u64 << 42;
    for start in [STORED.len() as u64, length - 9] {
        let place = Place::new();
        let store = place.open();
        deliver_to(&store, "alice").unwrap();
        let file = fs::OpenOptions::new().write(true).open(place.alice()).unwrap();
        file.write_all_at(b"x\n\n", length - 3).unwrap();
        let lengths = format!("append={}-{start}:00000000-{}", STORED.len(), length + 9);
        fs::write(place.dotlock(), format!("1\n{lengths}\ntorn\n")).unwrap();
        deliver_to(&store, "alice").unwrap();
        // Whatever it is, it stays.
        assert!(file.metadata().unwrap().len() > length);
    }
}

#[test]
fn nuls_of_a_power_cut_are_cut() {
    let whole = STORED.len();
    for nuls in [1, 511, 512, 70_000, 200_000] {
        let zeros = "\0".repeat(nuls);
        let torn = format!("{STORED}{}{zeros}", &STORED[..60]);
        let hardly = format!("{STORED}Fr{zeros}");
        for (text, lock, wanted) in [
            (zeros.clone(), None, STORED.to_owned()),
            (format!("{STORED}{zeros}"), None, STORED.repeat(2)),
            // As long as announced, but not written.
            (torn.clone(), Some(torn.len()), STORED.repeat(2)),
            (hardly.clone(), Some(hardly.len()), STORED.repeat(2)),
            (format!("Fr{zeros}"), None, STORED.to_owned()),
        ] {
            let place = Place::new();
            let store = place.open();
            fs::write(place.alice(), text).unwrap();
            if let Some(new) = lock {
                leave_lock(&place, whole, new);
            }
            deliver_to(&store, "alice").unwrap();
            assert!(fs::read_to_string(place.alice()).unwrap() == wanted, "{nuls} NULs");
        }
    }
}

#[test]
fn a_mailbox_that_cannot_be_cut_back_is_mended_by_the_next_delivery() {
    let place = Place::new();
    // Neither the sync nor the two cuts after it.
    let sync = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let cut = Arc::new(Failing::new(sync.clone()));
    let second_cut = Arc::new(Failing::new(cut.clone()));
    let store = place.store_with("", second_cut.clone(), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    sync.arm_only(Call::SyncFile, 1, Fault::Io);
    cut.arm_only(Call::Truncate, 1, Fault::Io);
    second_cut.arm_only(Call::Truncate, 1, Fault::Io);
    assert!(deliver_to(&store, "alice").is_err());
    assert!(sync.disarm() && cut.disarm() && second_cut.disarm());
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
    assert!(fs::read_to_string(place.dotlock()).unwrap().ends_with("\ntorn\n"));
    // What was answered by an error does not stay, whole as it is.
    deliver_to(&store, "alice").unwrap();
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
    assert!(!place.dotlock().exists());
}

const CHILD: &str = "POSTINO_MBOX_TEST_ROOT";
const LAST: &str = "POSTINO_MBOX_LAST_CALL";

/// Not a test of its own: the program that is killed.
#[test]
fn child_that_is_killed_in_a_write() {
    let (Some(above), None) = (env::var_os(CHILD), env::var_os(LAST)) else { return };
    let above = std::path::PathBuf::from(above);
    let writes = std::sync::atomic::AtomicUsize::new(0);
    let files = Recording::observed(Arc::new(Kernel::new()), &above, move |line| {
        let nth = writes.fetch_add(
            usize::from(line == "write root/alice"),
            std::sync::atomic::Ordering::Relaxed,
        );
        if nth == 3 {
            println!("\nin the middle");
            thread::sleep(Duration::from_secs(600));
        }
    });
    let template = postino_store::PathTemplate::parse(&above.join("root").display().to_string());
    let store = postino_mbox::Mbox::new(template.unwrap(), Options::default(), Arc::new(files));
    store.open().unwrap();
    let body = Body::in_memory(b"a line of the large message\r\n".repeat(40_000));
    let delivery = Delivery::new(
        Arc::new(message(body)),
        mailbox("alice", IfMissing::Create),
        "alice".to_owned(),
        Vec::new(),
        Arc::default(),
        Box::new(|_| {}),
    );
    let _ = store.deliver(&delivery);
}

#[test]
fn a_kill_in_the_middle_of_a_write_leaves_nothing_torn() {
    let place = Place::new();
    let store = place.open();
    for round in 1..=3 {
        deliver_to(&store, "alice").unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed_in_a_write", "--nocapture"])
            .env(CHILD, place.above())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let in_the_middle = output.lines().any(|line| line.unwrap() == "in the middle");
        assert!(in_the_middle);
        child.kill().unwrap();
        child.wait().unwrap();
        let torn = fs::metadata(place.alice()).unwrap().len();
        assert!(torn > 300_000, "{torn}");
        assert!(place.dotlock().exists());
        deliver_to(&store, "alice").unwrap();
        let wanted = STORED.repeat(2 * round);
        assert!(fs::read_to_string(place.alice()).unwrap() == wanted, "round {round}");
    }
}

/// Not a test of its own: the program that ends before its Nth call.
#[test]
fn child_that_ends_before_a_call() {
    let (Some(above), Ok(last)) = (env::var_os(CHILD), env::var(LAST)) else { return };
    let above = std::path::PathBuf::from(above);
    let last: usize = last.parse().unwrap();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let files = Recording::observed(Arc::new(Kernel::new()), &above, move |_| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == last {
            std::process::exit(0); // nothing is dropped
        }
    });
    let template = postino_store::PathTemplate::parse(&above.join("root").display().to_string());
    let store = postino_mbox::Mbox::new(template.unwrap(), Options::default(), Arc::new(files));
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    println!("\nto the end");
}

#[test]
fn whichever_call_a_kill_comes_before_the_next_delivery_finds_no_lock() {
    for last in 0.. {
        assert!(last < 1000, "it never comes to its end");
        let place = Place::new();
        let store = place.open();
        deliver_to(&store, "alice").unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_that_ends_before_a_call", "--nocapture"])
            .env(CHILD, place.above())
            .env(LAST, last.to_string())
            .output()
            .unwrap();
        let next = deliver_to(&store, "alice");
        assert!(next.is_ok(), "{next:?} after an end before call {last}");
        let text = fs::read_to_string(place.alice()).unwrap();
        assert!([2, 3].iter().any(|count| text == STORED.repeat(*count)), "{last}: {text}");
        if String::from_utf8_lossy(&output.stdout).contains("\nto the end") {
            assert!(last > 10, "only {last} calls");
            break;
        }
    }
}

#[test]
fn a_torn_message_is_not_forgotten_where_another_lock_is_held() {
    let place = Place::new();
    let locks = LockKind::list("dotlock,fcntl").unwrap();
    let store = place.open_with(Options { locks, ..Options::default() });
    for others_append in [false, true] {
        fs::write(place.alice(), format!("{STORED}{}", &STORED[..60])).unwrap();
        leave_lock(&place, STORED.len(), 100 * STORED.len());
        let kernel = Kernel::new();
        let root = kernel.open_root(&place.root()).unwrap();
        let other = kernel.open_update(&root, Path::new("alice")).unwrap();
        assert!(kernel.try_lock(&other, Lock::Fcntl).unwrap());
        for _ in 0..2 {
            let locked = deliver_to(&store, "alice");
            assert!(matches!(locked, Err(DeliveryError::Locked { .. })), "{locked:?}");
            assert!(place.dotlock().exists());
        }
        if others_append {
            kernel.write_all(&other, format!("\n\n{STORED}").as_bytes()).unwrap();
        }
        drop(other);
        deliver_to(&store, "alice").unwrap();
        let count = if others_append { 4 } else { 2 };
        assert_eq!(messages(&place.alice()).len(), count);
        assert!(!place.dotlock().exists());
    }
}
