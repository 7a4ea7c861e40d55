//! postino(8) says what the program has, and nothing that it has not.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]

use postino::config::SETTINGS;

fn manual() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/postino.8")).unwrap()
}

/// The text of the item that begins with this line.
fn item(manual: &str, is_first: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
    let mut lines = manual.lines().skip_while(|line| !is_first(line));
    lines.next()?;
    let is_end = |line: &&str| [".It ", ".El", ".Sh "].iter().any(|end| line.starts_with(end));
    Some(lines.take_while(|line| !is_end(line)).collect())
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let manual = manual();
    for setting in SETTINGS {
        let head = format!(".It Fl -{}", setting.name);
        let item = item(&manual, |line| line == head || line.starts_with(&format!("{head} ")));
        let item = item.unwrap_or_else(|| panic!("--{} is not documented", setting.name));
        let default = item.iter().find(|line| line.starts_with("Default:"));
        assert!(default.is_some(), "--{}: no line begins with Default:", setting.name);
        let value = setting.default;
        let is_value = value.starts_with(|c: char| c.is_ascii_digit()) && !value.contains(' ');
        if is_value {
            let default = default.unwrap().replace("\\&", "");
            assert!(default.contains(value), "--{}: {default}, not {value}", setting.name);
        }
    }
}

#[test]
fn every_documented_flag_is_a_setting() {
    for line in manual().lines() {
        if let Some(flag) = line.strip_prefix(".It Fl -") {
            let name = flag.split(' ').next().unwrap();
            let is_known = SETTINGS.iter().any(|setting| setting.name == name)
                || ["config", "help", "version"].contains(&name);
            assert!(is_known, "--{name} is documented, but there is none");
        }
    }
}

#[test]
fn every_command_and_exit_code_is_documented() {
    let manual = manual();
    let commands = [
        "serve",
        "inetd",
        "deliver",
        "init",
        "check-config",
        "mailboxes",
        "messages",
        "cat",
        "delete",
        "copy",
        "verify",
        "backup",
        "ping",
    ];
    for command in commands {
        let is_named = manual.lines().any(|line| line.starts_with(&format!(".It Cm {command}")));
        assert!(is_named, "{command} is not documented");
    }
    for code in ["0", "1", "2", "64", "67", "70", "73", "74", "75", "77", "78"] {
        let is_named = manual.lines().any(|line| line == format!(".It {code}"));
        assert!(is_named, "exit code {code} is not documented");
    }
}
