//! What a process uses, as the system tells it, and what this one may use.
//!
//! Lives here: reading /proc; the limit of descriptors; room for a store.
//! May not: speak to the server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs, io::Write, os::unix::fs::MetadataExt, path::Path};
use tempfile::TempDir;

/// In which /proc counts the processor's time.
const TICKS_PER_SECOND: f64 = 100.0;
/// Descriptors of this process that are no client's.
const OWN_DESCRIPTORS: usize = 100;

/// A process whose use is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Octets in memory now.
    pub(crate) fn resident(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most octets that were in memory since [`Process::forget_peak`].
    pub(crate) fn peak(self) -> u64 {
        self.status("VmHWM:")
    }

    pub(crate) fn forget_peak(self) {
        // Where that isn't allowed the peak counts from the start.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Seconds of the processor used since its start.
    pub(crate) fn processor_time(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
        f64::from(ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// How many unlinked files of this directory are open, and the octets that
    /// they take up there.
    pub(crate) fn spooled(self, directory: &Path) -> (u64, u64) {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap();
        let (mut files, mut octets) = (0, 0);
        for link in entries.map(|entry| entry.unwrap().path()) {
            // What was closed meanwhile is no more there.
            let Ok(target) = fs::read_link(&link) else { continue };
            if !target.starts_with(directory) || !target.to_string_lossy().ends_with(" (deleted)") {
                continue;
            }
            if let Ok(file) = fs::metadata(&link) {
                files += 1;
                octets += file.blocks() * 512;
            }
        }
        (files, octets)
    }
}

pub(crate) fn mib(octets: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for a person to read")]
    let octets = octets as f64;
    octets / f64::from(1 << 20)
}

/// As many clients as asked for, or as this process may have descriptors for.
pub(crate) fn clients_that_fit(wanted: usize) -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let maximum = maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap());
    let fitting = wanted.min(maximum - OWN_DESCRIPTORS);
    if fitting < wanted {
        say(&format!("cut to {fitting} clients in place of {wanted}: ulimit -n is {maximum}"));
    }
    fitting
}

/// A line on standard error, not `eprintln!`, which the test runner keeps to itself.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A directory in memory, where there is one with so much room, so that no disk
/// is measured; else where temporary files are.
pub(crate) fn folder(room: u64) -> TempDir {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    if free >= room
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return folder;
    }
    say(&format!("/dev/shm has no room for {} MiB, a disk is used", mib(room)));
    tempfile::tempdir().unwrap()
}
