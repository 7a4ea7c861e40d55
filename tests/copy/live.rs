//! While both stores are served and receive mail.

use crate::{
    copying::{copy, copy_all},
    daemon::Daemon,
    program::all_here,
    session::deliver_all,
    size::sized,
    stored::Place,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

const CONNECTIONS: u64 = 8;

fn while_both_receive_mail_nothing_is_twice(from: &'static str, to: &'static str) {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, target) =
        (Place::new(folder.path(), from, "source"), Place::new(folder.path(), to, "target"));
    let daemon = |place: &Place| {
        let store = format!("--store={}", place.url());
        Daemon::start(&["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", &store])
    };
    let (serves_source, serves_target) = (daemon(&source), daemon(&target));
    let recipient = |connection| format!("r{}@example.org", connection % 3);
    let each = sized(40, 400);
    let of_its_own = 1_000_000;
    let is_done = AtomicBool::new(false);
    let mut runs = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            deliver_all(serves_target.address(), of_its_own, 2, each, recipient);
        });
        scope.spawn(|| {
            deliver_all(serves_source.address(), 0, CONNECTIONS, each, recipient);
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) {
            let run = copy(&source, &target, &["--lock-wait=50s"]);
            assert_eq!(run.code, 0, "{run:?}");
            runs += 1;
        }
    });
    copy_all(&source, &target);
    serves_source.stop();
    serves_target.stop();
    let (source, mut there) = (source.stored().known, target.stored().known);
    let sent = usize::try_from(CONNECTIONS * each).unwrap();
    assert_eq!(source.len(), sent);
    assert_eq!(there.len(), sent + usize::try_from(2 * each).unwrap(), "after {runs} runs");
    there.retain(|known| source.binary_search(known).is_ok());
    assert!(there == source, "{from} to {to}");
}

#[test]
fn a_maildir_that_receives_mail_is_copied_into_a_database_that_does_too() {
    while_both_receive_mail_nothing_is_twice("maildir", "sqlite");
}

#[test]
fn a_database_that_receives_mail_is_copied_into_an_mbox_that_does_too() {
    while_both_receive_mail_nothing_is_twice("sqlite", "mbox");
}

#[test]
fn an_mbox_that_receives_mail_is_copied_into_a_maildir_that_does_too() {
    while_both_receive_mail_nothing_is_twice("mbox", "maildir");
}
