//! Names of folders as Maildir++ has them: `.Lists.2026`, beside the inbox's `new`.
//!
//! Lives here: from a folder's levels to its directory's name, and back.
//! May not: touch a file.
//! Holds: each name is one that Dovecot lists and opens, or the folder is refused.
//!
//! Levels are separated by `.`, so a `.` inside a level separates two; `&` and what is
//! no printable ASCII stand in modified UTF-7 (RFC 3501 section 5.1.3). For a `.` in
//! that form (Courier's) and a `~` in front Dovecot lists folders which it then does
//! not open.

use postino_files::marker;
use postino_store::DeliveryError;
#[cfg(feature = "reader")]
use std::str;

/// The letters of modified base64.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The account's mailbox itself, in any case, and what is above folders in it.
const INBOX: &str = "INBOX";

/// What the name of a mailbox that is being removed begins with, behind that of a
/// marker: no folder's name does, nor an account's.
pub(crate) const REMAINDER: &str = "-removed-";

/// The most octets of a file's name.
const OCTETS_MAX: usize = 255;

/// The directory of a folder; none for the inbox.
pub(crate) fn directory(folder: &str) -> Result<Option<String>, DeliveryError> {
    if folder.eq_ignore_ascii_case(INBOX) {
        return Ok(None);
    }
    let mut directory = String::with_capacity(folder.len() + 1);
    let mut is_usable = !folder.starts_with('~');
    for level in folder.split(['/', '.']) {
        is_usable &= !level.is_empty();
        let is_inbox = directory.is_empty() && level.eq_ignore_ascii_case(INBOX);
        directory.push('.');
        encode(if is_inbox { INBOX } else { level }, &mut directory);
    }
    is_usable &= directory.len() <= OCTETS_MAX && !is_remainder(directory.as_bytes());
    if !is_usable {
        let why = format!("no Maildir++ folder that programs open can be called {folder:?}");
        return Err(DeliveryError::UnusableName(why));
    }
    Ok(Some(directory))
}

/// The folder whose directory has this name.
#[cfg(feature = "reader")]
pub(crate) fn folder(name: &str) -> Option<String> {
    let levels: Option<Vec<String>> = name.strip_prefix('.')?.split('.').map(decode).collect();
    let folder = levels?.join("/");
    // In another form nobody would find it again.
    (directory(&folder).ok()?.as_deref() == Some(name)).then_some(folder)
}

/// Whether a name is that of a mailbox which was being removed.
pub(crate) fn is_remainder(name: &[u8]) -> bool {
    let rest = name.strip_prefix(marker::NAME.as_bytes());
    rest.is_some_and(|rest| rest.starts_with(REMAINDER.as_bytes()))
}

/// Whether a character stands for itself.
fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && character != '&'
}

fn encode(level: &str, into: &mut String) {
    let mut rest = level;
    while let Some(next) = rest.chars().next() {
        let is_next = |c: char| is_plain(c) == is_plain(next) && (c == '&') == (next == '&');
        let (run, after) = rest.split_at(rest.find(|c| !is_next(c)).unwrap_or(rest.len()));
        rest = after;
        match next {
            '&' => run.chars().for_each(|_| into.push_str("&-")),
            next if is_plain(next) => into.push_str(run),
            _ => {
                into.push('&');
                base64(run.encode_utf16(), into);
                into.push('-');
            }
        }
    }
}

fn base64(units: impl Iterator<Item = u16>, into: &mut String) {
    let (mut bits, mut count) = (0_u32, 0);
    let mut push = |index: u32| {
        into.push(LETTERS.get(index as usize & 0x3f).map_or('A', |letter| char::from(*letter)));
    };
    for unit in units {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            push(bits >> count);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        push(bits << (6 - count));
    }
}

/// Some text that may have this form; whoever asks tries whether it does.
#[cfg(feature = "reader")]
fn decode(level: &str) -> Option<String> {
    if level.is_empty() {
        return None;
    }
    let mut pieces = level.split('&');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (encoded, plain) = piece.split_once('-')?;
        if encoded.is_empty() {
            text.push('&');
        } else {
            let (mut bits, mut count, mut units) = (0_u32, 0, Vec::new());
            for letter in encoded.bytes() {
                let value = LETTERS.iter().position(|known| *known == letter)?;
                bits = bits << 6 | u32::try_from(value).ok()?;
                count += 6;
                if count >= 16 {
                    count -= 16;
                    units.push(u16::try_from(bits >> count).ok()?);
                    bits &= (1 << count) - 1;
                }
            }
            text.push_str(&String::from_utf16(&units).ok()?);
        }
        text.push_str(plain);
    }
    Some(text)
}

#[cfg(all(test, feature = "reader"))]
mod tests {
    use super::{directory, folder};

    #[test]
    fn folders_are_named_as_courier_and_dovecot_name_them() {
        for (levels, name) in [
            ("Lists/2026", ".Lists.2026"),
            ("Grüße", ".Gr&APwA3w-e"),
            ("A & B", ".A &- B"),
            ("&&ü&", ".&-&-&APw-&-"),
            ("a&AC4-b", ".a&-AC4-b"),
            ("😊", ".&2D3eCg-"),
            ("日本語", ".&ZeVnLIqe-"),
            ("peter/~mail/台北/日本語", ".peter.~mail.&U,BTFw-.&ZeVnLIqe-"),
            ("INBOX/x", ".INBOX.x"),
            ("a\\b*%\"", ".a\\b*%\""),
        ] {
            assert_eq!(directory(levels).unwrap().as_deref(), Some(name), "{levels}");
            assert_eq!(folder(name).as_deref(), Some(levels), "{name}");
        }
    }

    #[test]
    fn inbox_in_any_case_is_the_account_s_mailbox() {
        for inbox in ["INBOX", "inbox", "InBox"] {
            assert_eq!(directory(inbox).unwrap(), None);
        }
    }

    #[test]
    fn what_would_be_no_name_or_another_use_s_is_refused() {
        let long = "é&".repeat(40);
        for folder in ["~", "~x/y", "a.", "a..b", "x/b./c", "postino-removed-0123", &long] {
            assert!(directory(folder).is_err(), "{folder}");
        }
        assert!(directory("postino-users").is_ok());
        assert_eq!(directory("a.b/c").unwrap().unwrap(), ".a.b.c", "a dot separates levels");
        assert_eq!(directory("Inbox/x").unwrap().unwrap(), ".INBOX.x", "as Dovecot looks for it");
        for name in [
            "Sent", "..", ".a..b", ".a.", ".INBOX", ".&", ".&AGE-", ".&APw", ".~x", ".Inbox.x",
            ".ü", ".&2D0-", ".",
        ] {
            assert_eq!(folder(name), None, "{name}");
        }
    }
}
