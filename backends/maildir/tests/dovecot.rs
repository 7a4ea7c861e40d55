//! Maildirs that Dovecot writes or reads too: what it has compressed is read and found
//! sound; folders and quotas are the same to both.
//!
//! Where Dovecot is not installed the test is skipped with a line on standard error;
//! under `CI=true` that is a failure.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, delivery, mailbox, walk};
use postino_files::Kernel;
use postino_maildir::Maildir;
use postino_store::{
    IfMissing, IfNoFolder, MailReader, MailStore, Mailbox, MailboxName, Quota, Repair,
};
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

/// Compresses what is saved.
fn packing(way: &str) -> String {
    format!("mail_plugins = zlib\nplugin {{\n  zlib_save = {way}\n}}\n")
}

/// Runs doveadm on alice's mail, as whoever owns the folder above the store; gives what
/// it prints.
fn doveadm(place: &Place, settings: &str, arguments: &[&str], input: &str) -> String {
    let (folder, owner) = (place.above(), fs::metadata(place.above()).unwrap());
    let text = format!(
        "base_dir = {folder}/dovecot\n\
         log_path = /dev/stderr\n\
         ssl = no\n\
         mail_location = maildir:{root}/alice\n\
         mail_uid = {uid}\n\
         mail_gid = {gid}\n\
         first_valid_uid = {uid}\n\
         {settings}\
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
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
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

/// A store whose mail Dovecot may have; none where that is not installed.
fn begin() -> Option<(Place, Maildir)> {
    if !["doveadm", "setpriv", "timeout"].iter().all(|program| is_here(program)) {
        return None;
    }
    let place = Place::new();
    let store: Maildir = place.store("", Arc::new(Kernel::new()));
    MailStore::open(&store).unwrap();
    if fs::metadata(place.above()).unwrap().uid() == 0 {
        chown(place.above(), Some(READER), Some(READER)).unwrap();
        chown(place.root(), Some(READER), Some(READER)).unwrap();
    }
    Some((place, store))
}

/// Gives what the test, as root, has delivered to whoever runs Dovecot.
fn hand_over(place: &Place) {
    let owner = fs::metadata(place.above()).unwrap().uid();
    let root = place.root();
    for path in walk(&root).into_iter().filter(|path| path.starts_with("alice")) {
        chown(root.join(path), Some(owner), Some(owner)).unwrap();
    }
}

#[test]
fn a_maildir_that_dovecot_compresses_is_read_and_has_no_finding() {
    let Some((place, store)) = begin() else { return };
    for (way, lines) in WAYS.iter().zip([1, 10, 100, 1000]) {
        let text = "all the same in each line\r\n".repeat(lines);
        doveadm(&place, &packing(way), &["save"], &format!("Subject: {way}\r\n\r\n{text}"));
    }
    // Into cur, with flags; a copy, which is a hard link; a folder beside the inbox.
    doveadm(&place, &packing("gz"), &["flags", "add", "\\Seen", "mailbox", "INBOX", "1:3"], "");
    doveadm(&place, &packing("gz"), &["copy", "INBOX", "mailbox", "INBOX", "2"], "");
    doveadm(&place, &packing("gz"), &["mailbox", "create", "Sent"], "");
    doveadm(&place, &packing("gz"), &["copy", "Sent", "mailbox", "INBOX", "ALL"], "");

    for repair in [Repair::No, Repair::Yes] {
        let mut findings = Vec::new();
        let verified = store.verify(repair, &mut |finding| findings.push(finding)).unwrap();
        assert_eq!(findings, []);
        assert_eq!((verified.mailboxes, verified.messages), (2, 10));
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
    doveadm(&place, &packing("gz"), &["fetch", "text", "mailbox", "INBOX", "ALL"], "");
    store.remove_mailbox(&alice).unwrap();
    assert_eq!(common::names(&place.root()), [".postino"]);
}

#[test]
fn dovecot_lists_the_folders_that_are_made_and_finds_the_messages_in_them() {
    let Some((place, store)) = begin() else { return };
    let folders = [
        "Lists/2026",
        "Grüße & Co",
        "日本語/😊",
        "&",
        "a b",
        " lead",
        "*",
        "%",
        "a\\b",
        "-x",
        "\"q\"",
        "cur",
        "new",
        "tmp",
        "dovecot.x",
        "inbox/x",
        "a.b",
        "x.lock",
        "$HOME",
        "{a}",
        "\u{202e}x",
        "maildirfolder",
    ];
    for folder in folders {
        let mailbox = mailbox("alice", IfMissing::Create);
        let mailbox = mailbox.in_folder(folder, IfNoFolder::Create).unwrap();
        let body = format!("Subject: in {folder:?}\r\n\r\ntext\r\n");
        store.deliver(&delivery(mailbox, body.as_bytes(), false, Arc::default())).unwrap();
    }
    hand_over(&place);
    let listed = doveadm(&place, "", &["mailbox", "list", "-8"], "");
    let listed: Vec<&str> = listed.lines().collect();
    for folder in folders {
        let shown = folder.replace('/', ".").replace("inbox.", "INBOX.");
        assert!(listed.contains(&&*shown), "{folder:?} is not among {listed:?}");
        let query = ["-f", "flow", "fetch", "--", "hdr.subject", "mailbox", &shown, "ALL"];
        let subject = doveadm(&place, "", &query, "");
        assert!(subject.contains(&format!("in {folder:?}")), "{folder:?}: {subject}");
    }
}

#[test]
fn dovecot_and_postino_keep_one_sum() {
    let Some((place, store)) = begin() else { return };
    let settings = "mail_plugins = quota\n\
        plugin {\n  quota = maildir:User quota\n  quota_rule = *:bytes=1024000:messages=50\n}\n";
    let alice = || {
        let quota = Quota { octets: Some(1_024_000), messages: Some(50) };
        mailbox("alice", IfMissing::Create).with_quota(quota)
    };
    let deliver = |mailbox: Mailbox, kib: usize| {
        let body = vec![b'x'; kib * 1024 - common::HEADER.len() + 1];
        store.deliver(&delivery(mailbox, &body, false, Arc::default())).unwrap();
    };
    let figures = || {
        hand_over(&place);
        let table = doveadm(&place, settings, &["-f", "tab", "quota", "get"], "");
        let row = |kind: &str| {
            let line = table.lines().find(|line| line.contains(kind)).unwrap().to_owned();
            let cells: Vec<u64> = line.split('\t').filter_map(|cell| cell.parse().ok()).collect();
            (cells[0], cells[1])
        };
        (row("STORAGE"), row("MESSAGE"))
    };
    deliver(alice(), 3);
    deliver(alice(), 4);
    deliver(alice().in_folder("Trash", IfNoFolder::Create).unwrap(), 5);
    let sum_file = place.root().join("alice/maildirsize");
    let made = fs::metadata(&sum_file).unwrap().ino();
    assert_eq!(figures(), ((12, 1000), (3, 50)));
    // What Dovecot saves, and notes in the same file.
    let body = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(10 * 1024 - 17));
    doveadm(&place, settings, &["save"], &body);
    assert_eq!(figures(), ((22, 1000), (4, 50)));
    deliver(alice(), 6);
    assert_eq!(figures(), ((28, 1000), (5, 50)));
    assert_eq!(fs::metadata(&sum_file).unwrap().ino(), made, "neither had to count anew");
    // Dovecot's own file.
    fs::remove_file(&sum_file).unwrap();
    doveadm(&place, settings, &["quota", "recalc"], "");
    let of_dovecot = fs::read_to_string(&sum_file).unwrap();
    let counted = fs::metadata(&sum_file).unwrap().ino();
    deliver(alice(), 1);
    let text = fs::read_to_string(&sum_file).unwrap();
    assert!(text.starts_with(&of_dovecot) && text != of_dovecot, "{of_dovecot:?}: {text:?}");
    assert_eq!(fs::metadata(&sum_file).unwrap().ino(), counted);
    assert_eq!(figures(), ((29, 1000), (6, 50)));
    doveadm(&place, settings, &["quota", "recalc"], "");
    assert_eq!(figures(), ((29, 1000), (6, 50)));
}
