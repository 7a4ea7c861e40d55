//! A message's id: the place of its From_ line, and what its text is.
//!
//! Lives here: the digest that ids have, and both as text.
//! May not: look for a message.

use postino_store::DeliveryId;
use sha2::{Digest, Sha256};
use std::fmt;

/// Octets of the digest that are part of an id.
const OCTETS: usize = 6;

/// What begins the SHA-256 of a message as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextDigest([u8; OCTETS]);

impl TextDigest {
    /// Of all that was given to `digest`.
    pub(crate) fn of(digest: Sha256) -> Self {
        let mut octets = [0; OCTETS];
        octets.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
        Self(octets)
    }

    /// The id of the message of this text whose From_ line stands there.
    pub(crate) fn id(self, at: u64) -> DeliveryId {
        DeliveryId::new(format!("{at}-{self}"))
    }
}

impl fmt::Display for TextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Reads an id; none where it cannot be one of ours.
#[cfg(feature = "reader")]
pub(crate) fn parse(id: &str) -> Option<(u64, TextDigest)> {
    let (at, hex) = id.split_once('-')?;
    let at: u64 = at.parse().ok()?;
    let number = u64::from_str_radix(hex, 16).ok()?;
    let mut octets = [0; OCTETS];
    // The number's last octets are the digest's.
    octets.iter_mut().rev().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    let digest = TextDigest(octets);
    (digest.id(at).as_str() == id).then_some((at, digest))
}

#[cfg(all(test, feature = "reader"))]
mod tests {
    use super::{TextDigest, parse};
    use sha2::{Digest, Sha256};

    #[test]
    fn an_id_is_read_back_and_nothing_else_is() {
        let digest = TextDigest::of(Sha256::new_with_prefix("abc"));
        assert_eq!(digest.id(4711).as_str(), "4711-ba7816bf8f01");
        assert_eq!(parse("4711-ba7816bf8f01"), Some((4711, digest)));
        for id in [
            "",
            "-",
            "4711",
            "4711-",
            "4711-ba7816bf8f0",
            "4711-ba7816bf8f012",
            "+1-ba7816bf8f01",
            "4711-BA7816BF8F01",
            "04711-ba7816bf8f01",
            "4711-+a7816bf8f01",
            "4711-ba7816bf8f01-",
        ] {
            assert_eq!(parse(id), None, "{id}");
        }
    }
}
