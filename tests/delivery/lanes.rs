//! Lanes: places, batches, order, and who waits for whom.

use super::*;

#[test]
fn a_lane_never_runs_more_at_once_than_its_places() {
    let rig = rig(8, pairs);
    let _waiting: Vec<_> = (0..20).map(|ticket| rig.deliver(ticket, &["a@d"])).collect();
    let mut held = vec![rig.call(), rig.call()];
    // Six more occupy the other six workers: each of the 20 is queued by then.
    for to in ["b@d", "c@d", "e@d", "f@d", "g@d", "h@d"] {
        rig.deliver(99, &[to]);
    }
    for _ in 0..6 {
        let call = rig.call();
        assert_ne!(call.mailboxes, ["a@d"]);
        held.push(call);
    }
    assert!(rig.calls.is_empty());
    held.into_iter().for_each(Call::succeed);
    for _ in 0..18 {
        rig.call().succeed();
    }
    for _ in 0..26 {
        assert_eq!(rig.answer().2, "250 2.0.0");
    }
}

#[test]
fn a_batch_takes_what_waits_in_order_up_to_the_lanes_limit() {
    let rig = rig(2, batches);
    rig.deliver(1, &["a@d"]);
    let first = rig.call();
    assert_eq!(first.mailboxes, ["a@d"]);
    rig.deliver(2, &["b@d", "c@d", "e@d", "f@d", "g@d", "h@d", "i@d"]);
    rig.deliver(3, &["z@other"]);
    let other = rig.call();
    assert_eq!(other.mailboxes, ["z@other"]);
    other.succeed();
    first.succeed();
    let expected: [&[&str]; 3] = [&["b@d", "c@d", "e@d"], &["f@d", "g@d", "h@d"], &["i@d"]];
    for mailboxes in expected {
        let call = rig.call();
        assert_eq!(call.mailboxes, mailboxes);
        call.succeed();
    }
    for _ in 0..9 {
        assert_eq!(rig.answer().2, "250 2.0.0");
    }
    assert_eq!(rig.most_running.load(Ordering::SeqCst), 2);
}

#[test]
fn a_mailbox_that_hangs_stops_no_other() {
    let rig = rig(4, pairs);
    let _hanging: Vec<_> = (0..10).map(|_| rig.deliver(1, &["hangs@d"])).collect();
    let hanging = [rig.call(), rig.call()];
    for ticket in 100..150 {
        rig.deliver(ticket, &["b@d"]);
        let call = rig.call();
        assert_eq!(call.mailboxes, ["b@d"]);
        call.succeed();
        assert_eq!(rig.answer(), (ticket, 0, "250 2.0.0".to_owned()));
    }
    drop(hanging);
}

#[test]
fn one_recipient_that_hangs_delays_no_other_of_the_same_message() {
    let rig = rig(2, alone);
    rig.deliver(1, &["hangs@d", "b@d", "c@d"]);
    let mut hanging = None;
    for _ in 0..3 {
        let call = rig.call();
        if call.mailboxes == ["hangs@d"] {
            hanging = Some(call);
        } else {
            call.succeed();
        }
    }
    let mut answers = [rig.answer().1, rig.answer().1];
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    hanging.unwrap().succeed();
    assert_eq!(rig.answer().1, 0);
}
