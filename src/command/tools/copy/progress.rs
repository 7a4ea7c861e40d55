//! The line that shows how far a copy is.
//!
//! Lives here: the screen, which other lines go to as well, what the line says, and
//! when it is drawn.
//! May not: draw where standard error is no terminal.

use rustix::termios::tcgetwinsize;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Between two drawings.
const REDRAW: Duration = Duration::from_millis(100);

/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// Puts the cursor to the line's beginning and clears the line.
const CLEAR: &str = "\r\x1b[K";

/// Standard error, with or without a line of progress at its end.
#[derive(Default)]
pub(super) struct Screen {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// A line of progress is there.
    is_drawn: bool,
    has_ended: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) messages: u64,
    pub(super) octets: u64,
    /// How many there are of both, once they are counted.
    pub(super) of: Option<(u64, u64)>,
    pub(super) took: Duration,
}

impl Screen {
    /// Whether a line of progress would be seen.
    pub(super) fn is_terminal() -> bool {
        io::stderr().is_terminal()
    }

    /// Shows a line that stays.
    pub(super) fn say(&self, line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if std::mem::take(&mut state.is_drawn) { CLEAR } else { "" };
        // Nobody is left to be told where this fails.
        let _ = writeln!(io::stderr(), "{clear}{line}");
    }

    /// Draws the line again and again, until [`Screen::end`].
    pub(super) fn draw(&self, progress: impl Fn() -> Progress) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.has_ended {
            let line = progress().line(columns());
            let _ = write!(io::stderr(), "{CLEAR}{line}");
            state.is_drawn = true;
            // Whatever wakes it, the next drawing is not before its time.
            let (next, _) = self
                .ended
                .wait_timeout_while(state, REDRAW, |state| !state.has_ended)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        if std::mem::take(&mut state.is_drawn) {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }

    /// Whether the copy has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_ended
    }

    /// Has the drawing end.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        self.ended.notify_all();
    }
}

fn columns() -> usize {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

impl Progress {
    /// The line, in so many columns, of which the last stays empty: a terminal could
    /// begin a new line there.
    fn line(&self, columns: usize) -> String {
        let Self { messages, octets, of, took } = *self;
        let rate = per_second(octets, took);
        let mut line = match of {
            Some((all, all_octets)) => format!(
                "{messages}/{} messages  {}/{}",
                all.max(messages),
                size(octets),
                size(all_octets.max(octets))
            ),
            None => format!("{messages} messages  {}", size(octets)),
        };
        // Writing into a String cannot fail.
        let _ = write!(line, "  {}/s", size(rate));
        if let Some((_, all_octets)) = of
            && let Some(seconds) = all_octets.saturating_sub(octets).checked_div(rate)
        {
            let _ = write!(line, "  {} left", clock(seconds));
        }
        line.truncate(columns.saturating_sub(1));
        line
    }
}

fn per_second(count: u64, took: Duration) -> u64 {
    let milliseconds = took.as_millis().max(1);
    u64::try_from(u128::from(count) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

/// `3.4M`, in powers of 1024.
fn size(octets: u64) -> String {
    let mut unit = 1;
    for letter in ["", "K", "M", "G", "T"] {
        if octets / unit < 1024 || letter == "T" {
            return match octets / unit {
                whole @ 0..10 if unit > 1 => {
                    format!("{whole}.{}{letter}", octets % unit * 10 / unit)
                }
                whole => format!("{whole}{letter}"),
            };
        }
        unit *= 1024;
    }
    octets.to_string()
}

/// `1:02:03`, `2:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use std::time::Duration;

    #[test]
    fn the_line_has_count_octets_rate_and_the_time_left_within_the_width() {
        let mut progress = Progress {
            messages: 1_200,
            octets: 3 << 20,
            of: None,
            took: Duration::from_millis(1_500),
        };
        assert_eq!(progress.line(80), "1200 messages  3.0M  2.0M/s");
        progress.of = Some((20_000, 300 << 20));
        assert_eq!(progress.line(80), "1200/20000 messages  3.0M/300M  2.0M/s  2:28 left");
        assert_eq!(progress.line(13), "1200/20000 m");
        assert_eq!(progress.line(0), "");
        progress.of = Some((1_000, 1 << 40));
        assert_eq!(progress.line(80), "1200/1200 messages  3.0M/1.0T  2.0M/s  145:38:06 left");
    }

    #[test]
    fn nothing_yet_has_no_time_left() {
        let progress = Progress { of: Some((5, 999)), ..Progress::default() };
        assert_eq!(progress.line(80), "0/5 messages  0/999  0/s");
    }
}
