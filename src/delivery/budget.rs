//! Budgets: what all sessions together may use of something.
//!
//! Lives here: [`Budget`], a limit and what is in use; [`Reservation`], a part
//! of it that is given back when dropped. Memory, the spool's octets on disk and
//! its descriptors are counted so.
//! May not: decide what becomes of whoever gets nothing.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The part of a budget that is kept for whoever comes new, as a divisor: those
/// who have something already grow only until it is full without that, so that a
/// few large ones do not keep many small ones out.
const KEPT: u64 = 16;

/// A limit, and how much of it is in use.
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    /// Somebody waits for some of it.
    wanted: AtomicBool,
    /// Called, on any thread, when there is more of it then.
    on_room: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.used.load(Ordering::Relaxed), self.limit)
    }
}

impl Budget {
    /// A budget of which nothing is in use. `on_room` is called once after each
    /// [`Budget::want`], as soon as some of it is given back; it must not block.
    pub fn new(limit: u64, on_room: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            on_room: Box::new(on_room),
        })
    }

    /// A reservation of nothing.
    pub fn reserve_nothing(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), amount: 0 }
    }

    /// A reservation of so much; none where that is over the limit.
    pub fn try_reserve(self: &Arc<Self>, amount: u64) -> Option<Reservation> {
        let mut reservation = self.reserve_nothing();
        reservation.try_grow(amount).then_some(reservation)
    }

    /// Notes that somebody waits for some of it. Whoever does looks once more
    /// after this: what was given back before is not told.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// Whether somebody waits for some of it.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// How much those who have something of it may grow.
    pub fn room(&self) -> u64 {
        self.full_mark().saturating_sub(self.used.load(Ordering::SeqCst))
    }

    /// What there may be in use.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn full_mark(&self) -> u64 {
        self.limit - self.limit / KEPT
    }

    fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::SeqCst);
        if self.is_wanted() && self.wanted.swap(false, Ordering::SeqCst) {
            (self.on_room)();
        }
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    amount: u64,
}

impl Reservation {
    /// How much it is.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Takes so much more, where the limit allows it; says whether it does.
    pub fn try_grow(&mut self, by: u64) -> bool {
        self.try_grow_to(self.budget.limit, by)
    }

    /// The same for one that has something already: until the budget is full.
    pub fn try_grow_further(&mut self, by: u64) -> bool {
        self.try_grow_to(self.budget.full_mark(), by)
    }

    fn try_grow_to(&mut self, limit: u64, by: u64) -> bool {
        let more = |used: u64| used.checked_add(by).filter(|used| *used <= limit);
        let grown =
            self.budget.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        if grown {
            self.amount += by;
        }
        grown
    }

    /// Is so much from now on, even beyond the limit: it is in use already.
    pub fn set(&mut self, amount: u64) {
        if amount > self.amount {
            self.budget.used.fetch_add(amount - self.amount, Ordering::AcqRel);
        } else if amount < self.amount {
            self.budget.give_back(self.amount - amount);
        }
        self.amount = amount;
    }

    /// Gives a part of it away, `amount` at the most.
    #[must_use]
    pub fn split(&mut self, amount: u64) -> Self {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Self { budget: Arc::clone(&self.budget), amount }
    }

    /// Takes another one in.
    pub fn merge(&mut self, mut other: Self) {
        self.amount += std::mem::take(&mut other.amount);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.budget.give_back(self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    #[test]
    fn what_is_reserved_never_exceeds_the_limit_and_comes_back() {
        let budget = Budget::new(100, || {});
        let mut first = budget.try_reserve(60).unwrap();
        assert!(budget.try_reserve(41).is_none() && !first.try_grow(41));
        let part = first.split(50);
        assert_eq!((first.amount(), part.amount()), (10, 50));
        let second = budget.try_reserve(40).unwrap();
        drop(second);
        first.merge(part);
        assert_eq!(first.amount(), 60);
        drop(first);
        assert!(budget.try_reserve(100).is_some());
        assert!(budget.try_reserve(100).is_some(), "nothing is lost");
    }

    #[test]
    fn whoever_waits_is_told_once_there_is_room() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let budget = Budget::new(160, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut body = budget.reserve_nothing();
        body.set(149);
        assert_eq!(budget.room(), 1);
        body.set(200);
        assert!(budget.room() == 0 && budget.try_reserve(1).is_none());
        body.set(150);
        assert!(budget.room() == 0 && !body.try_grow_further(1));
        assert!(budget.try_reserve(10).is_some(), "something is kept for who asks first");
        assert_eq!(told.load(Ordering::SeqCst), 0, "nobody waits");
        budget.want();
        body.set(149);
        body.set(100);
        assert_eq!(told.load(Ordering::SeqCst), 1);
        budget.want();
        drop(body);
        assert_eq!(told.load(Ordering::SeqCst), 2);
    }
}
