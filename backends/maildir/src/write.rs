//! From a draft in `tmp` to a message in `new`, one type a step.
//!
//! Lives here: the four steps, in the only order that compiles: a file that is
//! not synced has no `publish`.
//! May not: leave anything behind: each type removes its file when dropped, and
//! only [`Published::sync`] lets the message stay.

use crate::name::{Name, Sizes};
use postino_files::{Dir, File, Files};
use postino_store::{Delivery, DeliveryError, LineEnds};
use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

/// What is gathered before it is written: a smaller message is one write, and no
/// message needs more memory than this.
const BUFFER_OCTETS: usize = 64 * 1024;

/// A name that is to go when this is dropped.
struct Entry<'a> {
    files: &'a dyn Files,
    dir: &'a Dir,
    name: PathBuf,
    keep: bool,
}

impl Entry<'_> {
    fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody can be told; what stays in tmp goes after 36 hours.
            let _ = self.files.unlink(self.dir, &self.name);
        }
    }
}

/// An empty file in `tmp`.
pub(crate) struct Draft<'a> {
    entry: Entry<'a>,
    file: File,
    name: &'a Name,
}

impl<'a> Draft<'a> {
    pub(crate) fn create(
        files: &'a dyn Files,
        tmp: &'a Dir,
        name: &'a Name,
        mode: u32,
    ) -> Result<Self, DeliveryError> {
        let in_tmp = name.in_tmp();
        let file = files.create(tmp, &in_tmp, mode).map_err(|cause| {
            DeliveryError::io("create the file", tmp.path().join(&in_tmp), cause)
        })?;
        Ok(Self { entry: Entry { files, dir: tmp, name: in_tmp, keep: false }, file, name })
    }

    /// Writes the recipient's own header lines and the message. Lines end with
    /// LF; where bare CRs or LFs stand in the message, all stays as it came.
    pub(crate) fn write(self, delivery: &Delivery) -> Result<Written<'a>, DeliveryError> {
        let message = delivery.message();
        let octets = delivery.header().len() as u64 + message.body().len();
        let mut output = Output {
            files: self.entry.files,
            file: &self.file,
            buffer: Vec::with_capacity(
                usize::try_from(octets)
                    .unwrap_or(BUFFER_OCTETS)
                    .saturating_add(1)
                    .min(BUFFER_OCTETS),
            ),
            ends: (!message.bare_newlines).then(LineEnds::new),
            sizes: Sizes::default(),
            last_octet: 0,
        };
        output.take(delivery.header())?;
        let mut reader = message.body().reader();
        loop {
            let octets = match reader.fill_buf() {
                Ok([]) => break,
                Ok(octets) => octets,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(DeliveryError::io("read the message", "", cause)),
            };
            output.take(octets)?;
            let taken = octets.len();
            reader.consume(taken);
        }
        let sizes = output.finish()?;
        Ok(Written { draft: self, sizes })
    }
}

/// What is on its way into the file.
struct Output<'a> {
    files: &'a dyn Files,
    file: &'a File,
    buffer: Vec<u8>,
    ends: Option<LineEnds>,
    sizes: Sizes,
    last_octet: u8,
}

impl Output<'_> {
    fn take(&mut self, mut octets: &[u8]) -> Result<(), DeliveryError> {
        while !octets.is_empty() {
            // One place is left for a CR that the piece before held back.
            if self.buffer.len() + 1 >= BUFFER_OCTETS {
                self.flush()?;
            }
            let room = BUFFER_OCTETS - 1 - self.buffer.len();
            let (piece, rest) = octets.split_at(room.min(octets.len()));
            match &mut self.ends {
                Some(ends) => ends.to_lf(piece, &mut self.buffer),
                None => self.buffer.extend_from_slice(piece),
            }
            octets = rest;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeliveryError> {
        let lone_newlines = std::iter::once(&self.last_octet)
            .chain(&self.buffer)
            .zip(&self.buffer)
            .filter(|(before, octet)| **octet == b'\n' && **before != b'\r')
            .count() as u64;
        let octets = self.buffer.len() as u64;
        self.sizes.octets += octets;
        self.sizes.virtual_octets += octets + lone_newlines;
        self.last_octet = self.buffer.last().copied().unwrap_or(self.last_octet);
        self.files
            .write_all(self.file, &self.buffer)
            .map_err(|cause| DeliveryError::io("write the file", self.file.path(), cause))?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Sizes, DeliveryError> {
        if let Some(ends) = &mut self.ends {
            ends.finish(&mut self.buffer);
        }
        self.flush()?;
        Ok(self.sizes)
    }
}

/// A whole message in `tmp`, perhaps in the page cache alone.
pub(crate) struct Written<'a> {
    draft: Draft<'a>,
    sizes: Sizes,
}

impl<'a> Written<'a> {
    pub(crate) fn sync(self) -> Result<Synced<'a>, DeliveryError> {
        let Self { draft, sizes } = self;
        draft
            .entry
            .files
            .sync_file(&draft.file)
            .map_err(|cause| DeliveryError::io("sync the file", draft.file.path(), cause))?;
        Ok(Synced { entry: draft.entry, new_name: draft.name.in_new(sizes) })
    }
}

/// A message in `tmp` whose content is on stable storage.
pub(crate) struct Synced<'a> {
    entry: Entry<'a>,
    new_name: PathBuf,
}

impl<'a> Synced<'a> {
    /// Makes the message visible.
    pub(crate) fn publish(mut self, new: &'a Dir) -> Result<Published<'a>, DeliveryError> {
        let files = self.entry.files;
        let mut published = Entry { files, dir: new, name: self.new_name, keep: false };
        match files.rename(self.entry.dir, &self.entry.name, new, &published.name) {
            Ok(()) => {
                self.entry.keep = true;
                Ok(Published(published))
            }
            Err(cause) => {
                // A network's file system may have renamed it all the same, so
                // both names go; but one that was there before is not ours.
                published.keep = cause.kind() == io::ErrorKind::AlreadyExists;
                Err(DeliveryError::io("rename the file into", published.path(), cause))
            }
        }
    }
}

/// A message in `new`, whose name may not be on stable storage.
pub(crate) struct Published<'a>(Entry<'a>);

impl Published<'_> {
    /// Makes it stay.
    pub(crate) fn sync(mut self) -> Result<(), DeliveryError> {
        let path: &Path = self.0.dir.path();
        self.0
            .files
            .sync_dir(self.0.dir)
            .map_err(|cause| DeliveryError::io("sync the directory", path, cause))?;
        self.0.keep = true;
        Ok(())
    }
}
