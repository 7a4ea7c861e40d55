//! The same message again, where that is not to be stored twice.

use super::*;
use postino::delivery::Suppression;

fn suppressing() -> Rig {
    let (sender, calls) = unbounded();
    let store = puppet(sender, alone);
    let most_running = Arc::clone(&store.most_running);
    let suppression = Some(Suppression { window: Duration::from_secs(60), directory: None });
    let (pool, answers) = pool(store, Limits { suppression, ..limits(4) });
    Rig { pool, answers, calls, most_running }
}

/// In a transaction of its own.
fn again(session: u32, recipients: &[&str]) -> Submission {
    let mut submission = submission(u64::from(session), recipients);
    submission.transaction.id = TransactionId { session, transaction: 1 };
    submission
}

fn other(change: impl FnOnce(&mut Submission)) -> Submission {
    let mut submission = again(9, &["a@d"]);
    change(&mut submission);
    submission
}

impl Rig {
    #[track_caller]
    fn is_stored(&self, submission: Submission) {
        self.pool.deliver(submission);
        self.call().succeed();
        assert_eq!(self.answer().2, "250 2.0.0");
    }

    /// What the one recipient is told, without a call of the store.
    #[track_caller]
    fn is_told(&self, submission: Submission) -> String {
        self.pool.deliver(submission);
        let answer = self.answers.recv_timeout(PATIENCE).unwrap();
        let Answer::Delivered { reply, .. } = answer else { unreachable!() };
        assert!(self.calls.is_empty());
        reply.to_string()
    }
}

#[test]
fn what_was_stored_is_answered_with_its_id_and_not_stored_again() {
    let rig = suppressing();
    rig.is_stored(again(1, &["a@d"]));
    for (session, recipient) in [(2, "a@d"), (3, "A@D")] {
        assert_eq!(rig.is_told(again(session, &[recipient])), "250 2.0.0 id stored");
    }
}

#[test]
fn another_body_sender_recipient_or_detail_is_another_message() {
    let rig = suppressing();
    rig.is_stored(again(1, &["a@d"]));
    rig.is_stored(again(2, &["b@d"]));
    rig.is_stored(again(3, &["a+x@d"]));
    rig.is_stored(other(|submission| {
        submission.transaction.body =
            ReceivedBody::InMemory(b"Subject: x\r\n\r\nTexT\r\n".to_vec());
    }));
    rig.is_stored(other(|submission| {
        let ForwardPath::Address(sender) = path("x@y") else { unreachable!() };
        submission.transaction.envelope.reverse_path = ReversePath::Address(sender);
    }));
}

#[test]
fn what_failed_is_stored_when_it_comes_again() {
    let rig = suppressing();
    rig.pool.deliver(again(1, &["a@d"]));
    rig.call().finish(Err(DeliveryError::NoSuchMailbox));
    assert_eq!(rig.answer().2, "550 5.1.1");
    rig.is_stored(again(2, &["a@d"]));
}

#[test]
fn while_a_message_is_being_stored_its_resend_is_deferred() {
    let rig = suppressing();
    rig.pool.deliver(again(1, &["a@d"]));
    let call = rig.call();
    assert!(call.begin_commit());
    assert!(rig.is_told(again(2, &["a@d"])).starts_with("451 4.3.0 "));
    call.succeed();
    assert_eq!(rig.answer().2, "250 2.0.0");
    assert_eq!(rig.is_told(again(3, &["a@d"])), "250 2.0.0 id stored");
}

#[test]
fn a_client_that_is_gone_before_the_commit_keeps_no_resend_from_being_stored() {
    let rig = suppressing();
    let gone = rig.pool.deliver(again(1, &["a@d"]));
    let call = rig.call();
    gone.abandon();
    rig.pool.deliver(again(2, &["a@d"]));
    assert!(!call.begin_commit());
    call.finish(Err(DeliveryError::Expired));
    drop(call);
    rig.call().succeed();
    assert_eq!(rig.answer(), (2, 0, "250 2.0.0".to_owned()));
}

#[test]
fn the_same_recipient_twice_in_one_transaction_gets_one_copy_and_two_answers() {
    let rig = suppressing();
    for outcome in [Err(DeliveryError::NoSuchMailbox), Ok(DeliveryId::new("id"))] {
        let codes = if outcome.is_ok() { "250 2.0.0" } else { "550 5.1.1" };
        rig.pool.deliver(again(1, &["a@d", "A@d"]));
        rig.call().finish(outcome);
        let mut answers = [rig.answer(), rig.answer()];
        answers.sort();
        assert_eq!(answers, [(1, 0, codes.to_owned()), (1, 1, codes.to_owned())]);
        assert!(rig.calls.is_empty());
    }
}

#[test]
fn without_suppression_the_same_is_stored_as_often_as_it_comes() {
    let rig = rig(4, alone);
    rig.is_stored(again(1, &["a@d"]));
    rig.is_stored(again(2, &["a@d"]));
}
