//! The writer's mutex, whose waiters are let in as they came.
//!
//! Lives here: a mutex with a line before it.
//! May not: know what it guards.
//! Holds: whoever waits goes before all that came later: neither do the parts of
//! large messages keep the small ones out, nor these those.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// A fair mutex.
pub(crate) struct Gate<T> {
    line: Mutex<Line>,
    moved: Condvar,
    inside: Mutex<T>,
}

#[derive(Default)]
struct Line {
    /// The number that the next one who comes gets.
    next: u64,
    /// The number that is inside, or may go in.
    turn: u64,
}

/// Whoever has it is inside alone.
pub(crate) struct Pass<'a, T> {
    // Before the turn: it must be left before the next one is let in.
    inside: MutexGuard<'a, T>,
    _turn: Turn<'a, T>,
}

struct Turn<'a, T>(&'a Gate<T>);

impl<T> Gate<T> {
    pub(crate) fn new(inside: T) -> Self {
        Self { line: Mutex::default(), moved: Condvar::new(), inside: Mutex::new(inside) }
    }

    /// Waits for its turn.
    pub(crate) fn enter(&self) -> Pass<'_, T> {
        let mut line = lock(&self.line);
        let number = line.next;
        line.next += 1;
        while line.turn != number {
            line = self.moved.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        drop(line);
        let turn = Turn(self);
        Pass { inside: lock(&self.inside), _turn: turn }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        lock(&self.0.line).turn += 1;
        // Which of them is next only they know.
        self.0.moved.notify_all();
    }
}

impl<T> Deref for Pass<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inside
    }
}

impl<T> DerefMut for Pass<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inside
    }
}

/// Whoever panicked inside has left a state that its user can judge.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Gate, lock};
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        thread,
    };

    #[test]
    fn all_go_in_as_they_came_and_one_at_a_time() {
        let gate = Gate::new(Vec::new());
        let first = gate.enter();
        thread::scope(|scope| {
            for n in 0..20 {
                let gate = &gate;
                scope.spawn(move || gate.enter().push(n));
                while lock(&gate.line).next != n + 2 {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*gate.enter(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_inside_lets_the_next_one_in() {
        let gate = Gate::new(0);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut inside = gate.enter();
            *inside = 1;
            panic!("as the test wished");
        }));
        assert!(panicked.is_err());
        assert_eq!(*gate.enter(), 1);
    }
}
