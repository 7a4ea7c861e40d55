//! The workers: from a submission to the store.
//!
//! Lives here: what a worker does with a piece of work, and what follows it.
//! May not: choose replies; `outcome` does.
//! Holds: a store's panic costs its own batch at the most; each turn that a lane
//! gives out is used once.

use super::{
    Limits, ToStore,
    alarm::Texts,
    clock::{Clock, Waker},
    compose::{self, Uncomposed},
    crew::{Crew, STUCK_AFTER},
    deadline::{Job, Transit},
    lane::{Lanes, Turn},
    outcome,
    owners::{self, Owners},
    room::Watch,
    seat::Seat,
};
use crate::escape;
use postino_store::{Delivery, DeliveryError, MailStore, Owner};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What the delivering threads share.
pub(super) struct Workers {
    store: Arc<dyn MailStore>,
    owners: Arc<Owners>,
    room: Arc<Watch>,
    lock_wait: Duration,
    lanes: Lanes,
    clock: Clock,
    /// The store's upkeep is queued or under way.
    in_upkeep: AtomicBool,
    pub(super) crew: Arc<Crew>,
}

/// Jobs that a lock stopped, in their order, and how long they may sleep.
struct Locked {
    jobs: Vec<Job>,
    sleep_max: Duration,
}

impl Default for Locked {
    fn default() -> Self {
        Self { jobs: Vec::new(), sleep_max: Duration::MAX }
    }
}

impl Workers {
    pub(super) fn new(to_store: ToStore, limits: &Limits) -> Self {
        let ToStore { store, owners, room } = to_store;
        Self {
            store,
            owners,
            room,
            lock_wait: limits.lock_wait,
            lanes: Lanes::default(),
            clock: Clock::default(),
            in_upkeep: AtomicBool::new(false),
            crew: Crew::new("worker", Texts::STORE, limits.workers, limits.stuck),
        }
    }

    pub(super) fn submit(self: &Arc<Self>, transit: &Arc<Transit>) {
        let (workers, transit) = (Arc::clone(self), Arc::clone(transit));
        self.crew.put(move |seat| workers.compose(&transit, seat));
    }

    /// Replaces the workers that are stuck at `now`, as [`Crew::watch`] does.
    pub(super) fn watch(&self, now: Instant) -> Option<Instant> {
        let next = self.crew.watch(now);
        // The clock wakes what sleeps without asking whoever watches.
        next.or_else(|| (!self.lanes.are_idle()).then(|| now + STUCK_AFTER))
    }

    /// What the clock calls: it keeps nobody alive.
    fn waker(self: &Arc<Self>) -> Waker {
        let workers = Arc::downgrade(self);
        Box::new(move |lane| {
            if let Some(workers) = workers.upgrade() {
                workers.wake(lane);
            }
        })
    }

    /// Ends a lane's sleep.
    fn wake(self: &Arc<Self>, lane: &Turn) {
        for _ in 0..self.lanes.wake(lane) {
            self.pass_on(lane);
        }
    }

    /// Has another worker use a lane's turn.
    fn pass_on(self: &Arc<Self>, turn: &Turn) {
        let (workers, turn) = (Arc::clone(self), Arc::clone(turn));
        self.crew.put(move |seat| workers.run(turn, seat));
    }

    /// Composes; goes on with one of the deliveries itself, so that a message
    /// to one recipient passes through one thread only.
    fn compose(self: &Arc<Self>, transit: &Arc<Transit>, seat: &Seat) {
        seat.serves(transit.record.id);
        let Some(uncomposed) = transit.take_uncomposed() else { return };
        let mut own = None;
        for (at, lane, delivery) in self.deliveries(transit, uncomposed) {
            let job = Job::new(transit, at);
            job.put(delivery);
            if let Some(turn) = self.lanes.push(&lane, job)
                && let Some(turn) = own.replace(turn)
            {
                self.pass_on(&turn);
            }
        }
        match own {
            Some(turn) => self.run(turn, seat),
            // No batch follows, where the store could not prepare the message.
            None => self.keep_up(),
        }
    }

    /// The deliveries with their places and lanes; none where there was an error,
    /// which each recipient has then been answered.
    fn deliveries(
        &self,
        transit: &Transit,
        uncomposed: Uncomposed,
    ) -> Vec<(usize, postino_store::Lane, Delivery)> {
        let record = &transit.record;
        let copies = if uncomposed.single_instance { 1 } else { record.recipients.len() as u64 };
        let composed = catch_unwind(AssertUnwindSafe(|| {
            if !self.room.admits(uncomposed.body.len(), copies) {
                return Err(self.room.error());
            }
            let deliveries = compose::compose(&*self.store, &self.owners, record, uncomposed)?;
            let lane = |delivery: &Delivery| self.store.lane(delivery.mailbox());
            Ok(deliveries.into_iter().map(|(at, each)| (at, lane(&each), each)).collect())
        }))
        .unwrap_or_else(|panic| {
            let text = escape::value(outcome::panic_text(&*panic).as_bytes());
            log::error!("panic in the store s={} preparing cause={text}", record.id);
            Err(DeliveryError::Unanswered)
        });
        composed.unwrap_or_else(|error| {
            for recipient in &record.recipients {
                record.finish(recipient, Err(&error));
            }
            Vec::new()
        })
    }

    /// Uses a lane's turn.
    fn run(self: &Arc<Self>, mut turn: Turn, seat: &Seat) {
        let jobs = self.lanes.take(&mut turn);
        let Some(first) = jobs.first() else { return };
        seat.serves(first.transaction());
        // Whatever happens in between, the place is given back.
        let batch = catch_unwind(AssertUnwindSafe(|| self.run_batch(jobs)));
        let Locked { jobs: locked, sleep_max } = batch.unwrap_or_default();
        let after = self.lanes.give_back(&turn, locked, sleep_max);
        for _ in 0..after.turns {
            self.pass_on(&turn);
        }
        for other in &after.others {
            self.pass_on(other);
        }
        if let Some(sleep) = after.sleep {
            self.clock.wake_after(sleep, turn, || self.waker());
        }
        self.keep_up();
    }

    /// Has a worker do the store's upkeep, where the store wants it.
    fn keep_up(self: &Arc<Self>) {
        if self.wants_upkeep() && !self.in_upkeep.swap(true, Ordering::AcqRel) {
            let workers = Arc::clone(self);
            self.crew.put(move |_| {
                workers.upkeep();
                // What became due meanwhile would wait for the next batch; what
                // cannot be done now does wait for it.
                if workers.wants_upkeep() {
                    workers.upkeep();
                }
                workers.in_upkeep.store(false, Ordering::Release);
            });
        }
    }

    fn wants_upkeep(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.store.wants_upkeep())).unwrap_or(false)
    }

    fn upkeep(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.store.upkeep())) {
            let text = escape::value(outcome::panic_text(&*panic).as_bytes());
            log::error!("panic in the store during its upkeep cause={text}");
        }
    }

    /// Delivers a batch; gives back the jobs whose lock others hold.
    fn run_batch(&self, jobs: Vec<Job>) -> Locked {
        let (jobs, deliveries): (Vec<Job>, Vec<Delivery>) =
            jobs.into_iter().filter_map(|job| job.take().map(|delivery| (job, delivery))).unzip();
        let began = Instant::now();
        if !deliveries.is_empty() {
            self.deliver(&deliveries);
        }
        let mut locked = Locked::default();
        for (mut job, delivery) in jobs.into_iter().zip(deliveries) {
            let Some(error) = delivery.take_locked() else {
                // Of no effect where the store has given a result.
                delivery.end(Err(DeliveryError::Unanswered));
                job.has_ended(delivery.message());
                continue;
            };
            let waited = job.tried.get_or_insert(began).elapsed();
            if let Some(rest) = self.lock_wait.checked_sub(waited).filter(|rest| !rest.is_zero()) {
                locked.sleep_max = locked.sleep_max.min(rest);
                job.put(delivery);
                locked.jobs.push(job);
            } else {
                delivery.end(Err(error));
            }
        }
        locked
    }

    /// Delivers, as each mailbox's owner what is his.
    fn deliver(&self, deliveries: &[Delivery]) {
        for those in deliveries.chunk_by(|one, next| self.owner(one) == self.owner(next)) {
            match self.owners.assume(those.first().and_then(|first| self.owner(first))) {
                Ok(_assumed) => self.deliver_those(those),
                Err(cause) => {
                    for delivery in those {
                        delivery.end(Err(owners::error(
                            delivery.mailbox(),
                            self.owner(delivery),
                            &cause,
                        )));
                    }
                }
            }
        }
    }

    fn owner<'a>(&self, delivery: &'a Delivery) -> Option<&'a Owner> {
        self.store.written_as(delivery.mailbox())
    }

    fn deliver_those(&self, deliveries: &[Delivery]) {
        let result = catch_unwind(AssertUnwindSafe(|| self.store.deliver_batch(deliveries)));
        if let Err(panic) = result {
            let mailboxes: Vec<_> =
                deliveries.iter().map(|delivery| delivery.mailbox().name().as_str()).collect();
            log::error!(
                "panic in the store mailbox={} cause={}",
                escape::value(mailboxes.join(",").as_bytes()),
                escape::value(outcome::panic_text(&*panic).as_bytes())
            );
        }
    }
}
