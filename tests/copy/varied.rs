//! Messages of every kind, in a Maildir that the test itself writes.

use crate::stored::Place;
use std::{
    fs::{self, File},
    ops::Range,
    time::{Duration, SystemTime},
};

/// The largest, and its octets.
pub(crate) const LARGEST: usize = 17;
const LARGEST_OCTETS: usize = 20 << 20;

/// When the first of them came.
pub(crate) const FIRST_SECOND: u64 = 1_700_000_000;

/// One kind of message after the other; those of a kind differ by the number, but for
/// some that are equal.
pub(crate) fn message(number: usize) -> Vec<u8> {
    let trace = "Return-Path: <s@example.net>\nDelivered-To: A@example.org\n\
                 Received: from client.example.net (local)\n\tby mx.example.org with LMTP id 7;\n\
                 \tTue, 24 Nov 2026 08:47:49 +0000\n";
    let plain = format!("Subject: {number}\n\nText of {number}.\n");
    let text = match number % 20 {
        0 => format!("{trace}{plain}"),
        1 => format!("Subject: {number}\n\nFrom here on.\n>From there\n>>>From\n>>From x\n"),
        2 => format!("From me {number}\n{plain}\nFrom "),
        3 => format!("{trace}{plain}no final newline"),
        4 => format!("{trace}{plain}").replace('\n', "\r\n"),
        5 => format!("{plain}mixed\r\nbare\rcr\r\r\nend\n"),
        6 => format!("{plain}\n\n\n"),
        7 => plain.repeat(60),
        8 => format!("{trace}Subject: equal\n\nAll of these are alike.\n"),
        9 => format!("{trace}{trace}{plain}"),
        10 => return [plain.as_bytes(), b"8-bit \xe4\xff\xfe\n\0\0 NUL \0\n"].concat(),
        11 => return (0..=255).cycle().take(300 + number).collect(),
        12 => return Vec::new(),
        13 => format!("{plain}{}\n", "long line ".repeat(900)),
        14 => format!("Received: {}\n\n{number}\n", "a very long one\n ".repeat(1000)),
        15 => format!(">From {number}"),
        _ => plain,
    };
    let mut octets = text.into_bytes();
    match number {
        LARGEST => octets.extend((0..=254).cycle().take(LARGEST_OCTETS)),
        77 | 78 => octets.extend(b"Equal line of a large one.\r\nFrom x\n".repeat(20_000)),
        177 => octets.extend(trace.repeat(3_000).into_bytes()),
        _ => {}
    }
    octets
}

/// A Maildir store with those of these numbers in two mailboxes, as their readers left
/// them: with flags or without, in `cur` and `new`.
pub(crate) fn maildir(place: &Place, numbers: Range<usize>) {
    for name in ["a@example.org", "b@example.org", "empty@example.org"] {
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(place.path().join(name).join(part)).unwrap();
        }
    }
    for number in numbers {
        let name = if number % 3 == 0 { "b@example.org" } else { "a@example.org" };
        let second = FIRST_SECOND + u64::try_from(number).unwrap();
        let base = format!("{second}.M1P1Q{number}.host");
        let file = match number % 4 {
            0 => format!("new/{base}"),
            1 => format!("cur/{base}:2,"),
            2 => format!("cur/{base}:2,FS"),
            _ => format!("cur/{base}:2,RST"),
        };
        let path = place.path().join(name).join(file);
        fs::write(&path, message(number)).unwrap();
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        File::open(&path).unwrap().set_modified(received).unwrap();
    }
}
