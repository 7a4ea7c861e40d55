//! Checking one mailbox's file.
//!
//! Lives here: its ends, its messages, and what is mended of them under the locks.
//! May not: cut what was not copied first, or look at a mailbox that others keep
//! locked: that is said instead.

use super::{
    super::{
        access::{Held, Opened, Patience, patiently},
        listing::{TRIES, read},
        replace,
        scan::{Found, Odd, Scanner},
    },
    Check, Entry,
};
use crate::{
    dotlock::{self, Standing},
    lengths::Lengths,
    tail,
};
use postino_store::{DeliveryError, FindingKind, ReadError, Remedy, Repair};

/// What becomes of a stale lock file.
const BREAKING: &str = "break it, as the next delivery would";

/// A lock file that is stale, but stays as only a look was asked for.
type Stale = Option<Option<Lengths>>;

/// What is known of a mailbox's beginning and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Unseen,
    /// There is no message between them.
    Alone,
    Seen,
}

impl Check<'_> {
    /// Checks a regular file that has a mailbox's name.
    pub(super) fn mailbox(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        match self.try_mailbox(entry) {
            Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => Ok(()),
            Err(ReadError::Store(DeliveryError::Locked { holder })) => {
                let by = holder.map_or(String::new(), |holder| format!(" by {holder}"));
                let what = format!("is locked{by}: it was not looked at");
                self.stray(entry.path(), what, "check again later", Remedy::Nothing);
                Ok(())
            }
            Err(ReadError::Stray(stray)) => {
                let advice = "it was changed while it was looked at; check again";
                self.stray(stray.path, stray.why, advice, Remedy::Nothing);
                Ok(())
            }
            Err(ReadError::Store(error @ DeliveryError::Misconfigured(_))) => {
                let what = format!("was not looked at: {error}");
                let advice = "give the store's user the rights that it needs";
                self.damage(entry.path(), what, advice, Remedy::Nothing);
                Ok(())
            }
            checked => checked,
        }
    }

    fn try_mailbox(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        let reader = self.reader;
        let lock_name = dotlock::name_for(entry.name);
        let below = entry.below.with_file_name(&lock_name);
        let lock_file = Entry { dir: entry.dir, name: &lock_name, below: &below };
        let standing = self.standing(&lock_file)?;
        let mut breaks = self.repair == Repair::Yes && reader.locking.makes_lock_files();
        let stale: Stale = match &standing {
            Standing::Stale(_, lengths) if !breaks => Some(lengths.clone()),
            _ => None,
        };
        if !breaks {
            let remedy = match &standing {
                Standing::Stale(..) if reader.locking.makes_lock_files() => {
                    Remedy::Possible(BREAKING.to_owned())
                }
                Standing::Stale(..) => self.put_away(&lock_file),
                _ => Remedy::Nothing,
            };
            self.lock_file(&lock_file, &standing, remedy);
        }
        let mut ends = Ends::Unseen;
        for _ in 0..TRIES {
            let opened = reader.open_mailbox(reader.root()?, entry.below)?;
            let lock = |_| hold(&reader, &opened, stale.as_ref());
            if ends == Ends::Unseen {
                let Some(held) = lock(Patience::Some)? else { continue };
                // To take the lock was to break it.
                if std::mem::take(&mut breaks) {
                    self.lock_file(&lock_file, &standing, Remedy::Done(BREAKING.to_owned()));
                }
                ends = self.ends(entry, &opened, held)?;
            }
            match ends {
                Ends::Unseen => continue,
                Ends::Alone => return Ok(()),
                Ends::Seen => {}
            }
            if let Some((found, _)) = reader.go_through(&opened, &lock)? {
                self.messages(entry, &found);
                return Ok(());
            }
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    /// Looks at what lies before the first message and behind the last.
    fn ends(
        &mut self,
        entry: &Entry<'_>,
        opened: &Opened,
        held: Held<'_>,
    ) -> Result<Ends, ReadError> {
        let (files, file) = (&**self.reader.files, &opened.mailbox.file);
        let Held { locks, status, sound } = held;
        if let Some(at) = sound.torn_at {
            let what = "may begin part of a message that a crash has torn; others' mail follows it";
            let advice = "read on from there; where the part ends, put an empty line before the next From_ line";
            self.damage_at(entry, at, what, advice, Remedy::Nothing);
        }
        if !sound.is_mbox {
            let mut scanner = Scanner::new(files, file, self.reader.format, 0, sound.end);
            scanner.skip_to_message().map_err(|cause| read(file, cause))?;
            let first = scanner.at();
            if first >= sound.end {
                // It may be another program's, and wanted where it is.
                let what = "holds no message: it is no mbox";
                let advice = "mail for this mailbox is refused for now; if no program needs the file, move it out of the store";
                self.stray(entry.path(), what, advice, Remedy::Nothing);
                return Ok(Ends::Alone);
            }
            let remedy = self.remedy(self.lost.name_for(entry.below, "beginning"), |new_name| {
                self.lost.copy_in(file, 0..first, new_name)?;
                let mailbox = &opened.mailbox;
                replace::without(files, self.reader.locking, mailbox, &status, 0..first)
            });
            let what = format!("begins with {first} octets that belong to no message");
            let advice =
                "mail for this mailbox is refused for now; the messages behind them are whole";
            let is_mended = matches!(remedy, Remedy::Done(_));
            self.damage(entry.path(), what, advice, remedy);
            if is_mended {
                return Ok(Ends::Unseen); // it is another file now
            }
        }
        let (end, size) = (sound.end, status.size);
        if end < size {
            let remedy = self.remedy(self.lost.name_for(entry.below, "end"), |new_name| {
                self.lost.copy_in(file, end..size, new_name)?;
                tail::cut(files, file, end).map_err(|unstored| unstored.error)?;
                if let Some(locks) = &locks {
                    locks.set_torn(None);
                }
                Ok(())
            });
            let nuls = size - sound.whole;
            let (at, what) = if sound.end < sound.whole {
                let torn = "is where a delivery began that a crash has torn; nobody was told that it is stored";
                (sound.end, torn.to_owned())
            } else {
                (
                    sound.whole,
                    format!("begins a row of {nuls} NULs up to the end, as a power cut leaves it"),
                )
            };
            let advice = "the next delivery cuts it off; the sender's host has tried again";
            self.damage_at(entry, at, what, advice, remedy);
        }
        Ok(Ends::Seen)
    }

    /// Looks at all messages.
    fn messages(&mut self, entry: &Entry<'_>, found: &[Found]) {
        self.verified.mailboxes += 1;
        for message in found {
            self.verified.messages += 1;
            self.verified.octets += message.octets;
            for odd in &message.oddities {
                let (what, advice) = describe(odd.what);
                // A text may well have such a line.
                let is_suspicion = odd.what == Odd::LooksLikeFrom;
                let kind = if is_suspicion { FindingKind::Stray } else { FindingKind::Damage };
                self.note(kind, at(entry, odd.at), what, advice, Remedy::Nothing);
            }
            if message.octets == 0 {
                let what = "begins a message without any text";
                let advice = "it can be removed (postino delete)";
                self.stray(at(entry, message.at), what, advice, Remedy::Nothing);
            }
        }
        if let Some(last) = found.last().filter(|last| last.end == last.next) {
            let what = "is where the last message ends, without an empty line: it may be torn";
            let advice = "read the message's end; the next delivery adds what is missing";
            self.damage_at(entry, last.end, what, advice, Remedy::Nothing);
        }
    }

    fn damage_at(
        &mut self,
        entry: &Entry<'_>,
        offset: u64,
        what: impl Into<String>,
        advice: &str,
        remedy: Remedy,
    ) {
        self.damage(at(entry, offset), what, advice, remedy);
    }
}

/// The mailbox under its locks; only under the kernel's where its lock file is stale
/// and is to stay.
fn hold<'h>(
    reader: &'h super::Reader<'_>,
    opened: &'h Opened,
    stale: Option<&Option<Lengths>>,
) -> Result<Option<Held<'h>>, ReadError> {
    let Some(lengths) = stale.filter(|_| !opened.is_read_only) else {
        return reader.hold(opened, Patience::Some);
    };
    let (files, file) = (&**reader.files, &opened.mailbox.file);
    let locks = patiently(Patience::Some, || reader.locking.take_kernel(files, file))?;
    locks.set_torn(lengths.clone());
    reader.look(opened, Some(locks))
}

fn describe(odd: Odd) -> (String, &'static str) {
    let what = match odd {
        Odd::NoDate => "is a From_ line without a date that can be read",
        Odd::NoSender => "is a From_ line without a sender",
        Odd::CarriageReturn => "is a From_ line that ends with CR LF: a mailbox of another system",
        Odd::NoEmptyLine => "begins a message without an empty line before it",
        Odd::LooksLikeFrom => {
            "looks like a From_ line, but its date cannot be read: it counts as text"
        }
        Odd::Nuls(count) => {
            let what = format!("begins a row of {count} NULs, as a power cut leaves it");
            return (what, "part of this message is lost; look for it in a backup");
        }
    };
    let advice = match odd {
        Odd::NoDate => "write the line anew as From SENDER Tue Nov 24 08:47:49 2026",
        Odd::NoSender => "put MAILER-DAEMON behind From",
        Odd::CarriageReturn => "take the CRs out while no program uses the mailbox (tr -d '\\r')",
        Odd::NoEmptyLine => {
            "read what stands before it: if it is text of a message put a > in front, else an empty line before it"
        }
        Odd::LooksLikeFrom | Odd::Nuls(_) => {
            "if a message begins there, give the line a date; if not, put a > in front"
        }
    };
    (what.to_owned(), advice)
}

fn at(entry: &Entry<'_>, octet: u64) -> String {
    format!("{}, octet {octet}", entry.path().display())
}
