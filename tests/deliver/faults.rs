//! Stores that cannot take mail just now.

use crate::{
    command, init,
    kinds::Kind,
    program::{all_here, are_root, bounded, succeed},
    run,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

const MESSAGE: &[u8] = b"Subject: x\n\ntext\n";

#[test]
fn a_locked_mailbox_defers_and_a_mixture_with_it_too() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Mbox.url(folder.path());
    init(&url, &["alice@d", "bob@d"], folder.path());
    let script = "import fcntl, sys
file = open(sys.argv[1], 'r+b')
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
input()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(folder.path().join("mbox/alice@d"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let deliver = |to: &[&str]| {
        let flags = ["--store", &url, "--users=store", "--lock-wait=1s"];
        run(&mut command(&[&flags[..], to].concat()), MESSAGE)
    };
    let (code, said) = deliver(&["alice@d"]);
    assert!(code == 75 && said.starts_with("4.2.0 <alice@d> "), "{code} {said}");
    let (code, said) = deliver(&["nobody@d", "bob@d", "alice@d"]);
    assert!(code == 75 && said.starts_with("4.2.0 <alice@d> "), "{code} {said}");
    assert!(said.contains("\n5.1.1 <nobody@d> ") && said.lines().count() == 2, "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(deliver(&["alice@d"]), (0, String::new()));
    assert_eq!(Kind::Mbox.messages(folder.path(), "alice@d").len(), 1);
    assert_eq!(Kind::Mbox.messages(folder.path(), "bob@d").len(), 1);
}

#[test]
fn a_full_disk_defers_and_keeps_nothing() {
    if !are_root() {
        return;
    }
    let large = "7 octets\n".repeat(600_000);
    for kind in crate::kinds::KINDS {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=3m,mode=0755", "postino-deliver"];
        succeed(bounded("mount").args(mount).arg(folder.path()));
        let url = kind.url(folder.path());
        let result = std::panic::catch_unwind(|| {
            // The spool has room elsewhere.
            let flags = ["--store", &url, "--min-free=0%", "--spool-dir=/var/tmp", "alice@d"];
            let (code, said) = run(&mut command(&flags), large.as_bytes());
            assert!(code == 75 && said.starts_with("4.3.1 <alice@d> "), "{kind:?} {code} {said}");
            assert_eq!(run(&mut command(&flags), MESSAGE), (0, String::new()), "{kind:?}");
            assert_eq!(kind.messages(folder.path(), "alice@d").len(), 1, "{kind:?}");
            fs::write(folder.path().join("ballast"), vec![0; 1 << 20]).unwrap();
            let flags = ["--store", &url, "--min-free=90%", "alice@d"];
            let (code, said) = run(&mut command(&flags), MESSAGE);
            assert!(code == 75 && said.starts_with("4.3.1 <alice@d> "), "{kind:?} {code} {said}");
        });
        succeed(bounded("umount").arg("--lazy").arg(folder.path()));
        result.unwrap();
    }
}

#[test]
fn whoever_may_not_write_is_told_so_and_the_mail_is_deferred() {
    if !are_root() || !all_here(&["setpriv"]) {
        return;
    }
    let folder = crate::daemon::folder();
    let url = Kind::Maildir.url(folder.path());
    init(&url, &["alice@d"], folder.path());
    fs::set_permissions(folder.path().join("maildir"), fs::Permissions::from_mode(0o700)).unwrap();
    let program = folder.path().join("postino");
    // Not by this process: a child that another test starts just then would hold the
    // copy open for writing, and it could not be run.
    assert!(
        Command::new("cp").arg(crate::daemon::postino()).arg(&program).status().unwrap().success()
    );
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    let (code, said) = run(nobody.args(["deliver", "--store", &url, "alice@d"]), MESSAGE);
    assert!(code == 75 && said.starts_with("4.3."), "{code} {said}");
}
