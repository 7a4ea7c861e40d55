//! Maildirs that Dovecot has written, compressed: they are read, and found sound.
//!
//! Where Dovecot is not installed the test is skipped with a line on standard error;
//! under `CI=true` that is a failure.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::Place;
use postino_files::Kernel;
use postino_maildir::Maildir;
use postino_store::{MailReader, MailStore, MailboxName, Repair};
use std::{
    env, fs,
    io::Write,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// Whose mail it is where the test runs as root, to whom Dovecot shows no mail.
const READER: u32 = 65534;

/// The ways in which Dovecot 2.3 compresses what it saves.
const WAYS: [&str; 4] = ["gz", "bz2", "lz4", "zstd"];

fn is_here(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_here = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_here {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{program} is missing");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is missing");
    }
    is_here
}

/// Runs doveadm on alice's mail, as whoever owns the folder above the store.
fn doveadm(place: &Place, way: &str, arguments: &[&str], input: &str) {
    let (folder, owner) = (place.above(), fs::metadata(place.above()).unwrap());
    let text = format!(
        "base_dir = {folder}/dovecot\n\
         log_path = /dev/stderr\n\
         ssl = no\n\
         mail_location = maildir:{root}/alice\n\
         mail_uid = {uid}\n\
         mail_gid = {gid}\n\
         first_valid_uid = {uid}\n\
         mail_plugins = zlib\n\
         plugin {{\n  zlib_save = {way}\n}}\n\
         namespace inbox {{\n  inbox = yes\n}}\n",
        folder = folder.display(),
        root = place.root().display(),
        uid = owner.uid(),
        gid = owner.gid(),
    );
    let configuration = folder.join("dovecot.conf");
    fs::write(&configuration, text).unwrap();
    let mut command = as_owner(folder, "doveadm");
    command.arg("-c").arg(&configuration).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
}

fn as_owner(folder: &Path, program: &str) -> Command {
    let owner = fs::metadata(folder).unwrap().uid();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]);
    if owner == READER {
        let id = READER;
        command.args(["setpriv", &format!("--reuid={id}"), &format!("--regid={id}")]);
        command.arg("--clear-groups");
    }
    command.arg(program).current_dir(folder).env("HOME", folder).env("USER", "reader");
    command
}

#[test]
fn a_maildir_that_dovecot_compresses_is_read_and_has_no_finding() {
    if !["doveadm", "setpriv", "timeout"].iter().all(|program| is_here(program)) {
        return;
    }
    let place = Place::new();
    let store: Maildir = place.store("", Arc::new(Kernel::new()));
    MailStore::open(&store).unwrap();
    if fs::metadata(place.above()).unwrap().uid() == 0 {
        chown(place.above(), Some(READER), Some(READER)).unwrap();
        chown(place.root(), Some(READER), Some(READER)).unwrap();
    }
    for (way, lines) in WAYS.iter().zip([1, 10, 100, 1000]) {
        let text = "all the same in each line\r\n".repeat(lines);
        doveadm(&place, way, &["save"], &format!("Subject: {way}\r\n\r\n{text}"));
    }
    // Into cur, with flags; a copy, which is a hard link; a folder beside the inbox.
    doveadm(&place, "gz", &["flags", "add", "\\Seen", "mailbox", "INBOX", "1:3"], "");
    doveadm(&place, "gz", &["copy", "INBOX", "mailbox", "INBOX", "2"], "");
    doveadm(&place, "gz", &["mailbox", "create", "Sent"], "");
    doveadm(&place, "gz", &["copy", "Sent", "mailbox", "INBOX", "ALL"], "");

    for repair in [Repair::No, Repair::Yes] {
        let mut findings = Vec::new();
        let verified = store.verify(repair, &mut |finding| findings.push(finding)).unwrap();
        assert_eq!(findings, []);
        assert_eq!((verified.mailboxes, verified.messages), (1, 5));
    }

    let alice = MailboxName::new("alice").unwrap();
    let mut listed = Vec::new();
    let visited = store.messages(&alice, &mut |found| {
        listed.push(found.unwrap());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    let packed = listed.iter().filter(|message| {
        let said = message.id.as_str().split_once(",S=").unwrap().1;
        said.split(',').next().unwrap().parse::<u64>().unwrap() != message.octets
    });
    assert_eq!(packed.count(), 5, "Dovecot has compressed all of them");
    let seen = listed.iter().filter(|message| message.flags.as_ref().unwrap().as_str() == "S");
    assert_eq!(seen.count(), 4);
    for message in &listed {
        assert_eq!(&store.find(&alice, message.id.as_str()).unwrap(), message);
    }
    // Dovecot finds all of it as it was, and what postino removes is gone.
    store.remove(&alice, &listed[0]).unwrap();
    doveadm(&place, "gz", &["fetch", "text", "mailbox", "INBOX", "ALL"], "");
    store.remove_mailbox(&alice).unwrap();
    assert_eq!(common::names(&place.root()), [".postino"]);
}
