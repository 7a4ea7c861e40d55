//! doveadm, which opens mailboxes without a running Dovecot.
//!
//! Lives here: its configuration, running it as the store's owner.
//! May not: know what is in a store.

use crate::{
    program::{bounded, run},
    store::{Place, READER},
};
use rustix::process::geteuid;
use std::{fs, os::unix::fs::MetadataExt, process::Command};

/// What it takes.
pub(crate) const PROGRAMS: [&str; 2] = ["doveadm", "setpriv"];

/// Keeps quotas where Maildir++ does.
pub(crate) fn quota(octets: u64) -> String {
    format!(
        "mail_plugins = quota\n\
         plugin {{\n  quota = maildir:User quota\n  quota_rule = *:bytes={octets}\n}}\n"
    )
}

/// Runs it on the mail at `location`, as in Dovecot's `mail_location`; gives what it
/// prints. It must find nothing to complain of.
pub(crate) fn doveadm(place: &Place, location: &str, settings: &str, arguments: &[&str]) -> String {
    let (folder, owner) = (place.above(), fs::metadata(place.above()).unwrap());
    let text = format!(
        "base_dir = {folder}/dovecot\n\
         log_path = /dev/stderr\n\
         ssl = no\n\
         mail_location = {location}\n\
         mail_uid = {uid}\n\
         mail_gid = {gid}\n\
         first_valid_uid = {uid}\n\
         {settings}\
         namespace inbox {{\n  inbox = yes\n}}\n",
        folder = folder.display(),
        uid = owner.uid(),
        gid = owner.gid(),
    );
    let configuration = folder.join("dovecot.conf");
    fs::write(&configuration, text).unwrap();
    let mut command = if geteuid().is_root() {
        let mut command = bounded("setpriv");
        let id = READER.1;
        command.args([format!("--reuid={id}"), format!("--regid={id}")]);
        command.arg("--clear-groups").arg("doveadm");
        command
    } else {
        bounded("doveadm")
    };
    command.current_dir(folder).env("HOME", folder).env("USER", "reader");
    let (output, shown) = run(Command::arg(&mut command, "-c").arg(&configuration).args(arguments));
    assert!(output.status.success() && output.stderr.is_empty(), "{shown}");
    String::from_utf8(output.stdout).unwrap()
}
