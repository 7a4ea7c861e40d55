//! A running Dovecot, whose IMAP clients come by a Unix socket.
//!
//! Lives here: its configuration, starting and ending it.
//! May not: know the users.

use crate::{daemon::until, program::succeed};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where Debian has it.
const PROGRAM: &str = "/usr/sbin/dovecot";

/// What it takes.
pub(crate) const PROGRAMS: [&str; 3] = [PROGRAM, "/usr/lib/dovecot/imap", "doveadm"];

/// Ended when dropped.
pub(crate) struct Dovecot {
    child: Child,
    folder: PathBuf,
}

impl Dovecot {
    /// For the users of this file, who have these fields where it says none, and the
    /// mail that lies at `location`, as in its `mail_location`; its own files are in
    /// `folder`, which others can pass through.
    pub(crate) fn start(folder: &Path, users: &Path, fields: &str, location: &str) -> Self {
        let (folder, users) = (folder.to_owned(), users.display());
        let text = format!(
            "base_dir = {folder}/dovecot\n\
             log_path = {folder}/dovecot.log\n\
             protocols = imap\n\
             ssl = no\n\
             disable_plaintext_auth = no\n\
             mail_fsync = never\n\
             mail_location = {location}\n\
             first_valid_uid = 1000\n\
             passdb {{\n  driver = passwd-file\n  args = username_format=%u {users}\n}}\n\
             userdb {{\n  driver = passwd-file\n  args = username_format=%u {users}\n  \
               default_fields = {fields}\n}}\n\
             namespace inbox {{\n  inbox = yes\n}}\n\
             service imap-login {{\n  \
               inet_listener imap {{\n    port = 0\n  }}\n  \
               inet_listener imaps {{\n    port = 0\n  }}\n  \
               unix_listener clients {{\n    mode = 0666\n  }}\n}}\n",
            folder = folder.display(),
        );
        let configuration = folder.join("dovecot.conf");
        fs::write(&configuration, text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-F").arg("-c").arg(&configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let dovecot = Self { child, folder };
        until(|| dovecot.log(), || UnixStream::connect(dovecot.socket()).is_ok());
        dovecot
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("dovecot/clients")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("dovecot.log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A password as Dovecot keeps it.
pub(crate) fn hashed(password: &str) -> String {
    let mut command = Command::new("doveadm");
    let output = succeed(command.args(["pw", "-s", "SHA512-CRYPT", "-p", password]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
