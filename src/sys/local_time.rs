//! The local time zone, asked of the C library.
//!
//! Lives here: how far local time is from UTC at a moment.
//! May not: be called on the event loop; the first call reads the time zone's
//! file.
#![allow(unsafe_code, reason = "localtime_r is the C library's, and rustix has none")]

use std::{
    mem::MaybeUninit,
    time::{SystemTime, UNIX_EPOCH},
};

/// Local time minus UTC at this moment, in minutes; 0 where the C library
/// cannot tell.
pub fn offset_minutes(at: SystemTime) -> i32 {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let Ok(seconds) = libc::time_t::try_from(seconds) else { return 0 };
    let mut broken_down = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live values of the right types, and the
    // function keeps neither.
    let result = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
    if result.is_null() {
        return 0;
    }
    // SAFETY: a result that is not null says that the whole struct was written.
    let broken_down = unsafe { broken_down.assume_init() };
    i32::try_from(broken_down.tm_gmtoff / 60).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::offset_minutes;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_offset_is_that_of_date() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_510_069);
        let date = std::process::Command::new("date").args(["-d", "@1795510069", "+%z"]).output();
        let date = String::from_utf8(date.unwrap().stdout).unwrap();
        let offset = offset_minutes(at);
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 60, offset.abs() % 60);
        assert_eq!(format!("{sign}{hours:02}{minutes:02}"), date.trim());
    }
}
