//! The store's upkeep: when it is called, and that it is nobody's failure.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Wants upkeep after each batch; each upkeep waits for the test.
struct Untidy {
    upkeeps: Sender<Sender<()>>,
    under_way: AtomicBool,
    panics: bool,
}

impl MailStore for Untidy {
    fn deliver(&self, delivery: &Delivery) -> Outcome {
        delivery.begin_commit()?;
        Ok(DeliveryId::new("id"))
    }

    fn wants_upkeep(&self) -> bool {
        true
    }

    fn upkeep(&self) {
        assert!(!self.under_way.swap(true, Ordering::SeqCst), "twice at once");
        let (go, wait) = bounded(0);
        self.upkeeps.send(go).unwrap();
        let _ = wait.recv();
        self.under_way.store(false, Ordering::SeqCst);
        assert!(!self.panics, "as the test wished");
    }
}

fn untidy(panics: bool) -> (Pool, Receiver<Answer>, Receiver<Sender<()>>) {
    let (upkeeps, called) = unbounded();
    let store = Untidy { upkeeps, under_way: AtomicBool::new(false), panics };
    let (pool, answers) = pool(store, limits(4));
    (pool, answers, called)
}

fn deliver(pool: &Pool, answers: &Receiver<Answer>, ticket: u64) {
    pool.deliver(submission(ticket, &["a@d"]));
    assert_eq!(next(answers).2, "250 2.0.0");
}

#[test]
fn upkeep_stops_no_delivery_and_is_never_done_twice_at_once() {
    let (pool, answers, called) = untidy(false);
    deliver(&pool, &answers, 0);
    let held = called.recv_timeout(PATIENCE).unwrap();
    for ticket in 1..20 {
        deliver(&pool, &answers, ticket);
    }
    assert!(called.is_empty());
    drop(held);
    // The first may have returned, and not be over yet.
    let mut ticket = 20;
    until(|| {
        deliver(&pool, &answers, ticket);
        ticket += 1;
        !called.is_empty()
    });
}

#[test]
fn a_panic_in_the_upkeep_ends_nothing() {
    let (pool, answers, called) = untidy(true);
    for round in 0..3 {
        let mut ticket = round * 1_000;
        until(|| {
            deliver(&pool, &answers, ticket);
            ticket += 1;
            !called.is_empty()
        });
        called.recv_timeout(PATIENCE).unwrap();
    }
}

/// Wants as many upkeeps as the test says.
struct Due {
    upkeeps: Sender<Sender<()>>,
    wanted: Arc<AtomicUsize>,
}

impl MailStore for Due {
    fn deliver(&self, delivery: &Delivery) -> Outcome {
        delivery.begin_commit()?;
        Ok(DeliveryId::new("id"))
    }

    fn wants_upkeep(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) > 0
    }

    fn upkeep(&self) {
        self.wanted.fetch_sub(1, Ordering::SeqCst);
        let (go, wait) = bounded(0);
        self.upkeeps.send(go).unwrap();
        let _ = wait.recv();
    }
}

#[test]
fn what_becomes_due_during_an_upkeep_is_done_without_another_batch() {
    let (upkeeps, called) = unbounded();
    let wanted = Arc::new(AtomicUsize::new(1));
    let (pool, answers) = pool(Due { upkeeps, wanted: Arc::clone(&wanted) }, limits(4));
    deliver(&pool, &answers, 0);
    let held = called.recv_timeout(PATIENCE).unwrap();
    wanted.store(1, Ordering::SeqCst);
    drop(held);
    let held = called.recv_timeout(PATIENCE).unwrap();
    // One that never has enough gets no worker for itself.
    wanted.store(9, Ordering::SeqCst);
    drop(held);
    assert!(called.recv_timeout(Duration::from_millis(300)).is_err());
}
