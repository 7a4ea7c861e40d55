//! Which reply waits for which recipient, and their order (RFC 2033 section 4.2,
//! RFC 2920 section 3.2).
//!
//! Lives here: a queue of replies that are known in any order and go out in one.
//! May not: know what a reply answers.

use crate::{reply::Reply, transaction::RecipientIndex};
use std::collections::VecDeque;

/// A recipient whose reply is to come, or was not sent yet.
#[derive(Debug)]
struct Slot<T> {
    index: RecipientIndex,
    kept: T,
    reply: Option<Reply>,
}

/// Recipients in RCPT order; each is answered once.
#[derive(Debug)]
pub(super) struct Replies<T> {
    /// Ascending by index.
    slots: VecDeque<Slot<T>>,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new() }
    }
}

impl<T> Replies<T> {
    /// Adds a recipient, behind those before, whose reply is to come; `kept` is
    /// given back with it.
    pub(super) fn wait_for(&mut self, index: RecipientIndex, kept: T) {
        self.slots.push_back(Slot { index, kept, reply: None });
    }

    /// The reply has come; one that nobody waits for is ignored.
    pub(super) fn answer(&mut self, index: RecipientIndex, reply: Reply) {
        let at = self.slots.partition_point(|slot| slot.index < index);
        if let Some(slot) = self.slots.get_mut(at)
            && slot.index == index
            && slot.reply.is_none()
        {
            slot.reply = Some(reply);
        }
    }

    /// The same reply for all that have none yet.
    pub(super) fn answer_rest(&mut self, reply: &Reply) {
        for slot in self.slots.iter_mut().filter(|slot| slot.reply.is_none()) {
            slot.reply = Some(reply.clone());
        }
    }

    /// The next reply in order, where it is there.
    pub(super) fn next(&mut self) -> Option<(T, Reply)> {
        let reply = self.slots.front_mut()?.reply.take()?;
        let slot = self.slots.pop_front()?;
        Some((slot.kept, reply))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
