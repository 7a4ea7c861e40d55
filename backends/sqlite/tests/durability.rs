//! What an `Ok` is worth: a killed process, a full disk, a failed COMMIT.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    HEADER, Place, assert_whole, deliver_prepared, deliveries, foreign, has, mailbox, message,
    number, octets, shared, spooled, store_at,
};
use postino_store::{Body, Delivery, DeliveryError, MailStore};
use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const MODE: &str = "POSTINO_SQLITE_CHILD";
const DATABASE: &str = "POSTINO_SQLITE_DATABASE";

/// This test program again, which does what [`child`] does.
fn child_of(mut command: Command, mode: &str, path: &Path) -> Command {
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(MODE, mode).env(DATABASE, path);
    command
}

/// No test of its own: what the others start as a process.
#[test]
fn child() {
    let (Ok(mode), Some(path)) = (env::var(MODE), env::var_os(DATABASE)) else { return };
    match mode.as_str() {
        "deliver" => deliver_for_ever(path.into()),
        "few" => deliver_a_few(path.into()),
        "limited" => deliver_to_the_limit(Path::new(&path)),
        other => panic!("{other}"),
    }
}

/// The body of the message of this number; some are large.
fn body_of(number: u64) -> Vec<u8> {
    let count = if number % 5 == 4 { 400_000 } else { 700 };
    octets(number, count)
}

/// Delivers in several threads, and says each id once it is true.
fn deliver_for_ever(path: PathBuf) {
    let store = store_at(path, false);
    store.open().unwrap();
    thread::scope(|scope| {
        for thread in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for number in (0..).map(|n| n * 3 + thread) {
                    let body = spooled(body_of(number));
                    let id = deliver_prepared(store, mailbox("a@example.org"), body).unwrap();
                    let line = format!("\nstored {id} {number}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    if store.wants_upkeep() {
                        store.upkeep();
                    }
                }
            });
        }
    });
}

#[test]
fn what_was_said_to_be_stored_survives_a_kill() {
    let place = Place::new();
    let mut stored: HashMap<String, u64> = HashMap::new();
    for round in 0..8_u64 {
        let mut child =
            child_of(Command::new(env::current_exe().unwrap()), "deliver", &place.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut note = |line: String| {
            let mut words = line.strip_prefix("stored ")?.split(' ');
            let (id, number) = (words.next()?.to_owned(), words.next()?.parse().unwrap());
            stored.insert(id, number);
            Some(())
        };
        assert!(lines.find_map(&mut note).is_some(), "it stores nothing");
        thread::sleep(Duration::from_millis(20 + 23 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            note(line);
        }
        // The next start needs no manual step, and cleans up.
        place.open();
        assert_whole(&place.path());
        let database = foreign(&place.path());
        for (id, number) in &stored {
            let whole = message(&database, id) == [HEADER, &body_of(*number)].concat();
            assert!(whole, "{id} is not as it was sent");
        }
    }
    assert!(stored.len() > 20, "only {} messages", stored.len());
}

/// Delivers some messages, says of each what became of it, and dies.
fn deliver_a_few(path: PathBuf) {
    let store = store_at(path, false);
    store.open().unwrap();
    for number in 0..8 {
        let body = spooled(body_of(number));
        let line = match deliver_prepared(&store, mailbox("a@example.org"), body) {
            Ok(id) => format!("\nstored {id} {number}\n"),
            Err(error) => format!("\nfailed {number}: {error}\n"),
        };
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
    std::process::abort();
}

/// What a few deliveries say under strace with these arguments, and its record.
fn traced(place: &Place, arguments: &[&str]) -> (String, String) {
    let record = place.directory().join("record");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o"]).arg(&record).args(arguments);
    strace.arg(env::current_exe().unwrap());
    let output = child_of(strace, "few", &place.path()).output().unwrap();
    let record = std::fs::read_to_string(record).unwrap();
    (String::from_utf8(output.stdout).unwrap(), record)
}

#[test]
fn the_log_is_synced_before_a_message_is_said_to_be_stored() {
    if !has("strace") {
        return;
    }
    let place = Place::new();
    place.open();
    let (said, record) = traced(&place, &["-e", "trace=write,pwrite64,fsync,fdatasync"]);
    assert_eq!(said.matches("\nstored ").count(), 8, "{said}");
    let (mut is_synced, mut stored) = (true, 0);
    for line in record.lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        if call.starts_with("pwrite64(") && call.contains("mail.db-wal>") {
            is_synced = false;
        } else if call.starts_with('f') && call.contains("mail.db-wal>") && call.ends_with("= 0") {
            is_synced = true;
        } else if call.starts_with("write(1<") && call.contains("stored ") {
            assert!(is_synced, "told before the sync:\n{record}");
            stored += 1;
        }
    }
    assert_eq!(stored, 8, "{record}");
}

#[test]
fn what_a_failed_sync_made_a_failure_does_not_come_back() {
    if !has("strace") {
        return;
    }
    let mut failures = 0;
    for which in 1..=9 {
        let place = Place::new();
        place.open();
        let mut log = place.path().into_os_string();
        log.push("-wal");
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={which}");
        let (said, _) = traced(
            &place,
            &["-P", log.to_str().unwrap(), "-e", "trace=fsync,fdatasync", "-e", &inject],
        );
        let stored: Vec<_> = said
            .lines()
            .filter_map(|line| line.strip_prefix("stored ")?.split_once(' '))
            .map(|(id, number)| (id.to_owned(), number.parse().unwrap()))
            .collect();
        let failed = said.matches("\nfailed ").count();
        assert_eq!(stored.len() + failed, 8, "{said}");
        failures += failed;
        place.open();
        assert_whole(&place.path());
        let database = foreign(&place.path());
        for (id, number) in &stored {
            assert!(message(&database, id) == [HEADER, &body_of(*number)].concat(), "{id}");
        }
        let count = number(&database, "SELECT count(*) FROM messages");
        assert_eq!(count, i64::try_from(stored.len()).unwrap(), "when={which}: {said}");
    }
    assert!(failures > 3, "only {failures} deliveries have failed");
}

/// A tmpfs of 6 MiB; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(directory: &Path) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", "size=6m,mode=0755", "postino-sqlite"];
        let mounted = Command::new("mount").args(options).arg(directory).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(directory.to_owned())),
            other => {
                println!("SKIPPED full disk: cannot mount a tmpfs: {other:?}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_as_such_and_costs_no_stored_message() {
    let place = Place::new();
    let Some(_mounted) = Mounted::new(place.directory()) else { return };
    let ballast = place.directory().join("ballast");
    std::fs::write(&ballast, octets(0, 3 << 20)).unwrap();
    let store = place.open();
    let mut stored = Vec::new();
    // Small ones, and large ones that are written ahead.
    for count in [20_000, 400_000, 20_000] {
        let mut failures = 0;
        for seed in 0..400 {
            let octets = octets(seed + count as u64, count);
            let body = spooled(octets.clone());
            match deliver_prepared(&store, mailbox("a@example.org"), body) {
                Ok(id) => stored.push((id, octets)),
                Err(DeliveryError::StorageFull(_)) => failures += 1,
                Err(other) => panic!("{other:?}"),
            }
            if failures > 3 {
                break;
            }
        }
        assert!(failures > 3, "it never gets full");
        store.upkeep();
    }
    let database = foreign(&place.path());
    for (id, octets) in &stored {
        assert!(message(&database, id.as_str()) == [HEADER, octets].concat(), "{id} is not whole");
    }
    assert_eq!(
        number(&database, "SELECT count(*) FROM messages"),
        i64::try_from(stored.len()).unwrap()
    );
    assert_whole(&place.path());
    drop(database);
    // Room again. The log has to be copied before anything can be deleted.
    std::fs::remove_file(ballast).unwrap();
    store.upkeep();
    deliver_prepared(&store, mailbox("a@example.org"), Body::in_memory(octets(1, 20_000))).unwrap();
    assert_whole(&place.path());
}

#[test]
fn large_bodies_leave_the_room_that_their_removal_needs() {
    let place = Place::new();
    let Some(_mounted) = Mounted::new(place.directory()) else { return };
    let store = place.open();
    let mut prepared = Vec::new();
    let error = (0..20).find_map(|seed| {
        let result = store.prepare(&shared(spooled(octets(seed, 1 << 20))), &[]);
        result.map(|each| prepared.push(each)).err()
    });
    assert!(matches!(error, Some(DeliveryError::StorageFull(_))), "{error:?}");
    drop(prepared);
    assert!(!store.wants_upkeep());
    assert_whole(&place.path());
}

#[test]
fn a_start_on_a_full_disk_serves_and_cleans_up_once_there_is_room() {
    let place = Place::new();
    let Some(_mounted) = Mounted::new(place.directory()) else { return };
    let store = place.open();
    deliver_prepared(&store, mailbox("a@example.org"), Body::in_memory(octets(1, 20_000))).unwrap();
    drop(store);
    // As a process leaves it that is killed while it writes ahead.
    let database = foreign(&place.path());
    database
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0;
             INSERT INTO bodies (octets) VALUES (26 * 65536);
             WITH parts (part) AS (VALUES (0) UNION ALL SELECT part + 1 FROM parts WHERE part < 25)
                 INSERT INTO body_parts (body, part, content)
                 SELECT (SELECT max(id) FROM bodies), part, randomblob(65536) FROM parts",
        )
        .unwrap();
    let ballast = place.directory().join("ballast");
    let filled = std::fs::write(&ballast, octets(0, 6 << 20));
    assert!(filled.is_err(), "the disk is not full");
    let store = place.open();
    assert_eq!(number(&database, "SELECT count(*) FROM bodies WHERE digest IS NULL"), 1);
    std::fs::remove_file(ballast).unwrap();
    assert!(store.wants_upkeep());
    store.upkeep();
    assert!(!store.wants_upkeep());
    assert_whole(&place.path());
}

/// Meets the limit on a file's size at a COMMIT; that limit is lifted later.
fn deliver_to_the_limit(path: &Path) {
    let store = store_at(path.to_owned(), false);
    store.open().unwrap();
    let batch = |seed: u64| {
        let messages: Vec<_> =
            (0..3).map(|n| shared(Body::in_memory(octets(seed * 3 + n, 40_000)))).collect();
        let (batch, answers): (Vec<_>, Vec<_>) =
            messages.iter().map(|message| deliveries(message, &[mailbox("a@example.org")])).unzip();
        let batch: Vec<Delivery> = batch.into_iter().flatten().collect();
        store.deliver_batch(&batch);
        answers.into_iter().map(|answer| answer.lock().unwrap()[0].take().unwrap()).collect()
    };
    let mut stored = 0;
    for seed in 0.. {
        let results: Vec<Result<_, DeliveryError>> = batch(seed);
        let good = results.iter().filter(|result| result.is_ok()).count();
        assert!(good == 0 || good == 3, "{results:?}");
        stored += good;
        if good == 0 {
            assert!(matches!(results[0], Err(DeliveryError::Io(_))), "{results:?}");
            break;
        }
    }
    let own = std::process::id().to_string();
    let lifted = Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &own]).status();
    assert!(lifted.unwrap().success());
    let results = batch(1_000);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    drop(store);
    let database = foreign(path);
    assert_eq!(
        number(&database, "SELECT count(*) FROM messages"),
        i64::try_from(stored).unwrap() + 3
    );
    println!("\nthe limit was met");
}

#[test]
fn a_failed_commit_is_everyones_failure_and_nothing_of_it_comes_back() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    // Blocks of 512 octets.
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 1500; exec \"$0\" \"$@\""]);
    shell.arg(env::current_exe().unwrap());
    let output = child_of(shell, "limited", &place.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("\nthe limit was met\n"), "{text}{errors}");
    place.open();
    assert_whole(&place.path());
}
