//! The log: one event a line, never in anybody's way.
//!
//! Lives here: from a record to a finished line ([`Target`] says in which form),
//! and the bounded queue to the one thread that writes (`writer`).
//! May not: block whoever logs; decide what is worth a line.
//! Holds: each record is one line; what the queue has no room for is counted,
//! and the count is logged.

mod writer;

use crate::escape;
use ::log::{Level, LevelFilter};
use std::{env, fmt, io, io::Write, panic, process, str::FromStr, sync::OnceLock, time::Duration};
use writer::Writer;

/// How long the end waits for lines that are not written yet.
const FINISH_WAIT: Duration = Duration::from_secs(1);
/// The facility of syslog that mail programs have.
const FACILITY_MAIL: u8 = 2;

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error: the text, behind `error: ` or `warning: ` where it is one.
    Stderr,
    /// `/dev/log`, facility mail.
    Syslog,
    /// Standard error with the priority in front, as the journal reads it.
    Journal,
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "stderr" => Ok(Self::Stderr),
            "syslog" => Ok(Self::Syslog),
            "journal" => Ok(Self::Journal),
            _ => Err("not one of stderr, syslog and journal"),
        }
    }
}

static WRITER: OnceLock<Writer> = OnceLock::new();

/// Starts logging: until [`spawn_thread`] whoever logs writes the line himself.
/// `RUST_LOG`, where it is set, says what is logged in place of `level`. Only
/// the first call counts.
pub fn start(target: Target, level: LevelFilter) {
    let writer = WRITER.get_or_init(|| Writer::new(target));
    let mut builder = env_logger::Builder::new();
    match env::var("RUST_LOG") {
        Ok(filters) => builder.parse_filters(&filters),
        // The level in force is set below, and can change.
        Err(_) => builder.filter_level(LevelFilter::Trace),
    };
    builder.format(move |out, record| {
        out.write_all(line(target, record.level(), record.args()).as_bytes())
    });
    builder.target(env_logger::Target::Pipe(Box::new(writer)));
    if builder.try_init().is_ok() {
        set_level(level);
        log_panics();
    }
}

/// Starts the thread that writes; from here on nobody who logs waits.
pub fn spawn_thread() -> io::Result<()> {
    WRITER.get().map_or(Ok(()), Writer::spawn)
}

/// Changes what is logged, unless `RUST_LOG` says it.
pub fn set_level(level: LevelFilter) {
    if env::var_os("RUST_LOG").is_none() {
        ::log::set_max_level(level);
    }
}

/// Waits until the lines are written, a second at most.
pub fn finish() {
    if let Some(writer) = WRITER.get() {
        writer.finish(FINISH_WAIT);
    }
}

/// A record's line in the target's form.
fn line(target: Target, level: Level, text: &fmt::Arguments<'_>) -> String {
    let text = one_line(text.to_string());
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    match (target, level) {
        (Target::Stderr, Level::Error) => format!("error: {text}\n"),
        (Target::Stderr, Level::Warn) => format!("warning: {text}\n"),
        (Target::Stderr, _) => format!("{text}\n"),
        (Target::Journal, _) => format!("<{severity}>{text}\n"),
        (Target::Syslog, _) => {
            let priority = FACILITY_MAIL * 8 + severity;
            format!("<{priority}>postino[{}]: {text}", process::id())
        }
    }
}

/// What a record's author did not escape shall not begin a line of its own.
fn one_line(text: String) -> String {
    if text.contains(|c: char| c.is_control()) {
        let lines = text.split_inclusive(|c: char| c.is_control());
        lines
            .map(|part| match part.char_indices().next_back() {
                Some((at, last)) if last.is_control() => {
                    part[..at].to_owned() + &escape::visible(last.to_string().as_bytes())
                }
                _ => part.to_owned(),
            })
            .collect()
    } else {
        text
    }
}

/// Has panics logged as a line, in place of several on standard error.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no text");
        ::log::error!("panic at {place}: {}", escape::visible(text.as_bytes()));
    }));
}

#[cfg(test)]
mod tests {
    use super::{Target, line};
    use ::log::Level;

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let text = "a\r\n\u{85}<3>forged \\x0a";
        assert_eq!(
            line(Target::Stderr, Level::Warn, &format_args!("{text}")),
            "warning: a\\x0d\\x0a\\u{85}<3>forged \\x0a\n"
        );
    }

    #[test]
    fn each_target_has_its_own_form() {
        let text = format_args!("text");
        assert_eq!(line(Target::Stderr, Level::Info, &text), "text\n");
        assert_eq!(line(Target::Journal, Level::Error, &text), "<3>text\n");
        let pid = std::process::id();
        assert_eq!(line(Target::Syslog, Level::Info, &text), format!("<22>postino[{pid}]: text"));
    }
}
