//! Users files that change under a running server.

use crate::{Asking, daemon::until, serve};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

const TAKEN: &str = "250 2.1.5";
const UNKNOWN: &str = "550 5.1.1";
const UNCERTAIN: &str = "451 4.4.3";

fn lines(users: std::ops::Range<usize>) -> Vec<String> {
    users.map(|n| format!("user{n}@example.org:x:::::\n")).collect()
}

/// As `sed -i` and `passwd` do it.
fn replace(folder: &Path, text: &str) {
    let new = folder.join("users.new");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join("users")).unwrap();
}

#[test]
fn while_a_file_is_truncated_and_refilled_no_user_is_refused_and_no_other_taken() {
    let folder = tempfile::tempdir().unwrap();
    let users = lines(0..200);
    let daemon = serve(folder.path(), &users.concat(), &[]);
    until(|| daemon.log(), || daemon.log().contains(" users=file(200) "));
    let is_over = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                let (daemon, is_over) = (&daemon, &is_over);
                scope.spawn(move || {
                    let (mut asking, mut asked) = (Asking::of(daemon), 0);
                    while !is_over.load(Ordering::Relaxed) {
                        let known = format!("user{}@example.org", (asked * 7 + asker) % 200);
                        assert_eq!(asking.codes(&known), TAKEN, "{known}");
                        let unknown = format!("user{}@example.org", 200 + asked);
                        let codes = asking.codes(&unknown);
                        assert!([UNKNOWN, UNCERTAIN].contains(&&codes[..]), "{unknown} {codes}");
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for _ in 0..3 {
            // Through the same inode, for about 3 s each, so that the server looks
            // at it half filled; some lines are cut too.
            let options =
                OpenOptions::new().write(true).truncate(true).open(folder.path().join("users"));
            let mut file = options.unwrap();
            for (at, line) in users.iter().enumerate() {
                let (first, rest) = line.split_at(if at % 10 == 0 { 7 } else { line.len() });
                for part in [first, rest] {
                    file.write_all(part.as_bytes()).unwrap();
                    thread::sleep(std::time::Duration::from_millis(8));
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        askers.into_iter().map(|asker| asker.join().unwrap()).sum::<usize>()
    });
    assert!(asked > 1_000, "{asked} questions are no load");
    let mut asking = Asking::of(&daemon);
    until(|| daemon.log(), || asking.codes("nobody@example.org") == UNKNOWN);
    daemon.stop();
}

#[test]
fn a_new_user_is_taken_and_one_who_is_gone_refused_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &lines(0..4).concat(), &[]);
    let mut asking = Asking::of(&daemon);
    assert_eq!(asking.codes("user4@example.org"), UNKNOWN);
    replace(folder.path(), &lines(1..5).concat());
    until(|| daemon.log(), || asking.codes("user4@example.org") == TAKEN);
    assert_eq!(asking.codes("user0@example.org"), UNKNOWN);
    until(|| daemon.log(), || daemon.log().contains("users: 4 entries"));
    daemon.stop();
}

#[test]
fn a_bad_file_keeps_the_users_and_is_logged_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &lines(0..4).concat(), &[]);
    let mut asking = Asking::of(&daemon);
    for (text, told) in [
        ("user0@example.org:x\nuser9@example", "users:2: there is no colon"),
        ("", "users: it has no entry"),
        ("user0@example.org:x\n", "users: it has 1 entries, under half of the former 4"),
    ] {
        replace(folder.path(), text);
        until(|| daemon.log(), || daemon.log().contains(told));
        assert_eq!(asking.codes("user0@example.org"), TAKEN);
        assert_eq!(asking.codes("user3@example.org"), TAKEN);
        assert_eq!(asking.codes("user9@example.org"), UNCERTAIN);
    }
    // The last is lawful, and told to be meant.
    hang_up(daemon.pid());
    until(|| daemon.log(), || asking.codes("user3@example.org") == UNKNOWN);
    assert_eq!(asking.codes("user0@example.org"), TAKEN);
    assert_eq!(daemon.log().matches("there is no colon").count(), 1, "{}", daemon.log());
    // A broken one is not, whatever is told.
    replace(folder.path(), "user1@example.org");
    hang_up(daemon.pid());
    until(|| daemon.log(), || daemon.log().contains("users:1: there is no colon"));
    assert_eq!(asking.codes("user0@example.org"), TAKEN);
    assert_eq!(asking.codes("user1@example.org"), UNCERTAIN);
    fs::remove_file(folder.path().join("users")).unwrap();
    until(|| daemon.log(), || daemon.log().contains("users: cannot read it: No such file"));
    assert_eq!(asking.codes("user0@example.org"), TAKEN);
    replace(folder.path(), &lines(0..2).concat());
    until(|| daemon.log(), || asking.codes("user1@example.org") == TAKEN);
    assert_eq!(asking.codes("user2@example.org"), UNKNOWN);
    daemon.stop();
}

#[test]
fn at_sighup_a_wrong_config_changes_no_rule_but_the_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("postino.toml");
    let write = |more: &str| {
        let place = folder.path().display();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nhostname = \"mx\"\nstore = \"maildir:{place}/mail\"\n\
             users = \"file:{place}/users\"\n{more}\n"
        );
        fs::write(&config, text).unwrap();
    };
    write("default-domain = \"one.example\"");
    fs::write(folder.path().join("users"), "a:x\nb:x\nc:x\n").unwrap();
    let daemon = crate::Daemon::start(&["--config", config.to_str().unwrap()]);
    let mut asking = Asking::of(&daemon);
    assert_eq!(asking.codes("a@one.example"), TAKEN);
    write("default-domain = \"two.example\"\nworkers = 0");
    replace(folder.path(), "a:x\n");
    hang_up(daemon.pid());
    until(|| daemon.log(), || asking.codes("b@one.example") == UNKNOWN);
    assert_eq!(asking.codes("a@one.example"), TAKEN);
    write("default-domain = \"two.example\"");
    hang_up(daemon.pid());
    until(|| daemon.log(), || asking.codes("a@two.example") == TAKEN);
    assert_eq!(asking.codes("a@one.example"), "550 5.1.2");
    daemon.stop();
}

fn hang_up(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::HUP).unwrap();
}
