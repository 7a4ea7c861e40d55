//! Large messages that do not end.

use crate::{
    flood::{Flood, Server, sized},
    usage::{folder, mib, say},
};
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What a file takes up is counted in pages.
const PAGE: u64 = 4096;
const CLIENTS: usize = 30;
/// How often the spool is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks at the spool all the while: it stays within its limit.
struct Watch {
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    /// Octets that were in it at the most.
    most: Arc<AtomicU64>,
}

impl Watch {
    fn start(flood: &Flood, directory: PathBuf, limit: u64) -> Self {
        let (ends, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, seen, process) = (Arc::clone(&ends), Arc::clone(&most), flood.process());
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let (files, octets) = process.spooled(&directory);
                assert!(octets <= limit + files * PAGE, "{octets} octets in {files} files");
                seen.fetch_max(octets, Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        Self { ends, thread, most }
    }

    fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        assert!(self.thread.join().is_ok(), "the spool went over its limit");
        self.most.load(Ordering::Relaxed)
    }
}

#[test]
fn half_messages_fill_the_spool_to_its_limit_and_small_ones_still_pass() {
    let (limit, max_spool) = sized((16, "--max-spool=16M"), (1024, "--max-spool=1G"));
    let (limit, octets) = (limit << 20, sized(1 << 20, 49 << 20));
    let spool = folder(2 * limit);
    let directory = spool.path().canonicalize().unwrap();
    let spool_dir = format!("--spool-dir={}", directory.display());
    let flood = Flood::begin(&Server {
        flags: &["--memory-budget=8M", max_spool, &spool_dir],
        stores: 2 * limit,
        ..Server::default()
    });
    let watch = Watch::start(&flood, directory.clone(), limit);
    let piece = format!("{}\r\n", "7 octets".repeat(9)).repeat(1_000);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| flood.session()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.open_data(&format!("half{n}@example.org"));
        for _ in 0..octets / piece.len() {
            client.say(&piece);
        }
    }
    flood.wait_for_deliveries(50);
    let mut refused = 0;
    for (n, client) in clients.iter_mut().enumerate() {
        // One after the other: where the spool is full to the brim and all end at
        // once, none has room for its last octets.
        client.say(".\r\n");
        let reply = client.line();
        let new = flood.mailbox(&format!("half{n}@example.org")).join("new");
        let stored = fs::read_dir(new).map_or(0, Iterator::count);
        match reply.get(..10).unwrap_or_default() {
            "250 2.0.0 " => assert_eq!(stored, 1, "{reply}"),
            "452 4.3.1 " => {
                refused += 1;
                assert_eq!(stored, 0, "{reply}");
            }
            _ => panic!("{reply}"),
        }
        // The session goes on.
        assert!(client.send("a@example.org").starts_with("250 2.0.0 "));
    }
    let most = watch.end();
    say(&format!("      of {CLIENTS} clients {refused} got 452, {:.1} MiB spooled", mib(most)));
    assert!((1..CLIENTS).contains(&refused), "{refused} were refused");
    assert!(most > limit / 2, "only {most} octets were spooled");
    assert_eq!(flood.process().spooled(&directory), (0, 0));
    drop(clients);
    flood.end();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "files are left in the spool");
}
