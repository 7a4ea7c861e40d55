//! Lanes: places, batches, order, and who waits for whom.

use super::*;
use std::collections::HashMap;

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
    assert_eq!(rig.most_running.load(Ordering::SeqCst), 1);
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

#[test]
fn an_account_takes_no_more_workers_for_many_lanes_than_it_may() {
    let rig = rig(8, capped);
    let folders: Vec<String> = (0..50).map(|n| format!("folder{n}@account")).collect();
    let _waiting: Vec<_> = folders.iter().map(|folder| rig.deliver(1, &[folder, folder])).collect();
    let mut hanging = vec![rig.call(), rig.call(), rig.call()];
    for ticket in 100..150 {
        rig.deliver(ticket, &["b@other"]);
        let call = rig.call();
        assert_eq!(call.mailboxes, ["b@other"]);
        call.succeed();
        assert_eq!(rig.answer(), (ticket, 0, "250 2.0.0".to_owned()));
    }
    // Then each of them has its turn.
    let mut seen = HashMap::new();
    for _ in 0..100 {
        let call = hanging.pop().unwrap();
        *seen.entry(call.mailboxes[0].clone()).or_insert(0_usize) += 1;
        call.succeed();
        assert_eq!(rig.answer().2, "250 2.0.0");
        if seen.values().sum::<usize>() + hanging.len() != 100 {
            hanging.insert(0, rig.call());
        }
        assert!(hanging.len() <= 3);
    }
    assert!(folders.iter().all(|folder| seen[folder] == 2));
    assert_eq!(rig.most_running.load(Ordering::SeqCst), 3);
}

#[test]
fn lanes_of_an_account_whose_lock_others_hold_keep_no_place_of_it() {
    let rig = rig(8, capped);
    let locked: Vec<String> = (0..5).map(|n| format!("locked{n}@account")).collect();
    for folder in &locked {
        rig.deliver(1, &[folder]);
        let call = rig.call();
        call.finish(Err(DeliveryError::Locked { holder: None }));
    }
    rig.deliver(2, &["free@account"]);
    let mut left = 6;
    while left > 0 {
        let call = rig.call();
        if call.mailboxes == ["free@account"] || left < 6 {
            left -= 1;
            call.succeed();
        } else {
            call.finish(Err(DeliveryError::Locked { holder: None }));
        }
    }
    let tickets: Vec<u64> = (0..6).map(|_| rig.answer().0).collect();
    assert_eq!(tickets.iter().filter(|ticket| **ticket == 1).count(), 5);
    assert_eq!(tickets[0], 2);
}

#[test]
fn what_was_taken_back_in_a_lane_leaves_its_account_s_place_to_another() {
    let rig = rig(8, capped);
    let _hanging: Vec<_> =
        (0..3).map(|n| rig.deliver(1, &[&format!("hangs{n}@account")])).collect();
    let mut hanging = vec![rig.call(), rig.call(), rig.call()];
    let gone: Vec<_> = (0..5).map(|n| rig.deliver(2, &[&format!("gone{n}@account")])).collect();
    rig.deliver(3, &["last@account"]);
    // Queued behind them, in another account: by its call all of them are queued.
    rig.deliver(4, &["b@other"]);
    rig.call().succeed();
    assert_eq!(rig.answer().0, 4);
    until(|| gone.iter().map(|each| each.withdraw().len()).sum::<usize>() == 0);
    hanging.pop().unwrap().succeed();
    let last = rig.call();
    assert_eq!(last.mailboxes, ["last@account"]);
    last.succeed();
    hanging.into_iter().for_each(Call::succeed);
    let mut answers: Vec<u64> = (0..4).map(|_| rig.answer().0).collect();
    answers.sort_unstable();
    assert_eq!(answers, [1, 1, 1, 3]);
}
