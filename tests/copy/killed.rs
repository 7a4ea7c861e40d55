//! Killed and run again, ten times.

use crate::{
    copying::copy_all, daemon::postino, program::all_here, size::say, stored::Place, varied,
};
use std::{
    ops::Range,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

const KILLS: u32 = 10;

/// Many, with large ones among them, but not the one that takes longer than all others.
const MESSAGES: Range<usize> = varied::LARGEST + 1..500;

/// A moment before `end` that no two runs have in common.
fn any_moment(end: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    end.mul_f64(f64::from(now.subsec_micros() % 1000) / 1000.0)
}

fn killed_and_run_again_nothing_is_twice_and_nothing_missing(from: &'static str, to: &'static str) {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let written = place("maildir", "written");
    varied::maildir(&written, MESSAGES);
    let (source, whole) = (place(from, "source"), place(to, "whole"));
    copy_all(&written, &source);
    let began = Instant::now();
    let all = copy_all(&source, &whole);
    let took = began.elapsed();

    // Where a run was quicker than its kill, the next begins anew elsewhere.
    let (mut killed, mut targets) = (0, vec![place(to, "target-0")]);
    while killed < KILLS {
        let target = targets.last().unwrap();
        let mut copy = Command::new(postino());
        copy.arg("copy").args([source.url(), target.url()]);
        let mut child = copy.stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(any_moment(took));
        child.kill().unwrap();
        match child.wait().unwrap() {
            status if status.signal() == Some(9) => killed += 1,
            status => {
                assert!(status.success(), "{status}");
                targets.push(Place::new(folder.path(), to, &format!("target-{}", targets.len())));
            }
        }
    }
    let left: Vec<u64> = targets.iter().map(|target| copy_all(&source, target)).collect();
    let known = source.stored().known;
    for target in &targets {
        assert!(target.stored().known == known, "{from} to {target:?}");
        assert_eq!(copy_all(&source, target), 0);
    }
    say(&format!("{from} to {to}, killed {KILLS} times: of {all}, {left:?} were left at the end"));
}

#[test]
fn killed_while_it_fills_a_database() {
    killed_and_run_again_nothing_is_twice_and_nothing_missing("maildir", "sqlite");
}

#[test]
fn killed_while_it_fills_an_mbox() {
    killed_and_run_again_nothing_is_twice_and_nothing_missing("sqlite", "mbox");
}

#[test]
fn killed_while_it_fills_a_maildir() {
    killed_and_run_again_nothing_is_twice_and_nothing_missing("mbox", "maildir");
}
