//! A file system that is full.

use crate::{
    daemon::folder,
    flood::{Flood, Server, sized},
    honest::deliver_body,
    program::{all_here, nothing_missing},
    usage::say,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};
use tempfile::TempDir;

/// A file system of so much; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// None where that isn't possible here.
    fn new(directory: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            say("SKIPPED full_store: mounting takes root");
            return None;
        }
        let mount = ["-t", "tmpfs", "-o", "size=2m,mode=0755", "postino-floods"];
        let output = Command::new("mount").args(mount).arg(directory).output().unwrap();
        let what = (!output.status.success())
            .then(|| format!("mount: {}", String::from_utf8_lossy(&output.stderr)));
        nothing_missing(what).then(|| Self(directory.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The message of this number, as it ends in the store.
fn text(number: usize) -> String {
    format!("message {number}: {}\n", "7 octets".repeat(9)).repeat(200)
}

/// The files of the stored messages.
fn stored(new: &Path) -> Vec<PathBuf> {
    fs::read_dir(new).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Asserts that exactly these are stored, whole, and nothing beside.
fn assert_stored(mailbox: &Path, told: &[(String, usize)]) {
    let files = stored(&mailbox.join("new"));
    assert_eq!(files.len(), told.len(), "other messages than those that got a 250");
    for (id, number) in told {
        let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(id);
        let file = files.iter().find(|file| name(file)).unwrap();
        let message = fs::read_to_string(file).unwrap();
        assert!(message.ends_with(&text(*number)), "{id} is not whole");
    }
    assert_eq!(fs::read_dir(mailbox.join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_full_store_is_452_keeps_what_it_has_and_goes_on_with_room() {
    if !all_here(&["mount", "umount"]) {
        return;
    }
    let mount_point: TempDir = folder();
    let Some(mounted) = Mounted::new(mount_point.path()) else { return };
    let within = tempfile::tempdir_in(&mounted.0).unwrap();
    let flood = Flood::begin_in(within, &Server { flags: &["--min-free=0%"], ..Server::default() });
    let mailbox = flood.mailbox("a@example.org");
    let mut client = flood.session();
    let (mut told, mut latencies, mut number) = (Vec::new(), Vec::new(), 0);
    for _ in 0..sized(5, 50) {
        let mut refused = 0;
        // Beyond the first refusal a smaller gap may be left; it stays a refusal.
        while refused < 3 {
            number += 1;
            let began = Instant::now();
            let said = text(number).replace('\n', "\r\n");
            let reply = deliver_body(&mut client, "a@example.org", &said);
            latencies.push(began.elapsed());
            if let Some(rest) = reply.strip_prefix("250 2.0.0 ") {
                let id = rest.split_whitespace().next().unwrap();
                told.push((id.to_owned(), number));
            } else {
                assert!(reply.starts_with("452 4.3.1 "), "{reply}");
                refused += 1;
            }
        }
        assert!(told.len() > 50, "only {} messages fitted", told.len());
        assert_stored(&mailbox, &told);
        for file in stored(&mailbox.join("new")) {
            fs::remove_file(file).unwrap();
        }
        told.clear();
    }
    drop(client);
    flood.end_with(latencies);
    drop(mounted);
}
