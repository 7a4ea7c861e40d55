//! Many connections into one database: they share its COMMITs.

use crate::{
    daemon::{Daemon, postino},
    numbered::Kind,
    program::all_here,
    session::deliver_all,
    size::{alone, is_full, per_second, say, sized},
};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Messages of one COMMIT on average, with 64 connections and a sync that takes
/// as long as an ordinary disk's.
const PER_COMMIT_MIN: f64 = 20.0;

/// Makes each sync take 5 ms longer.
const SLOW_SYNC: [&str; 8] = [
    // The process that is started becomes postino's, strace a child of it.
    "-D",
    "-f",
    "--seccomp-bpf",
    "-esignal=none",
    "-o/dev/null",
    "-etrace=fsync,fdatasync",
    "-einject=fsync,fdatasync:delay_enter=5000",
    "--",
];

/// The number of transactions that changed the database, as SQLite counts them in
/// the index of its log: no checkpoint and no new beginning of the log changes it.
fn commits(database: &Path) -> usize {
    let mut index = database.as_os_str().to_owned();
    index.push("-shm");
    let index = fs::read(index).unwrap();
    // Twice the same 48 octets, where nobody writes just now.
    assert_eq!(index[..48], index[48..96], "somebody writes");
    usize::try_from(u32::from_ne_bytes(index[8..12].try_into().unwrap())).unwrap()
}

fn serve(database: &Path) -> Daemon {
    let store = format!("--store={}", Kind::Sqlite.url(database));
    let flags = ["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", &store];
    if is_full() {
        let mut strace = Command::new("strace");
        strace.args(SLOW_SYNC).arg(postino());
        Daemon::start_by(&mut strace, &flags)
    } else {
        Daemon::start(&flags)
    }
}

#[test]
fn connections_to_one_database_share_its_commits() {
    let _alone = alone();
    let needed: &[&str] = if is_full() { &["python3", "strace"] } else { &["python3"] };
    if !all_here(needed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("mail.db");
    let daemon = serve(&database);
    let run = |first, connections, each| -> (f64, Duration, usize) {
        let (before, began) = (commits(&database), Instant::now());
        deliver_all(daemon.address(), first, connections, each, |connection| {
            format!("u{connection}@example.org")
        });
        let (took, commits) = (began.elapsed(), commits(&database) - before);
        let count = usize::try_from(connections * each).unwrap();
        #[allow(clippy::cast_precision_loss, reason = "an average")]
        let per_commit = count as f64 / commits as f64;
        say(&format!(
            "sqlite, {connections} connections × {each} messages: {:.0} a second, {commits} \
             COMMITs, {per_commit:.1} messages each",
            per_second(count, took)
        ));
        (per_commit, took, commits)
    };

    let (connections, each) = sized((16, 50), (64, 500));
    let (per_commit, took, _) = run(0, connections, each);
    // Nobody shares anything with one that waits for each answer.
    let (one_per_commit, one_took, one_commits) = run(connections * each, 1, each);
    assert_eq!(one_commits, usize::try_from(each).unwrap(), "{one_per_commit} messages a COMMIT");
    if is_full() {
        let one_took = one_took * u32::try_from(connections).unwrap();
        assert!(took < one_took, "{took:?}, and one connection would take {one_took:?}");
        assert!(per_commit >= PER_COMMIT_MIN, "{per_commit} messages a COMMIT");
    }
    daemon.stop();
    let stored = Kind::Sqlite.stored(&database);
    assert!(stored.iter().copied().eq(0..connections * each + each), "{} are", stored.len());
}
