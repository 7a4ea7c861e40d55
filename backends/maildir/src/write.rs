//! From a draft in `tmp` to a message in `new` or `cur`, one type a step.
//!
//! Lives here: the four steps, in the only order that compiles: a file that is
//! not synced has no `publish`.
//! May not: leave anything behind: each type removes its file when dropped, and
//! only [`Published::sync`] lets the message stay.
//!
//! All of it is seen from where the message is to be, which spares opening `tmp`: the draft is called
//! `../tmp/NAME`. Between two steps whoever may write to the mailbox could put
//! something else under that name; he could in `new` and `cur` as well.

use crate::name::{self, Name, Sizes};
use memchr::memchr_iter;
use postino_files::{Dir, File, Files};
use postino_store::{DeliveryError, LineEnds, Message};
use std::{
    io::{self, BufRead},
    path::PathBuf,
    sync::Arc,
};

/// What is gathered before it is written: a smaller message is one write, and no
/// message needs more memory than this.
const BUFFER_OCTETS: usize = 64 * 1024;

/// A name that is to go when this is dropped.
struct Entry {
    files: Arc<dyn Files>,
    dir: Arc<Dir>,
    name: PathBuf,
    keep: bool,
}

impl Entry {
    fn path(&self) -> PathBuf {
        self.dir.path_to(&self.name)
    }

    /// The call that was to give the name failed. A network's file system may have
    /// given it all the same, so it goes; but one that was there before is not ours.
    fn after_failure(&mut self, cause: &io::Error) {
        self.keep = cause.kind() == io::ErrorKind::AlreadyExists;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.keep {
            // Nobody can be told; what stays in tmp goes after 36 hours.
            let _ = self.files.unlink(&self.dir, &self.name);
        }
    }
}

/// An empty file in `tmp`.
pub(crate) struct Draft {
    entry: Entry,
    file: File,
}

impl Draft {
    pub(crate) fn create(
        files: &Arc<dyn Files>,
        place: Dir,
        name: &Name,
        mode: u32,
    ) -> Result<Self, DeliveryError> {
        let in_tmp = name.in_tmp();
        let file = files
            .create(&place, &in_tmp, mode)
            .map_err(|cause| DeliveryError::io("create the file", place.path_to(&in_tmp), cause))?;
        let (files, dir) = (Arc::clone(files), Arc::new(place));
        Ok(Self { entry: Entry { files, dir, name: in_tmp, keep: false }, file })
    }

    pub(crate) fn write(self, header: &[u8], message: &Message) -> Result<Written, DeliveryError> {
        let files = &*self.entry.files;
        let sizes = write(files, &self.file, header, message)?;
        if name::kept(message).is_some() {
            // What readers show as the time at which it came.
            files
                .set_written(&self.file, message.received.since_epoch)
                .map_err(|cause| DeliveryError::io("date the file", self.file.path(), cause))?;
        }
        Ok(Written { draft: self, sizes })
    }
}

/// Writes the header lines and the message. Lines end with LF; where bare CRs or
/// LFs stand in the message, all stays as it came.
pub(crate) fn write(
    files: &dyn Files,
    file: &File,
    header: &[u8],
    message: &Message,
) -> Result<Sizes, DeliveryError> {
    let octets = header.len() as u64 + message.body().len();
    let room = usize::try_from(octets).unwrap_or(BUFFER_OCTETS).saturating_add(1);
    let mut output = Output {
        files,
        file,
        buffer: Vec::with_capacity(room.min(BUFFER_OCTETS)),
        ends: (!message.bare_newlines).then(LineEnds::new),
        sizes: Sizes::default(),
        last_octet: 0,
    };
    output.take(header)?;
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
    output.finish()
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
        let is_lone = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| self.buffer.get(before));
            before.unwrap_or(&self.last_octet) != &b'\r'
        };
        let lone_newlines = memchr_iter(b'\n', &self.buffer).filter(is_lone).count() as u64;
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
pub(crate) struct Written {
    draft: Draft,
    sizes: Sizes,
}

impl Written {
    pub(crate) fn sync(self) -> Result<Synced, DeliveryError> {
        let Self { draft, sizes } = self;
        draft
            .entry
            .files
            .sync_file(&draft.file)
            .map_err(|cause| DeliveryError::io("sync the file", draft.file.path(), cause))?;
        Ok(Synced { entry: draft.entry, sizes })
    }
}

/// A message in `tmp` whose content is on stable storage.
pub(crate) struct Synced {
    entry: Entry,
    sizes: Sizes,
}

impl Synced {
    /// The file's size.
    pub(crate) fn octets(&self) -> u64 {
        self.sizes.octets
    }

    /// Makes the message visible in its own mailbox.
    pub(crate) fn publish(mut self, name: &Name) -> Result<Published, DeliveryError> {
        let mut published = Entry {
            files: Arc::clone(&self.entry.files),
            dir: Arc::clone(&self.entry.dir),
            name: name.in_place(self.sizes),
            keep: false,
        };
        let Entry { files, dir, name, .. } = &self.entry;
        match files.rename(dir, name, dir, &published.name) {
            Ok(()) => {
                self.entry.keep = true;
                Ok(Published { entry: published, octets: self.sizes.octets })
            }
            Err(cause) => {
                published.after_failure(&cause);
                Err(DeliveryError::io("rename the file into", published.path(), cause))
            }
        }
    }
}

/// A message in its place, whose name may not be on stable storage.
pub(crate) struct Published {
    entry: Entry,
    octets: u64,
}

impl Published {
    /// Gives a file of no name this one in `new`. The inner error is that of a
    /// file that can have no name there.
    pub(crate) fn link(
        files: &Arc<dyn Files>,
        file: &File,
        new: Dir,
        name: &Name,
        sizes: Sizes,
    ) -> Result<Result<Self, io::Error>, DeliveryError> {
        let (files, dir) = (Arc::clone(files), Arc::new(new));
        let name = name.in_place(sizes);
        let mut published = Entry { files, dir, name, keep: false };
        match published.files.link_unnamed(file, &published.dir, &published.name) {
            Ok(()) => Ok(Ok(Self { entry: published, octets: sizes.octets })),
            Err(cause) if no_link_is_possible(&cause) => {
                published.keep = true;
                Ok(Err(cause))
            }
            Err(cause) => {
                published.after_failure(&cause);
                Err(DeliveryError::io("link the file to", published.path(), cause))
            }
        }
    }

    /// The file's size.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    /// Makes it stay.
    pub(crate) fn sync(mut self) -> Result<(), DeliveryError> {
        let Entry { files, dir, .. } = &self.entry;
        files
            .sync_dir(dir)
            .map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))?;
        self.entry.keep = true;
        Ok(())
    }
}

/// Whether a link failed for what it was asked, and not by accident: another file
/// system (or project), too many links, none at all, or the file has lost those
/// that it had.
fn no_link_is_possible(cause: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        cause.kind(),
        Kind::CrossesDevices
            | Kind::TooManyLinks
            | Kind::PermissionDenied
            | Kind::Unsupported
            | Kind::NotFound
    )
}
