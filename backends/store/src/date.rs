//! Moments, and how mail writes them.
//!
//! Lives here: civil dates from seconds since 1970, in the forms of RFC 5322
//! section 3.3, RFC 3339 and asctime(3).
//! May not: ask the system for the time zone; whoever knows it says it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, with the offset of the local time there and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Time since 1970 in UTC, leap seconds left out.
    pub since_epoch: Duration,
    /// Local time minus UTC, in minutes.
    pub offset_minutes: i32,
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Civil {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    second_of_day: i64,
}

impl Timestamp {
    /// This moment in UTC.
    pub fn now_utc() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { since_epoch, offset_minutes: 0 }
    }

    /// The date-time of a header field, `Tue, 24 Nov 2026 08:47:49 +0100`
    /// (RFC 5322 section 3.3).
    pub fn rfc5322(self) -> String {
        let Civil { year, month, day, weekday, second_of_day } = self.civil();
        let (sign, hours, minutes) = self.offset();
        format!(
            "{}, {day} {} {year:04} {} {sign}{hours:02}{minutes:02}",
            DAYS[weekday],
            MONTHS[month - 1],
            clock(second_of_day)
        )
    }

    /// `2026-11-24T08:47:49+01:00` (RFC 3339), `Z` for UTC.
    pub fn rfc3339(self) -> String {
        let Civil { year, month, day, second_of_day, .. } = self.civil();
        let zone = match (self.offset_minutes, self.offset()) {
            (0, _) => "Z".to_owned(),
            (_, (sign, hours, minutes)) => format!("{sign}{hours:02}:{minutes:02}"),
        };
        format!("{year:04}-{month:02}-{day:02}T{}{zone}", clock(second_of_day))
    }

    /// `Tue Nov 24 08:47:49 2026`, in UTC whatever the offset: the date of an
    /// mbox's From_ line, 24 characters wide as asctime(3) writes it.
    pub fn asctime_utc(self) -> String {
        let Civil { year, month, day, weekday, second_of_day } =
            Self { offset_minutes: 0, ..self }.civil();
        let (weekday, month) = (DAYS[weekday], MONTHS[month - 1]);
        format!("{weekday} {month} {day:2} {} {year:04}", clock(second_of_day))
    }

    fn offset(self) -> (char, i32, i32) {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        (sign, self.offset_minutes.abs() / 60, self.offset_minutes.abs() % 60)
    }

    /// Days since 1970 to year, month and day: Howard Hinnant's well-known
    /// method, which counts in eras of 400 years that begin with a March.
    fn civil(self) -> Civil {
        let seconds = i64::try_from(self.since_epoch.as_secs()).unwrap_or(i64::MAX / 2)
            + i64::from(self.offset_minutes) * 60;
        let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month: usize::try_from(month).unwrap_or(1),
            day,
            weekday: usize::try_from(days.rem_euclid(7)).unwrap_or(0),
            second_of_day,
        }
    }
}

fn clock(second_of_day: i64) -> String {
    format!("{:02}:{:02}:{:02}", second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::Timestamp;
    use std::time::Duration;

    fn at(seconds: u64, offset_minutes: i32) -> Timestamp {
        Timestamp { since_epoch: Duration::from_secs(seconds), offset_minutes }
    }

    #[test]
    fn dates_are_those_of_rfc_5322_rfc_3339_and_asctime() {
        assert_eq!(at(0, 0).rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(at(1_795_510_069, 60).rfc5322(), "Tue, 24 Nov 2026 09:47:49 +0100");
        assert_eq!(at(1_795_510_069, 60).asctime_utc(), "Tue Nov 24 08:47:49 2026");
        assert_eq!(at(0, 0).asctime_utc(), "Thu Jan  1 00:00:00 1970");
        assert_eq!(at(951_782_400, -330).rfc5322(), "Mon, 28 Feb 2000 18:30:00 -0530");
        assert_eq!(at(951_782_400, 0).rfc3339(), "2000-02-29T00:00:00Z");
        assert_eq!(at(951_782_400, 90).rfc3339(), "2000-02-29T01:30:00+01:30");
        assert_eq!(at(4_102_444_800, 0).rfc3339(), "2100-01-01T00:00:00Z");
    }
}
