//! Killed while it delivers, again and again: what was answered 250 is there.

use crate::{
    daemon::{Daemon, until},
    numbered::{FIRST_WITH_LARGE, Kind, Number},
    program::all_here,
    session::Session,
    size::{alone, say, sized},
};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

const CLIENTS: u64 = 8;

/// Answered in each round before the kill.
const ANSWERED_MIN: usize = 30;

/// The kill comes so long after that at the latest.
const MILLISECONDS_MAX: u32 = 60;

fn recipient(number: Number) -> &'static str {
    ["even@example.org", "odd@example.org"][usize::try_from(number % 2).unwrap()]
}

/// A moment that no two runs have in common.
fn any_moment() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_micros((now.subsec_nanos() % (MILLISECONDS_MAX * 1000)).into())
}

/// Delivers until the connection ends; notes what was answered.
fn deliver_for_ever(address: &str, next: &AtomicU64, answered: &Mutex<BTreeSet<Number>>) {
    let Ok(mut session) = Session::open(address) else { return };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Ok(reply) = session.deliver(number, recipient(number)) else { return };
        assert!(reply.starts_with("250 2.0.0 "), "{number}: {reply}");
        answered.lock().unwrap().insert(number);
    }
}

/// Files that a kill has left with half of a message, for the line that is printed:
/// those whose end shows it.
fn torn_mboxes(kind: Kind, path: &Path) -> usize {
    let Kind::Mbox = kind else { return 0 };
    let files = ["even", "odd"].map(|name| fs::read(path.join(name)).unwrap_or_default());
    files.iter().filter(|file| !file.is_empty() && !file.ends_with(b"\n\n")).count()
}

fn what_was_answered_survives(kind: Kind) {
    let _alone = alone();
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail");
    let store = format!("--store={}", kind.url(&path));
    let hostname = "--hostname=mx.example.org";
    let flags = ["--listen=127.0.0.1:0", "--users=any", hostname, &store];
    let (next, answered) = (AtomicU64::new(FIRST_WITH_LARGE), Mutex::new(BTreeSet::new()));
    let (rounds, mut torn, mut unanswered) = (sized(3, 20), 0, 0);
    let mut daemon = Daemon::start(&flags);
    for round in 0..rounds {
        let enough = answered.lock().unwrap().len() + ANSWERED_MIN;
        let address = daemon.address().to_owned();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| deliver_for_ever(&address, &next, &answered));
            }
            until(
                || format!("for {ANSWERED_MIN} deliveries in round {round}"),
                || answered.lock().unwrap().len() >= enough,
            );
            thread::sleep(any_moment());
            drop(daemon); // by SIGKILL
        });

        torn += torn_mboxes(kind, &path);
        daemon = Daemon::start(&flags);
        // The next delivery to a mailbox mends it.
        let mut session = Session::open(daemon.address()).unwrap();
        for _ in 0..2 {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let reply = session.deliver(number, recipient(number)).unwrap();
            assert!(reply.starts_with("250 2.0.0 "), "{number} in round {round}: {reply}");
            answered.lock().unwrap().insert(number);
        }
        let stored = kind.stored(&path);
        let once: BTreeSet<_> = stored.iter().copied().collect();
        assert_eq!(once.len(), stored.len(), "some are there twice");
        let answered = answered.lock().unwrap();
        let lost: Vec<_> = answered.difference(&once).collect();
        assert!(lost.is_empty(), "answered 250 and lost in round {round}: {lost:?}");
        unanswered = once.len() - answered.len();
    }
    daemon.stop();
    let torn = if torn > 0 { format!("; {torn} files were torn") } else { String::new() };
    say(&format!(
        "{kind:?}, killed {rounds} times: all {} messages that were answered are there, and \
         {unanswered} more{torn}",
        answered.lock().unwrap().len()
    ));
}

#[test]
fn what_a_maildir_answered_survives_a_kill() {
    what_was_answered_survives(Kind::Maildir);
}

#[test]
fn what_an_mbox_answered_survives_a_kill() {
    what_was_answered_survives(Kind::Mbox);
}

#[cfg(feature = "sqlite")]
#[test]
fn what_a_database_answered_survives_a_kill() {
    what_was_answered_survives(Kind::Sqlite);
}
