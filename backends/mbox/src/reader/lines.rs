//! A part of a file, line by line.
//!
//! Lives here: the buffer that lines are read through; one that is too long for it
//! comes in pieces.
//! May not: know what a line means.

use postino_files::{File, Files};
use std::io;

/// Octets that are read at once.
const BUFFER_OCTETS: usize = 64 * 1024;

/// Lines up to this length come whole.
const WHOLE_OCTETS: usize = 8 * 1024;

/// Reads the lines up to a limit.
pub(super) struct Lines<'a> {
    files: &'a dyn Files,
    file: &'a File,
    limit: u64,
    buffer: Vec<u8>,
    /// Octets of the buffer that were taken.
    taken: usize,
    /// Where the first octet that was not taken stands in the file.
    at: u64,
    /// Whether a line begins there.
    begins: bool,
}

/// A line with its end, or a piece of a long one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) at: u64,
    pub(super) octets: &'a [u8],
    /// Whether it begins its line.
    pub(super) begins: bool,
}

impl<'a> Lines<'a> {
    /// The lines from `at`, where one begins, up to `limit`.
    pub(super) fn new(files: &'a dyn Files, file: &'a File, at: u64, limit: u64) -> Self {
        Self { files, file, limit, buffer: Vec::new(), taken: 0, at, begins: true }
    }

    /// Where the next piece begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The next piece, which stays the next until it is taken; none at the limit.
    pub(super) fn peek(&mut self) -> io::Result<Option<Piece<'_>>> {
        let line_end = |rest: &[u8]| memchr::memchr(b'\n', rest).map(|end| end + 1);
        let mut end = line_end(self.rest());
        while end.is_none() && self.rest().len() < WHOLE_OCTETS && self.fill()? {
            end = line_end(self.rest());
        }
        let rest = self.rest();
        let octets = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        Ok((!octets.is_empty()).then_some(Piece { at: self.at, octets, begins: self.begins }))
    }

    /// Takes the piece that [`Lines::peek`] gave.
    pub(super) fn take(&mut self, piece_octets: usize) {
        let octets = self.rest().get(..piece_octets).unwrap_or_default();
        let (begins, count) = (octets.ends_with(b"\n"), octets.len());
        self.begins = begins;
        self.taken += count;
        self.at += count as u64;
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Reads more; false at the limit. The file may have become shorter.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let (had, next) = (self.buffer.len(), self.at + self.buffer.len() as u64);
        let room = usize::try_from(self.limit.saturating_sub(next)).unwrap_or(usize::MAX);
        self.buffer.resize(had + room.min(BUFFER_OCTETS), 0);
        let new = self.buffer.get_mut(had..).unwrap_or_default();
        let read = if new.is_empty() { Ok(0) } else { self.files.read_at(self.file, new, next) };
        self.buffer.truncate(had + read.as_ref().map_or(0, |count| *count));
        Ok(read? > 0)
    }
}
