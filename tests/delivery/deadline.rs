//! The deadline, and clients that are gone, against the commit.

use super::*;

#[test]
fn what_has_not_begun_its_commit_at_the_deadline_never_appears() {
    let rig = rig(1, alone);
    let progress = rig.deliver(1, &["a@d"]);
    let call = rig.call();
    let expired = progress.expire();
    let expired: Vec<_> =
        expired.into_iter().map(|(index, reply)| (index.0, reply.codes().to_string())).collect();
    assert_eq!(expired, [(0, "451 4.3.0".to_owned())]);
    assert!(!call.begin_commit());
    call.finish(Err(DeliveryError::Expired));
    drop(call);
    assert!(progress.expire().is_empty() && progress.leave_open().is_empty());
    // The one worker answers the next message first of all.
    rig.deliver(2, &["b@d"]);
    rig.call().succeed();
    assert_eq!(rig.answer().0, 2);
}

#[test]
fn a_commit_that_has_begun_before_the_deadline_is_answered_by_its_result() {
    let rig = rig(1, alone);
    let progress = rig.deliver(1, &["a@d"]);
    let call = rig.call();
    assert!(call.begin_commit());
    assert!(progress.expire().is_empty());
    call.succeed();
    assert_eq!(rig.answer(), (1, 0, "250 2.0.0".to_owned()));
    assert!(progress.leave_open().is_empty());
}

#[test]
fn an_open_outcome_is_451_once_and_its_late_result_no_answer() {
    let rig = rig(1, alone);
    let progress = rig.deliver(1, &["a@d"]);
    let call = rig.call();
    assert!(call.begin_commit());
    assert!(progress.expire().is_empty());
    let open = progress.leave_open();
    let open: Vec<_> =
        open.into_iter().map(|(index, reply)| (index.0, reply.codes().to_string())).collect();
    assert_eq!(open, [(0, "451 4.3.0".to_owned())]);
    call.succeed();
    assert!(progress.leave_open().is_empty());
    rig.deliver(2, &["b@d"]);
    rig.call().succeed();
    assert_eq!(rig.answer().0, 2);
}

#[test]
fn deadline_and_commit_racing_answer_each_recipient_once_and_truly() {
    const ROUNDS: u64 = 2_000;
    struct Quick(Mutex<Sender<()>>);
    impl MailStore for Quick {
        fn deliver(&self, delivery: &Delivery) -> Outcome {
            delivery.begin_commit()?;
            self.0.lock().unwrap().send(()).unwrap();
            Ok(DeliveryId::new("1"))
        }
    }
    let (sender, stored) = unbounded();
    let (pool, answers) = pool(Quick(Mutex::new(sender)), limits(4));
    let mut expired = 0;
    for round in 0..ROUNDS {
        let progress = pool.deliver(submission(round, &["a@d", "b@d", "c@d"]));
        // More and more of the deliveries win.
        (0..round).for_each(|_| std::hint::spin_loop());
        expired += progress.expire().len();
    }
    let rest = usize::try_from(3 * ROUNDS).unwrap() - expired;
    for _ in 0..rest {
        assert_eq!(next(&answers).2, "250 2.0.0");
    }
    assert!(expired > 0 && rest > 0, "each side wins sometimes: {expired} and {rest}");
    // The store lets its channel go when the last worker has ended.
    drop(pool);
    let mut count = 0;
    let end = loop {
        match stored.recv_timeout(PATIENCE) {
            Ok(()) => count += 1,
            Err(end) => break end,
        }
    };
    assert_eq!((count, end), (rest, RecvTimeoutError::Disconnected));
    assert!(answers.is_empty());
}

#[test]
fn what_is_queued_is_dropped_unstarted_when_its_client_is_gone() {
    let rig = rig(1, alone);
    rig.deliver(1, &["a@d"]);
    let first = rig.call();
    let queued = rig.deliver(2, &["a@d", "b@d"]);
    rig.deliver(3, &["c@d"]);
    queued.abandon();
    first.succeed();
    let call = rig.call();
    assert_eq!(call.mailboxes, ["c@d"]);
    call.succeed();
    assert_eq!(rig.answer().0, 1);
    assert_eq!(rig.answer().0, 3);
}

/// A puppet whose deliveries share what notes the thread that drops it.
struct Shares(Puppet, Sender<String>);

struct NotesThread(Sender<String>);

impl Drop for NotesThread {
    fn drop(&mut self) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        // The test may be over.
        let _ = self.0.send(name);
    }
}

impl MailStore for Shares {
    fn deliver(&self, delivery: &Delivery) -> Outcome {
        self.0.deliver(delivery)
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        self.0.lane(mailbox)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        self.0.deliver_batch(deliveries);
    }

    fn prepare(&self, _: &Message, _: &[&Mailbox]) -> Result<Prepared, DeliveryError> {
        Ok(Prepared::new(NotesThread(self.1.clone())))
    }
}

#[test]
fn what_is_taken_back_is_dropped_at_once_and_by_a_worker() {
    let (sender, calls) = unbounded();
    let (notes, drops) = unbounded();
    let (pool, _answers) = pool(Shares(puppet(sender, alone), notes), limits(2));
    pool.deliver(submission(1, &["a@d"]));
    let hanging = calls.recv_timeout(PATIENCE).unwrap();
    let ways: [fn(&InProgress); 3] = [
        |progress| assert_eq!(progress.expire().len(), 1),
        |progress| assert_eq!(progress.withdraw().len(), 1),
        InProgress::abandon,
    ];
    for takes_back in ways {
        let queued = pool.deliver(submission(2, &["a@d"]));
        // The only worker that is left is done with that when it comes to this.
        pool.deliver(submission(3, &["b@d"]));
        drop(calls.recv_timeout(PATIENCE).unwrap());
        assert_eq!(drops.recv_timeout(PATIENCE).unwrap(), "worker-2", "of b@d");
        takes_back(&queued);
        assert_eq!(drops.recv_timeout(PATIENCE).unwrap(), "worker-2");
    }
    drop(hanging);
}

#[test]
fn what_is_taken_back_while_every_worker_hangs_is_dropped_by_who_replaces_them() {
    let (sender, calls) = unbounded();
    let (notes, drops) = unbounded();
    let (pool, _answers) = pool(Shares(puppet(sender, alone), notes), limits(2));
    pool.deliver(submission(1, &["a@d"]));
    let _hanging = calls.recv_timeout(PATIENCE).unwrap();
    let queued = pool.deliver(submission(2, &["a@d"]));
    pool.deliver(submission(3, &["b@d"]));
    let _hanging_too = calls.recv_timeout(PATIENCE).unwrap();
    assert_eq!(queued.expire().len(), 1);
    assert!(drops.is_empty());
    pool.watch(Instant::now() + Duration::from_secs(2));
    assert_eq!(drops.recv_timeout(PATIENCE).unwrap(), "worker-3");
}

#[test]
fn what_is_taken_back_uses_no_memory_though_its_lane_hangs() {
    let rig = rig(2, alone);
    let memory = rig.pool.memory().room();
    let submit = |ticket| {
        let mut submission = submission(ticket, &["a@d"]);
        submission.memory = rig.pool.memory().try_reserve(1_000).unwrap();
        rig.pool.deliver(submission)
    };
    let hanging = submit(1);
    let call = rig.calls.recv_timeout(PATIENCE).unwrap();
    let queued = submit(2);
    assert_eq!(queued.expire().len(), 1);
    drop(queued);
    let start = Instant::now();
    while rig.pool.memory().room() < memory - 1_000 {
        assert!(start.elapsed() < PATIENCE, "the queued one's memory does not come back");
        std::thread::yield_now();
    }
    assert_eq!(hanging.expire().len(), 1);
    assert_eq!(rig.pool.memory().room(), memory - 1_000, "it is in the store still");
    drop(call);
    while rig.pool.memory().room() < memory {
        assert!(start.elapsed() < PATIENCE, "the hanging one's memory does not come back");
        std::thread::yield_now();
    }
}
