//! Threads that hang in the store, and those that take their place.

use super::{look_ups::check, *};
use std::{fs, path::PathBuf};

/// Long enough that whatever was under way is stuck.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

const STUCK_MAX: usize = 64;

#[test]
fn a_worker_is_replaced_only_when_it_is_stuck() {
    let rig = rig(2, alone);
    rig.deliver(1, &["a@d"]);
    rig.deliver(2, &["b@d"]);
    let hanging = [rig.call(), rig.call()];
    rig.deliver(3, &["c@d"]);
    rig.pool.watch(Instant::now());
    assert!(rig.calls.is_empty());
    rig.pool.watch(later());
    let call = rig.call();
    assert_eq!(call.mailboxes, ["c@d"]);
    call.succeed();
    assert_eq!(rig.answer(), (3, 0, "250 2.0.0".to_owned()));
    // Late as they are, these count.
    hanging.into_iter().for_each(Call::succeed);
    let mut answers = [rig.answer().0, rig.answer().0];
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
}

#[test]
fn forty_hung_deliveries_hold_up_an_honest_one_for_two_waves_of_sixteen() {
    let rig = rig(16, alone);
    let mailboxes: Vec<_> = (0..40).map(|at| format!("hangs{at}@d")).collect();
    for mailbox in &mailboxes {
        rig.deliver(1, &[mailbox]);
    }
    rig.deliver(2, &["honest@d"]);
    let mut hanging: Vec<_> = (0..16).map(|_| rig.call()).collect();
    rig.pool.watch(later());
    hanging.extend((0..16).map(|_| rig.call()));
    assert!(rig.calls.is_empty());
    rig.pool.watch(later());
    for _ in 0..9 {
        let call = rig.call();
        if call.mailboxes == ["honest@d"] {
            call.succeed();
        } else {
            hanging.push(call);
        }
    }
    assert_eq!(rig.answer(), (2, 0, "250 2.0.0".to_owned()));
    assert_eq!(hanging.len(), 40);
}

#[test]
fn the_pool_says_when_to_look_again_and_nothing_while_it_has_nothing_to_do() {
    let rig = rig(1, alone);
    let second = Duration::from_secs(1);
    assert_eq!(rig.pool.watch(later()), None);
    let before = Instant::now();
    rig.deliver(1, &["a@d"]);
    let call = rig.call();
    let after = Instant::now();
    let at = rig.pool.watch(after).expect("one call is under way");
    assert!(before + second <= at && at <= after + second);
    let shortly_before = at.checked_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(rig.pool.watch(shortly_before), Some(at), "not stuck yet");
    assert_eq!(rig.pool.watch(at), Some(at + second), "stuck, and to be asked for");
    call.succeed();
    rig.answer();
    until(|| rig.pool.watch(Instant::now()).is_none());
}

#[test]
fn a_lane_that_sleeps_behind_a_lock_is_something_to_do() {
    let rig = rig(1, alone);
    rig.deliver(1, &["a@d"]);
    for _ in 0..3 {
        rig.call().finish(Err(DeliveryError::Locked { holder: None }));
        let now = Instant::now();
        let next = rig.pool.watch(now).expect("it is tried again");
        assert!(next <= now + Duration::from_secs(1));
    }
    rig.call().succeed();
    rig.answer();
    until(|| rig.pool.watch(Instant::now()).is_none());
}

#[test]
fn with_64_workers_stuck_and_one_more_each_rcpt_is_451_until_one_returns() {
    let rig = rig(1, alone);
    let mut hanging = Vec::new();
    for at in 0..=STUCK_MAX {
        assert_eq!(check(&rig.pool, Source::Any, "a@d"), None, "{at} are stuck");
        rig.answer();
        rig.deliver(1, &[&format!("hangs{at}@d")]);
        hanging.push(rig.call());
        rig.pool.watch(later());
    }
    assert_eq!(check(&rig.pool, Source::Any, "a@d"), Some("451 4.3.2".to_owned()));
    // What is refused for good is not told to come back.
    assert_eq!(check(&rig.pool, Source::Any, "a/b@d"), Some("553 5.1.3".to_owned()));
    rig.deliver(2, &["b@d"]);
    assert!(rig.pool.watch(later()).is_some());
    assert!(rig.calls.is_empty());

    hanging.remove(0).succeed();
    assert_eq!(rig.answer().0, 1);
    until(|| {
        rig.pool.watch(later());
        !rig.calls.is_empty()
    });
    let call = rig.call();
    assert_eq!(call.mailboxes, ["b@d"]);
    // Held, it would be the one too many again.
    call.succeed();
    assert_eq!(rig.answer().0, 2);
    until(|| check(&rig.pool, Source::Any, "a@d").is_none());
}

#[test]
fn look_ups_that_hang_are_replaced_too_and_exhausted_are_451() {
    struct Hangs(Sender<()>, Receiver<()>);
    impl MailStore for Hangs {
        fn deliver(&self, _: &Delivery) -> Outcome {
            Ok(DeliveryId::new("1"))
        }
        fn admit(&self, mailbox: &Mailbox, _: Option<u64>) -> Result<(), DeliveryError> {
            if mailbox.name().as_str() == "hangs@d" {
                self.0.send(()).unwrap();
                let _ = self.1.recv();
            }
            Ok(())
        }
    }
    let (hanging, hang) = unbounded();
    let (_keep, end) = bounded(0);
    let (pool, answers) = pool(Hangs(hanging, end), limits(1));
    let wave = || {
        for _ in 0..16 {
            assert_eq!(check(&pool, Source::Any, "hangs@d"), None);
        }
        for _ in 0..16 {
            hang.recv_timeout(PATIENCE).unwrap();
        }
    };
    for _ in 0..4 {
        wave();
        assert_eq!(check(&pool, Source::Any, "a@d"), None);
        assert!(answers.is_empty());
        pool.watch(later());
        assert_eq!(next(&answers).2, "a@d");
    }
    wave();
    pool.watch(later());
    assert_eq!(check(&pool, Source::Any, "a@d"), Some("451 4.3.2".to_owned()));
}

#[test]
fn a_worker_in_a_system_call_that_hangs_is_replaced() {
    /// Opens a FIFO, which blocks until somebody opens its other end.
    struct Fifo(PathBuf, Sender<()>);
    impl MailStore for Fifo {
        fn deliver(&self, delivery: &Delivery) -> Outcome {
            if delivery.mailbox().name().as_str() == "fifo@d" {
                self.1.send(()).unwrap();
                let opened = fs::File::open(&self.0);
                opened.map_err(|error| DeliveryError::io("open", &self.0, error))?;
            }
            delivery.begin_commit()?;
            Ok(DeliveryId::new("1"))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let (kind, mode) =
        (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    let (sender, opens) = unbounded();
    let (pool, answers) = pool(Fifo(path.clone(), sender), limits(1));
    pool.deliver(submission(1, &["fifo@d"]));
    opens.recv_timeout(PATIENCE).unwrap();
    pool.deliver(submission(2, &["b@d"]));
    pool.watch(later());
    assert_eq!(next(&answers), (2, 0, "250 2.0.0".to_owned()));
    // Waits for the reader, which is there or about to come.
    fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(next(&answers), (1, 0, "250 2.0.0".to_owned()));
}
