//! What a message's file holds, as far as a check looks.
//!
//! Lives here: telling a plain message from one that Dovecot has compressed or
//! encrypted, and from the NULs that some file systems leave of a file after a power
//! cut.
//! May not: keep more of a file than one block, or read more of it than
//! [`LOOKED_AT_MAX`]: a file of holes takes no room on the disk and can have any size.

use postino_files::{File, Files};
use std::io;

/// Octets read at once.
const BLOCK_OCTETS: usize = 64 * 1024;

/// Octets that are looked at of a file that begins with NULs, besides its last block.
pub(crate) const LOOKED_AT_MAX: u64 = 16 * 1024 * 1024;

/// What is looked at of a file that does not begin with a NUL.
const BEGINNING_OCTETS: usize = 4096;

/// How compressed files begin (gzip, bzip2, xz, lzma, zstd, lz4 and Dovecot's own
/// frame of it), and those that Dovecot encrypts.
const PACKED: [&[u8]; 8] = [
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x5d\0\0",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"Dovecot-LZ4\x0d\x2a\x9b\xc5",
    b"CRYPTED\x03\x07",
];

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Octets of mail, one for one.
    Plain,
    /// The same, compressed or encrypted: its size says nothing of the message's.
    Packed,
    /// Nothing but NULs.
    Nulls,
    /// Nothing but NULs at its end, and in its first [`LOOKED_AT_MAX`] octets; the rest
    /// was not looked at.
    NullsAsFar,
}

/// Looks at an open file of so many octets, which is not empty.
pub(crate) fn look(files: &dyn Files, file: &File, size: u64) -> io::Result<Content> {
    let mut block = vec![0; BEGINNING_OCTETS];
    let count = files.read_at(file, &mut block, 0)?;
    let beginning = block.get(..count).unwrap_or_default();
    if PACKED.iter().any(|magic| beginning.starts_with(magic)) {
        return Ok(Content::Packed);
    }
    let is_null = |octets: &[u8]| octets.iter().all(|octet| *octet == 0);
    if !is_null(beginning) {
        return Ok(Content::Plain);
    }
    block.resize(BLOCK_OCTETS, 0);
    let count_at_end = files.read_at(file, &mut block, size.saturating_sub(BLOCK_OCTETS as u64))?;
    if !is_null(block.get(..count_at_end).unwrap_or_default()) {
        return Ok(Content::Plain);
    }
    let mut offset = count as u64;
    while offset < LOOKED_AT_MAX {
        let count = files.read_at(file, &mut block, offset)?;
        let octets = block.get(..count).unwrap_or_default();
        if octets.is_empty() {
            return Ok(Content::Nulls);
        }
        if !is_null(octets) {
            return Ok(Content::Plain);
        }
        offset += count as u64;
    }
    Ok(Content::NullsAsFar)
}
