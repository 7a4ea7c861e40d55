//! Dovecot, which reads without a running daemon: doveadm opens the mailbox
//! itself.
//!
//! Lives here: its configuration, fetching a mailbox.
//! May not: know what the messages are.

use crate::{delivered::as_reader, program::run};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Every message of an inbox, in the order of their numbers. `location` is as in
/// Dovecot's `mail_location`; `folder` belongs to the reader.
pub(crate) fn fetch(folder: &Path, location: &str) -> Vec<Vec<u8>> {
    let owner = fs::metadata(folder).unwrap();
    let configuration = folder.join("dovecot.conf");
    let text = format!(
        "base_dir = {folder}/dovecot\n\
         log_path = /dev/stderr\n\
         ssl = no\n\
         mail_fsync = never\n\
         mail_location = {location}\n\
         mail_uid = {uid}\n\
         mail_gid = {gid}\n\
         first_valid_uid = {uid}\n\
         namespace inbox {{\n  inbox = yes\n}}\n",
        folder = folder.display(),
        uid = owner.uid(),
        gid = owner.gid(),
    );
    fs::write(&configuration, text).unwrap();
    let doveadm = |field: &str, search: &[&str]| {
        let mut command = as_reader("doveadm", folder);
        command.arg("-c").arg(&configuration).args(["fetch", field, "mailbox", "INBOX"]);
        let (output, shown) = run(command.args(search));
        assert!(output.status.success(), "{shown}");
        // It would say what it finds corrupted, and mend it.
        assert!(output.stderr.is_empty(), "{shown}");
        output.stdout
    };
    let uids = String::from_utf8(doveadm("uid", &["ALL"])).unwrap();
    let uids = uids.lines().filter_map(|line| line.strip_prefix("uid: "));
    // One by one: what it prints between two can stand in a message too.
    uids.map(|uid| doveadm("text", &["UID", uid]).strip_prefix(b"text:\n").unwrap().to_owned())
        .collect()
}

/// A message of an mbox file as Dovecot shows it: without the fields in which
/// it keeps a message's state, were they its own or not.
pub(crate) fn shown_of_mbox(text: &[u8]) -> Vec<u8> {
    const HIDDEN: [&[u8]; 3] = [b"Content-Length: ", b"Status: ", b"X-UID: "];
    let (mut shown, mut in_header) = (Vec::with_capacity(text.len()), true);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        in_header &= line != b"\n";
        if !in_header || !HIDDEN.iter().any(|name| line.starts_with(name)) {
            shown.extend(line);
        }
    }
    shown
}
