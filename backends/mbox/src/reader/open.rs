//! Opening one message.
//!
//! Lives here: from a message that was found to its text.
//! May not: hold a lock: that the text is the message's is shown by its digest.

use super::{
    Reader,
    from_line::{self, FromLine},
    listing::{TRIES, read},
    scan::Found,
    text::StoredText,
};
use crate::tail;
use postino_files::File;
use postino_store::{Body, DeliveryError, MessageInfo, OpenMessage, ReadError};
use std::{io, path::Path, sync::Arc};

impl Reader<'_> {
    /// Opens a message for reading.
    pub(crate) fn open(
        &self,
        path: &Path,
        message: &MessageInfo,
    ) -> Result<OpenMessage, ReadError> {
        let mut message = message.clone();
        for _ in 0..TRIES {
            let file = self.open_to_read(path)?;
            if let Some(found) = self.again(&file, &message).map_err(|cause| read(&file, cause))? {
                return self.opened(file, &found);
            }
            message = self.find(path, message.id.as_str())?;
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    fn opened(&self, file: File, found: &Found) -> Result<OpenMessage, ReadError> {
        let (line, begin) = self.first_line(&file, found).map_err(|cause| read(&file, cause))?;
        let files = Arc::clone(self.files);
        let text = StoredText::new(files, file, self.format, begin, found);
        Ok(OpenMessage {
            info: found.info(),
            reverse_path: line.and_then(|line| line.sender),
            recipient: None,
            body: Body::elsewhere(text, found.octets),
        })
    }

    /// What the From_ line says, and where the text behind it begins.
    fn first_line(&self, file: &File, found: &Found) -> io::Result<(Option<FromLine>, u64)> {
        let files = &**self.files;
        let mut at = found.at;
        let mut line = None;
        while at < found.next {
            let count = (found.next - at).min(from_line::OCTETS_MAX as u64);
            let octets = tail::read(files, file, at, count)?;
            let end = memchr::memchr(b'\n', &octets).map(|end| end + 1);
            let part = octets.get(..end.unwrap_or(octets.len())).unwrap_or_default();
            line = line.or_else(|| FromLine::parse(part));
            at += part.len() as u64;
            if end.is_some() || part.is_empty() {
                break;
            }
        }
        Ok((line, at.min(found.end)))
    }
}
