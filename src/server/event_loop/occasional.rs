//! Log lines that a crowd of clients can cause.
//!
//! Lives here: how often such a line is logged, and the count of those left out.
//! May not: know what the line says.

use std::time::{Duration, Instant};

/// How often it is logged at the most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A line that is logged once in a while, with the count of those left out.
#[derive(Default)]
pub(super) struct Occasional {
    logged_at: Option<Instant>,
    left_out: u64,
}

impl Occasional {
    /// What to add to the line, where it is to be logged now.
    pub(super) fn now(&mut self, now: Instant) -> Option<String> {
        if self.logged_at.is_some_and(|at| now.duration_since(at) < LOG_INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.logged_at = Some(now);
        let left_out = std::mem::take(&mut self.left_out);
        Some(format!(
            "{left_out} more since the last such line, at most one in {} s",
            LOG_INTERVAL.as_secs()
        ))
    }
}
