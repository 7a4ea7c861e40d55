//! Message names: `SECONDS.MmicrosecondsPpidQcounterRrandom.host,S=size,W=vsize`,
//! and `:2,FLAGS` behind it in `cur`.
//!
//! Lives here: what makes a name unique, and the sizes behind it, which spare
//! IMAP servers, and whoever counts, a stat (S) and a reading of the whole file (W).
//! May not: touch a file.
//! Holds: no two names are alike: the counter tells deliveries of a process
//! apart, 64 random bits tell processes apart even where pids are used again.

use crate::mailbox::TMP;
use postino_store::{DeliveryError, DeliveryId, Flags, Message, Timestamp};
use std::{
    ffi::OsStr,
    path::PathBuf,
    str,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most octets of the host in a name: a name has 255, of which time, pid,
/// counter, random bits and sizes take up to 140, and flags 9.
const HOST_OCTETS_MAX: usize = 100;

/// Makes the names of one store's messages.
pub(crate) struct Names {
    host: String,
    /// Asked for at the first delivery: after a fork, if any.
    process: OnceLock<Process>,
    counter: AtomicU64,
}

/// What tells this process from all others.
struct Process {
    pid: u32,
    random: u64,
}

impl Names {
    pub(crate) fn new(hostname: &str) -> Self {
        Self { host: escaped(hostname), process: OnceLock::new(), counter: AtomicU64::new(0) }
    }

    /// The host in them.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A name that no other message has. That of one from another store says when it
    /// came there, so that listings by name are in the order of arrival.
    pub(crate) fn next(&self, message: &Message) -> Result<Name, DeliveryError> {
        let Process { pid, random } = self.process()?;
        let flags = kept(message).cloned();
        let came = if flags.is_some() { message.received } else { Timestamp::now_utc() };
        let came = came.since_epoch;
        let unique = format!(
            "{}.M{}P{pid}Q{}R{random:016x}",
            came.as_secs(),
            came.subsec_micros(),
            self.counter.fetch_add(1, Ordering::Relaxed),
        );
        Ok(Name { full: format!("{unique}.{}", self.host), unique_octets: unique.len(), flags })
    }

    fn process(&self) -> Result<&Process, DeliveryError> {
        if let Some(process) = self.process.get() {
            return Ok(process);
        }
        let random = postino_files::random()
            .map_err(|cause| DeliveryError::io("draw random bits", "", cause))?;
        Ok(self.process.get_or_init(|| Process { pid: std::process::id(), random }))
    }
}

/// The flags of a message from another store. Without the reading side nothing
/// copies, and an appliance is spared the code for it.
pub(crate) fn kept(message: &Message) -> Option<&Flags> {
    message.flags().filter(|_| cfg!(feature = "reader"))
}

/// One message's name.
pub(crate) struct Name {
    full: String,
    unique_octets: usize,
    /// Of a message from another store: what it is marked with.
    flags: Option<Flags>,
}

/// A message's size in its file, and with every line end as CRLF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) octets: u64,
    pub(crate) virtual_octets: u64,
}

impl Name {
    /// The id: the name up to the host.
    pub(crate) fn id(&self) -> DeliveryId {
        DeliveryId::new(self.full.get(..self.unique_octets).unwrap_or(&self.full))
    }

    /// Whether the message has flags, if only none, and so belongs into `cur`.
    pub(crate) fn has_flags(&self) -> bool {
        cfg!(feature = "reader") && self.flags.is_some()
    }

    /// The name in `tmp`, where the sizes are not known yet, seen from beside it.
    pub(crate) fn in_tmp(&self) -> PathBuf {
        ["..", TMP, &self.full].iter().collect()
    }

    /// The name in `new`, or in `cur` where it has flags.
    pub(crate) fn in_place(&self, sizes: Sizes) -> PathBuf {
        let Sizes { octets, virtual_octets } = sizes;
        let mut name = format!("{},S={octets},W={virtual_octets}", self.full);
        if let Some(flags) = self.flags.as_ref().filter(|_| self.has_flags()) {
            name.push_str(":2,");
            name.push_str(flags.as_str());
        }
        name.into()
    }
}

/// `/` would end the name, `:` and `,` begin what readers put behind it
/// (maildir(5) escapes the first two); a comma would end the host before the
/// sizes. What is no visible ASCII is escaped alike.
fn escaped(hostname: &str) -> String {
    let mut host = String::new();
    for octet in hostname.bytes() {
        let piece = match octet {
            b'/' | b':' | b',' => format!("\\{octet:03o}"),
            _ if octet.is_ascii_graphic() => char::from(octet).to_string(),
            _ => format!("\\{octet:03o}"),
        };
        if host.len() + piece.len() > HOST_OCTETS_MAX {
            break;
        }
        host.push_str(&piece);
    }
    if host.is_empty() { "localhost".to_owned() } else { host }
}

/// The name without what readers change: all before the first colon.
pub(crate) fn base(name: &OsStr) -> &[u8] {
    let name = name.as_encoded_bytes();
    name.split(|octet| *octet == b':').next().unwrap_or(name)
}

/// Its size as the name says it: `,S=1234`.
pub(crate) fn said_size(base: &[u8]) -> Option<u64> {
    let mut fields = base.split(|octet| *octet == b',').skip(1);
    number(fields.find_map(|field| field.strip_prefix(b"S="))?)
}

/// Digits, and nothing but digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{HOST_OCTETS_MAX, Names, Sizes, escaped};
    use postino_store::{Body, Flags, Message, Timestamp};
    use std::time::Duration;

    fn new_mail() -> Message {
        received(Timestamp::now_utc())
    }

    fn received(received: Timestamp) -> Message {
        Message::new(received, String::new(), false, Body::in_memory(Vec::new()))
    }

    #[test]
    fn the_name_of_a_kept_message_has_its_time_and_flags() {
        let names = Names::new("mx.example.org");
        let since_epoch = Duration::new(1_000_000_000, 7_000);
        let old = || received(Timestamp { since_epoch, offset_minutes: 0 });
        for (letters, info) in [("SF", ":2,FS"), ("", ":2,")] {
            let name = names.next(&old().with_flags(Flags::from_letters(letters))).unwrap();
            let text = name.in_place(Sizes { octets: 12, virtual_octets: 14 });
            assert!(name.id().as_str().starts_with("1000000000.M7P"), "{}", name.id());
            let expected = format!("{}.mx.example.org,S=12,W=14{info}", name.id());
            assert_eq!(text.to_str().unwrap(), expected);
        }
        assert!(!names.next(&old()).unwrap().id().as_str().starts_with("1000000000"));
    }

    #[test]
    fn slash_colon_and_comma_of_the_host_are_escaped() {
        assert_eq!(escaped("a/b:c,d"), "a\\057b\\072c\\054d");
        assert_eq!(escaped("mail.example.org"), "mail.example.org");
        assert_eq!(escaped("a b\n"), "a\\040b\\012");
        assert_eq!(escaped(""), "localhost");
        assert!(escaped(&":".repeat(300)).len() <= HOST_OCTETS_MAX);
    }

    #[test]
    fn the_longest_name_fits_a_path_component() {
        let names = Names::new(&"h".repeat(253));
        names.counter.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
        let name = names.next(&new_mail().with_flags(Flags::from_letters("DFPRST"))).unwrap();
        let sizes = Sizes { octets: u64::MAX, virtual_octets: u64::MAX };
        // Pids have up to seven digits, microseconds up to six.
        assert!(name.in_place(sizes).as_os_str().len() + 7 + 6 <= 255);
    }

    #[test]
    fn a_name_is_time_pid_counter_and_random_bits_then_host_and_sizes() {
        let names = Names::new("mx.example.org");
        let (first, second) = (names.next(&new_mail()).unwrap(), names.next(&new_mail()).unwrap());
        let text = first.in_place(Sizes { octets: 12, virtual_octets: 14 });
        let text = text.to_str().unwrap();
        assert_eq!(text, format!("{}.mx.example.org,S=12,W=14", first.id()));

        let (seconds, rest) = text.split_once(".M").unwrap();
        let (microseconds, rest) = rest.split_once('P').unwrap();
        let (pid, rest) = rest.split_once('Q').unwrap();
        let (counter, rest) = rest.split_once('R').unwrap();
        let random = rest.split_once('.').unwrap().0;
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000);
        assert!(microseconds.parse::<u32>().unwrap() < 1_000_000);
        assert_eq!(pid, std::process::id().to_string());
        assert_eq!(counter, "0");
        assert_eq!(random.len(), 16);
        assert!(u64::from_str_radix(random, 16).is_ok());
        assert!(second.id().as_str().contains("Q1R"));
        assert!(second.id().as_str().ends_with(random));
    }
}
