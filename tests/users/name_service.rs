//! Name services that fail, are slow, or know nobody all of a sudden.

use crate::{
    Asking,
    client::Client,
    daemon::{Daemon, folder, postino, until},
    program::{all_here, are_root, bounded, succeed},
};
use std::{fs, os::unix::fs::chown, path::Path, process::Command};

const ALICE: u32 = 40_611;
const DORA: u32 = 40_612;

/// A name service of this test's own, by what the C library loads services.
const SERVICE: &str = r#"
#include <errno.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_postinotest_getpwnam_r(const char *name, struct passwd *entry,
                                            char *buffer, size_t octets, int *error)
{
    (void) entry; (void) buffer; (void) octets;
    if (strcmp(name, "failing") == 0) {
        *error = EIO;
        return NSS_STATUS_UNAVAIL;
    }
    if (strcmp(name, "busy") == 0) {
        *error = EAGAIN;
        return NSS_STATUS_TRYAGAIN;
    }
    if (strcmp(name, "slow") == 0)
        for (;;)
            pause();
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}
"#;

/// A server in a mount namespace of its own, where these are the system's users.
fn serve(folder: &Path) -> Daemon {
    let service = folder.join("service.c");
    fs::write(&service, SERVICE).unwrap();
    let library = folder.join("libnss_postinotest.so.2");
    let mut compile = bounded("cc");
    succeed(compile.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(library).arg(service));
    fs::write(folder.join("nsswitch.conf"), "passwd: files postinotest\ngroup: files\n").unwrap();

    let mail = folder.join("mail");
    for (name, uid) in [("alice", ALICE), ("dora", DORA)] {
        fs::create_dir_all(mail.join(name)).unwrap();
        chown(mail.join(name), Some(uid), Some(uid)).unwrap();
    }
    let script = "cd \"$0\" && mount --bind passwd /etc/passwd && \
                  mount --bind nsswitch.conf /etc/nsswitch.conf && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(folder).arg(postino());
    command.env("LD_LIBRARY_PATH", folder);
    let store = format!("--store=maildir:{}", mail.display());
    let flags = ["--listen=127.0.0.1:0", "--users=system", "--domains=localhost", &store];
    Daemon::start_by(&mut command, &[&flags[..], &["--postmaster=alice"]].concat())
}

#[test]
fn a_name_service_that_does_not_know_makes_nobody_unknown() {
    if !(all_here(&["unshare", "mount", "cc"]) && are_root()) {
        return;
    }
    let folder = folder();
    let passwd = folder.path().join("passwd");
    let users = format!(
        "root:x:0:0::/root:/bin/sh\nalice:x:{ALICE}:{ALICE}::/:/bin/sh\n\
         dora:x:{DORA}:{DORA}::/:/bin/sh\n"
    );
    fs::write(&passwd, &users).unwrap();
    let daemon = serve(folder.path());

    let mut waiting = Client::connect(daemon.address());
    waiting.open();
    waiting.say("MAIL FROM:<>\r\nRCPT TO:<slow@localhost>\r\n");
    waiting.until("250 2.1.0");

    let mut asking = Asking::of(&daemon);
    for (name, codes) in [
        ("alice", "250 2.1.5"),
        ("bob", "550 5.1.1"),
        ("failing", "451 4.4.3"),
        ("busy", "451 4.4.3"),
    ] {
        assert_eq!(asking.codes(&format!("{name}@localhost")), codes, "{name}");
    }
    let why = "the user is not to be looked up: Input/output error";
    until(|| daemon.log(), || daemon.log().contains(why));

    // As somebody does who writes the file anew instead of renaming another to it.
    fs::write(&passwd, "").unwrap();
    for name in ["carol", "dora"] {
        assert_eq!(asking.codes(&format!("{name}@localhost")), "451 4.4.3", "{name}");
    }
    fs::write(&passwd, &users).unwrap();
    assert_eq!(asking.codes("carol@localhost"), "550 5.1.1");
    assert_eq!(asking.codes("dora@localhost"), "250 2.1.5");

    assert!(waiting.line().starts_with("451 4.4.3"), "after 30 seconds");
    daemon.stop();
}
