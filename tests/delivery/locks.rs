//! Mailboxes that others hold locked.

use super::*;

#[test]
fn a_locked_mailbox_is_tried_again_before_those_behind_it() {
    let rig = rig(2, alone);
    rig.deliver(1, &["a@d"]);
    let first = rig.call();
    rig.deliver(2, &["a@d"]);
    for _ in 0..3 {
        rig.deliver(3, &["b@d"]);
        rig.call().succeed();
        assert_eq!(rig.answer().0, 3);
    }
    first.finish(Err(DeliveryError::Locked { holder: None }));
    drop(first);
    for _ in 0..2 {
        let again = rig.call();
        again.finish(Err(DeliveryError::Locked { holder: None }));
    }
    rig.call().succeed();
    assert_eq!(rig.answer(), (1, 0, "250 2.0.0".to_owned()));
    rig.call().succeed();
    assert_eq!(rig.answer(), (2, 0, "250 2.0.0".to_owned()));
}

#[test]
fn of_a_batch_only_the_locked_are_tried_again_and_in_their_order() {
    let rig = rig(1, batches);
    rig.deliver(1, &["a@d", "b@d", "c@d"]);
    let call = rig.call();
    let locked = || Err(DeliveryError::Locked { holder: None });
    call.finish(locked());
    call.finish(Ok(DeliveryId::new("id")));
    call.finish(locked());
    drop(call);
    assert_eq!(rig.answer(), (1, 1, "250 2.0.0".to_owned()));
    let again = rig.call();
    assert_eq!(again.mailboxes, ["a@d", "c@d"]);
    again.succeed();
    assert_eq!(rig.answer(), (1, 0, "250 2.0.0".to_owned()));
    assert_eq!(rig.answer(), (1, 2, "250 2.0.0".to_owned()));
}

#[test]
fn a_lock_past_the_lock_wait_is_450_and_is_not_tried_in_a_busy_loop() {
    struct Locked(Arc<AtomicUsize>);
    impl MailStore for Locked {
        fn deliver(&self, _: &Delivery) -> Outcome {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(DeliveryError::Locked { holder: Some("pid 4711 (imapd)".to_owned()) })
        }
    }
    let tries = Arc::new(AtomicUsize::new(0));
    let lock_wait = Duration::from_millis(100);
    let limits = Limits { lock_wait, ..limits(2) };
    let (pool, answers) = pool(Locked(Arc::clone(&tries)), limits);
    let began = Instant::now();
    pool.deliver(submission(1, &["a@d"]));
    assert_eq!(next(&answers), (1, 0, "450 4.2.0".to_owned()));
    assert!(began.elapsed() >= lock_wait);
    // After 0, 10, 30, 70 and 100 ms.
    let tries = tries.load(Ordering::SeqCst);
    assert!((2..=5).contains(&tries), "{tries} tries");
}

#[test]
fn a_locked_delivery_that_was_withdrawn_is_not_tried_again() {
    let rig = rig(2, alone);
    let progress = rig.deliver(1, &["a@d"]);
    let call = rig.call();
    call.finish(Err(DeliveryError::Locked { holder: None }));
    assert_eq!(progress.expire().len(), 1);
    drop(call);
    rig.deliver(2, &["a@d"]);
    rig.call().succeed();
    assert_eq!(rig.answer(), (2, 0, "250 2.0.0".to_owned()));
}
