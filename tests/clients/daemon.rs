//! A running `postino serve`, and what it stored.
//!
//! Lives here: starting and stopping it, its log, waiting for a condition.
//! May not: know a client.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What any wait ends after; far above what a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Of the log of a test that fails.
const LINES_SHOWN_MAX: usize = 100;

/// The program under test: what cargo built, or what `POSTINO_UNDER_TEST` names,
/// such as an installed package's.
pub(crate) fn postino() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_postino");
    std::env::var_os("POSTINO_UNDER_TEST").map_or_else(|| built.into(), PathBuf::from)
}

/// A directory of the test's own that other users can pass through.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Waits until `condition` holds; fails with `what` when [`PATIENCE`] is over.
pub(crate) fn until(what: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?}: {}", what());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes the store and these mailboxes.
pub(crate) fn init(store: &Store, mailboxes: &[&str]) {
    let output =
        Command::new(postino()).arg("init").arg(store.url()).args(mailboxes).output().unwrap();
    assert!(output.status.success(), "postino init: {output:?}");
}

/// A store below a test's directory.
pub(crate) struct Store(PathBuf, &'static str);

impl Store {
    /// Of Maildirs.
    pub(crate) fn below(folder: &Path) -> Self {
        Self(folder.join("mail"), "maildir")
    }

    /// The same of mboxes, in files where Maildirs would be.
    pub(crate) fn mbox_below(folder: &Path) -> Self {
        Self(folder.join("mail"), "mbox")
    }

    pub(crate) fn url(&self) -> String {
        format!("{}:{}", self.1, self.0.display())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Where a mailbox is: a Maildir.
    pub(crate) fn mailbox(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the mailboxes; each holds an `@`.
    pub(crate) fn mailboxes(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains('@')).collect()
    }

    /// The messages in a mailbox's `new`, in no order; none where it is not there.
    pub(crate) fn messages(&self, mailbox: &str) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.mailbox(mailbox).join("new")) else {
            return Vec::new();
        };
        entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    /// Asserts that nothing is left in a mailbox's `tmp` nor was put into `cur`.
    pub(crate) fn assert_nothing_but_new(&self, mailbox: &str) {
        for part in ["tmp", "cur"] {
            let left = fs::read_dir(self.mailbox(mailbox).join(part)).unwrap().count();
            assert_eq!(left, 0, "{mailbox}/{part} is not empty");
        }
    }
}

/// A running daemon; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Daemon {
    /// Starts `postino serve` with `arguments` and waits until it listens.
    pub(crate) fn start<I: AsRef<str>>(arguments: &[I]) -> Self {
        Self::start_by(&mut Command::new(postino()), arguments)
    }

    /// The same, where `command` runs postino in its own way; its process must
    /// become postino's.
    pub(crate) fn start_by<I: AsRef<str>>(command: &mut Command, arguments: &[I]) -> Self {
        let mut child = command
            .arg("serve")
            .args(arguments.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).split(b'\n');
        let collected = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                collected.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut daemon = Self { child, log, address: String::new() };
        let mut address = None;
        let log = || daemon.log.lock().unwrap().join("\n");
        until(
            || format!("for 'listening on'; the log so far:\n{}", log()),
            || {
                address = log().lines().find_map(|line| {
                    line.split_once("listening on ").map(|(_, rest)| rest.to_owned())
                });
                address.is_some() || daemon.child.try_wait().unwrap().is_some()
            },
        );
        assert!(address.is_some(), "it does not start");
        daemon.address.push_str(address.unwrap_or_default().trim());
        daemon
    }

    /// The address of the first listener, as logged: `127.0.0.1:40217`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The port of the first listener.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Ends it by SIGTERM; fails unless it exits 0 in time.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut status = None;
        let child = &mut self.child;
        let log = Arc::clone(&self.log);
        until(
            || format!("for the daemon's end after SIGTERM; its log: {:#?}", log.lock().unwrap()),
            || {
                status = child.try_wait().unwrap();
                status.is_some()
            },
        );
        assert!(status.unwrap().success(), "{status:?}; its log:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let left_out = lines.len().saturating_sub(LINES_SHOWN_MAX);
            println!("postino's log, but for {left_out} lines:\n{}", lines[left_out..].join("\n"));
        }
    }
}
