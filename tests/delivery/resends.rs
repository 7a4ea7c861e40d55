//! Messages that come again after their first outcome was left open.

use super::*;

/// A puppet that tells for whom it prepares.
struct Prepares(Puppet, Sender<Vec<String>>);

impl MailStore for Prepares {
    fn deliver(&self, delivery: &Delivery) -> Outcome {
        self.0.deliver(delivery)
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        self.0.lane(mailbox)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        self.0.deliver_batch(deliveries);
    }

    fn prepare(&self, _: &Message, mailboxes: &[&Mailbox]) -> Result<Prepared, DeliveryError> {
        let names = mailboxes.iter().map(|mailbox| mailbox.name().to_string()).collect();
        self.1.send(names).unwrap();
        Ok(Prepared::nothing())
    }
}

struct Table {
    rig: Rig,
    prepared: Receiver<Vec<String>>,
}

/// Two workers.
fn table() -> Table {
    let (sender, calls) = unbounded();
    let (told, prepared) = unbounded();
    let store = puppet(sender, alone);
    let most_running = Arc::clone(&store.most_running);
    let (pool, answers) = pool(Prepares(store, told), limits(2));
    Table { rig: Rig { pool, answers, calls, most_running }, prepared }
}

impl Table {
    /// A delivery to `a@d` whose commit had begun at the deadline, and then did
    /// not end.
    fn left_open(&self) -> Call {
        let progress = self.rig.deliver(1, &["a@d"]);
        let call = self.rig.call();
        assert!(call.begin_commit());
        assert!(progress.expire().is_empty());
        assert_eq!(progress.leave_open().len(), 1);
        assert_eq!(self.prepared.recv_timeout(PATIENCE).unwrap(), ["a@d"]);
        call
    }

    /// Lets the late result be known, and the worker go on.
    fn ends(&self, call: Call, outcome: Outcome) {
        call.finish(outcome);
        drop(call);
        // Behind the first in its lane.
        self.is_delivered(other_sender());
    }

    fn is_delivered(&self, submission: Submission) {
        let mailboxes: Vec<_> =
            submission.mailboxes.iter().map(|mailbox| mailbox.name().to_string()).collect();
        self.rig.pool.deliver(submission);
        assert_eq!(self.prepared.recv_timeout(PATIENCE).unwrap(), mailboxes);
        for _ in &mailboxes {
            self.rig.call().succeed();
            assert_eq!(self.rig.answer().2, "250 2.0.0");
        }
    }

    /// What the only recipient is answered, without a call of the store.
    fn is_answered(&self, submission: Submission) -> String {
        self.rig.pool.deliver(submission);
        let answer = self.rig.answers.recv_timeout(PATIENCE).unwrap();
        let Answer::Delivered { reply, .. } = answer else { unreachable!() };
        assert!(self.prepared.is_empty() && self.rig.calls.is_empty());
        reply.to_string()
    }
}

fn resend() -> Submission {
    submission(2, &["a@d"])
}

fn other_sender() -> Submission {
    let mut submission = resend();
    let ForwardPath::Address(sender) = path("x@y") else { unreachable!() };
    submission.transaction.envelope.reverse_path = ReversePath::Address(sender);
    submission
}

fn other_message_id() -> Submission {
    let mut submission = resend();
    submission.transaction.header.message_id = Some(b"<other@d>".to_vec());
    submission
}

fn body(submission: &mut Submission) -> &mut Vec<u8> {
    match &mut submission.transaction.body {
        ReceivedBody::InMemory(octets) => octets,
        ReceivedBody::Spooled(_) => unreachable!("it is short"),
    }
}

/// Of the same size.
fn other_body() -> Submission {
    let mut submission = resend();
    body(&mut submission)[9] = b'y';
    submission
}

fn longer_body() -> Submission {
    let mut submission = resend();
    body(&mut submission).extend(b"more\r\n");
    submission.transaction.octets_received += 6;
    submission
}

#[test]
fn a_resend_while_the_outcome_is_open_is_451_and_the_store_is_not_called() {
    let table = table();
    let _hanging = table.left_open();
    for _ in 0..2 {
        assert!(table.is_answered(resend()).starts_with("451 4.3.0 "));
    }
    assert!(table.is_answered(other_body()).starts_with("451 4.3.0 "), "by its Message-ID");
    // Those to the same mailbox would hang behind the first.
    table.is_delivered(submission(3, &["b@d"]));
}

#[test]
fn what_is_no_resend_is_delivered_while_an_outcome_is_open() {
    let table = table();
    let hanging = table.left_open();
    for submission in [other_sender(), other_message_id(), longer_body()] {
        table.rig.pool.deliver(submission);
        assert_eq!(table.prepared.recv_timeout(PATIENCE).unwrap(), ["a@d"]);
    }
    hanging.succeed();
    for _ in 0..3 {
        table.rig.call().succeed();
        assert_eq!(table.rig.answer().2, "250 2.0.0");
    }
}

#[test]
fn a_resend_after_a_late_success_is_250_with_the_first_id_and_makes_no_second_copy() {
    let table = table();
    let hanging = table.left_open();
    table.ends(hanging, Ok(DeliveryId::new("17.R9c")));
    table.is_delivered(other_sender());
    table.is_delivered(other_body());
    table.is_delivered(longer_body());
    table.is_delivered(submission(3, &["A@d"]));
    // The digest counts: what the log calls it does not.
    assert_eq!(table.is_answered(other_message_id()), "250 2.0.0 17.R9c stored");
}

#[test]
fn a_message_like_a_resend_that_was_answered_is_another_one() {
    let table = table();
    let hanging = table.left_open();
    table.ends(hanging, Ok(DeliveryId::new("17.R9c")));
    assert_eq!(table.is_answered(resend()), "250 2.0.0 17.R9c stored");
    table.is_delivered(resend());
}

#[test]
fn of_a_resend_to_several_the_store_sees_those_that_are_to_be_delivered() {
    let table = table();
    let hanging = table.left_open();
    table.ends(hanging, Ok(DeliveryId::new("17.R9c")));
    table.rig.deliver(2, &["b@d", "a@d", "c@d"]);
    assert_eq!(table.prepared.recv_timeout(PATIENCE).unwrap(), ["b@d", "c@d"]);
    assert_eq!(table.rig.answer(), (2, 1, "250 2.0.0".to_owned()));
    for _ in 0..2 {
        let call = table.rig.call();
        let index = if call.mailboxes == ["b@d"] { 0 } else { 2 };
        call.finish(Err(DeliveryError::NoSuchMailbox));
        drop(call);
        assert_eq!(table.rig.answer(), (2, index, "550 5.1.1".to_owned()));
    }
}

#[test]
fn a_resend_after_a_late_failure_is_delivered() {
    let table = table();
    let hanging = table.left_open();
    let full = std::io::Error::from_raw_os_error(28);
    table.ends(hanging, Err(DeliveryError::io("sync the file", "/x", full)));
    table.is_delivered(resend());
}

#[test]
fn what_may_be_either_of_two_messages_is_451_until_neither_is_open() {
    let table = table();
    let first = table.left_open();
    table.ends(first, Ok(DeliveryId::new("1")));
    // Another message with the same Message-ID, or none, is left open too.
    let mut another = other_body();
    another.transaction.id.transaction += 1;
    let progress = table.rig.pool.deliver(another);
    assert_eq!(table.prepared.recv_timeout(PATIENCE).unwrap(), ["a@d"]);
    let second = table.rig.call();
    assert!(second.begin_commit());
    assert_eq!(progress.leave_open().len(), 1);
    // Which of them this is cannot be told yet.
    assert!(table.is_answered(resend()).starts_with("451 4.3.0 "));
    table.ends(second, Ok(DeliveryId::new("2")));
    assert_eq!(table.is_answered(resend()), "250 2.0.0 1 stored");
    assert_eq!(table.is_answered(other_body()), "250 2.0.0 2 stored");
}
