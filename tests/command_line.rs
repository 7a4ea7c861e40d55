//! The command line: what each command takes, says and ends with.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]

use postino::config::SETTINGS;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::{Command, Output, Stdio},
};

fn postino<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postino"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let result = told(postino(directory.path(), arguments));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{arguments:?} made something");
    result
}

fn told(output: Output) -> (i32, String, String) {
    let text = |octets| String::from_utf8(octets).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["init", "-h"]] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &err[..]), (0, ""), "{arguments:?}");
        assert!(out.starts_with("Usage: postino"), "{arguments:?}: {out}");
    }
    for arguments in [&["--version"][..], &["-v"], &["serve", "--version"]] {
        let expected = format!("postino {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(run(arguments), (0, expected, String::new()), "{arguments:?}");
    }
}

#[test]
fn every_setting_is_a_flag_in_the_help_of_each_command_that_serves() {
    for command in ["serve", "inetd", "check-config"] {
        let (_, help, _) = run(&[command, "--help"]);
        for setting in SETTINGS {
            assert!(
                help.contains(&format!("--{} ", setting.name))
                    || help.contains(&format!("--{}\n", setting.name)),
                "{command} --help has no --{}",
                setting.name
            );
        }
    }
}

#[test]
fn a_wrong_command_line_exits_with_64_and_names_the_nearest_word() {
    for (arguments, expected) in [
        (&[][..], "Usage: postino COMMAND"),
        (&["serv"], "nearest: serve"),
        (&["serve", "--lisen", "x"], "nearest: --listen"),
        (&["serve", "--max_message_size=3"], "nearest: --max-message-size"),
        (&["serve", "--listen"], "--listen"),
        (&["serve", "--hostname", "a", "--hostname", "b"], "--hostname"),
        (&["init"], "store"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &out[..]), (64, ""), "{arguments:?}: {err}");
        assert!(err.contains(expected) && err.contains("--help"), "{arguments:?}: {err}");
    }
}

#[test]
fn an_argument_that_is_no_utf_8_is_a_wrong_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [OsStr::new("serve"), OsStr::from_bytes(b"--hostname=\xff")];
    let (code, _, err) = told(postino(directory.path(), &arguments));
    assert_eq!(code, 64, "{err}");
    assert!(err.starts_with("argument 2 is no UTF-8"), "{err}");
}

#[test]
fn a_flag_takes_its_value_behind_a_blank_or_an_equals_sign() {
    for arguments in [&["check-config", "--workers", "5"][..], &["check-config", "--workers=5"]] {
        let (code, out, _) = run(arguments);
        assert_eq!(code, 0);
        assert!(out.contains("workers = 5\n"), "{out}");
    }
    let (_, out, _) = run(&[
        "check-config",
        "--recipient-delimiter=",
        "--listen=127.0.0.1:1",
        "--listen=[::1]:2",
    ]);
    assert!(out.contains("recipient-delimiter = \n"), "{out}");
    assert!(out.contains("listen = 127.0.0.1:1 [::1]:2\n"), "{out}");
}

#[test]
fn check_config_lists_each_setting_and_marks_the_defaults() {
    let (code, out, err) = run(&["check-config", "--require-marker", "--hostname=mx.example.org"]);
    assert_eq!((code, &err[..]), (0, ""));
    for setting in SETTINGS {
        let lines = out.lines().filter(|line| line.starts_with(&format!("{} = ", setting.name)));
        let lines: Vec<_> = lines.collect();
        let [line] = lines[..] else { panic!("{}: {lines:?}", setting.name) };
        let is_set = ["require-marker", "hostname"].contains(&setting.name);
        assert_eq!(line.ends_with("# default"), !is_set, "{line}");
    }
    assert!(out.contains("postmaster = postmaster@mx.example.org  # default"), "{out}");
}

#[test]
fn a_reader_who_went_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_postino"))
        .arg("check-config")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn init_makes_store_and_mailboxes_and_leaves_alone_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a/b");
    let url = format!("maildir:{}/%d/%n", root.display());
    let (code, out, err) = told(postino(directory.path(), &["init", &url, "Alice@Example.org"]));
    assert_eq!((code, &err[..]), (0, ""));
    assert!(out.ends_with("alice@example.org is there\n"), "{out}");
    let marker = fs::read(root.join(".postino")).unwrap();
    assert!(root.join("example.org/alice/new").is_dir());
    fs::write(root.join("example.org/alice/new/x"), "x").unwrap();
    let (code, ..) =
        told(postino(directory.path(), &["init", &url, "alice@example.org", "bob@example.org"]));
    assert_eq!(code, 0);
    assert_eq!(fs::read(root.join(".postino")).unwrap(), marker);
    assert_eq!(fs::read(root.join("example.org/alice/new/x")).unwrap(), b"x");
    assert!(root.join("example.org/bob/cur").is_dir());
}

#[test]
fn init_makes_nothing_where_a_name_or_the_store_is_wrong() {
    for (arguments, expected) in [
        (&["init", "maildir:m", "a/../b"][..], 64),
        (&["init", "maildir:m", "..@d"], 64),
        (&["init", "maildir:m", ""], 64),
        (&["init", "m"], 78),
        (&["init", "mailbox:m"], 78),
        (&["init", "maildir:/dev/null/m"], 73),
    ] {
        let (code, _, err) = run(arguments);
        assert_eq!(code, expected, "{arguments:?}: {err}");
    }
}

#[test]
fn init_says_where_permission_is_denied() {
    if !rustix::process::getuid().is_root() {
        println!("only root can become another user here");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Where the program was built may be out of nobody's reach.
    let program = directory.path().join("postino");
    // Not by this process: a child that another test starts just then would hold the
    // copy open for writing, and it could not be run.
    assert!(
        Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_postino"))
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["init", "maildir:mail"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let (code, _, err) = told(output);
    assert_eq!(code, 77, "{err}");
    assert!(err.contains("ermission denied"), "{err}");
}
