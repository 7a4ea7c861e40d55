//! Messages at the end of a mailbox: all that were asked for, or the file as it
//! was.
//!
//! Lives here: the order of things under the locks: measure, begin the commits,
//! say in the lock file what is to come, append, sync.
//! May not: take or give back a lock.
//! Holds: whatever ends it early, a panic included, the file is cut back to where
//! it ended before; no sync is tried twice on what it failed for.

use crate::{
    error::Unstored,
    id::TextDigest,
    lengths::{Lengths, Start},
    lock::Locks,
    render::{self, Broken, Format, Sink},
    tail::Tail,
};
use postino_files::{File, Files};
use postino_store::{Contents, Delivery, DeliveryError, DeliveryId};
use sha2::{Digest, Sha256};
use std::io;

/// What is gathered before it is written: a smaller batch is one write, and no
/// message needs more memory than a few of these.
const BUFFER_OCTETS: usize = 128 * 1024;

/// A mailbox under its locks.
pub(crate) struct Appender<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) file: &'a File,
    pub(crate) locks: &'a Locks<'a>,
    pub(crate) tail: Tail,
    pub(crate) format: Format,
    /// What the account holds beside this file, where a quota limits it, and how
    /// many messages are in the file.
    pub(crate) held: Option<Contents>,
}

/// Cuts the file back when dropped, unless all went well.
pub(crate) struct Appended<'a> {
    appender: &'a Appender<'a>,
    announced: Lengths,
    touched: bool,
    stays: bool,
}

impl Appended<'_> {
    /// How long the file is then.
    pub(crate) fn length(&self) -> u64 {
        self.announced.new
    }

    /// It is true that the messages are stored.
    pub(crate) fn keep(mut self) {
        self.stays = true;
    }
}

impl<'a> Appender<'a> {
    /// Appends the deliveries and syncs the file. Those that fail for themselves
    /// are given their errors; the others are stored, under these ids, once what
    /// else is to be durable is so and [`Appended::keep`] was called.
    pub(crate) fn append(
        &'a self,
        deliveries: &[&Delivery],
        give: &mut dyn FnMut(usize, Result<DeliveryId, DeliveryError>),
    ) -> Result<(Appended<'a>, Vec<(usize, DeliveryId)>), Unstored> {
        let Tail { length: old, missing } = self.tail;
        let mut starts = Vec::with_capacity(deliveries.len());
        let mut sizes = Vec::with_capacity(deliveries.len());
        let mut new = old + missing.len() as u64;
        let mut held = self.held;
        for (at, delivery) in deliveries.iter().enumerate() {
            let measured = if delivery.is_withdrawn() {
                Err(DeliveryError::Expired)
            } else {
                render::measure(delivery, self.format).and_then(|size| {
                    let Some(Contents { messages, octets }) = held else { return Ok(size) };
                    let held = Contents { messages, octets: octets.saturating_add(new) };
                    delivery.mailbox().quota().admit(held, size).map(|()| size)
                })
            };
            // What is appended can be seen at once.
            match measured.and_then(|size| delivery.begin_commit().map(|()| size)) {
                Ok(size) => {
                    let line = render::fingerprint(&render::from_line(delivery.message()));
                    starts.push(Start { at: new, line });
                    new += size;
                    sizes.push((at, size));
                    if let Some(held) = &mut held {
                        held.messages += 1;
                    }
                }
                Err(error) => give(at, Err(error)),
            }
        }
        let announced = Lengths { old, starts, new };
        let mut appended = Appended { appender: self, announced, touched: false, stays: false };
        if sizes.is_empty() {
            return Ok((appended, Vec::new()));
        }
        self.locks.announce(&appended.announced)?;
        appended.touched = true;
        let mut output = Output::new(self.files, self.file, old);
        output.mark(missing)?;
        let mut ids = Vec::with_capacity(sizes.len());
        for (at, size) in sizes {
            let Some(delivery) = deliveries.get(at) else { continue };
            let start = output.end();
            output.digest = Sha256::new();
            let fault = match render::render(delivery, self.format, &mut output) {
                Ok(()) if output.end() == start + size => {
                    ids.push((at, output.id(start)));
                    continue;
                }
                Ok(()) => DeliveryError::io(
                    "read the message",
                    "",
                    io::Error::other("it is not the same the second time"),
                ),
                Err(Broken::Message(error)) => error,
                Err(Broken::Mailbox(error)) => return Err(error.into()),
            };
            output.cut(start)?;
            appended.announced.leave_out(ids.len(), size);
            self.locks.announce(&appended.announced)?;
            give(at, Err(fault));
        }
        if ids.is_empty() {
            return Ok((appended, ids));
        }
        output.flush()?;
        self.files.sync_file(self.file).map_err(|cause| {
            Unstored::by_sync(DeliveryError::io("sync the mailbox", self.file.path(), cause))
        })?;
        Ok((appended, ids))
    }
}

impl Drop for Appended<'_> {
    fn drop(&mut self) {
        if self.stays || !self.touched {
            return;
        }
        let Appender { files, file, locks, tail, .. } = self.appender;
        let old = tail.length;
        // Cutting twice harms nobody; a torn message would.
        let cut = files.truncate(file, old).or_else(|_| files.truncate(file, old));
        if let Err(error) = cut {
            // Whole or not, nobody was told that it is stored.
            let Lengths { starts, new, .. } = self.announced.clone();
            locks.set_torn(Some(Lengths { old, starts, new: new + 1 }));
            log::error!(
                "cannot cut {} back to {old} octets, it has a torn message at its end: {error}",
                file.path().display(),
            );
        } else if let Err(error) = files.sync_file(file) {
            log::warn!(
                "cannot sync {} after it was cut back to {old} octets: {error}",
                file.path().display(),
            );
        }
    }
}

/// What is on its way into the file.
struct Output<'a> {
    files: &'a dyn Files,
    file: &'a File,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    written: u64,
    /// Of this message's text.
    digest: Sha256,
}

impl<'a> Output<'a> {
    fn new(files: &'a dyn Files, file: &'a File, written: u64) -> Self {
        Self { files, file, buffer: Vec::new(), written, digest: Sha256::new() }
    }

    /// Where the next octet will stand.
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Takes everything from there on back.
    fn cut(&mut self, end: u64) -> Result<(), DeliveryError> {
        if let Some(buffered) = end.checked_sub(self.written) {
            self.buffer.truncate(usize::try_from(buffered).unwrap_or(usize::MAX));
            return Ok(());
        }
        self.buffer.clear();
        self.files
            .truncate(self.file, end)
            .map_err(|cause| DeliveryError::io("cut the mailbox", self.file.path(), cause))?;
        self.written = end;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeliveryError> {
        self.files
            .write_all(self.file, &self.buffer)
            .map_err(|cause| DeliveryError::io("write to", self.file.path(), cause))?;
        self.written = self.end();
        self.buffer.clear();
        Ok(())
    }

    /// The id of the message that begins there and ends here.
    fn id(&mut self, start: u64) -> DeliveryId {
        TextDigest::of(std::mem::take(&mut self.digest)).id(start)
    }
}

impl Sink for Output<'_> {
    fn mark(&mut self, octets: &[u8]) -> Result<(), DeliveryError> {
        if self.buffer.len() + octets.len() > BUFFER_OCTETS {
            self.flush()?;
        }
        self.buffer.extend_from_slice(octets);
        Ok(())
    }

    fn text(&mut self, octets: &[u8]) -> Result<(), DeliveryError> {
        self.digest.update(octets);
        self.mark(octets)
    }
}
