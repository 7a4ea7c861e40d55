//! Messages that were stored already, by what they are and for whom.
//!
//! Lives here: the table of what was stored within the window, and of what is
//! being stored; by what a message is known.
//! May not: answer; `record` does.
//! Holds: a message is known only once it is stored, so that whatever is lost of
//! the table costs a second copy at the most; the table is bounded.

use super::{
    digest::{Digest, DigestKey},
    seen_file::{ENTRIES_MAX, Seen, SeenFile},
};
use crate::transaction::{ForwardPath, ReversePath, TransactionId};
use postino_files::Files;
use postino_store::{Body, DeliveryError, DeliveryId, Fate, MailboxName};
use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What the suppression of duplicates is told.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// How long a message is known.
    pub window: Duration,
    /// Where it is known across a restart: the store's root. None: nowhere.
    pub directory: Option<PathBuf>,
}

/// All that is known.
pub(super) struct Duplicates {
    window: Duration,
    file: Option<SeenFile>,
    /// With the key of its digests.
    table: OnceLock<(DigestKey, Mutex<Table>)>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Digest, Entry>,
    /// The stored ones, the oldest first.
    order: VecDeque<Digest>,
    /// What the file does not have yet.
    unwritten: VecDeque<Seen>,
}

enum Entry {
    Stored { at: u64, id: DeliveryId },
    Pending { owner: Owner, fate: Arc<Fate> },
}

/// Whose delivery it is: a recipient's place in its transaction.
type Owner = (TransactionId, usize);

/// What is known of a message.
pub(super) enum Claimed {
    /// Nothing: it is to be stored.
    New(Claim),
    /// It is stored under this name.
    Stored(DeliveryId),
    /// It is the same as that of another recipient of this transaction, at this
    /// place.
    Twin(usize),
    /// Another transaction's delivery of it has not ended.
    Pending,
}

/// The right to store a message; dropped, others may.
pub(super) struct Claim {
    duplicates: Arc<Duplicates>,
    digest: Digest,
    owner: Owner,
}

impl Duplicates {
    pub(super) fn new(suppression: &Suppression, files: &Arc<dyn Files>) -> Self {
        let file = |directory: &PathBuf| SeenFile::new(directory.clone(), Arc::clone(files));
        Self {
            window: suppression.window,
            file: suppression.directory.as_ref().map(file),
            table: OnceLock::new(),
        }
    }

    /// The digest of a body, before it has header lines of ours. May block.
    pub(super) fn of_body(&self, body: &Body) -> io::Result<Digest> {
        self.opened().0.of_body(body)
    }

    /// By what a message is known: its body's digest, and for whom it is. The
    /// recipient is compared without regard to case, but with its detail; the mailbox
    /// too, as users of the system may differ in case alone, and an address may come to
    /// mean another mailbox.
    pub(super) fn of_copy(
        &self,
        body: Digest,
        sender: &ReversePath,
        recipient: &ForwardPath,
        mailbox: &MailboxName,
    ) -> Digest {
        let recipient = recipient.as_str().to_ascii_lowercase();
        self.opened().0.of_texts(body, &[sender.as_str(), &recipient, mailbox.as_str()])
    }

    /// What is known of a message, which is the caller's to store from now on if that
    /// is nothing. May block.
    pub(super) fn claim(
        self: &Arc<Self>,
        digest: Digest,
        owner: Owner,
        fate: &Arc<Fate>,
    ) -> Claimed {
        let now = seconds_now();
        let mut table = self.lock();
        match table.entries.get(&digest) {
            Some(Entry::Stored { at, id }) if self.is_within(*at, now) => {
                return Claimed::Stored(id.clone());
            }
            Some(Entry::Pending { owner: (transaction, place), .. }) if *transaction == owner.0 => {
                return Claimed::Twin(*place);
            }
            // What was withdrawn will never be stored, wherever it hangs.
            Some(Entry::Pending { fate, .. }) if !fate.is_withdrawn() => return Claimed::Pending,
            _ => {}
        }
        table.insert(digest, Entry::Pending { owner, fate: Arc::clone(fate) });
        Claimed::New(Claim { duplicates: Arc::clone(self), digest, owner })
    }

    /// Writes down what was stored since. May block.
    pub(super) fn write_down(&self) {
        let Some(file) = &self.file else { return };
        // Who comes meanwhile leaves it to whoever writes.
        while !self.lock().unwritten.is_empty() {
            let Some(mut writer) = file.try_lock() else { return };
            let unwritten = std::mem::take(&mut self.lock().unwritten);
            writer.append(self.opened().0, &unwritten);
        }
    }

    /// Clocks are set now and then: only the distance counts.
    fn is_within(&self, at: u64, now: u64) -> bool {
        at.abs_diff(now) < self.window.as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.opened().1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was known before the start, once.
    fn opened(&self) -> &(DigestKey, Mutex<Table>) {
        self.table.get_or_init(|| {
            let (now, mut table) = (seconds_now(), Table::default());
            let read = self.file.as_ref().and_then(SeenFile::read);
            let (key, all) = read.unwrap_or_else(|| (DigestKey::random(), Vec::new()));
            for seen in all.into_iter().filter(|seen| self.is_within(seen.at, now)) {
                table.note(seen);
            }
            (key, Mutex::new(table))
        })
    }
}

impl Table {
    fn note(&mut self, Seen { digest, at, id }: Seen) {
        self.insert(digest, Entry::Stored { at, id });
        self.order.push_back(digest);
        while self.order.len() > ENTRIES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    fn insert(&mut self, digest: Digest, entry: Entry) {
        if let Some(Entry::Stored { .. }) = self.entries.insert(digest, entry) {
            self.order.retain(|other| *other != digest);
        }
    }
}

impl Claim {
    /// The delivery has ended.
    pub(super) fn end(&self, result: Result<&DeliveryId, &DeliveryError>) {
        let Ok(id) = result else {
            self.give_back();
            return;
        };
        let seen = Seen { digest: self.digest, at: seconds_now(), id: id.clone() };
        let mut table = self.duplicates.lock();
        table.note(seen.clone());
        if self.duplicates.file.is_some() {
            // More than are known need not be written, where the disk hangs.
            if table.unwritten.len() >= ENTRIES_MAX {
                table.unwritten.pop_front();
            }
            table.unwritten.push_back(seen);
        }
    }

    fn give_back(&self) {
        let mut table = self.duplicates.lock();
        let entry = table.entries.get(&self.digest);
        if matches!(entry, Some(Entry::Pending { owner, .. }) if *owner == self.owner) {
            table.entries.remove(&self.digest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::{Claim, Claimed, Duplicates, ENTRIES_MAX, Seen, Suppression, Table};
    use crate::transaction::{Address, ForwardPath, ReversePath, TransactionId};
    use postino_files::{Files, Kernel};
    use postino_store::{DeliveryError, DeliveryId, Fate, MailboxName};
    use std::{fs, io::Write as _, path::Path, sync::Arc, time::Duration};

    const DAY: Duration = Duration::from_secs(86_400);

    fn duplicates(directory: Option<&Path>) -> Arc<Duplicates> {
        let suppression = Suppression { window: DAY, directory: directory.map(Path::to_owned) };
        let files: Arc<dyn Files> = Arc::new(Kernel::new());
        Arc::new(Duplicates::new(&suppression, &files))
    }

    fn id(text: &str) -> DeliveryId {
        DeliveryId::new(text)
    }

    fn session(session: u32) -> TransactionId {
        TransactionId { session, transaction: 1 }
    }

    fn claim(duplicates: &Arc<Duplicates>, key: usize, by: u32) -> Claimed {
        duplicates.claim(key as u128, (session(by), 0), &Arc::default())
    }

    #[track_caller]
    fn new(claimed: Claimed) -> Claim {
        let Claimed::New(claim) = claimed else { panic!("it is known") };
        claim
    }

    fn stores(duplicates: &Arc<Duplicates>, key: usize, name: &str) {
        new(claim(duplicates, key, 1)).end(Ok(&id(name)));
        duplicates.write_down();
    }

    fn stored(duplicates: &Arc<Duplicates>, key: usize) -> Option<String> {
        match claim(duplicates, key, 9) {
            Claimed::Stored(id) => Some(id.to_string()),
            _ => None,
        }
    }

    #[test]
    fn a_recipient_in_any_case_is_the_same_where_the_mailbox_is() {
        let duplicates = duplicates(None);
        let path = |local| ForwardPath::Address(Address::unchecked(local, "d"));
        let key = |local, mailbox| {
            let name = MailboxName::new(mailbox).unwrap();
            duplicates.of_copy(0, &ReversePath::Null, &path(local), &name)
        };
        let bob = key("bob", "bob");
        assert_eq!(key("Bob", "bob"), bob);
        assert_ne!(key("Bob", "Bob"), bob, "two users of the system");
        assert_ne!(key("bob+x", "bob"), bob);
    }

    #[test]
    fn a_message_is_known_once_it_is_stored_and_not_before() {
        let duplicates = duplicates(None);
        let first = new(claim(&duplicates, 1, 1));
        assert!(matches!(claim(&duplicates, 1, 2), Claimed::Pending));
        first.end(Err(&DeliveryError::Unanswered));
        let second = new(claim(&duplicates, 1, 2));
        drop(first);
        assert!(matches!(claim(&duplicates, 1, 3), Claimed::Pending), "the second's");
        drop(second);
        let third = new(claim(&duplicates, 1, 3));
        third.end(Ok(&id("x")));
        drop(third);
        assert_eq!(stored(&duplicates, 1).as_deref(), Some("x"));
        assert_eq!(stored(&duplicates, 2), None);
    }

    #[test]
    fn a_delivery_that_was_withdrawn_keeps_nobody_from_storing() {
        let (duplicates, fate) = (duplicates(None), Arc::new(Fate::default()));
        let Claimed::New(_hangs) = duplicates.claim(1, (session(1), 0), &fate) else {
            panic!("nothing is known yet")
        };
        assert!(matches!(claim(&duplicates, 1, 2), Claimed::Pending));
        assert!(fate.withdraw());
        assert!(matches!(claim(&duplicates, 1, 2), Claimed::New(_)));
    }

    #[test]
    fn the_same_in_one_transaction_is_a_twin() {
        let (duplicates, fate) = (duplicates(None), Arc::default());
        let first = duplicates.claim(1, (session(1), 4), &fate);
        let second = duplicates.claim(1, (session(1), 5), &fate);
        assert!(matches!((first, second), (Claimed::New(_), Claimed::Twin(4))));
    }

    #[test]
    fn of_too_many_the_oldest_go() {
        let mut table = Table::default();
        let seen = |number| Seen { digest: number as u128, at: 1, id: id("x") };
        for number in 0..=ENTRIES_MAX {
            table.note(seen(number));
        }
        table.note(seen(5));
        assert_eq!((table.entries.len(), table.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(!table.entries.contains_key(&0));
        table.note(seen(ENTRIES_MAX + 1));
        assert!(table.entries.contains_key(&5), "it is younger now");
        assert!(!table.entries.contains_key(&1));
    }

    #[test]
    fn what_was_stored_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        let second = open();
        assert_eq!(stored(&second, 1).as_deref(), Some("one"));
        stores(&second, 2, "two");
        let third = open();
        assert_eq!(stored(&third, 1).as_deref(), Some("one"));
        assert_eq!(stored(&third, 2).as_deref(), Some("two"));
        fs::remove_file(folder.path().join(".postino-seen")).unwrap();
        assert_eq!(stored(&open(), 1), None);
    }

    #[test]
    fn what_stands_under_another_key_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".postino-seen");
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        let (before, other) = (fs::read_to_string(&path).unwrap(), "0".repeat(32));
        fs::write(&path, format!("{before}key {other}\n")).unwrap();
        assert_eq!(stored(&open(), 1), None);
        fs::write(&path, format!("key {other}\n{before}")).unwrap();
        assert_eq!(stored(&open(), 1).as_deref(), Some("one"));
    }

    #[test]
    fn a_damaged_record_is_no_record_and_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".postino-seen");
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        stores(&open(), 2, "two");
        let whole = fs::read(&path).unwrap();
        // Torn at each place, and written to again.
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let two = stored(&open(), 2);
            assert_eq!(two, None, "cut at {length}");
            stores(&open(), 3, "three");
            assert_eq!(stored(&open(), 3).as_deref(), Some("three"), "cut at {length}");
        }
        // Octets that are no text.
        fs::write(&path, [&whole[..], b"\xff\0 x\n1 2 3\n\n", &whole[..]].concat()).unwrap();
        assert_eq!(stored(&open(), 2).as_deref(), Some("two"));
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            fs::write(&path, other).unwrap();
            let known = open();
            for (number, name) in [(1, "one"), (2, "two")] {
                // An id that is wrong is told at the worst; a message never.
                let found = stored(&known, number);
                assert!(found.is_none_or(|id| id.len() <= name.len()), "{at}");
            }
        }
    }

    #[test]
    fn records_out_of_the_window_are_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        let path = folder.path().join(".postino-seen");
        let text = fs::read_to_string(&path).unwrap();
        let (key, line) = text.split_once('\n').unwrap();
        let (at, rest) = line.split_once(' ').unwrap();
        let at: u64 = at.parse().unwrap();
        for (at, is_known) in [
            (at - DAY.as_secs(), false),
            (at - DAY.as_secs() + 600, true),
            (at + 600, true),
            (at + DAY.as_secs() + 600, false),
        ] {
            fs::write(&path, format!("{key}\n{at} {rest}")).unwrap();
            assert_eq!(stored(&open(), 1).is_some(), is_known, "{at}");
        }
    }

    #[test]
    fn only_a_regular_file_of_ones_own_is_read_or_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join(".postino-seen"), folder.path().join("x"));
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        fs::rename(&path, &elsewhere).unwrap();
        let before = fs::read(&elsewhere).unwrap();
        let plant: [&dyn Fn(); 3] = [
            &|| std::os::unix::fs::symlink(&elsewhere, &path).unwrap(),
            &|| fs::hard_link(&elsewhere, &path).unwrap(),
            &|| {
                let status = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(status.unwrap().success());
            },
        ];
        for plant in plant {
            plant();
            assert_eq!(stored(&open(), 1), None);
            stores(&open(), 2, "two");
            assert_eq!(fs::read(&elsewhere).unwrap(), before);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".postino-seen");
        let open = || duplicates(Some(folder.path()));
        stores(&open(), 1, "one");
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&b"x\n".repeat(1 << 20)).unwrap();
        stores(&open(), 2, "two");
        let old = folder.path().join(".postino-seen.old");
        assert!(fs::metadata(&path).unwrap().len() < 200 && old.exists());
        // The old one is still read, as far as it is looked at.
        stores(&open(), 3, "three");
        assert_eq!(stored(&open(), 2).as_deref(), Some("two"));
        assert_eq!(stored(&open(), 3).as_deref(), Some("three"));
    }
}
