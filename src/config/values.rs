//! Values as they are written: durations and sizes.
//!
//! Lives here: `300`, `300s`, `5m`, `24h`; `128M`, sizes being powers of 1024.
//! May not: know a setting.

use std::time::Duration;

/// What a duration looks like, for complaints.
pub const DURATION_FORM: &str = "a duration such as 300, 300s, 5m or 24h";
/// What a size looks like.
pub const SIZE_FORM: &str = "a size such as 4096, 64K, 128M or 1G";

/// The longest duration: a year. No time-out needs more, and no arithmetic with
/// it overflows.
const DURATION_MAX_S: u64 = 365 * 86_400;

/// A duration: seconds, or a number with `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let unit_s = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit_s).filter(|s| *s <= DURATION_MAX_S).map(Duration::from_secs)
}

/// A size in octets: a number, with `K`, `M` or `G` behind it or not.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::{duration, size};
    use std::time::Duration;

    #[test]
    fn durations_have_units_of_time() {
        for (text, s) in [("0", 0), ("300", 300), ("300s", 300), ("5m", 300), ("24h", 86_400)] {
            assert_eq!(duration(text), Some(Duration::from_secs(s)), "{text}");
        }
        for wrong in ["", "m", "5x", "-1", "1.5m", "5 m", "99999999999h", "18446744073709551616"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, octets) in [("0", 0), ("4096", 4096), ("64K", 65_536), ("1G", 1 << 30)] {
            assert_eq!(size(text), Some(octets), "{text}");
        }
        for wrong in ["", "K", "1T", "1KB", "+1", "99999999999G"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
