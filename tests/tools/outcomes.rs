//! How each command ends where something is not as it should be.

use crate::stores::{ALICE, Filled, Told, each, program, run};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// The commands on a store, with what else they need.
fn commands(id: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["mailboxes"],
        vec!["messages", ALICE],
        vec!["cat", ALICE, id],
        vec!["delete", ALICE, id],
        vec!["delete", ALICE],
        vec!["verify"],
    ]
}

#[test]
fn each_command_ends_as_the_table_says() {
    for store in each() {
        let id = store.deliver(ALICE, "text\r\n");
        let nobody = "nobody@example.org";
        let table: &[(&[&str], i32, &str)] = &[
            (&["messages", nobody], 1, "nobody@example.org: no such mailbox"),
            (&["cat", nobody, &id], 1, "no such mailbox"),
            (&["delete", nobody], 1, "no such mailbox"),
            (&["delete", nobody, &id], 1, "no such mailbox"),
            (&["cat", ALICE, "17"], 1, "there is no message of this id"),
            (&["delete", ALICE, "17"], 1, "there is no message of this id"),
            (&["cat", ALICE, "../../x"], 1, "there is no message of this id"),
            (&["messages", "../x"], 64, "begins with a dot"),
            (&["messages", "alice/../x"], 64, "begins with a dot"),
            (&["delete", "alice/"], 64, "is empty"),
            (&["messages", ".."], 64, "begins with a dot"),
            (&["delete", ""], 64, "is empty"),
            (&["messages"], 64, "mailbox"),
            (&["cat", ALICE], 64, "id"),
            (&["cat"], 64, "mailbox"),
            (&["delete"], 64, "mailbox"),
            (&["backup"], 64, "file"),
            (&["verify", "--yes"], 64, "no meaning without --repair"),
            (&["mailboxes", "--jsn"], 64, "--jsn; nearest: --json"),
            (&["mailboxes", "--listen", "any"], 64, "Unrecognized argument: --listen\n"),
            (&["mailboxes", "--users", "any"], 78, "say system or file:PATH"),
            (&["mailboxes", "x"], 64, "x"),
            (&["messages", ALICE, "--lock-wait", "soon"], 64, "\"soon\" is not a duration"),
        ];
        for (arguments, code, expected) in table {
            let told = store.run(arguments);
            assert_eq!(told.code, *code, "{} {arguments:?}: {told:?}", store.url);
            assert!(told.err.contains(expected), "{} {arguments:?}: {told:?}", store.url);
            assert_eq!(told.text(), "", "{arguments:?}");
        }
        assert_eq!(store.run(&["cat", ALICE, &id]).code, 0, "nothing of it removed anything");
    }
}

#[test]
fn init_makes_a_folder_and_the_mailbox_that_it_is_in() {
    for store in each() {
        let made = run(&["init", &store.url, "Alice@example.org/Lists/New"]);
        assert_eq!((made.code, &*made.err), (0, ""), "{}", store.url);
        let listed = store.run(&["mailboxes"]);
        let names: Vec<_> =
            listed.text().lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, [ALICE, "alice@example.org/Lists/New"], "{}", store.url);
        let wrong = run(&["init", &store.url, "alice@example.org/../x"]);
        assert_eq!(wrong.code, 64, "{}", wrong.err);
    }
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    for url in ["maildir:/no/such", "mbox:/no/such", "sqlite:/no/such.db"] {
        for arguments in commands("17") {
            let store = format!("--store={url}");
            let (command, rest) = arguments.split_first().unwrap();
            let told = run(&[&[*command, &store], rest].concat());
            assert_eq!(told.code, 74, "{arguments:?}: {told:?}");
            assert!(told.err.contains("/no/such"), "{arguments:?}: {told:?}");
        }
    }
    for (url, expected) in
        [("/var/vmail", "not of the form"), ("pop3:x", "unknown kind"), ("maildir:", "empty")]
    {
        let told = run(&["mailboxes", "--store", url]);
        assert_eq!(told.code, 78, "{told:?}");
        assert!(told.err.contains(expected), "{told:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let told = Told::of(program().arg("mailboxes").current_dir(&directory).output().unwrap());
    assert_eq!(told.code, 74, "{told:?}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn the_config_file_names_the_store_and_is_judged() {
    let store = Filled::of("maildir:mail");
    store.deliver(ALICE, "text\r\n");
    let config = store.directory.path().join("postino.toml");
    fs::write(&config, format!("store = \"{}\"\nusers = \"any\"\n", store.url)).unwrap();
    let config = config.to_str().unwrap();
    let told = run(&["mailboxes", "--config", config]);
    assert_eq!((told.code, told.text().lines().count()), (0, 1), "{told:?}");
    fs::write(config, "stor = 1\n").unwrap();
    let told = run(&["mailboxes", "--config", config]);
    assert_eq!(told.code, 78, "{told:?}");
    assert!(told.err.contains("postino.toml:1:1: unknown key \"stor\""), "{told:?}");
}

/// By a program of its own: a child that another test starts just then would hold our
/// descriptor open for writing, and what is written to cannot be run.
fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_postino")).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_store_that_may_not_be_read_says_so() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can become another user here");
        return;
    }
    for store in each() {
        let id = store.deliver(ALICE, "text\r\n");
        let directory = store.directory.path();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        let copy = directory.join("postino");
        copy_program(&copy);
        for arguments in commands(&id) {
            let output = Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&copy)
                .arg(arguments[0])
                .arg(format!("--store={}", store.url))
                .args(&arguments[1..])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let told = Told::of(output);
            assert_eq!(told.code, 77, "{} {arguments:?}: {told:?}", store.url);
            assert!(told.err.contains("ermission denied"), "{arguments:?}: {told:?}");
        }
        assert_eq!(store.run(&["cat", ALICE, &id]).code, 0);
    }
}

/// A directory of another user's, a disk with errors: what is below is not taken for
/// absent.
#[test]
fn mailboxes_that_cannot_be_looked_into_are_told() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can become another user here");
        return;
    }
    for url in ["maildir:mail/%d/%n", "mbox:mail/%d/%n"] {
        let store = Filled::of(url);
        store.deliver(ALICE, "text\r\n");
        store.deliver("bob@other.example", "text\r\n");
        let directory = store.directory.path();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(directory).status();
        assert!(owned.unwrap().success());
        let other = directory.join("mail/other.example");
        std::os::unix::fs::chown(&other, Some(0), Some(0)).unwrap();
        let program = directory.join("postino");
        copy_program(&program);
        let target = format!("sqlite:{}", directory.join("copy.db").display());
        for (arguments, expected) in [
            (vec!["mailboxes", "--store", &store.url], "not read: "),
            (vec!["copy", &store.url, &target], "not read: "),
            (vec!["verify", "--store", &store.url], "damaged: "),
        ] {
            let output = Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&program)
                .args(&arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let told = Told::of(output);
            let said = format!("{}{}", told.text(), told.err);
            let line = said.lines().find(|line| line.contains("other.example"));
            assert_eq!(told.code, 1, "{url} {arguments:?}: {told:?}");
            assert!(line.is_some_and(|line| line.starts_with(expected)), "{arguments:?}: {told:?}");
        }
    }
}

#[test]
fn a_full_output_is_an_error_and_nothing_else() {
    for store in each() {
        let id = store.deliver(ALICE, "text\r\n");
        for arguments in
            [&["mailboxes"][..], &["messages", ALICE], &["cat", ALICE, &id], &["verify"]]
        {
            let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let output = program()
                .arg(arguments[0])
                .arg(format!("--store={}", store.url))
                .args(&arguments[1..])
                .stdout(full)
                .output()
                .unwrap();
            let told = Told::of(output);
            assert_eq!(told.code, 74, "{arguments:?}: {told:?}");
            assert!(told.err.contains("No space left"), "{arguments:?}: {told:?}");
        }
    }
}

/// Whoever runs a command may have closed standard error, or sent it to a full disk.
#[test]
fn complaints_that_nobody_can_read_do_no_harm() {
    for arguments in [&["mailboxes", "--store=maildir:/no/such"][..], &["serv"], &["cat", "x"]] {
        let code = run(arguments).code;
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = program().args(arguments).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} with a full standard error");
        let (reading, writing) = std::io::pipe().unwrap();
        drop(reading);
        let output = program().args(arguments).stderr(writing).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} with nobody behind the pipe");
    }
}

#[test]
fn what_others_have_locked_is_waited_for_and_then_said() {
    let store = Filled::of("mbox:mail");
    store.deliver(ALICE, "text\r\n");
    let lock = store.path().join(format!("{ALICE}.lock"));
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let told = store.run(&["delete", "--lock-wait=1s", ALICE]);
    assert_eq!(told.code, 75, "{told:?}");
    assert!(told.err.contains("locked"), "{told:?}");
    fs::remove_file(&lock).unwrap();
    assert_eq!(store.run(&["delete", ALICE]).code, 0);
}
