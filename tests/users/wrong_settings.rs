//! Settings of who may receive that cannot hold: told with their place and what
//! to do, before anything is bound or changed.

use std::{fs, path::Path, process::Command};

/// What `check-config` says of a file of these lines and this users file.
#[track_caller]
fn complaint(folder: &Path, config: &str, users: &str) -> String {
    fs::write(folder.join("postino.toml"), config).unwrap();
    fs::write(folder.join("users"), users).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_postino"))
        .args(["check-config", "--config", "postino.toml"])
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{config}: {told}");
    assert!(output.stdout.is_empty() && fs::read_dir(folder).unwrap().count() == 2, "{config}");
    told
}

#[test]
fn each_is_told_with_file_line_key_and_what_to_do() {
    const FILE: &str = "store = \"maildir:/v/%d/%n\"\nusers = \"file:users\"";
    const SYSTEM: &str = "store = \"maildir:/v\"\nusers = \"system\"";
    const HOMES: &str = "store = \"maildir:%h/Maildir\"\nusers = \"file:users\"";
    let folder = tempfile::tempdir().unwrap();
    for (config, users, expected) in [
        (
            "store = \"maildir:/v\"\nusers = \"passwd\"",
            "",
            "postino.toml:2:1: users: \"passwd\" is not one of any, store, system and file:PATH",
        ),
        (
            "store = \"maildir:/v\"\nusers = \"file:\"",
            "",
            "postino.toml:2:1: users: \"file:\" is not one of",
        ),
        (
            "store = \"maildir:/v\"\nusers = \"file:none\"",
            "",
            "postino.toml:2:1: users: none: cannot read it: No such file",
        ),
        (FILE, "", "postino.toml:2:1: users: users: it has no entry; put in a line NAME:"),
        (
            FILE,
            "# x\nalice@example.org",
            "postino.toml:2:1: users: users:2: there is no colon; a line is NAME:",
        ),
        (
            FILE,
            "a@b:x:vmail-nobody:1\n",
            "postino.toml:2:1: users: users:1: the uid vmail-nobody is not known to this system",
        ),
        (
            FILE,
            "a@b:x::::::quota=much\n",
            "users:1: \"quota=much\" is wrong: it is a quota such as 10M",
        ),
        (
            &format!("{FILE}\ndomains = [\"b\", \"c\"]"),
            "a:x\n",
            "users:1: the name a has no domain; add one, or say by default-domain",
        ),
        (
            &format!("{FILE}\ndomains = [\"b\"]\ndefault-domain = \"c\""),
            "a:x\n",
            "postino.toml:4:1: default-domain: c is not among domains; add it",
        ),
        (
            "store = \"maildir:/v/%n\"\nusers = \"file:users\"",
            "a@b:x\na@c:x\n",
            "users:2: c is a second domain, but the store's path has neither %u nor %d",
        ),
        (
            "store = \"maildir:/v/%n\"\nusers = \"file:users\"\ndomains = [\"b\", \"c\"]",
            "a@b:x\n",
            "postino.toml:1:1: store: \"maildir:/v/%n\" is wrong",
        ),
        (
            HOMES,
            "a@b:x:::::\n",
            "postino.toml:2:1: users: postmaster is not set; with %h in the store's path name the user who gets its mail",
        ),
        (
            &format!("{HOMES}\npostmaster = \"c@b\""),
            "a@b:x:::::\n",
            "postino.toml:3:1: postmaster: \"c@b\" is not in the users file, so it has no home",
        ),
        (
            SYSTEM,
            "",
            "postino.toml:2:1: users: postmaster is not set; with users = system name the user who gets its mail",
        ),
        (
            &format!("{SYSTEM}\npostmaster = \"no-such-user\""),
            "",
            "postino.toml:3:1: postmaster: \"no-such-user\" is no user of this system",
        ),
        (
            &format!("{SYSTEM}\npostmaster = \"root\""),
            "",
            "postino.toml:3:1: postmaster: \"root\" has uid 0",
        ),
        (
            &format!("{SYSTEM}\npostmaster = \"root\"\nfirst-uid = \"x\""),
            "",
            "postino.toml:4:1: first-uid must be a whole number",
        ),
    ] {
        let told = complaint(folder.path(), config, users);
        assert!(told.starts_with("postino.toml:"), "{config}: {told}");
        assert!(told.contains(expected), "{config}\n told: {told}\n want: {expected}");
        assert!(told.trim_end().ends_with("; nothing was bound or changed"), "{told}");
    }
}

#[test]
fn check_config_says_how_many_users_there_are_and_what_is_odd_of_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users"), "a@b:x\nb@b:x::::::nologin\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_postino"))
        .args(["check-config", "--users=file:users", "--store=maildir:mail"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    for line in
        ["# users: file(2)\n", "users = file:users\n", "# warning: users:2: the field nologin"]
    {
        assert!(told.contains(line), "{told}");
    }
}
