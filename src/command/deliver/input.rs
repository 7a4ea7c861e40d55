//! The message on standard input, to its end.
//!
//! Lives here: reading it, and its way into memory or into the spool.
//! May not: deliver; what could not be read to its end is given to nobody.
//! Holds: two parts of a message are in memory at the most.

use super::{
    lines::{Lines, Next, undo},
    waiting::Waiting,
};
use crate::{
    delivery::{Answer, Reservation, SPOOL_DEADLINE, SpoolFile},
    protocol::{PART_OCTETS, Received},
    reply::{self, Reply},
    sys::descriptors,
    transaction::{ReceivedBody, TransactionId},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    stdio::stdin,
};
use std::{
    io::{self, IsTerminal},
    mem,
    sync::Arc,
    time::Instant,
};

/// Octets that are read at once.
const READ_OCTETS: usize = 64 * 1024;

/// Standard input.
#[derive(Default)]
pub(super) struct Input {
    has_ended: bool,
}

/// Why there is no message to deliver.
pub(super) enum Unread {
    /// It could not be read to its end.
    Failed(io::Error),
    /// It is refused.
    Refused(Reply),
}

/// A message that came whole.
pub(super) struct Message {
    /// What is known of it; its body is the one below.
    pub(super) received: Received,
    /// Its octets, or how many are in the spool.
    pub(super) body: ReceivedBody,
    /// Where they are then.
    pub(super) spool: Option<Arc<SpoolFile>>,
    /// What it uses.
    pub(super) memory: Reservation,
}

impl Input {
    /// Reads the message.
    pub(super) fn message(
        &mut self,
        mut lines: Lines,
        mut spooling: Spooling<'_>,
    ) -> Result<Message, Unread> {
        if !descriptors::is_stdin_open() {
            self.has_ended = true;
            return Err(Unread::Failed(io::Error::other("nothing is open on descriptor 0")));
        }
        let mut buffer = vec![0; READ_OCTETS];
        loop {
            let count = self.read(&mut buffer).map_err(Unread::Failed)?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                let (taken, next) = lines.take(rest);
                rest = rest.get(taken..).unwrap_or_default();
                let done = match next {
                    Next::Go => Ok(()),
                    Next::Full => spooling.put(lines.intake.take_part()),
                    Next::Mixed => spooling.undo(),
                };
                if let Err(refusal) = done {
                    lines.intake.refuse(refusal);
                }
            }
        }
        let mut received = lines.finish().map_err(Unread::Refused)?;
        let part = mem::take(&mut received.body);
        spooling.finish(part, received).map_err(Unread::Refused)
    }

    /// Reads what nobody wants, so that whoever writes it meets no closed pipe; a
    /// person at a terminal is not waited for.
    pub(super) fn drain(&mut self) {
        if self.has_ended || io::stdin().is_terminal() {
            return;
        }
        let mut buffer = vec![0; READ_OCTETS];
        while matches!(self.read(&mut buffer), Ok(1..)) {}
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(stdin(), &mut *buffer) {
                Err(Errno::INTR) => {}
                // Whoever shares it has said that it shall not block.
                Err(Errno::AGAIN) => {
                    let mut waits = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
                    match poll(&mut waits, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(count @ 1..) => return Ok(count),
                end => {
                    self.has_ended = true;
                    return Ok(end?);
                }
            }
        }
    }
}

/// The spool, for a message that may outgrow a part.
pub(super) struct Spooling<'a> {
    waiting: &'a Waiting,
    id: TransactionId,
    place: Option<Arc<SpoolFile>>,
    octets: u64,
    /// What the message uses of memory, a part's at least.
    memory: Reservation,
}

impl<'a> Spooling<'a> {
    /// `Err`: there is no memory for a message.
    pub(super) fn new(
        waiting: &'a Waiting,
        id: TransactionId,
        mut memory: Reservation,
    ) -> Result<Self, Reply> {
        // A part that grows, and what it becomes when the message is mixed.
        if !memory.try_grow(2 * PART_OCTETS as u64) {
            return Err(reply::OUT_OF_MEMORY);
        }
        Ok(Self { waiting, id, place: None, octets: 0, memory })
    }

    /// Has a part spooled, and waits for that.
    fn put(&mut self, part: Vec<u8>) -> Result<(), Reply> {
        let pool = &self.waiting.pool;
        let place = match &self.place {
            Some(place) => place,
            None => self.place.insert(pool.place_in_spool().ok_or(reply::OUT_OF_MEMORY)?),
        };
        self.octets += part.len() as u64;
        let memory = self.memory.split(PART_OCTETS as u64);
        pool.spool(0, self.id, place, part, memory)?;
        let until = Instant::now() + SPOOL_DEADLINE;
        loop {
            match self.waiting.next(until) {
                Some(Answer::Spooled { result: Ok((_, memory)), .. }) => {
                    self.memory.merge(memory);
                    return Ok(());
                }
                Some(Answer::Spooled { result: Err(reply), .. }) => return Err(reply),
                Some(_) => {}
                None => {
                    log::error!("the spool did not answer in time s={}; 451 4.3.0", self.id);
                    return Err(reply::STORE_TIMEOUT);
                }
            }
        }
    }

    /// Spools anew what was spooled, as it came: the message is mixed.
    fn undo(&mut self) -> Result<(), Reply> {
        let Some(made) = self.place.take() else { return Ok(()) };
        let (octets, mut at) = (mem::take(&mut self.octets), 0);
        while at < octets {
            let wanted = PART_OCTETS.min(usize::try_from(octets - at).unwrap_or(usize::MAX));
            let mut part = vec![0; wanted];
            self.read_back(&made, &mut part, at)?;
            if part.ends_with(b"\r") && part.len() > 1 {
                // An LF may follow: no CRLF is split.
                part.pop();
            }
            at += part.len() as u64;
            let left = undo(&mut part);
            part.truncate(left);
            self.put(part)?;
        }
        Ok(())
    }

    /// Fills `part` with what was spooled from this place on.
    fn read_back(&self, place: &SpoolFile, part: &mut [u8], at: u64) -> Result<(), Reply> {
        let mut filled = 0;
        while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match place.read_at(rest, at + filled as u64) {
                Ok(count @ 1..) => filled += count,
                result => {
                    let cause = result.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    log::error!("cannot read the spool s={}: {cause}; 451 4.3.0", self.id);
                    return Err(reply::STORE_ERROR);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, part: Vec<u8>, received: Received) -> Result<Message, Reply> {
        let body = if self.place.is_none() {
            ReceivedBody::InMemory(part)
        } else {
            if !part.is_empty() {
                self.put(part)?;
            }
            ReceivedBody::Spooled(self.octets)
        };
        Ok(Message { received, body, spool: self.place, memory: self.memory })
    }
}
