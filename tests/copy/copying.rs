//! Running the command, and what it says at its end.

use crate::{daemon::postino, program::bounded, stored::Place};
use std::process::Output;

/// What a run ended with.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) summary: String,
    pub(crate) complaints: String,
}

impl Run {
    /// A number of the summary.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let mut words = self.summary.split_ascii_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            summary: String::from_utf8(output.stdout).unwrap(),
            complaints: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Copies, to the end.
pub(crate) fn copy(from: &Place, to: &Place, arguments: &[&str]) -> Run {
    run(&from.url(), &to.url(), arguments)
}

/// The same between stores of any URL.
pub(crate) fn run(from: &str, to: &str, arguments: &[&str]) -> Run {
    bounded(postino()).args(["copy", from, to]).args(arguments).output().unwrap().into()
}

/// Copies all, which succeeds; gives how many messages it copied.
pub(crate) fn copy_all(from: &Place, to: &Place) -> u64 {
    let run = copy(from, to, &[]);
    assert!(run.code == 0 && run.count("failed") == 0 && run.complaints.is_empty(), "{run:?}");
    run.count("copied")
}
