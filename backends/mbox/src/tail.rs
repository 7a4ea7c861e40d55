//! Whether a file is an mbox, and what stands at its end.
//!
//! Lives here: the looks at its first and last octets, and what follows: NULs of
//! a power cut go, a torn message of a crashed delivery goes, and the line ends
//! that a From_ line needs before it come.
//! May not: be called without the locks; cut anything but these.
//! Holds: what is cut has no From_ line but our own. No message of ours has one in
//! it, as those are quoted, so that any other is the beginning of a message that
//! somebody appended to the torn one, with the kernel's lock alone.

use crate::{
    error::Unstored,
    lengths::Lengths,
    render::{self, FROM},
};
use memchr::{memchr, memchr_iter};
use postino_files::{File, Files};
use postino_store::{DeliveryError, Failure};
use std::io;

/// Octets that are looked at together for NULs.
const WINDOW_OCTETS: u64 = 64 * 1024;

/// More NULs at the end are none that a power cut left of a delivery: whoever may write
/// to the file can make it any length at no cost, and have us read all of it.
pub(crate) const NULS_MAX: u64 = 256 * 1024 * 1024;

/// What a crash left of a delivery is not looked for in more: the lock file says how
/// much there is, and is the mailbox's owner's to write.
const TORN_MAX: u64 = 1024 * 1024 * 1024;

/// The most that a mailbox lacks in front of a message, two line ends.
const MISSING_MAX: u64 = 2;

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

/// What of a file is mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Whether it is an mbox at all: empty, or begun by a From_ line.
    pub(crate) is_mbox: bool,
    /// Where the mail ends; what is left of a torn delivery may follow.
    pub(crate) end: u64,
    /// Where that ends; NULs may follow.
    pub(crate) whole: u64,
    /// Part of a torn message stays at this octet, as others' follow it.
    pub(crate) torn_at: Option<u64>,
}

/// Looks at a file of this length; `torn` is what was announced of a delivery that
/// did not come to its end.
pub(crate) fn look(
    files: &dyn Files,
    file: &File,
    length: u64,
    torn: Option<&Lengths>,
) -> io::Result<Sound> {
    let whole = without_nuls(files, file, length)?;
    let start = read(files, file, 0, whole.min(FROM.len() as u64))?;
    // Less than a From_ line may be all that is left of a first message.
    let crashed = whole < length || torn.is_some();
    let is_rest = crashed && whole < FROM.len() as u64 && FROM.starts_with(&start);
    let is_mbox = whole == 0 || start == FROM || is_rest;
    let mut sound = Sound { is_mbox, end: if is_rest { 0 } else { whole }, whole, torn_at: None };
    if let Some(torn) = torn
        && is_mbox
        && torn.old < whole
        && whole < torn.new
    {
        if is_ours(files, file, torn, whole)? {
            sound.end = torn.old;
        } else {
            sound.torn_at = Some(torn.old);
        }
    }
    Ok(sound)
}

/// Looks at a file of this length and cuts what is broken at its end.
pub(crate) fn heal(
    files: &dyn Files,
    file: &File,
    length: u64,
    torn: Option<&Lengths>,
) -> Result<Tail, Unstored> {
    let failed = |cause| DeliveryError::io("read the mailbox", file.path(), cause);
    let Sound { is_mbox, end, torn_at, .. } = look(files, file, length, torn).map_err(failed)?;
    if !is_mbox {
        return Err(Unstored::from(DeliveryError::Misconfigured(Failure {
            doing: "deliver to",
            path: file.path().to_owned(),
            cause: io::Error::new(io::ErrorKind::InvalidData, "it is no mbox: no From line"),
        })));
    }
    if let Some(at) = torn_at {
        log::warn!(
            "{}: a crash may have left part of a message at octet {at}; it stays, as others' \
             follow it",
            file.path().display(),
        );
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
pub(crate) fn cut(files: &dyn Files, file: &File, end: u64) -> Result<(), Unstored> {
    files
        .truncate(file, end)
        .map_err(|cause| DeliveryError::io("cut the mailbox", file.path(), cause))?;
    files.sync_file(file).map_err(|cause| {
        Unstored::by_sync(DeliveryError::io("sync the mailbox", file.path(), cause))
    })
}

/// Whether all from the old length to this end is, as far as it goes, what was
/// announced. A reader that has removed messages meanwhile has moved all others.
fn is_ours(files: &dyn Files, file: &File, torn: &Lengths, end: u64) -> io::Result<bool> {
    let Some(first) = torn.starts.first() else { return Ok(false) };
    let missing = first.at.min(end).saturating_sub(torn.old);
    if missing > MISSING_MAX || end - torn.old > TORN_MAX {
        return Ok(false);
    }
    let missing = read(files, file, torn.old, missing)?;
    let start = read(files, file, first.at, end.saturating_sub(first.at).min(FROM.len() as u64))?;
    if missing.iter().any(|octet| *octet != b'\n') || !FROM.starts_with(&start) {
        return Ok(false);
    }
    let is_our_line = |at| -> io::Result<bool> {
        let Some(announced) = torn.starts.iter().find(|start| start.at == at) else {
            return Ok(false);
        };
        let line = read(files, file, at, (end - at).min(WINDOW_OCTETS))?;
        Ok(match memchr(b'\n', &line) {
            Some(length) => {
                line.get(..=length).is_some_and(|line| render::fingerprint(line) == announced.line)
            }
            None => at + line.len() as u64 == end,
        })
    };
    if start == FROM && !is_our_line(first.at)? {
        return Ok(false);
    }
    let mut at = first.at;
    while at < end {
        // The last line end's line may begin behind the window.
        let octets = read(files, file, at, (end - at).min(WINDOW_OCTETS + FROM.len() as u64))?;
        for line_end in memchr_iter(b'\n', &octets) {
            let line = octets.get(line_end + 1..).unwrap_or_default();
            if line.starts_with(FROM) && !is_our_line(at + line_end as u64 + 1)? {
                return Ok(false);
            }
        }
        at += WINDOW_OCTETS;
    }
    Ok(true)
}

/// The length without the NULs at the end; an error where these are too many.
fn without_nuls(files: &dyn Files, file: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut window) = (length, GLANCE_OCTETS);
    while end > 0 {
        if length - end > NULS_MAX {
            return Err(too_many_nuls());
        }
        let start = end.saturating_sub(window);
        let octets = read(files, file, start, end - start)?;
        if let Some(last) = octets.iter().rposition(|octet| *octet != 0) {
            return Ok(start + last as u64 + 1);
        }
        (end, window) = (start, WINDOW_OCTETS);
    }
    Ok(0)
}

/// The error of a file that somebody made long, or damaged.
pub(crate) fn too_many_nuls() -> io::Error {
    let fault = "more NULs stand in it than a power cut leaves; cut them off, as by truncate(1)";
    io::Error::new(io::ErrorKind::InvalidData, fault)
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
