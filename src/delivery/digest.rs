//! By what a message that comes again is known.
//!
//! Lives here: a digest of 128 bits under a secret key, of a body as it came.
//! May not: know for whom the message is.
//! Holds: it is `SipHash`, no cryptographic digest, nor need it be: nobody who sends
//! mail sees the key or a digest, so nobody can make a message that is taken for
//! another, and there are no more than some thousands to meet by chance.

use postino_store::Body;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, BufRead},
    str::FromStr,
};

/// What is compared.
pub(super) type Digest = u128;

/// The key of digests that are to be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DigestKey(u128);

impl DigestKey {
    /// One that nobody knows.
    pub(super) fn random() -> Self {
        let random = || u128::from(RandomState::new().build_hasher().finish());
        Self(random() << 64 | random())
    }

    /// The digest of a body.
    pub(super) fn of_body(&self, body: &Body) -> io::Result<Digest> {
        let (mut reader, mut hasher) = (body.reader(), self.hasher());
        loop {
            match reader.fill_buf() {
                Ok([]) => return Ok(hasher.finish128().as_u128()),
                Ok(octets) => {
                    hasher.write(octets);
                    let count = octets.len();
                    reader.consume(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of several texts, in which there is no NUL, behind one that is
    /// known already.
    pub(super) fn of_texts(&self, before: Digest, texts: &[&str]) -> Digest {
        let mut hasher = self.hasher();
        hasher.write(&before.to_le_bytes());
        for text in texts {
            hasher.write(text.as_bytes());
            hasher.write(&[0]);
        }
        hasher.finish128().as_u128()
    }

    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0.to_le_bytes())
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for DigestKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        number_of(text).map(Self).ok_or(())
    }
}

/// The number of exactly 32 hexadecimal digits.
pub(super) fn number_of(text: &str) -> Option<u128> {
    let are_digits = text.len() == 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    are_digits.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::DigestKey;
    use postino_store::Body;

    #[test]
    fn the_digest_is_that_of_every_octet() {
        let key = DigestKey::random();
        let digest = |octets: &[u8]| key.of_body(&Body::in_memory(octets.to_vec())).unwrap();
        for length in [0, 1, 7, 8, 9, 3 * 16 * 1024] {
            let body = vec![b'x'; length];
            assert_eq!(digest(&body), digest(&body));
            assert_ne!(digest(&body), digest(&[&*body, b"x"].concat()));
            for at in [0, length / 2, length.saturating_sub(1)].into_iter().filter(|_| length > 0) {
                let mut other = body.clone();
                other[at] = b'y';
                assert_ne!(digest(&body), digest(&other), "{length} octets, at {at}");
            }
        }
        let other = DigestKey::random().of_body(&Body::in_memory(b"x".to_vec())).unwrap();
        assert_ne!(digest(b"x"), other);
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let key = DigestKey::random();
        assert_ne!(key.of_texts(1, &["ab", "c"]), key.of_texts(1, &["a", "bc"]));
        assert_ne!(key.of_texts(1, &["a"]), key.of_texts(2, &["a"]));
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = DigestKey::random();
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in ["", "0", &key.to_string()[1..], &format!("+{}", &key.to_string()[1..])] {
            assert_eq!(wrong.parse::<DigestKey>(), Err(()), "{wrong:?}");
        }
    }
}
