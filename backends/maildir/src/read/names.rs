//! What a message's file name says, whoever wrote it.
//!
//! Lives here: its parts, the order of arrival, and the id, which is visible ASCII
//! whatever octets the name has.
//! May not: touch a file; make a name.

pub(crate) use crate::name::{base, said_size};

use crate::name::number;
use postino_store::Flags;
use std::{ffi::OsStr, fmt::Write as _, str};

/// Where the flags begin (maildir(5)).
const INFO: &[u8] = b":2,";

/// The standard flags; Dovecot's own, in lower case, are none.
pub(crate) fn flags(name: &OsStr) -> Flags {
    let info = name.as_encoded_bytes().get(base(name).len()..);
    let letters = info.and_then(|info| info.strip_prefix(INFO)).unwrap_or_default();
    Flags::from_letters(&String::from_utf8_lossy(letters))
}

/// Whether it is a hidden file to readers.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// What tells it from all other messages: all before the sizes.
pub(crate) fn unique(base: &[u8]) -> &[u8] {
    base.split(|octet| *octet == b',').next().unwrap_or(base)
}

/// Whether the colon before the flags has become another character, on the way
/// through a file system that has none in names.
pub(crate) fn has_lost_colon(base: &[u8]) -> bool {
    let letters = base.iter().rev().take_while(|octet| octet.is_ascii_alphabetic()).count();
    let Some(rest) = base.len().checked_sub(letters).and_then(|end| base.get(..end)) else {
        return false;
    };
    let instead: [&[u8]; 5] = [b";2,", b"!2,", b"_2,", b"+2,", b"%3A2,"];
    instead.iter().any(|info| rest.ends_with(info))
}

/// By which names are sorted: seconds, microseconds and a delivery's number in its
/// process. A name without seconds comes last.
pub(crate) fn arrival(base: &[u8]) -> (u64, u64, u64) {
    let mut parts = base.split(|octet| *octet == b'.');
    let seconds = parts.next().and_then(number).unwrap_or(u64::MAX);
    let part = parts.next().unwrap_or_default();
    let behind = |letter: u8| {
        let at = part.iter().position(|octet| *octet == letter)?;
        let rest = part.get(at + 1..)?;
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        number(rest.get(..digits)?)
    };
    (seconds, behind(b'M').unwrap_or(0), behind(b'Q').unwrap_or(0))
}

/// Its ids, from the one that it has to those that it has only where another message
/// has that: what [`deliver`](postino_store::MailStore::deliver) returned, for a name
/// of postino's own; its base; and its place.
pub(crate) fn ids<'a>(directory: &'a str, name: &'a OsStr) -> impl Iterator<Item = String> + 'a {
    let base = base(name);
    let whole = move || format!("{directory}/{}", escaped(name.as_encoded_bytes()));
    let candidates = [own(base).map(str::to_owned), Some(escaped(base)), Some(whole())];
    candidates.into_iter().flatten().filter(|id| !id.is_empty())
}

/// Whether an id is that of a place, so that another place is another message.
pub(crate) fn is_place(id: &str) -> bool {
    // No other id has a slash in it.
    id.contains('/')
}

/// What stands before the host in a name of postino's own:
/// `SECONDS.MmicrosecondsPpidQcounterRrandom`.
fn own(base: &[u8]) -> Option<&str> {
    let base = str::from_utf8(base).ok()?;
    let (seconds, rest) = base.split_once('.')?;
    let (unique, _) = rest.split_once('.')?;
    let (microseconds, rest) = unique.strip_prefix('M')?.split_once('P')?;
    let (pid, rest) = rest.split_once('Q')?;
    let (counter, random) = rest.split_once('R')?;
    let are_numbers = [seconds, microseconds, pid, counter]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit()));
    let is_random = random.len() == 16 && random.bytes().all(|octet| octet.is_ascii_hexdigit());
    (are_numbers && is_random).then(|| base.get(..seconds.len() + 1 + unique.len())).flatten()
}

/// With `%` and all that is no visible ASCII as `%` and two hexadecimal digits.
fn escaped(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        if octet.is_ascii_graphic() && *octet != b'%' {
            text.push(char::from(*octet));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{arrival, flags, ids, said_size, unique};
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    const OWN: &str = "17.M5P42Q3R0123456789abcdef.mx.example.org,S=12,W=14:2,FSa";

    fn all(name: &[u8]) -> Vec<String> {
        ids("cur", OsStr::from_bytes(name)).collect()
    }

    #[test]
    fn an_id_is_what_deliver_returned_or_the_base_in_visible_ascii() {
        assert_eq!(all(OWN.as_bytes())[0], "17.M5P42Q3R0123456789abcdef");
        let [base, place] = &all(b"17.M5P42.mx,S=12:2,S")[..] else { panic!("two ids") };
        assert_eq!((&base[..], &place[..]), ("17.M5P42.mx,S=12", "cur/17.M5P42.mx,S=12:2,S"));
        assert_eq!(all(b"a b%20\n\xff:2,")[0], "a%20b%2520%0A%FF");
        assert_eq!(all(b":2,S"), ["cur/:2,S"]);
        for close in ["17.M5P42Q3R0123456789abcdeg.h", "17.M5P42Q3R0123456789abcdef", "17.MP4Q3R.h"]
        {
            assert_eq!(all(close.as_bytes())[0], close);
        }
    }

    #[test]
    fn flags_behind_another_character_than_a_colon_are_seen() {
        for lost in [&b"17.x.mx,S=5;2,S"[..], b"17.x!2,", b"17.x.mx_2,FSab", b"17.x%3A2,S"] {
            assert!(super::has_lost_colon(lost));
        }
        for whole in [&b"17.x.mx_2,S=5"[..], b"17.x.mx,S=5", b"17.x.mx-2,S", b"2,S", b"S", b""] {
            assert!(!super::has_lost_colon(whole));
        }
    }

    #[test]
    fn a_name_says_when_it_came_its_size_and_its_flags() {
        let base = super::base(OsStr::new(OWN));
        assert_eq!(arrival(base), (17, 5, 3));
        assert_eq!(arrival(b"17.4242_1.mx"), (17, 0, 0));
        assert_eq!(arrival(b"draft"), (u64::MAX, 0, 0));
        assert_eq!(
            (said_size(base), unique(base)),
            (Some(12), OWN.split(',').next().unwrap().as_bytes())
        );
        assert_eq!(said_size(b"17.x.mx,W=3,S=7"), Some(7));
        for none in [&b"17.x.mx"[..], b"17.x,S=", b"17.x,S=-1", b"17.x,S=99999999999999999999"] {
            assert_eq!(said_size(none), None);
        }
        assert_eq!(flags(OsStr::new(OWN)).as_str(), "FS");
        assert_eq!(flags(OsStr::new("17.x:1,S")).as_str(), "");
        assert_eq!(flags(OsStr::new("17.S")).as_str(), "");
    }
}
