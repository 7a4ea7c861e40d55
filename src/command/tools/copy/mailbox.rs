//! One mailbox.
//!
//! Lives here: which of its messages the target has too few of, and the hands that
//! read and store them.
//! May not: know of other mailboxes.
//! Holds: the messages are read in the source's order, and stored in it where the
//! target takes one batch at a time; the list of the source's messages and the
//! identities of the target's are in memory, the messages are not.

use super::{
    super::lock_wait::unlocked,
    identity::Digest,
    letter::{self, KEPT_OCTETS_MAX, Letter},
    tally::{Count, Tally},
    target::Target,
};
use postino_store::{
    DeliveryError, Failure, Lane, MailReader, Mailbox, MailboxName, MessageInfo, ReadError, Stray,
};
use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    ops::ControlFlow,
    slice,
    sync::{Mutex, MutexGuard, PoisonError},
    thread, vec,
};

/// Octets of messages in memory that a batch has, but for its last.
const BATCH_OCTETS: u64 = 1 << 20;

/// Messages of the source that a batch has open.
const BATCH_OPEN: usize = 8;

/// How often a mailbox is listed while messages of it go, or move, as a mail program
/// marks them in an mbox.
const LISTINGS_MAX: usize = 5;

/// From where to where all mailboxes go.
pub(super) struct Route<'a> {
    pub(super) source: &'a dyn MailReader,
    pub(super) target: &'a Target<'a>,
    /// The target's reading side; none where there is no target yet.
    pub(super) held: Option<&'a dyn MailReader>,
    pub(super) dry_run: bool,
    pub(super) tally: &'a Tally,
}

/// Threads that a mailbox has at the most.
const HANDS_MAX: usize = 8;

/// How many threads a mailbox of this lane gains from: one reads while another one
/// stores.
pub(super) fn hands(lane: &Lane) -> usize {
    lane.at_once().clamp(2, HANDS_MAX)
}

impl Route<'_> {
    /// Copies what the target's mailbox has too few of, as far as it can.
    pub(super) fn copy(&self, name: &MailboxName) {
        let mut known = Known::default();
        let copied = (0..LISTINGS_MAX).try_for_each(|_| {
            let gone = self.copy_listed(name, &mut known)?;
            known.is_first_listing = false;
            // What is gone may only have moved, to a place that the list has not. What
            // would be copied is in no target, to be known again.
            if gone == 0 || self.dry_run { Err(Stopped::Done) } else { Ok(()) }
        });
        match copied {
            Err(Stopped::Done) => self.tally.mailboxes.add(1),
            // It was removed since it was listed.
            Err(Stopped::Gone) => {}
            Err(Stopped::Full(error)) => self.tally.stop(error),
            Err(Stopped::Failed(why)) => self.tally.fail(name, None, &why),
            Ok(()) => {
                self.tally.fail(name, None, &"others change it all the time; run it again");
            }
        }
    }

    /// Copies what a listing has; says how many of its messages were gone.
    fn copy_listed(&self, name: &MailboxName, known: &mut Known) -> Result<u64, Stopped> {
        let messages = self.list(name, known.is_first_listing)?;
        let held = self.held(name)?;
        self.copy_all(name, messages, held, known)
    }

    /// The messages of the source's mailbox at this moment.
    fn list(&self, name: &MailboxName, is_first: bool) -> Result<Vec<MessageInfo>, Stopped> {
        match self.listed(self.source, name) {
            Ok(Listed { messages, strays }) => {
                for stray in strays.iter().filter(|_| is_first) {
                    self.tally.fail_unread(stray);
                }
                Ok(messages)
            }
            Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => Err(Stopped::Gone),
            Err(error) => Err(Stopped::Failed(error.to_string())),
        }
    }

    fn listed(&self, reader: &dyn MailReader, name: &MailboxName) -> Result<Listed, ReadError> {
        unlocked(self.target.lock_wait(), || {
            let mut listed = Listed::default();
            reader.messages(name, &mut |found| {
                match found {
                    Ok(message) => listed.messages.push(message),
                    Err(stray) => listed.strays.push(stray),
                }
                ControlFlow::Continue(())
            })?;
            Ok(listed)
        })
    }

    /// How many messages of each identity the target's mailbox has.
    fn held(&self, name: &MailboxName) -> Result<HashMap<Digest, u64>, Stopped> {
        for _ in 0..LISTINGS_MAX {
            if let Some(held) = self.held_listed(name)? {
                return Ok(held);
            }
        }
        Err(Stopped::Failed("others change the target's all the time; run it again".to_owned()))
    }

    /// None where a message was gone that the listing had.
    fn held_listed(&self, name: &MailboxName) -> Result<Option<HashMap<Digest, u64>>, Stopped> {
        let mut held = HashMap::new();
        let Some(reader) = self.held else { return Ok(Some(held)) };
        let Listed { messages, strays } = match self.listed(reader, name) {
            Ok(listed) => listed,
            Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => return Ok(Some(held)),
            Err(error) => return Err(Stopped::Failed(error.to_string())),
        };
        // What cannot be read may be what would be copied.
        let unknown = |what: &dyn fmt::Display| {
            Stopped::Failed(format!("what the target has already cannot be known: {what}"))
        };
        if let Some(stray) = strays.first() {
            return Err(unknown(stray));
        }
        for message in messages {
            if self.tally.is_stopped() {
                break;
            }
            let identity =
                unlocked(self.target.lock_wait(), || letter::identity(reader, name, &message));
            match identity {
                Ok(digest) => *held.entry(digest).or_default() += 1,
                Err(ReadError::NoSuchMessage) => return Ok(None),
                Err(error) => return Err(unknown(&format_args!("{}: {error}", message.id))),
            }
        }
        Ok(Some(held))
    }

    fn copy_all(
        &self,
        name: &MailboxName,
        messages: Vec<MessageInfo>,
        held: HashMap<Digest, u64>,
        known: &mut Known,
    ) -> Result<u64, Stopped> {
        let mailbox = self.target.mailbox(name)?;
        // A folder is made as an administrator makes it: of those there may be many.
        if !self.dry_run && (messages.is_empty() || name.folder().is_some()) {
            let make = || self.target.store().init(slice::from_ref(name));
            unlocked(self.target.lock_wait(), make)?;
            if messages.is_empty() {
                return Ok(0);
            }
        }
        let lane = self.target.store().lane(&mailbox);
        let hands = hands(&lane).min(messages.len().div_ceil(lane.together()));
        let work = Work {
            route: self,
            mailbox,
            lane,
            queue: Mutex::new(Queue { messages: messages.into_iter(), held }),
            storing: Mutex::new(()),
            gone: Count::default(),
            is_first_listing: known.is_first_listing,
            known: Mutex::new(known),
        };
        thread::scope(|scope| {
            for _ in 1..hands {
                // Where no thread can be had, this one does it all.
                let _ = thread::Builder::new().spawn_scoped(scope, || work.hand());
            }
            work.hand();
        });
        Ok(work.gone.get())
    }
}

/// What is in a mailbox.
#[derive(Default)]
struct Listed {
    messages: Vec<MessageInfo>,
    strays: Vec<Stray>,
}

/// Why nothing more is copied of a mailbox.
enum Stopped {
    Done,
    Gone,
    Full(DeliveryError),
    Failed(String),
}

impl From<DeliveryError> for Stopped {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::StorageFull(_) => Self::Full(error),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What earlier listings of the same mailbox have shown, by the messages' ids.
struct Known {
    is_first_listing: bool,
    failed: HashSet<String>,
    /// Those that were listed, but not there.
    gone: HashSet<String>,
}

impl Default for Known {
    fn default() -> Self {
        Self { is_first_listing: true, failed: HashSet::new(), gone: HashSet::new() }
    }
}

/// What the hands have in common.
struct Work<'a> {
    route: &'a Route<'a>,
    mailbox: Mailbox,
    lane: Lane,
    queue: Mutex<Queue>,
    /// Taken before the queue is left, so that batches are stored in its order.
    storing: Mutex<()>,
    /// Messages that were not there any more.
    gone: Count,
    is_first_listing: bool,
    known: Mutex<&'a mut Known>,
}

/// What is still to be looked at.
struct Queue {
    messages: vec::IntoIter<MessageInfo>,
    /// How many of each identity the target has and the source has not shown yet.
    held: HashMap<Digest, u64>,
}

impl Work<'_> {
    /// Reads and stores, batch by batch, until nothing is left.
    fn hand(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let batch = self.next_batch(&mut queue);
            if batch.is_empty() {
                return;
            }
            let in_turn = (self.lane.at_once() == 1).then(|| lock(&self.storing));
            drop(queue);
            self.store(batch);
            drop(in_turn);
        }
    }

    /// Reads on until a batch is full.
    fn next_batch(&self, queue: &mut Queue) -> Vec<Letter> {
        let Queue { messages, held } = queue;
        let mut batch = Vec::new();
        let (mut octets, mut open) = (0, 0);
        while batch.len() < self.lane.together() && octets < BATCH_OCTETS && open < BATCH_OPEN {
            if self.route.tally.is_stopped() {
                return Vec::new();
            }
            let Some(info) = messages.next() else { break };
            let Some(letter) = self.read(&info, held) else {
                self.done(&info);
                continue;
            };
            match letter.info.octets {
                small @ ..=KEPT_OCTETS_MAX => octets += small,
                _ => open += 1,
            }
            batch.push(letter);
        }
        batch
    }

    /// Reads a message; none where it need not or cannot be copied.
    fn read(&self, info: &MessageInfo, held: &mut HashMap<Digest, u64>) -> Option<Letter> {
        let Route { source, target, tally, .. } = self.route;
        let read = || Letter::read(*source, self.mailbox.name(), info);
        match unlocked(target.lock_wait(), read) {
            Ok(letter) => match held.get_mut(&letter.digest) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    tally.already.add(u64::from(self.is_first_listing));
                    None
                }
                _ => Some(letter),
            },
            Err(ReadError::NoSuchMessage) => {
                self.note_gone(info);
                None
            }
            Err(ReadError::Stray(stray)) => {
                if self.is_new_failure(info) {
                    tally.fail_unread(&stray);
                }
                None
            }
            Err(error) => {
                self.fail(info, &error);
                None
            }
        }
    }

    fn store(&self, batch: Vec<Letter>) {
        let Route { target, tally, .. } = self.route;
        let messages: Vec<MessageInfo> = batch.iter().map(|letter| letter.info.clone()).collect();
        let outcomes = if self.route.dry_run {
            batch.iter().map(|_| Ok(())).collect()
        } else {
            target.store_all(&self.mailbox, &self.lane, batch)
        };
        for (info, outcome) in messages.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    tally.copied.add(1);
                    tally.octets.add(info.octets);
                }
                Err(error @ DeliveryError::StorageFull(_)) => tally.stop(error),
                // It was changed between its two readings.
                Err(DeliveryError::Io(Failure { cause, .. }))
                    if cause.kind() == io::ErrorKind::StaleNetworkFileHandle =>
                {
                    self.note_gone(info);
                }
                Err(error) => self.fail(info, &error),
            }
            self.done(info);
        }
    }

    /// A message is not where it was listed; it may be listed elsewhere now.
    fn note_gone(&self, info: &MessageInfo) {
        if lock(&self.known).gone.insert(info.id.to_string()) {
            self.gone.add(1);
        } else {
            self.fail(info, &"it is listed, but not there");
        }
    }

    /// Says that it was not copied, unless an earlier listing's has said so.
    fn fail(&self, info: &MessageInfo, why: &dyn fmt::Display) {
        if self.is_new_failure(info) {
            self.route.tally.fail(self.mailbox.name(), Some(info.id.as_str()), why);
        }
    }

    fn is_new_failure(&self, info: &MessageInfo) -> bool {
        lock(&self.known).failed.insert(info.id.to_string())
    }

    /// Nothing more becomes of this message.
    fn done(&self, info: &MessageInfo) {
        if !self.is_first_listing {
            return;
        }
        self.route.tally.done.add(1);
        self.route.tally.done_octets.add(info.octets);
    }
}

/// A hand that panicked elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
