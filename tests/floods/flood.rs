//! One flood: the server that it goes against, the honest client beside it, and
//! what must hold of both afterwards.
//!
//! Lives here: beginning and ending, the line that is printed, the bounds.
//! May not: do harm; that is each flood's own.

use crate::{
    client::Client,
    daemon::{Daemon, postino, until},
    honest::{Honest, RECIPIENT, Sessions, WAIT_MAX, deliver, ms, percentile, session},
    usage::{Process, folder, mib, say},
};
use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What an honest client waits for a 250 at most, but for one in a hundred, in
/// the full form.
const P99_MAX: Duration = Duration::from_millis(250);
/// Memory that a flood may take beside the budget.
const GROWTH_MAX: u64 = 32 << 20;
/// The budget where no flag says another.
const BUDGET: u64 = 64 << 20;
/// Honest deliveries during a flood, so that there is something to measure.
const DELIVERIES_MIN: usize = 50;
/// How long the honest client pauses, where the server's own use is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// Room of a store, beside what the flood itself stores.
const ROOM: u64 = 48 << 20;

/// Whether the floods are of their whole size.
pub(crate) fn is_full() -> bool {
    std::env::var_os("POSTINO_FLOODS").is_some_and(|form| form == "full")
}

/// The one in the short form, the other in the full.
pub(crate) fn sized<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// How the server is started.
pub(crate) struct Server<'a> {
    pub(crate) flags: &'a [&'a str],
    /// The program with its arguments that becomes postino; empty for none.
    pub(crate) started_by: &'a [&'a str],
    pub(crate) sessions: Sessions,
    /// Octets that the flood stores.
    pub(crate) stores: u64,
}

impl Default for Server<'_> {
    fn default() -> Self {
        Self { flags: &[], started_by: &[], sessions: Sessions::One, stores: 0 }
    }
}

pub(crate) struct Flood {
    daemon: Daemon,
    folder: TempDir,
    honest: Option<Honest>,
    budget: u64,
    resident_before: u64,
    descriptors_before: usize,
    processor_before: f64,
    began: Instant,
    /// Floods are not to be each other's.
    _alone: MutexGuard<'static, ()>,
}

/// What came out, for what a flood asserts of its own.
pub(crate) struct Measured {
    /// Octets in memory at the most.
    pub(crate) peak: u64,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Flood {
    /// Starts the server, and the honest client.
    pub(crate) fn begin(server: &Server) -> Self {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut flood = Self::begin_alone(server, folder(ROOM + server.stores), alone);
        flood.honest = Some(Honest::start(flood.address(), server.sessions));
        flood
    }

    /// Starts the server over a store of the flood's own making, which has no
    /// room for an honest client.
    pub(crate) fn begin_in(folder: TempDir, server: &Server) -> Self {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self::begin_alone(server, folder, alone)
    }

    fn begin_alone(server: &Server, folder: TempDir, alone: MutexGuard<'static, ()>) -> Self {
        let store = format!("maildir:{}", folder.path().join("mail").display());
        let mut flags = vec![
            "--listen=127.0.0.1:0",
            "--users=any",
            "--hostname=mx.example.org",
            "--store",
            &store,
        ];
        flags.extend(server.flags);
        let mut command = match server.started_by {
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(postino());
                command
            }
            [] => Command::new(postino()),
        };
        let daemon = Daemon::start_by(&mut command, &flags);
        until(|| daemon.log(), || daemon.log().contains("ready postino"));
        let process = Process(daemon.pid());
        process.forget_peak();
        Self {
            budget: budget(server.flags),
            resident_before: process.resident(),
            descriptors_before: process.descriptors(),
            processor_before: process.processor_time(),
            began: Instant::now(),
            honest: None,
            daemon,
            folder,
            _alone: alone,
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.daemon.address()
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.daemon.pid())
    }

    /// A mailbox's directory.
    pub(crate) fn mailbox(&self, name: &str) -> PathBuf {
        self.folder.path().join("mail").join(name)
    }

    /// A new session up to LHLO.
    pub(crate) fn session(&self) -> Client<TcpStream> {
        session(self.address())
    }

    /// Does it until the honest client has delivered enough, but once at least.
    pub(crate) fn again(&self, mut attack: impl FnMut()) {
        loop {
            attack();
            if self.deliveries() >= DELIVERIES_MIN {
                return;
            }
        }
    }

    /// Waits until the honest client has delivered so much more.
    pub(crate) fn wait_for_deliveries(&self, more: usize) {
        let aim = self.deliveries() + more;
        until(|| "for honest deliveries".to_owned(), || self.deliveries() >= aim);
    }

    /// The share of a processor that the server uses while the honest client
    /// wants nothing of it.
    pub(crate) fn share_in_a_pause(&self) -> f64 {
        let honest = self.honest.as_ref().unwrap();
        honest.pause(true);
        let before = self.process().processor_time();
        thread::sleep(PAUSE);
        let used = self.process().processor_time() - before;
        honest.pause(false);
        used / PAUSE.as_secs_f64()
    }

    #[track_caller]
    fn deliveries(&self) -> usize {
        self.honest.as_ref().unwrap().deliveries()
    }

    /// Ends it, when the flood's own clients are gone, and asserts what holds
    /// after each flood.
    pub(crate) fn end(mut self) -> Measured {
        if self.honest.is_some() {
            self.wait_for_deliveries(2);
        }
        let latencies = self.honest.take().map_or_else(Vec::new, Honest::end);
        self.end_with(latencies)
    }

    /// The same with the latencies of deliveries that the flood made itself.
    pub(crate) fn end_with(self, mut latencies: Vec<Duration>) -> Measured {
        let process = self.process();
        let lasted = self.began.elapsed();
        let used = process.processor_time() - self.processor_before;
        let peak = process.peak();
        latencies.sort_unstable();
        let p99 = percentile(&latencies, 99);
        let worst = latencies.last().copied().unwrap_or_default();
        say(&format!(
            "FLOOD {}: {:.1} s, {} honest deliveries, p50 {:.1} p99 {:.1} worst {:.1} ms, \
             RSS {:.1} then at most {:.1} MiB, CPU {:.0} %",
            thread::current().name().unwrap_or("?"),
            lasted.as_secs_f64(),
            latencies.len(),
            ms(percentile(&latencies, 50)),
            ms(p99),
            ms(worst),
            mib(self.resident_before),
            mib(peak),
            100.0 * used / lasted.as_secs_f64(),
        ));

        // It is alive.
        let mut client = self.session();
        assert!(deliver(&mut client, RECIPIENT).starts_with("250 2.0.0 "));
        drop(client);
        assert!(worst < WAIT_MAX, "an honest client waited {worst:?}");
        assert!(!is_full() || p99 < P99_MAX, "the 99th percentile is {p99:?}");
        let growth = peak.saturating_sub(self.resident_before);
        assert!(growth < self.budget + GROWTH_MAX, "it grew by {:.1} MiB", mib(growth));
        until(
            || format!("for {} descriptors: {}", self.descriptors_before, open_files(process)),
            || process.descriptors() <= self.descriptors_before,
        );
        assert!(!self.daemon.log().contains("panicked"), "{}", self.daemon.log());
        self.daemon.stop();
        Measured { peak }
    }
}

/// `--memory-budget=8M` among the flags.
fn budget(flags: &[&str]) -> u64 {
    let given = flags.iter().find_map(|flag| flag.strip_prefix("--memory-budget="));
    let mib = given.map(|size| size.strip_suffix('M').unwrap().parse::<u64>().unwrap());
    mib.map_or(BUDGET, |mib| mib << 20)
}

fn open_files(process: Process) -> String {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.0)).unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    format!("{:?}", targets.collect::<Vec<_>>())
}
