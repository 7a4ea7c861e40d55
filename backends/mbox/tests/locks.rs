//! Other programs' locks, and ours as they see them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{BODY, Place, STORED, deliver, deliver_to, delivery, mailbox, messages, names};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_mbox::{LockKind, Mbox, Options};
use postino_store::{DeliveryError, IfMissing, MailStore};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A program that holds a lock until it is told to end.
struct Holder(Child);

impl Holder {
    /// Runs a Python script with the mailbox's path in `path`; it has the lock when
    /// this returns.
    fn new(lock: &str, path: &Path) -> Self {
        let script = format!(
            "import fcntl, os, sys\npath = sys.argv[1]\n{lock}\nprint(flush=True)\ninput()"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "{script}");
        Self(child)
    }

    fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

const FCNTL: &str = "file = open(path, 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX)";
const FLOCK: &str = "file = open(path, 'r+b'); fcntl.flock(file, fcntl.LOCK_EX)";
const DOTLOCK: &str = "fd = os.open(path + '.lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
os.write(fd, b'%d\\n' % os.getpid())
import atexit; atexit.register(os.unlink, path + '.lock')";

fn open(place: &Place, locks: &str) -> Mbox {
    let locks = LockKind::list(locks).unwrap();
    place.open_with(Options { locks, ..Options::default() })
}

fn holder(store: &Mbox) -> Option<String> {
    match deliver_to(store, "alice") {
        Err(DeliveryError::Locked { holder }) => holder,
        other => panic!("not locked: {other:?}"),
    }
}

#[test]
fn whoever_holds_a_lock_is_named_and_never_waited_for() {
    let place = Place::new();
    let store = open(&place, "fcntl,dotlock,flock");
    for (lock, is_known) in [(FCNTL, true), (DOTLOCK, true), (FLOCK, false)] {
        deliver_to(&store, "alice").unwrap();
        let before = fs::read(place.alice()).unwrap();
        let other = Holder::new(lock, &place.alice());
        let began = Instant::now();
        let name = format!("pid {} (python3", other.0.id());
        match holder(&store) {
            Some(holder) => assert!(is_known && holder.starts_with(&name), "{holder}, not {name}"),
            None => assert!(!is_known, "{lock}"),
        }
        assert!(began.elapsed() < Duration::from_secs(2), "it waited");
        deliver_to(&store, "bob").unwrap();
        assert_eq!(fs::read(place.alice()).unwrap(), before);
        other.end();
        deliver_to(&store, "alice").unwrap();
        assert_eq!(names(&place.root()), [".postino", "alice", "bob"]);
    }
}

#[test]
fn only_the_chosen_locks_count_in_their_order() {
    let place = Place::new();
    deliver_to(&place.open(), "alice").unwrap();
    for (lock, blind, seeing) in [
        (FCNTL, "flock,dotlock", "dotlock,fcntl"),
        (FLOCK, "fcntl,dotlock", "flock"),
        (DOTLOCK, "fcntl", "fcntl,dotlock"),
    ] {
        let other = Holder::new(lock, &place.alice());
        deliver_to(&open(&place, blind), "alice").unwrap();
        holder(&open(&place, seeing));
        other.end();
    }
    for locks in ["fcntl,dotlock,flock", "flock,dotlock,fcntl", "dotlock,flock", "dotlock"] {
        let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
        let options = Options { locks: LockKind::list(locks).unwrap(), ..Options::default() };
        let store = place.store_with("", files.clone(), options);
        store.open().unwrap();
        files.take();
        deliver_to(&store, "alice").unwrap();
        let taken: Vec<_> = files
            .take()
            .into_iter()
            .filter(|line| line == "link_unnamed alice.lock" || line.starts_with("try_lock"))
            .collect();
        let wanted: Vec<_> = locks
            .split(',')
            .map(
                |lock| if lock == "dotlock" { "link_unnamed alice.lock" } else { "try_lock alice" },
            )
            .collect();
        assert_eq!(taken, wanted, "{locks}");
    }
}

/// Delivers, and runs `look` while the message is being written.
fn while_writing(place: &Place, look: impl Fn() + Send + Sync + 'static) {
    let alice = "write root/alice";
    let files = Recording::observed(Arc::new(Kernel::new()), place.above(), move |line| {
        if line == alice {
            look();
        }
    });
    let store = place.store_with("", Arc::new(files), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
}

#[test]
fn other_programs_see_both_locks_while_a_message_is_written() {
    let place = Place::new();
    let (alice, dotlock) = (place.alice(), place.dotlock());
    while_writing(&place, move || {
        let script = "
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(75)
";
        let tried = Command::new("python3").args(["-c", script]).arg(&alice).status().unwrap();
        assert_eq!(tried.code(), Some(75));
        let text = fs::read_to_string(&dotlock).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let pids = fs::read_link("/proc/self/ns/pid").unwrap();
        let wanted = [
            std::process::id().to_string(),
            format!("host={}", host.trim()),
            format!("boot={}", boot.trim()),
            format!("pids={}", pids.display()),
            format!("append=0-0:4e40b327-{}", STORED.len()),
        ];
        assert_eq!(lines, wanted);
    });
    assert!(!place.dotlock().exists());
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED);
}

#[test]
fn only_the_lock_file_that_was_made_is_removed() {
    let place = Place::new();
    let dotlock = place.dotlock();
    while_writing(&place, move || {
        // Somebody took ours for stale and made his own.
        fs::remove_file(&dotlock).unwrap();
        fs::write(&dotlock, "1\n").unwrap();
    });
    assert_eq!(fs::read_to_string(place.dotlock()).unwrap(), "1\n");
}

#[test]
fn a_mailbox_that_a_reader_has_moved_away_is_not_missing() {
    let place = Place::new();
    let store = place.open();
    for name in ["alice", "bob"] {
        deliver_to(&store, name).unwrap();
    }
    let alice = || mailbox("alice", IfMissing::Refuse);
    let answers = || [store.admit(&alice(), None).err(), deliver(&store, alice()).err()];
    fs::write(place.dotlock(), "1\n").unwrap();
    fs::rename(place.alice(), place.root().join("reading")).unwrap();
    for answer in answers() {
        assert!(matches!(answer, Some(DeliveryError::Locked { .. })), "{answer:?}");
    }
    assert!(!place.alice().exists());
    fs::remove_file(place.dotlock()).unwrap();
    for answer in answers() {
        assert!(matches!(answer, Some(DeliveryError::NoSuchMailbox)), "{answer:?}");
    }

    // It comes back while it is asked for.
    let (alice_file, reading) = (place.alice(), place.root().join("reading"));
    let files = Recording::observed(Arc::new(Kernel::new()), place.above(), move |line| {
        if line == "stat root/alice.lock" {
            fs::rename(&reading, &alice_file).unwrap();
        }
    });
    let store = place.store_with("", Arc::new(files), Options::default());
    store.open().unwrap();
    let answer = store.admit(&alice(), None);
    assert!(matches!(answer, Err(DeliveryError::Locked { .. })), "{answer:?}");
}

#[test]
fn a_stale_lock_file_is_not_broken_by_two() {
    let place = Place::new();
    place.open();
    fs::write(place.dotlock(), "999999\n").unwrap();
    let lock = fs::File::options().write(true).open(place.dotlock()).unwrap();
    lock.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    let (dotlock, raced) = (place.dotlock(), AtomicBool::new(false));
    let files = Recording::observed(Arc::new(Kernel::new()), place.above(), move |line| {
        let removes =
            line.starts_with("rename root/alice.lock") || line == "unlink root/alice.lock";
        if removes && !raced.swap(true, Ordering::Relaxed) {
            // Another process has broken it first and made its own.
            fs::remove_file(&dotlock).unwrap();
            fs::write(&dotlock, "1\n").unwrap();
        }
    });
    let store = place.store_with("", Arc::new(files), Options::default());
    store.open().unwrap();
    holder(&store);
    assert_eq!(fs::read_to_string(place.dotlock()).unwrap(), "1\n");
    assert_eq!(fs::read(place.alice()).unwrap(), b"");
    assert_eq!(names(&place.root()), [".postino", "alice", "alice.lock"]);
}

#[test]
fn a_file_that_was_put_in_the_mailbox_s_place_is_delivered_to() {
    let place = Place::new();
    let (alice, new) = (place.alice(), place.above().join("new"));
    fs::create_dir(place.root()).unwrap();
    fs::write(&alice, STORED.repeat(2)).unwrap();
    fs::write(&new, STORED).unwrap();
    let files = Recording::observed(Arc::new(Kernel::new()), place.above(), move |line| {
        // As Python's mailbox module does it after removing a message.
        if line == "try_lock root/alice" && new.exists() {
            fs::rename(&new, &alice).unwrap();
        }
    });
    let store = place.store_with("", Arc::new(files), Options::default());
    store.open().unwrap();
    deliver(&store, mailbox("alice", IfMissing::Refuse)).unwrap();
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
}

#[test]
fn where_no_lock_file_can_be_made_the_kernel_s_lock_does() {
    for fault in [Fault::Denied, Fault::ReadOnly, Fault::NotPermitted] {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let open = |locks| {
            let options = Options { locks: LockKind::list(locks).unwrap(), ..Options::default() };
            let store = place.store_with("", files.clone(), options);
            store.open().unwrap();
            deliver_to(&store, "alice").unwrap();
            store
        };
        let store = open("fcntl,dotlock");
        files.arm_only(Call::CreateUnnamed, 1, fault);
        deliver_to(&store, "alice").unwrap();
        assert!(files.disarm());
        assert_eq!(messages(&place.alice()).len(), 2);

        let store = open("dotlock");
        files.arm_only(Call::CreateUnnamed, 1, fault);
        let refused = deliver_to(&store, "alice");
        assert!(matches!(refused, Err(DeliveryError::Misconfigured(_))), "{refused:?}");
    }
}

#[test]
fn where_no_file_without_a_name_can_be_linked_the_lock_file_is_made_by_its_name() {
    let place = Place::new();
    let recording = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let files = Arc::new(Failing::new(recording.clone()));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    files.arm_only(Call::LinkUnnamed, 1, Fault::NotPermitted);
    deliver_to(&store, "alice").unwrap();
    assert!(files.disarm());
    let lines = recording.take();
    for line in ["create alice.lock", "write alice.lock", "unlink alice.lock"] {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:?}");
    }
    assert!(!place.dotlock().exists());
}

#[test]
fn what_can_be_no_lock_file_stops_a_mailbox_for_five_minutes_only() {
    type Make = fn(&Path) -> bool;
    let cases: [Make; 2] = [
        |path| fs::create_dir(path).is_ok(),
        |path| {
            fs::write(path, STORED).unwrap();
            // Only root can give a file away.
            std::os::unix::fs::chown(path, Some(12_345), None).is_ok()
        },
    ];
    for make in cases {
        let place = Place::new();
        let store = open(&place, "fcntl,dotlock");
        if !make(&place.dotlock()) {
            continue;
        }
        holder(&store);
        let lock = fs::File::open(place.dotlock()).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(310)).unwrap();
        deliver_to(&store, "alice").unwrap();
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED);
        assert!(place.dotlock().exists());
        let refused = deliver_to(&open(&place, "dotlock"), "alice");
        assert!(matches!(refused, Err(DeliveryError::Misconfigured(_))), "{refused:?}");
    }
}

#[test]
fn a_lock_file_whose_process_is_gone_or_that_is_old_is_broken() {
    let place = Place::new();
    let store = place.open();
    deliver_to(&store, "alice").unwrap();
    let own = std::process::id();
    let read = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let host = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let pids = fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
    let mut child = Command::new("true").spawn().unwrap();
    let gone = child.id();
    child.wait().unwrap();
    let text = |pid: u32, host: &str, boot: &str, pids: &str| {
        format!("{pid}\nhost={host}\nboot={boot}\npids={pids}\n")
    };
    let cases = [
        (text(gone, &host, &boot, &pids), 0, true),
        (text(own, &host, "another", &pids), 0, false),
        (text(own, &host, "another", &pids), 310, true),
        (text(own, &host, &boot, &pids), 290, false),
        (text(own, &host, &boot, &pids), 310, true),
        (text(gone, "elsewhere", &boot, &pids), 290, false),
        (text(gone, "elsewhere", &boot, &pids), 310, true),
        (text(gone, &host, &boot, "pid:[1]"), 0, false),
        (format!("{gone}\n"), 290, false),
        (format!("{gone}\n"), 310, true),
        (String::new(), 290, false),
        (String::new(), 310, true),
    ];
    for (text, age, is_stale) in cases {
        fs::write(place.dotlock(), &text).unwrap();
        let lock = fs::File::options().write(true).open(place.dotlock()).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        let result =
            store.deliver(&delivery(mailbox("alice", IfMissing::Create), BODY, Arc::default()));
        match (is_stale, &result) {
            (true, Ok(_)) => assert!(!place.dotlock().exists()),
            (false, Err(DeliveryError::Locked { .. })) => {
                assert_eq!(fs::read_to_string(place.dotlock()).unwrap(), text);
            }
            _ => panic!("{text:?} {age} s old: {result:?}"),
        }
    }
}
