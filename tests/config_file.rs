//! The config file: each wrong setting is told with file, line, column and key,
//! and before anything is bound or changed.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]

use postino::config::{Kind, SETTINGS};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

const STORE: &str = "store = \"maildir:mail\"\nusers = \"any\"\n";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn with(file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("postino.toml"), file).unwrap();
        Self { directory }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_postino"))
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    fn names(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Both commands that read a file refuse it alike, and change nothing.
#[track_caller]
fn complaints_of(file: &str) -> String {
    let place = Place::with(file);
    let before = place.names();
    let mut told = Vec::new();
    for command in ["check-config", "serve"] {
        let output = place.run(&[command, "--config", "postino.toml"]);
        assert_eq!(output.status.code(), Some(78), "{command}: {output:?}");
        assert!(output.stdout.is_empty(), "{command}: {output:?}");
        told.push(String::from_utf8(output.stderr).unwrap());
    }
    assert_eq!(place.names(), before);
    assert_eq!(told[0], told[1]);
    for line in told[0].lines() {
        assert!(line.ends_with("; nothing was bound or changed"), "{line}");
    }
    told.swap_remove(0)
}

/// A file of one line behind the store's two.
#[track_caller]
fn line_is_refused(line: &str, expected: &str) {
    let told = complaints_of(&format!("{STORE}{line}\n"));
    assert!(told.starts_with(expected), "{line}\n told: {told}\n want: {expected}");
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_one() {
    line_is_refused(
        "max_size = 3",
        "postino.toml:3:1: unknown key \"max_size\", nearest \"max-message-size\"",
    );
    line_is_refused("xyzzyxyzzy = 3", "postino.toml:3:1: unknown key \"xyzzyxyzzy\";");
    line_is_refused(
        "[lisen]\na = 1",
        "postino.toml:3:2: unknown key \"lisen\", nearest \"listen\"",
    );
}

#[test]
fn a_wrong_type_is_told_with_the_right_one() {
    for (line, expected) in [
        ("  hostname = 3", "3:3: hostname must be a string, not a TOML integer"),
        ("domains = []", "3:1: domains must be a string or an array of strings, one at least"),
        ("listen = [1]", "3:1: listen must be a string or an array of strings"),
        ("workers = \"16\"", "3:1: workers must be a whole number, not a TOML string"),
        ("workers = 1.5", "3:1: workers must be a whole number, not a TOML float"),
        ("idle-timeout = true", "3:1: idle-timeout must be a string such as \"5m\""),
        ("max-message-size = []", "3:1: max-message-size must be a string such as \"128M\""),
        ("require-marker = \"on\"", "3:1: require-marker must be true or false"),
    ] {
        line_is_refused(line, &format!("postino.toml:{expected}"));
    }
}

#[test]
fn a_bad_value_is_told_with_what_it_may_be() {
    for (line, expected) in [
        ("idle-timeout = \"5x\"", "idle-timeout: \"5x\" is not a duration such as"),
        ("idle-timeout = 0", "idle-timeout: \"0\" is not a duration such as"),
        ("max-message-size = \"1T\"", "max-message-size: \"1T\" is not a size such as"),
        ("workers = 0", "workers: \"0\" is no whole number from 1 to 1024"),
        ("socket-mode = \"rw\"", "socket-mode: \"rw\" is no octal mode"),
        ("socket-mode = \"7777\"", "socket-mode: \"7777\" is no octal mode"),
        ("allow = \"10.0.0.1/8\"", "allow: \"10.0.0.1/8\" is wrong: the address has bits behind"),
        ("listen = \"127.0.0.1:25\"", "listen: \"127.0.0.1:25\" is wrong: port 25"),
        ("listen = \"localhost:24\"", "listen: \"localhost:24\" is wrong: neither"),
        ("hostname = \"under_score\"", "hostname: \"under_score\" is no domain"),
        ("postmaster = \"nobody\"", "postmaster: \"nobody\" is no address"),
        ("bare-newlines = \"fix\"", "bare-newlines: \"fix\" is not one of reject, keep"),
        ("recipient-delimiter = \"++\"", "recipient-delimiter: \"++\" is not one character"),
        ("detail = \"drop\"", "detail: \"drop\" is not one of off, ignore, folder and create"),
        ("quota = \"1X\"", "quota: \"1X\" is not a quota such as 10M"),
        ("over-quota = \"bounce\"", "over-quota: \"bounce\" is not one of defer and reject"),
        ("default-domain = \"a..b\"", "default-domain: \"a..b\" is no domain"),
        ("first-uid = -1", "first-uid: \"-1\" is no whole number"),
        ("store-roots = \"mail\"", "store-roots: \"mail\" is no absolute path"),
        ("log = \"file\"", "log: \"file\" is wrong: not one of stderr, syslog and journal"),
        ("suppress-duplicates = \"on\"", "suppress-duplicates: \"on\" is neither off nor a"),
        ("suppress-duplicates = 0", "suppress-duplicates: \"0\" is neither off nor a"),
        ("log-level = \"all\"", "log-level: \"all\" is not one of error, warn"),
        ("domains = [\"a..b\"]", "domains: \"a..b\" is no domain"),
        ("socket-group = \"no-such-group\"", "socket-group: \"no-such-group\" is not known"),
        ("mail-group = \"no-such-group\"", "mail-group: \"no-such-group\" is not known"),
        ("user = \"no-such-user\"", "user: the user is not known to this system"),
    ] {
        line_is_refused(line, &format!("postino.toml:3:1: {expected}"));
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    line_is_refused(
        "listen = \"[::]:2424\"",
        "postino.toml:3:1: listen: [::]:2424 can be reached from other hosts",
    );
    line_is_refused("group = \"root\"", "postino.toml:3:1: group: user is not set; set both");
    line_is_refused("mail-group = 8", "postino.toml:3:1: mail-group must be a string");
    line_is_refused(
        "mail-group = \"8\"",
        "postino.toml:3:1: mail-group: the store maildir:mail is none of",
    );
    let told = complaints_of("store = \"maildir:%h/Maildir\"\nusers = \"any\"");
    assert!(told.starts_with("postino.toml:1:1: store: its path begins at"), "{told}");
    assert!(told.contains("users = any and store do not know; set users to system or"), "{told}");
    assert!(!told.contains("postmaster"), "a home is not to be had by naming one: {told}");
    let told =
        complaints_of("store = \"maildir:/x/%n\"\nusers = \"any\"\ndomains = [\"a\", \"b\"]");
    assert!(told.starts_with("postino.toml:1:1: store: \"maildir:/x/%n\""), "{told}");
    assert!(told.contains("neither %u nor %d"), "{told}");
}

#[test]
fn a_rule_for_filing_is_checked_key_by_key() {
    let table = |keys: &str| format!("[[file]]\n{keys}");
    let rest = "header = \"X\"\nvalue = \"y\"\n";
    for (keys, expected) in [
        ("header = \"X\"", "3:1: a [[file]] table has no value; it must be [[file]] tables, each"),
        (&format!("{rest}folder = 3"), "6:1: folder must be a string, not a TOML integer"),
        (
            &format!("{rest}fold = \"F\""),
            "6:1: unknown key \"fold\" in a [[file]] table, nearest \"folder\"",
        ),
        (
            &format!("{rest}folder = \"../x\""),
            "6:1: folder: \"../x\" is no folder's name: a part of the name begins with a dot",
        ),
        (
            &format!("{rest}folder = \"a//b\""),
            "6:1: folder: \"a//b\" is no folder's name: a part of the name is empty",
        ),
        (
            "header = \"X:\"\nvalue = \"y\"\nfolder = \"F\"",
            "4:1: header: \"X:\" is no name of a header field",
        ),
        (
            "header = \"X\"\nvalue = \"\"\nfolder = \"F\"",
            "5:1: value: \"\" is empty; * alone stands for any value",
        ),
    ] {
        line_is_refused(&table(keys), &format!("postino.toml:{expected}"));
    }
    let one = "[[file]]\nheader = \"X\"\nvalue = \"y\"\nfolder = \"F\"\n";
    let told = complaints_of(&format!("{STORE}{}", one.repeat(101)));
    assert!(told.starts_with("postino.toml:403:1: file: there are more than the 100"), "{told}");
    line_is_refused("file = \"x\"", "postino.toml:3:1: file must be [[file]] tables, each with");
    line_is_refused("file = [1]", "postino.toml:3:9: file must be [[file]] tables, each with");
    line_is_refused("[file]\nheader = \"X\"", "postino.toml:3:2: file must be [[file]] tables");
    line_is_refused(
        "[[files]]\na = 1",
        "postino.toml:3:3: unknown key \"files\", nearest \"file\"",
    );
}

#[test]
fn rules_for_filing_are_listed_in_their_order() {
    let rule = |value: &str| {
        format!("[[file]]\nheader = \"X-Spam\"\nvalue = \"{value}\"\nfolder = \"Junk/a\"\n")
    };
    let place = Place::with(&format!("{STORE}{}{}", rule("yes*"), rule("no")));
    let output = place.run(&["check-config", "--config", "postino.toml"]);
    let listing = String::from_utf8(output.stdout).unwrap();
    let rules = listing.split_once("[[file]] ").map_or(&*listing, |(_, rules)| rules);
    assert_eq!(
        rules,
        "header = \"X-Spam\", value = \"yes*\", folder = \"Junk/a\"\n\
         [[file]] header = \"X-Spam\", value = \"no\", folder = \"Junk/a\"\n"
    );
}

#[test]
fn with_a_file_store_and_users_must_be_given() {
    let told = complaints_of("");
    assert!(told.contains("store is not set") && told.contains("users is not set"), "{told}");
}

#[test]
fn a_store_url_is_checked_to_its_end() {
    for (url, expected) in [
        ("/var/mail", "is store \"/var/mail\" is not of the form SCHEME:PATH"),
        ("mailbox:/x", "is unknown kind of store \"mailbox\"; there is: maildir, mbox, sqlite"),
        ("maildir:", "is the store's path: the path is empty"),
        ("maildir:/x/%q", "is the store's path: unknown variable \"%q\""),
        ("maildir:/x?mode=9", "is the store's option mode cannot be \"9\""),
        ("maildir:/x?colour=red", "is a store of kind maildir has no option \"colour\""),
    ] {
        let told = complaints_of(&format!("users = \"any\"\nstore = \"{url}\""));
        let expected = expected.trim_start_matches("is ");
        let place = format!("postino.toml:2:1: store: \"{url}\" ");
        assert!(told.starts_with(&place) && told.contains(expected), "{told}");
    }
}

#[test]
fn syntax_errors_and_repeated_keys_are_told_with_their_place() {
    assert!(complaints_of("hostname = mx\n").starts_with("postino.toml:1:12: "));
    assert!(complaints_of("hostname = \"a\"\nhostname = \"b\"\n").contains("postino.toml:2:1: "));
    assert!(complaints_of("= 1\n").starts_with("postino.toml:1:1: "));
}

#[test]
fn all_complaints_are_told_at_once() {
    let told = complaints_of("workers = 0\nidle-timeout = \"x\"\nlisten = \"x\"\n");
    // Three, and that store and users are not set.
    assert_eq!(told.lines().count(), 5, "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let place = Place::with("");
    for (path, expected) in [
        ("missing.toml", "missing.toml: cannot read it: No such file"),
        (".", ".: cannot read it"),
        ("/dev/zero", "/dev/zero: cannot read it: it has more than the 1048576 octets"),
    ] {
        let output = place.run(&["check-config", "--config", path]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn every_setting_is_a_key_of_the_file() {
    let lines: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            let value = match (setting.name, setting.kind) {
                ("listen", _) => "[\"127.0.0.1:0\", \"unix:/x/s\"]",
                ("allow", _) => "\"192.0.2.0/24\"",
                ("domains", _) => "[\"example.org\"]",
                ("store", _) => "\"mbox:mail/%d/%n\"",
                ("users", _) => "\"store\"",
                ("store-roots", _) => "\"/srv/mail\"",
                ("detail", _) => "\"folder\"",
                ("quota", _) => "\"1G,1000\"",
                ("over-quota", _) => "\"reject\"",
                ("default-domain", _) => "\"example.org\"",
                ("postmaster", _) => "\"root@example.org\"",
                ("bare-newlines", _) => "\"keep\"",
                ("recipient-delimiter", _) => "\"-\"",
                ("socket-mode", _) => "\"0600\"",
                ("log", _) => "\"journal\"",
                ("log-level", _) => "\"debug\"",
                ("hostname", _) => "\"mx.example.org\"",
                ("min-free", _) => "\"17%\"",
                (_, Kind::Number) => "17",
                (_, Kind::Duration) => "\"17s\"",
                (_, Kind::Size) => "\"17M\"",
                (_, Kind::Switch) => "true",
                (_, Kind::Text | Kind::List) => "\"root\"",
            };
            format!("{} = {value}\n", setting.name)
        })
        .collect();
    let output = Place::with(&lines.concat()).run(&["check-config", "--config", "postino.toml"]);
    let listing = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!listing.contains("# default"), "{listing}");
    let settings = listing.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(settings, SETTINGS.len(), "{listing}");
}

#[test]
fn flags_win_over_the_file_and_lists_are_replaced() {
    let file =
        "workers = 3\nlisten = [\"127.0.0.1:1000\", \"127.0.0.1:1001\"]\nidle-timeout = 90\n";
    let place = Place::with(&format!("{STORE}{file}"));
    let flags = ["--workers=5", "--listen", "127.0.0.1:2000", "--max-message-size=4096"];
    let arguments = [&["check-config", "--config=postino.toml"][..], &flags].concat();
    let output = place.run(&arguments);
    let listing = String::from_utf8(output.stdout).unwrap();
    for line in [
        "workers = 5\n",
        "listen = 127.0.0.1:2000\n",
        "idle-timeout = 90\n",
        "max-message-size = 4096\n",
    ] {
        assert!(listing.contains(line), "{listing}");
    }
}
