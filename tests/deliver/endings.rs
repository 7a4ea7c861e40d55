//! How it ends: exit code, and the first line on standard error.

use crate::{
    command,
    daemon::{Daemon, until},
    ended, init,
    kinds::Kind,
    run, start,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
};

const MESSAGE: &[u8] = b"Subject: x\n\ntext\n";

/// What a table's row says: arguments, the exit code, how standard error begins.
type Row = (&'static [&'static str], i32, &'static str);

/// The store has alice@d and bob@d, whose name is in no other flag.
const TABLE: &[Row] = &[
    (&["alice@d"], 0, ""),
    (&["-d", "alice@d"], 0, ""),
    (&["-f", "<x@y>", "-d", "alice@d", "bob@d"], 0, ""),
    (&["--", "alice@d"], 0, ""),
    (&["<Alice+x@d>"], 0, ""),
    (&["--hostname=d", "alice"], 0, ""),
    (&["-f", "MAILER-DAEMON", "alice@d"], 0, ""),
    (&["nobody@d"], 67, "5.1.1 <nobody@d> No such mailbox"),
    (&["no1@d", "no2@d"], 67, "5.1.1 <no1@d> "),
    (&["--", "-x@d"], 67, "5.1.1 <-x@d> "),
    (&["--hostname=d", "help"], 67, "5.1.1 <help@d> "),
    (&["--hostname=d", "--", "--help"], 67, "5.1.1 <--help@d> "),
    // Behind a recipient every word is one.
    (&["nobody@d", "--users=any"], 67, "5.1.1 <nobody@d> "),
    (&["nobody@d", "alice@d"], 75, "4.5.3 1 of 2 recipients stored"),
    (&["--domains=example.org", "alice@d"], 75, "5.1.2 <alice@d> "),
    (&["a b@d"], 75, "5.1.3 <a b@d> "),
    (&["../x@d"], 75, "5.1.3 <../x@d> "),
    (&["\u{fc}@d"], 75, "5.6.7 <\u{fc}@d> "),
    (&["-f", "x y", "alice@d"], 75, "5.1.7 <alice@d> "),
    (&["--max-message-size=10", "alice@d"], 75, "5.3.4 <alice@d> "),
    (
        &["--max-recipients=1", "alice@d", "bob@d"],
        75,
        "4.5.3 2 recipients are more than max-recipients",
    ),
    // The command line.
    (&[], 75, "4.3.5 no recipient given\n"),
    (&["-f"], 75, "4.3.5 no value behind -f\n"),
    // A message is there: what prints a text and ends with 0 would lose it.
    (&["-v", "-f", "x@y", "alice@d"], 75, "4.3.5 postino --version"),
    (&["--version"], 75, "4.3.5 postino --version"),
    (&["--help"], 75, "4.3.5 --help beside a message"),
    (&["-f", "x@y", "-h", "alice@d"], 75, "4.3.5 --help beside a message"),
    (&["-e", "alice@d"], 75, "4.3.5 Unrecognized argument: -e"),
    (&["--user-store=x", "alice@d"], 75, "4.3.5 Unrecognized argument: --user-store"),
    (&["--users=all", "alice@d"], 75, "4.3.5 --users: \"all\" is not one of"),
    (&["--config=/dev/null/x", "alice@d"], 75, "4.3.5 /dev/null/x: cannot read it"),
    (&["--spool-dir=/dev/null", "alice@d"], 75, "4.3.5 spool-dir"),
];

#[test]
fn each_command_line_has_its_exit_code_and_code_in_front() {
    for (arguments, code, beginning) in TABLE {
        let folder = tempfile::tempdir().unwrap();
        let url = Kind::Maildir.url(folder.path());
        init(&url, &["alice@d", "bob@d"], folder.path());
        let mut all = vec!["--store", &url];
        if arguments.first() != Some(&"--users=all") {
            all.push("--users=store");
        }
        all.extend(*arguments);
        let (ended, said) = run(&mut command(&all), MESSAGE);
        assert_eq!(ended, *code, "{arguments:?}: {said}");
        assert!(said.starts_with(beginning), "{arguments:?}: {said}");
        assert_eq!(said.is_empty(), *code == 0, "{arguments:?}: {said}");
        let stored = Kind::Maildir.messages(folder.path(), "alice@d").len();
        let is_stored = *code == 0 || said.starts_with("4.5.3 1 of 2 recipients stored");
        assert_eq!(stored, usize::from(is_stored), "{arguments:?}: {said}");
    }
}

/// As whoever has the other end of a pipe in non-blocking mode leaves it.
#[test]
fn an_input_that_does_not_block_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    let (reading, mut writing) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reading, true).unwrap();
    let mut command = command(&["--store", &url, "alice@d"]);
    let child = command.stdin(reading).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Its mailbox is made once it reads.
    let marker = folder.path().to_owned();
    until(|| "the store is made".to_owned(), || fs::read_dir(&marker).unwrap().count() > 0);
    writing.write_all(MESSAGE).unwrap();
    drop(writing);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{output:?}");
    assert_eq!(Kind::Maildir.messages(folder.path(), "alice@d").len(), 1);
}

#[test]
fn processes_that_make_a_store_at_the_same_time_all_deliver() {
    for kind in [Kind::Maildir, Kind::Mbox] {
        let folder = tempfile::tempdir().unwrap();
        let url = kind.url(folder.path());
        let start = |_| start(&mut command(&["--store", &url, "alice@d"]));
        let mut children: Vec<_> = (0..20).map(start).collect();
        for child in &mut children {
            child.stdin.take().unwrap().write_all(MESSAGE).unwrap();
        }
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        assert_eq!(kind.messages(folder.path(), "alice@d").len(), 20);
    }
}

#[test]
fn a_wrong_store_is_to_be_tried_again() {
    for (url, beginning) in [
        ("pop3:m", "4.3.5 --store: \"pop3:m\" is wrong"),
        ("maildir:/dev/null/m", "4.3."),
        ("mbox:/dev/null/m", "4.3."),
        ("sqlite:/dev/null/m.db", "4.3."),
        ("sqlite:/dev/null", "4.3."),
    ] {
        let (code, said) = run(&mut command(&["--store", url, "alice@d"]), MESSAGE);
        assert_eq!(code, 75, "{url}: {said}");
        assert!(said.starts_with(beginning), "{url}: {said}");
    }
}

#[test]
fn a_config_file_counts_but_for_where_its_log_goes() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    init(&url, &["alice@d"], folder.path());
    let file = folder.path().join("postino.toml");
    let text = format!(
        "store = \"{url}\"\nusers = \"store\"\nlog = \"stderr\"\nbare-newlines = \"reject\"\n\
         hostname = \"mx.example.org\"\nlisten = \"127.0.0.1:2\"\nrecipient-delimiter = \"-\"\n"
    );
    fs::write(&file, text).unwrap();
    let config = format!("--config={}", file.display());
    assert_eq!(run(&mut command(&[&config, "alice-x@d"]), MESSAGE), (0, String::new()));
    let (code, said) = run(&mut command(&[&config, "alice@d"]), b"a\rb\n");
    assert!(code == 75 && said.starts_with("5.6.0 <alice@d> "), "{code} {said}");
    // A flag of its own does say it.
    let (code, said) = run(&mut command(&[&config, "--log=stderr", "alice@d"]), MESSAGE);
    let last = said.lines().last().unwrap_or_default();
    assert!(code == 0 && last.starts_with("delivered s="), "{code} {said}");
    let is_warned = said.starts_with("warning: all mail is stored as root");
    assert_eq!(is_warned, rustix::process::geteuid().is_root(), "{said}");
    fs::write(&file, "sore = \"x\"\n").unwrap();
    let (code, said) = run(&mut command(&[&config, "alice@d"]), MESSAGE);
    assert!(
        code == 75 && said.starts_with("4.3.5 ") && said.contains("nearest \"store\""),
        "{said}"
    );
}

#[test]
fn nothing_is_delivered_of_an_input_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    // A closed descriptor, a directory, one that is open for writing alone.
    for (input, code) in [("<&-", 75), ("</", 75), ("0>>x", 75), ("</dev/null", 0)] {
        let line = format!("exec \"$0\" deliver --store \"$1\" alice@d {input}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).arg(crate::daemon::postino()).arg(&url);
        let output = shell.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{input}: {said}");
        let expected = if code == 0 { "" } else { "4.3.0 cannot read the message: " };
        assert!(said.starts_with(expected), "{input}: {said}");
        let stored = Kind::Maildir.messages(folder.path(), "alice@d").len();
        assert_eq!(stored, usize::from(code == 0), "{input}");
    }
}

#[test]
fn whoever_reads_nothing_of_what_is_said_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    init(&url, &["alice@d"], folder.path());
    let mut child = start(&mut command(&["--store", &url, "--users=store", "nobody@d"]));
    drop(child.stderr.take());
    child.stdin.take().unwrap().write_all(MESSAGE).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(67));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut refused = command(&["--store", &url, "--users=store", "nobody@d"]);
    refused.stdin(Stdio::null()).stderr(full);
    assert_eq!(refused.status().unwrap().code(), Some(67));
}

#[test]
fn an_argument_that_is_no_utf_8_is_to_be_tried_again() {
    let mut command = command(&[]);
    let child = start(command.arg(OsStr::from_bytes(b"\xff@d")));
    let (code, said) = ended(child);
    assert!(code == 75 && said.starts_with("4.3.5 argument 2 is no UTF-8"), "{said}");
}

#[test]
fn a_loop_of_mail_is_refused_to_all() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    let message = "Received: by x\n".repeat(101);
    let (code, said) = run(&mut command(&["--store", &url, "a@d", "b@d"]), message.as_bytes());
    assert!(code == 75 && said.starts_with("5.4.6 <a@d> "), "{code} {said}");
    assert!(said.lines().count() == 2 && said.contains("\n5.4.6 <b@d> "), "{said}");
}

#[test]
fn a_store_that_is_not_mounted_defers() {
    let folder = tempfile::tempdir().unwrap();
    let url = Kind::Maildir.url(folder.path());
    let flags = ["--store", &url, "--require-marker", "--users=store", "alice@d"];
    let (code, said) = run(&mut command(&flags), MESSAGE);
    assert!(code == 75 && said.starts_with("4.3.0 <alice@d> "), "{code} {said}");
    assert!(!Path::new(&folder.path().join("maildir")).exists());
    // A daemon has made it meanwhile.
    init(&url, &["alice@d"], folder.path());
    let store = format!("--store={url}");
    let daemon = Daemon::start(&["--listen=127.0.0.1:0", "--users=store", &store]);
    assert_eq!(run(&mut command(&flags), MESSAGE), (0, String::new()));
    daemon.stop();
}
