//! An account's quota, kept in `maildirsize` as Maildir++ has it.
//!
//! Lives here: how much an account holds, folders included, and whether more fits:
//! the first line is the quota, `10000000S,1000C`, each further one octets and
//! messages that came or, below zero, went.
//! May not: store a message; wait for a lock.
//! Holds: a message is checked and noted under one lock on the account's directory,
//! so that no two of this or another process fit into the same room. It is noted
//! once it is stored: a crash in between makes the sum too small by one message,
//! which never refuses mail that fits, and the next count mends.
//!
//! The file is Courier's and Dovecot's too. As Dovecot does, and Courier does not, we
//! count the folder Trash and what is marked as trashed. Where an account has no
//! quota the file is left as it is.

use crate::{
    Maildir, folder_name,
    location::Location,
    mailbox::{CUR, NEW, TMP},
    name, root_error,
};
use postino_files::{Dir, Files, Kind};
use postino_store::{Contents, DeliveryError, Mailbox, Quota, Timestamp};
use std::{ffi::OsStr, io, ops::ControlFlow, path::Path, str};

/// The file's name.
pub(crate) const NAME: &str = "maildirsize";

/// A file that has grown to so many octets is made anew.
const OCTETS_MAX: u64 = 5_120;

/// A line's octets, its end included; Courier fills each up, for the sake of NFS.
const LINE_OCTETS: usize = 14;

/// Where the quota would be exceeded a sum of so many seconds is not believed.
const BELIEVED_SECONDS: u64 = 15 * 60;

/// An account that has a quota.
pub(crate) struct Account<'a> {
    files: &'a dyn Files,
    dir: Dir,
    quota: Quota,
    file_mode: u32,
}

/// The file as it stands.
struct Said {
    text: Vec<u8>,
    written: i64,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    held: Contents,
    /// Behind the first.
    lines: usize,
    /// When it was written last.
    written: i64,
}

impl Maildir {
    /// The mailbox's account, locked until it is dropped; none where it has no quota.
    pub(crate) fn lock_account(
        &self,
        mailbox: &Mailbox,
    ) -> Result<Option<Account<'_>>, DeliveryError> {
        if mailbox.quota().is_none() {
            return Ok(None);
        }
        self.mailbox(mailbox)?; // made at need
        let account = self.open_account(mailbox)?;
        if !account.try_lock()? {
            return Err(DeliveryError::Locked { holder: None });
        }
        Ok(Some(account))
    }

    /// Whether a message of `size` octets would fit, as far as that can be told
    /// without waiting; of a mailbox that is there.
    pub(crate) fn admit_size(&self, mailbox: &Mailbox, size: u64) -> Result<(), DeliveryError> {
        let account = self.open_account(mailbox)?;
        let fits = |sum: Sum| account.quota.admit(sum.held, size).is_ok();
        if account.read()?.is_some_and(fits) || !account.try_lock()? {
            return Ok(());
        }
        account.check(size)
    }

    fn open_account(&self, mailbox: &Mailbox) -> Result<Account<'_>, DeliveryError> {
        let files = &*self.files;
        let Location { path, .. } = self.account(mailbox.name())?;
        let root = self.root.open_for(files, mailbox.home()).map_err(root_error)?;
        let dir = files.open_dir(&root, &path).map_err(|cause| {
            DeliveryError::io("open the mailbox", root.path().join(path), cause)
        })?;
        Ok(Account { files, dir, quota: mailbox.quota(), file_mode: self.file_mode })
    }
}

impl Account<'_> {
    fn try_lock(&self) -> Result<bool, DeliveryError> {
        let locked = self.files.try_lock_dir(&self.dir);
        locked.map_err(|cause| DeliveryError::io("lock the directory", self.dir.path(), cause))
    }

    /// Whether a message of `size` octets fits; the account is locked.
    pub(crate) fn check(&self, size: u64) -> Result<(), DeliveryError> {
        // No count makes room in an account that holds nothing.
        self.quota.admit(Contents::default(), size)?;
        let sum = match self.read()? {
            Some(sum) => sum,
            None => self.count()?,
        };
        match self.quota.admit(sum.held, size) {
            Err(_) if sum.is_doubtful() => self.quota.admit(self.count()?.held, size),
            result => result,
        }
    }

    /// Notes a message of `size` octets, which has been stored; the account is locked.
    /// Where that fails the file goes, so that all is counted anew.
    pub(crate) fn note(&self, size: u64) {
        let name = Path::new(NAME);
        let noted = self
            .files
            .open_update(&self.dir, name)
            .and_then(|file| self.files.write_all(&file, line(size, 1).as_bytes()));
        if noted.is_err() {
            let _ = self.files.unlink(&self.dir, name);
        }
    }

    /// The sum as the file has it; none where it has to be counted.
    fn read(&self) -> Result<Option<Sum>, DeliveryError> {
        let Some(Said { text, written }) = self.read_text()? else { return Ok(None) };
        let sum = parse(&text, self.quota);
        Ok(sum.map(|sum| Sum { written, ..sum }))
    }

    /// What stands in the file; none where it is of no use.
    fn read_text(&self) -> Result<Option<Said>, DeliveryError> {
        let name = Path::new(NAME);
        let failed = |cause| DeliveryError::io("read the file", self.dir.path().join(NAME), cause);
        let file = match self.files.open(&self.dir, name) {
            Ok(file) => file,
            // What is no file is replaced by one.
            Err(cause) => match self.files.stat(&self.dir, name) {
                Ok(status) if status.kind == Kind::File => return Err(failed(cause)),
                Ok(_) => return Ok(None),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(cause) => return Err(failed(cause)),
            },
        };
        let status = self.files.stat_file(&file).map_err(failed)?;
        if status.kind != Kind::File || status.links != 1 || status.size >= OCTETS_MAX {
            return Ok(None);
        }
        let mut text = vec![0; usize::try_from(OCTETS_MAX).unwrap_or(0)];
        let mut filled = 0;
        while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.files.read(&file, room).map_err(failed)? {
                0 => break,
                count => filled += count,
            }
        }
        text.truncate(filled);
        Ok(Some(Said { text, written: status.written }))
    }

    /// Counts all that the account holds, and writes the file anew.
    fn count(&self) -> Result<Sum, DeliveryError> {
        let held = self.add_up(&|_| true)?;
        self.write(held)?;
        Ok(Sum { held, lines: 1, written: now() })
    }

    /// Counts what the account holds, of its folders those that count.
    fn add_up(&self, counts: &dyn Fn(&[u8]) -> bool) -> Result<Contents, DeliveryError> {
        let mut held = Contents::default();
        self.count_in(&self.dir, &mut held)?;
        self.visit(&self.dir, &mut |name| {
            let octets = name.as_encoded_bytes();
            if octets.starts_with(b".")
                && !folder_name::is_remainder(octets)
                && counts(octets)
                // A folder that is none, or has just gone, holds nothing.
                && let Some(folder) = self.open_dir(&self.dir, Path::new(name))?
            {
                self.count_in(&folder, &mut held)?;
            }
            Ok(())
        })?;
        Ok(held)
    }

    fn count_in(&self, mailbox: &Dir, held: &mut Contents) -> Result<(), DeliveryError> {
        for directory in [NEW, CUR] {
            let Some(dir) = self.open_dir(mailbox, Path::new(directory))? else { continue };
            self.visit(&dir, &mut |name| {
                if name.as_encoded_bytes().starts_with(b".") {
                    return Ok(());
                }
                let size = match name::said_size(name::base(name)) {
                    Some(size) => size,
                    None => match self.files.stat(&dir, Path::new(name)) {
                        Ok(status) => status.size,
                        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
                        Err(cause) => {
                            let path = dir.path_to(Path::new(name));
                            return Err(DeliveryError::io("look at the file", path, cause));
                        }
                    },
                };
                held.octets = held.octets.saturating_add(size);
                held.messages += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Visits the names in a directory, which may be any number, until an error.
    fn visit(
        &self,
        dir: &Dir,
        visit: &mut dyn FnMut(&OsStr) -> Result<(), DeliveryError>,
    ) -> Result<(), DeliveryError> {
        let mut result = Ok(());
        let visited = self.files.visit_dir(dir, &mut |name| {
            result = visit(name);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        visited.map_err(|cause| DeliveryError::io("read the directory", dir.path(), cause))?;
        result
    }

    /// None where there is no directory of this name.
    fn open_dir(&self, at: &Dir, name: &Path) -> Result<Option<Dir>, DeliveryError> {
        let failed = |cause| DeliveryError::io("open the directory", at.path().join(name), cause);
        match self.files.open_dir(at, name) {
            Ok(dir) => Ok(Some(dir)),
            Err(cause) => match self.files.stat(at, name) {
                Ok(status) if status.kind == Kind::Directory => Err(failed(cause)),
                Ok(_) => Ok(None),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(failed(cause)),
            },
        }
    }

    fn write(&self, held: Contents) -> Result<(), DeliveryError> {
        let random = postino_files::random()
            .map_err(|cause| DeliveryError::io("draw random bits", "", cause))?;
        let draft = format!("{NAME}.{random:016x}");
        let (files, draft) = (self.files, Path::new(&draft));
        let failed = |cause| DeliveryError::io("write the file", self.dir.path().join(NAME), cause);
        let tmp = files.open_dir(&self.dir, Path::new(TMP)).map_err(failed)?;
        let text = format!("{}\n{}", first_line(self.quota), line(held.octets, held.messages));
        let file = files.create(&tmp, draft, self.file_mode).map_err(failed)?;
        let written = files
            .write_all(&file, text.as_bytes())
            .and_then(|()| files.sync_file(&file))
            .and_then(|()| files.rename_over(&tmp, draft, &self.dir, Path::new(NAME)));
        written.map_err(|cause| {
            let _ = files.unlink(&tmp, draft);
            failed(cause)
        })
    }
}

impl Sum {
    /// Whether others may have removed mail without a note. One that will be written
    /// only later was so before the clock was set back.
    fn is_doubtful(self) -> bool {
        self.lines > 1 || now().abs_diff(self.written) >= BELIEVED_SECONDS
    }
}

/// What an account's file says where that is wrong, and what the account holds. None
/// where it is right, not there, or not to be told while others deliver.
#[cfg(feature = "reader")]
pub(crate) fn wrong_sum(
    files: &dyn Files,
    dir: Dir,
) -> Result<Option<(Contents, Contents)>, DeliveryError> {
    let account = Account { files, dir, quota: Quota::default(), file_mode: 0 };
    if !account.try_lock()? {
        return Ok(None);
    }
    let Some(Said { text, .. }) = account.read_text()? else { return Ok(None) };
    let first = str::from_utf8(&text).ok().and_then(|text| limits(text.lines().next()?));
    // One that is damaged is made anew by the next delivery.
    let Some(said) = first.and_then(|quota| parse(&text, quota)) else { return Ok(None) };
    let held = account.add_up(&|_| true)?;
    if said.held == held {
        return Ok(None);
    }
    // Courier does not count the Trash.
    let without_trash = account.add_up(&|folder| folder != b".Trash")?;
    Ok((said.held != without_trash).then_some((said.held, held)))
}

/// What stands in an account's file is no longer right: all is counted anew.
#[cfg(feature = "reader")]
pub(crate) fn forget(files: &dyn Files, account: &Dir) -> io::Result<()> {
    match files.unlink(account, Path::new(NAME)) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

fn first_line(quota: Quota) -> String {
    let limit = |limit: Option<u64>, letter| limit.map(|limit| format!("{limit}{letter}"));
    let limits = [limit(quota.octets, 'S'), limit(quota.messages, 'C')];
    limits.into_iter().flatten().collect::<Vec<_>>().join(",")
}

fn line(octets: u64, messages: u64) -> String {
    let numbers = format!("{octets} {messages}");
    format!("{numbers:>width$}\n", width = LINE_OCTETS - 1)
}

/// None where it is damaged, or of another quota.
fn parse(text: &[u8], quota: Quota) -> Option<Sum> {
    let mut lines = str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n');
    if limits(lines.next()?)? != quota {
        return None;
    }
    let (mut octets, mut messages, mut count) = (0_i64, 0_i64, 0);
    for line in lines {
        let mut numbers = line.split_ascii_whitespace();
        octets = octets.checked_add(numbers.next()?.parse().ok()?)?;
        messages = messages.checked_add(numbers.next()?.parse().ok()?)?;
        if numbers.next().is_some() {
            return None;
        }
        count += 1;
    }
    let (octets, messages) = (u64::try_from(octets).ok()?, u64::try_from(messages).ok()?);
    (count > 0).then_some(Sum { held: Contents { messages, octets }, lines: count, written: 0 })
}

fn limits(line: &str) -> Option<Quota> {
    let mut quota = Quota::default();
    for limit in line.trim_ascii_end().split(',') {
        let place = match limit.as_bytes().last()? {
            b'S' => &mut quota.octets,
            b'C' => &mut quota.messages,
            _ => return None,
        };
        *place = Some(limit.get(..limit.len() - 1)?.parse().ok()?);
    }
    Some(quota)
}

fn now() -> i64 {
    i64::try_from(Timestamp::now_utc().since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Contents, Quota, first_line, limits, line, parse};

    #[test]
    fn lines_are_filled_up_to_14_octets_as_courier_fills_them() {
        assert_eq!(line(1024, 1), "       1024 1\n");
        assert_eq!(line(123_456_789_012, 12), "123456789012 12\n");
    }

    #[test]
    fn the_first_line_is_the_quota() {
        for (text, octets, messages) in [
            ("10000000S,1000C", Some(10_000_000), Some(1000)),
            ("10000000S", Some(10_000_000), None),
            ("1000C", None, Some(1000)),
        ] {
            let quota = Quota { octets, messages };
            assert_eq!((first_line(quota), limits(text)), (text.to_owned(), Some(quota)));
        }
        assert_eq!(limits("5C,7S"), Some(Quota { octets: Some(7), messages: Some(5) }));
    }

    #[test]
    fn a_sum_is_that_of_all_lines_and_none_where_one_is_damaged() {
        let quota = Quota { octets: Some(9), messages: None };
        let sum = parse(b"9S\n    7 3\n-2 -1\n10\t1  \n", quota).unwrap();
        assert_eq!((sum.held, sum.lines), (Contents { messages: 3, octets: 15 }, 3));
        for damaged in [
            &b""[..],
            b"9S\n",
            b"9S\n7 3",
            b"9S\n7 3\n\0\0\0\n",
            b"9S\n7\n",
            b"9S\n7 3 1\n",
            b"9S\n\n",
            b"9S\n7 x\n",
            b"9S\n-7 3\n",
            b"9S\n7 -3\n",
            b"8S\n7 3\n",
            b"9S,4C\n7 3\n",
            b"9B\n7 3\n",
            b"\n7 3\n",
            b"9S\n9223372036854775807 1\n1 1\n",
            b"\xff9S\n7 3\n",
        ] {
            assert_eq!(parse(damaged, quota), None, "{damaged:?}");
        }
    }
}
