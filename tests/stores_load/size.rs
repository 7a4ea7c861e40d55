//! How large the loads are, that only one is under way, and their lines.

use std::{
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Whether the loads are of their whole size.
pub(crate) fn is_full() -> bool {
    std::env::var_os("POSTINO_LOAD").is_some_and(|form| form == "full")
}

/// The one in the short form, the other in the full.
pub(crate) fn sized<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// Keeps the other loads of this process waiting: they would be in the figures.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line that the test runner does not keep to itself.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// For a person to read.
#[allow(clippy::cast_precision_loss, reason = "for a person to read")]
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
