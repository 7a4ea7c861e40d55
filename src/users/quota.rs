//! Quotas as they are written.
//!
//! Lives here: postino's own form (`10M,1000`) and Dovecot's quota rules.
//! May not: know an account.

use postino_store::Quota;

/// What postino's own form looks like, for complaints.
pub const QUOTA_FORM: &str = "a quota such as 10M, 1G or 1G,10000 (octets, messages)";

/// `BYTES[,MESSAGES]`; 0 is no limit.
pub fn quota(text: &str) -> Option<Quota> {
    let (octets, messages) = match text.split_once(',') {
        Some((octets, messages)) => (octets, Some(number(messages)?)),
        None => (text, None),
    };
    Some(Quota { octets: limit(octets_of(octets, 0)?), messages: messages.and_then(limit) })
}

/// Adds to `quota` what a rule of Dovecot's says of the whole account
/// (`*:storage=10M:messages=100`). `Ok(false)`: it is of some mailboxes only;
/// `Err`: it is no rule.
pub(super) fn add_rule(quota: &mut Quota, rule: &str) -> Result<bool, ()> {
    let mut parts = rule.split(':');
    if parts.next() != Some("*") {
        return Ok(false);
    }
    for part in parts {
        match part.split_once('=').ok_or(())? {
            ("bytes", octets) => quota.octets = limit(octets_of(octets, 0).ok_or(())?),
            // Without a unit these are kibibytes.
            ("storage", octets) => quota.octets = limit(octets_of(octets, 10).ok_or(())?),
            ("messages", count) => quota.messages = limit(number(count).ok_or(())?),
            _ => return Err(()),
        }
    }
    Ok(true)
}

/// A size as Dovecot writes it; `shift` is the unit of one that names none.
pub(super) fn octets_of(text: &str, shift: u32) -> Option<u64> {
    let end = text.bytes().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" => shift,
        "B" | "b" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    number(digits)?.checked_mul(1 << shift)
}

/// Digits alone: no sign.
pub(super) fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// 0 is no limit.
pub(super) fn limit(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::{add_rule, quota};
    use postino_store::Quota;

    #[test]
    fn a_quota_is_octets_and_perhaps_messages() {
        for (text, octets, messages) in [
            ("10M", Some(10 << 20), None),
            ("1G,1000", Some(1 << 30), Some(1_000)),
            ("0", None, None),
            ("0,5", None, Some(5)),
        ] {
            assert_eq!(quota(text), Some(Quota { octets, messages }), "{text}");
        }
        for wrong in ["", "M", "-1", "+1", "1X", "1,", "1,x", "1,2,3", "99999999999G", "1 G"] {
            assert_eq!(quota(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dovecots_rules_are_of_the_whole_account_or_of_others() {
        for (rule, octets, messages) in [
            ("*:bytes=1000", Some(1_000), None),
            ("*:bytes=10M", Some(10 << 20), None),
            ("*:storage=10", Some(10 << 10), None),
            ("*:storage=1G:messages=7", Some(1 << 30), Some(7)),
            ("*:bytes=0", None, None),
        ] {
            let mut read = Quota::default();
            assert_eq!(add_rule(&mut read, rule), Ok(true), "{rule}");
            assert_eq!(read, Quota { octets, messages }, "{rule}");
        }
        assert_eq!(add_rule(&mut Quota::default(), "Trash:storage=+100M"), Ok(false));
        for wrong in ["*:bytes", "*:bytes=", "*:bytes=x", "*:storage=10%", "*:size=1"] {
            assert_eq!(add_rule(&mut Quota::default(), wrong), Err(()), "{wrong}");
        }
    }
}
