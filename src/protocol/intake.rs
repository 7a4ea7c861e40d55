//! A message's octets as they are taken in, wherever they come from.
//!
//! Lives here: counting them as RFC 1870 section 5 does, the limit on them, the
//! bare-newline policy, the header filter, and giving a large message away part by
//! part.
//! May not: tell lines apart, nor know where a message ends; whoever reads it does.

use super::BareNewlines;
use crate::{
    reply::{self, Reply},
    transaction::{HeaderFacts, HeaderFilter},
};

/// Received fields that a message may have (RFC 5321 section 6.3: at least 100).
const RECEIVED_FIELDS_MAX: u32 = 100;

/// Octets of a message that a session keeps at the most, give or take a header
/// line; what is more is spooled. Its buffer is doubled up to that.
pub const PART_OCTETS: usize = 256 * 1024;
/// What a part begins with.
const PART_OCTETS_MIN: usize = 1024;

/// A message that came whole.
#[derive(Debug)]
pub struct Received {
    /// The last part, which is all of it where none was taken before.
    pub body: Vec<u8>,
    /// By RFC 1870 section 5.
    pub octets: u64,
    /// Whether it has a CR or LF that is not part of a CRLF.
    pub bare_newlines: bool,
    /// What the header filter saw.
    pub header: HeaderFacts,
}

/// Takes in one message.
#[derive(Debug)]
pub struct Intake {
    policy: BareNewlines,
    /// 0: no limit.
    octets_max: u64,
    octets: u64,
    bare_newlines: bool,
    header: HeaderFilter,
    /// What was not taken away yet.
    body: Vec<u8>,
    /// What each recipient will be told, whatever still comes.
    refusal: Option<Reply>,
}

impl Intake {
    /// For a message of `octets_max` octets at the most; 0 is no limit.
    pub fn new(policy: BareNewlines, octets_max: u64) -> Self {
        Self {
            policy,
            octets_max,
            octets: 0,
            bare_newlines: false,
            header: HeaderFilter::default(),
            body: Vec::new(),
            refusal: None,
        }
    }

    /// Octets that are kept.
    pub fn kept(&self) -> usize {
        self.body.len()
    }

    /// Octets of memory that are used for them.
    pub fn kept_capacity(&self) -> usize {
        self.body.capacity()
    }

    /// Whether a part is full, so that it has to be taken before more comes.
    pub fn is_full(&self) -> bool {
        self.body.len() >= PART_OCTETS
    }

    /// Takes the part that is there.
    pub fn take_part(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Keeps no more memory than this, where what is kept needs no more; says how
    /// much it is now.
    pub fn shrink_to(&mut self, octets: usize) -> usize {
        self.body.shrink_to(octets);
        self.body.capacity()
    }

    /// Gives a part's memory back, to be used again.
    pub fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.body.capacity() == 0 && !self.is_refused() {
            buffer.clear();
            self.body = buffer;
        }
    }

    /// Refuses the message, whatever still comes: the octets up to its end are
    /// read and forgotten.
    pub fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
        self.body = Vec::new();
    }

    /// Whether the message is refused already.
    pub fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Makes room for so many octets at once, in however small runs they come.
    pub fn expect(&mut self, octets: usize) {
        if self.body.capacity() == 0 && !self.is_refused() {
            self.make_room(octets);
        }
    }

    /// Takes what is kept back in after it was rewritten, since the message turned out
    /// to be mixed: `fewer` of the octets that came were none of its own, and it has
    /// bare newlines.
    #[cfg(feature = "tools")]
    pub fn put_back(&mut self, body: Vec<u8>, fewer: u64) {
        self.octets = self.octets.saturating_sub(fewer);
        self.bare_newlines = true;
        if !self.is_refused() {
            self.body = body;
        }
    }

    /// Ends the message; `Err` is what each recipient is to be told.
    pub fn finish(mut self) -> Result<Received, Reply> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let header = self.header.finish(&mut self.body);
        if header.received_count > RECEIVED_FIELDS_MAX {
            return Err(reply::MAIL_LOOP);
        }
        Ok(Received {
            body: self.body,
            octets: self.octets,
            bare_newlines: self.bare_newlines && self.policy == BareNewlines::Keep,
            header,
        })
    }

    /// Octets of the message itself.
    pub fn text(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.octets = self.octets.saturating_add(octets.len() as u64);
        self.store(octets);
    }

    /// A CR or LF that is not part of a CRLF.
    pub fn bare_newline(&mut self, octet: u8) {
        self.octets = self.octets.saturating_add(1);
        self.bare_newlines = true;
        match self.policy {
            BareNewlines::Normalise => self.store(b"\r\n"),
            BareNewlines::Keep | BareNewlines::Reject => self.store(&[octet]),
        }
    }

    fn store(&mut self, octets: &[u8]) {
        if self.octets_max != 0 && self.octets > self.octets_max {
            // It is told before all else: what comes after does not matter.
            self.refusal = Some(reply::MESSAGE_TOO_BIG);
        } else if self.bare_newlines && self.policy == BareNewlines::Reject {
            self.refusal.get_or_insert(reply::BARE_NEWLINE);
        }
        if self.is_refused() {
            // What was kept of a refused message goes at once.
            self.body = Vec::new();
            return;
        }
        self.make_room(octets.len());
        self.header.pass(octets, &mut self.body);
    }

    /// Grows as a Vec does, but not beyond a part.
    fn make_room(&mut self, more: usize) {
        let needed = self.body.len() + more;
        if needed > self.body.capacity() {
            let grown = (2 * self.body.capacity()).clamp(PART_OCTETS_MIN, PART_OCTETS);
            self.body.reserve_exact(needed.max(grown) - self.body.len());
        }
    }
}
