//! Whether a file is an mbox, and what stands at its end.
//!
//! Lives here: the looks at its first and last octets, and what follows: NULs of
//! a power cut go, a torn message of a crashed delivery goes, and the line ends
//! that a From_ line needs before it come.
//! May not: be called without the locks; cut anything but these.

use crate::{dotlock::Lengths, render::FROM};
use postino_files::{File, Files};
use postino_store::{DeliveryError, Failure};
use std::io;

/// Octets that are looked at together for NULs.
const WINDOW_OCTETS: u64 = 64 * 1024;

/// Octets that are read of the end where no NUL stands there.
const GLANCE_OCTETS: u64 = 512;

/// The end of a mailbox that is ready for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// How long the file is.
    pub(crate) length: u64,
    /// What is missing to an empty line at its end.
    pub(crate) missing: &'static [u8],
}

/// Looks at a file of this length and cuts what is broken at its end.
pub(crate) fn heal(
    files: &dyn Files,
    file: &File,
    length: u64,
    torn: Option<Lengths>,
) -> Result<Tail, DeliveryError> {
    let failed = |cause| DeliveryError::io("read the mailbox", file.path(), cause);
    let whole = without_nuls(files, file, length).map_err(failed)?;
    let start = read(files, file, 0, whole.min(FROM.len() as u64)).map_err(failed)?;
    // Less than a From_ line may be all that is left of a first message.
    let crashed = whole < length || torn.is_some();
    let is_rest = crashed && whole < FROM.len() as u64 && FROM.starts_with(&start);
    if whole > 0 && start != FROM && !is_rest {
        return Err(DeliveryError::Misconfigured(Failure {
            doing: "deliver to",
            path: file.path().to_owned(),
            cause: io::Error::new(io::ErrorKind::InvalidData, "it is no mbox: no From line"),
        }));
    }
    let mut end = if is_rest { 0 } else { whole };
    if let Some(Lengths { old, new }) = torn
        && old < whole
        && whole < new
        && begins_a_message(files, file, old, whole).map_err(failed)?
    {
        end = old;
    }
    if end != length {
        log::warn!(
            "{}: cut from {length} to {end} octets: what a crash left of a delivery that was not answered",
            file.path().display(),
        );
        cut(files, file, end)?;
    }
    let last = read(files, file, end.saturating_sub(2), 2.min(end)).map_err(failed)?;
    let missing: &[u8] = match &last[..] {
        [] | b"\n\n" => b"",
        [.., b'\n'] => b"\n",
        _ => b"\n\n",
    };
    Ok(Tail { length: end, missing })
}

/// Makes the file end here, durably.
fn cut(files: &dyn Files, file: &File, end: u64) -> Result<(), DeliveryError> {
    files
        .truncate(file, end)
        .map_err(|cause| DeliveryError::io("cut the mailbox", file.path(), cause))?;
    files.sync_file(file).map_err(|cause| DeliveryError::io("sync the mailbox", file.path(), cause))
}

/// Whether there stands, as far as it goes, what a delivery writes first. A reader
/// that has removed messages meanwhile has moved all others.
fn begins_a_message(files: &dyn Files, file: &File, at: u64, end: u64) -> io::Result<bool> {
    let found = read(files, file, at, (2 + FROM.len() as u64).min(end - at))?;
    let line_ends = found.iter().take(2).take_while(|octet| **octet == b'\n').count();
    let rest = found.get(line_ends..).unwrap_or_default();
    Ok(rest.starts_with(FROM) || FROM.starts_with(rest))
}

/// The length without the NULs at the end.
fn without_nuls(files: &dyn Files, file: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut window) = (length, GLANCE_OCTETS);
    while end > 0 {
        let start = end.saturating_sub(window);
        let octets = read(files, file, start, end - start)?;
        if let Some(last) = octets.iter().rposition(|octet| *octet != 0) {
            return Ok(start + last as u64 + 1);
        }
        (end, window) = (start, WINDOW_OCTETS);
    }
    Ok(0)
}

/// Up to `count` octets from there on; fewer at the end.
pub(crate) fn read(files: &dyn Files, file: &File, at: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(count).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match files.read_at(file, rest, at + filled as u64)? {
            0 => break,
            taken => filled += taken,
        }
    }
    octets.truncate(filled);
    Ok(octets)
}
