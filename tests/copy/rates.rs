//! How fast it is.

use crate::{
    copying::copy_all,
    daemon::postino,
    program::run_with_input,
    size::{alone, per_second, say, sized},
    stored::Place,
};
use std::{
    fmt::Write,
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// How much faster than one process a message it has to be.
const FACTOR: f64 = 5.0;

/// 4 KiB of text.
fn message(number: usize) -> String {
    let mut message = format!("Subject: {number}\n\n");
    while message.len() < 4_000 {
        writeln!(message, "{number} is the number of this message, and this one of its lines")
            .unwrap();
    }
    message
}

fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

#[test]
fn a_copy_is_much_faster_than_a_process_for_each_message() {
    let _alone = alone();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let (source, database, back) =
        (place("maildir", "source"), place("sqlite", "database"), place("maildir", "back"));
    let count = sized(1_000, 20_000);
    let mailbox = source.path().join("a@example.org");
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(mailbox.join(part)).unwrap();
    }
    for number in 0..count {
        fs::write(mailbox.join(format!("new/1700000000.M1P1Q{number}.host")), message(number))
            .unwrap();
    }
    let all = u64::try_from(count).unwrap();
    for (from, to) in [(&source, &database), (&database, &back)] {
        let took = timed(|| assert_eq!(copy_all(from, to), all));
        let rate = per_second(count, took);
        let again = timed(|| assert_eq!(copy_all(from, to), 0));
        let (one, some) = (place("maildir", "one"), sized(20, 200));
        let one = if to.path() == database.path() { place("sqlite", "one") } else { one };
        let one_by_one = delivered_one_by_one(&one, some).map(|took| per_second(some, took));
        say(&format!(
            "{} to {}: {count} messages of 4 KiB, {rate:.0} a second, {:.0} a second where all is \
             there; one process each: {one_by_one:.0?} a second",
            from.url(),
            to.url(),
            per_second(count, again)
        ));
        if let Some(one_by_one) = one_by_one {
            assert!(rate >= FACTOR * one_by_one, "{rate:.0} to {one_by_one:.0}");
        }
    }
}

/// How long `postino deliver` takes for so many; none where there is no such command.
fn delivered_one_by_one(to: &Place, count: usize) -> Option<Duration> {
    let help = Command::new(postino()).args(["deliver", "--help"]).output().unwrap();
    if !help.status.success() {
        return None;
    }
    let init = Command::new(postino()).arg("init").arg(to.url()).output().unwrap();
    assert!(init.status.success(), "{init:?}");
    Some(timed(|| {
        for number in 0..count {
            let mut deliver = Command::new(postino());
            deliver.args(["deliver", "--users=any", "--store", &to.url(), "-f", "s@example.net"]);
            let (output, shown) =
                run_with_input(deliver.arg("a@example.org"), message(number).as_bytes());
            assert!(output.status.success(), "{shown}");
        }
    }))
}
