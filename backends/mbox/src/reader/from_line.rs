//! The line that begins a message, as this and other programs write it.
//!
//! Lives here: the sender and the date in it.
//! May not: decide where a message begins.
//!
//! ```text
//! From alice@example.org Tue Nov 24 08:47:49 2026          asctime(3), taken for UTC
//! From alice@example.org  Tue Nov 24 08:47 CET 2026        two blanks, no seconds, a zone
//! From - Tue Nov 24 08:47:49 2026 +0100                    a zone behind the year
//! ```

use crate::render::FROM;
use postino_store::Timestamp;
use std::time::Duration;

/// The most octets a From_ line can have: a reverse-path of 256 and a date need far
/// fewer.
pub(super) const OCTETS_MAX: usize = 2 * 1024;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Names of zones that programs write, with their offset in hours. Others count as
/// UTC: a few hours are better than no date.
const ZONES: [(&str, i32); 14] = [
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("CET", 1),
    ("MET", 1),
    ("CEST", 2),
    ("MEST", 2),
    ("EET", 2),
    ("EEST", 3),
];

/// What a From_ line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FromLine {
    /// None where the line has none; empty for `MAILER-DAEMON`.
    pub(super) sender: Option<String>,
    /// None where it cannot be read.
    pub(super) date: Option<Timestamp>,
}

impl FromLine {
    /// Reads a line, with its end or without; none where it does not begin with
    /// `From `. One without a date may as well be a line of a text.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line.strip_prefix(FROM)?);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let dated = (0..words.len()).find_map(|at| Some((at, date(words.get(at..)?)?)));
        // Without a date the first word is the likeliest sender.
        let (end, date) = match dated {
            Some((at, date)) => (at, Some(date)),
            None => (words.len().min(1), None),
        };
        let sender =
            words.get(..end).filter(|words| !words.is_empty()).map(|words| match words.join(" ") {
                sender if sender == "MAILER-DAEMON" || sender == "<>" => String::new(),
                sender => sender,
            });
        Some(Self { sender, date })
    }

    /// Whether it can hardly be anything else, though its date cannot be read: it
    /// has an address, and somewhere behind it a time.
    pub(super) fn looks_like_one(line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line.strip_prefix(FROM).unwrap_or_default());
        let mut words = text.split_ascii_whitespace();
        let sender = words.next().unwrap_or_default();
        (sender.contains('@') || sender == "MAILER-DAEMON")
            && words.any(|word| second_of_day(word).is_some())
    }
}

/// `Tue Nov 24 08:47[:49] [ZONE...] 2026 [ZONE...]`, whatever follows.
fn date(words: &[&str]) -> Option<Timestamp> {
    let [weekday, month, day, time, rest @ ..] = words else { return None };
    if !WEEKDAYS.contains(weekday) {
        return None;
    }
    let month = MONTHS.iter().position(|name| name == month)?;
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let second_of_day = second_of_day(time)?;
    // A zone may take two words, as `MET DST`.
    let at = (0..=2).find(|at| rest.get(*at).is_some_and(|word| is_year(word)))?;
    let year: i64 = rest.get(at)?.parse().ok()?;
    let zone = if at == 0 { rest.get(1) } else { rest.first() };
    let offset_minutes = zone.map_or(0, |zone| offset_minutes(zone));
    let seconds = days_since_epoch(year, i64::try_from(month).ok()? + 1, day) * 86_400
        + second_of_day
        - i64::from(offset_minutes) * 60;
    // What came before 1970 did not come by mail.
    let since_epoch = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(Timestamp { since_epoch, offset_minutes })
}

fn is_year(word: &str) -> bool {
    word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit())
}

/// Of `08:47:49` or `08:47`.
fn second_of_day(time: &str) -> Option<i64> {
    let mut parts = time.split(':');
    let mut next = |max: i64| -> Option<i64> {
        let part = parts.next()?;
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
        part.parse().ok().filter(|value| is_number && *value <= max)
    };
    let (hour, minute) = (next(23)?, next(59)?);
    let second = if time.matches(':').count() > 1 { next(60)? } else { 0 };
    parts.next().is_none().then_some(hour * 3_600 + minute * 60 + second)
}

fn offset_minutes(zone: &str) -> i32 {
    if let Some((_, hours)) = ZONES.iter().find(|(name, _)| *name == zone) {
        return hours * 60;
    }
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return 0,
    };
    match digits.parse::<i32>() {
        Ok(number) if digits.len() == 4 && number / 100 <= 14 && number % 100 < 60 => {
            sign * (number / 100 * 60 + number % 100)
        }
        _ => 0,
    }
}

/// Howard Hinnant's well-known method, which counts in eras of 400 years that
/// begin with a March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::FromLine;
    use postino_store::Timestamp;
    use std::time::Duration;

    fn seconds(line: &str) -> Option<u64> {
        Some(FromLine::parse(line.as_bytes())?.date?.since_epoch.as_secs())
    }

    #[test]
    fn a_from_line_is_read_as_other_programs_write_it() {
        let at = 1_795_510_069;
        for (line, wanted) in [
            ("From a@b Tue Nov 24 08:47:49 2026\n", Some(at)),
            ("From a@b  Tue Nov 24 08:47:49 2026", Some(at)),
            ("From - Tue Nov 24 08:47:49 2026\r\n", Some(at)),
            ("From a@b Tue Nov 24 08:47 2026 remote from host\n", Some(at - 49)),
            ("From a@b Tue Nov 24 09:47:49 2026 +0100\n", Some(at)),
            ("From a@b Tue Nov 24 03:17:49 -0530 2026\n", Some(at)),
            ("From a@b Tue Nov 24 09:47:49 CET 2026\n", Some(at)),
            ("From a@b Tue Nov 24 08:47:49 ABC DST 2026\n", Some(at)),
            ("From a b c Thu Jan  1 00:00:00 1970\n", Some(0)),
            ("From a b c Wed Dec 31 23:00:00 1969\n", Some(0)),
            ("From a@b Tue Feb 29 00:00:00 2000\n", Some(951_782_400)),
            ("From a@b Fri Jan  1 00:00:00 2100\n", Some(4_102_444_800)),
            ("From me to you on Tue Nov 24\n", None),
            ("From a@b Tue Nov 24 08:47:49\n", None),
            ("From a@b Tue Nov 24 24:47:49 2026\n", None),
            ("From a@b Tue Nov 32 08:47:49 2026\n", None),
            ("From a@b Tue Nov 24 8:4:9:1 2026\n", None),
            (">From a@b Tue Nov 24 08:47:49 2026\n", None),
            ("From:a@b Tue Nov 24 08:47:49 2026\n", None),
        ] {
            assert_eq!(seconds(line), wanted, "{line}");
        }
        let sender = |line: &str| FromLine::parse(line.as_bytes()).unwrap().sender;
        assert_eq!(sender("From MAILER-DAEMON Tue Nov 24 08:47:49 2026\n").as_deref(), Some(""));
        assert_eq!(sender("From a b Tue Nov 24 08:47:49 2026\n").as_deref(), Some("a b"));
        assert_eq!(sender("From  Tue Nov 24 08:47:49 2026\n"), None);
        assert_eq!(sender("From \n"), None);
        assert_eq!(sender("From a@b\n").as_deref(), Some("a@b"));
    }

    #[test]
    fn every_date_that_a_delivery_writes_is_read_back() {
        for seconds in (0..5_000_000_000).step_by(86_400 * 17 + 4_711) {
            let since_epoch = Duration::from_secs(seconds);
            let moment = Timestamp { since_epoch, offset_minutes: 0 };
            let line = format!("From a@b {}\n", moment.asctime_utc());
            assert_eq!(FromLine::parse(line.as_bytes()).unwrap().date, Some(moment), "{line}");
        }
    }

    #[test]
    fn what_has_an_address_and_a_time_looks_like_one() {
        let looks = |line: &str| FromLine::looks_like_one(line.as_bytes());
        assert!(looks("From a@b 24.11.2026 08:47:49\n") && looks("From MAILER-DAEMON x 08:47\n"));
        assert!(!looks("From me to you at 08:47\n") && !looks("From a@b to c@d\n"));
        assert!(!looks("From: a@b 08:47\n"));
    }
}
