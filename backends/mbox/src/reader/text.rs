//! A message's text, read piece by piece while nobody is kept from the mailbox.
//!
//! Lives here: reading at any place of what the quotes are taken out of, and
//! telling whether others have changed it meanwhile.
//! May not: hold a lock, or more of the message than a piece.
//! Holds: the last octet is only given when the digest of all that was read is that
//! of the message's id: whoever has read to the end has no mixture.

use super::{scan::Found, unquote::Unquoting};
use crate::{id::TextDigest, render::Format};
use postino_files::{File, Files};
use postino_store::Octets;
use sha2::{Digest, Sha256};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Octets that are read of the file at once.
const PIECE_OCTETS: usize = 16 * 1024;

/// Readers that go on from where they were; others begin anew.
const CURSORS_MAX: usize = 4;

/// The text of a message in an open file.
pub(super) struct StoredText {
    files: Arc<dyn Files>,
    file: File,
    format: Format,
    /// Where it begins and ends in the file.
    begin: u64,
    end: u64,
    /// How many octets it has without quotes.
    octets: u64,
    digest: TextDigest,
    cursors: Mutex<Vec<Cursor>>,
}

/// How far one reader has come.
struct Cursor {
    /// Octets that were given.
    given: u64,
    /// Where the next octet is read in the file.
    at: u64,
    unquoting: Unquoting,
    digest: Sha256,
    /// What was read and unquoted, and not given yet from `taken` on.
    piece: Vec<u8>,
    taken: usize,
}

impl StoredText {
    /// The text of a message that begins behind its From_ line, at `begin`.
    pub(super) fn new(
        files: Arc<dyn Files>,
        file: File,
        format: Format,
        begin: u64,
        found: &Found,
    ) -> Self {
        let Found { end, octets, digest, .. } = *found;
        Self { files, file, format, begin, end, octets, digest, cursors: Mutex::default() }
    }

    /// The cursor that has come nearest to `offset` without going beyond it.
    fn cursor(&self, offset: u64) -> Cursor {
        let mut cursors = self.cursors();
        let reached = cursors.iter().enumerate().filter(|(_, cursor)| cursor.given <= offset);
        let nearest = reached.max_by_key(|(_, cursor)| cursor.given).map(|(nth, _)| nth);
        nearest.map_or_else(
            || Cursor {
                given: 0,
                at: self.begin,
                unquoting: Unquoting::new(self.format),
                digest: Sha256::new(),
                piece: Vec::new(),
                taken: 0,
            },
            |nth| cursors.swap_remove(nth),
        )
    }

    fn cursors(&self) -> MutexGuard<'_, Vec<Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the next piece of the file; at the end of the text all must be as it
    /// was.
    fn advance(&self, cursor: &mut Cursor) -> io::Result<()> {
        let rest = usize::try_from(self.end.saturating_sub(cursor.at)).unwrap_or(usize::MAX);
        let mut stored = vec![0; rest.min(PIECE_OCTETS)];
        let count = self.files.read_at(&self.file, &mut stored, cursor.at)?;
        let stored = stored.get(..count).unwrap_or_default();
        if stored.is_empty() {
            return Err(changed());
        }
        cursor.at += stored.len() as u64;
        cursor.digest.update(stored);
        cursor.piece.drain(..cursor.taken);
        cursor.taken = 0;
        cursor.unquoting.undo(stored, &mut cursor.piece);
        if cursor.at >= self.end {
            cursor.unquoting.finish(&mut cursor.piece);
            let is_whole = cursor.given + cursor.piece.len() as u64 == self.octets;
            if !is_whole || TextDigest::of(cursor.digest.clone()) != self.digest {
                return Err(changed());
            }
        }
        Ok(())
    }
}

impl Octets for StoredText {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.octets || buffer.is_empty() {
            return Ok(0);
        }
        let mut cursor = self.cursor(offset);
        loop {
            // The last piece of the file is looked at before what it completes is
            // given; a quote that is held back at its end may be all of it.
            let is_last = || cursor.given + unread(&cursor) as u64 >= self.octets;
            if unread(&cursor) == 0 || (is_last() && cursor.at < self.end) {
                self.advance(&mut cursor)?;
                continue;
            }
            let unread = cursor.piece.get(cursor.taken..).unwrap_or_default();
            let (count, is_there) = match usize::try_from(offset - cursor.given) {
                Ok(0) => {
                    let count = unread.len().min(buffer.len());
                    for (to, from) in buffer.iter_mut().zip(unread) {
                        *to = *from;
                    }
                    (count, true)
                }
                Ok(missing) => (missing.min(unread.len()), false),
                Err(_) => (unread.len(), false),
            };
            cursor.taken += count;
            cursor.given += count as u64;
            if is_there {
                let mut cursors = self.cursors();
                if cursors.len() >= CURSORS_MAX {
                    cursors.remove(0);
                }
                cursors.push(cursor);
                return Ok(count);
            }
        }
    }
}

fn unread(cursor: &Cursor) -> usize {
    cursor.piece.len() - cursor.taken
}

fn changed() -> io::Error {
    let text = "the mailbox was changed while this message was read; read it anew";
    io::Error::new(io::ErrorKind::StaleNetworkFileHandle, text)
}
