//! The reading side of the database.
//!
//! Lives here: [`Reader`], the store's [`MailReader`]; each of its subjects stands
//! in a module of its own.
//! May not: change a database that it only reads, its journal mode included.
//! Holds: no transaction lasts while the caller has the word, but that of a backup,
//! which keeps nobody waiting.

mod backup;
mod list;
mod remove;
mod stream;
mod verify;

use crate::{connections::Connections, place::Found};
use postino_store::{
    Contents, Finding, MailReader, MailboxName, MessageInfo, OpenMessage, ReadError, Repair,
    Verified, Visit,
};
use std::{path::Path, sync::Arc};

/// Reads what the store has stored.
pub(crate) struct Reader {
    connections: Arc<Connections>,
}

impl Reader {
    pub(crate) fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }

    fn path(&self) -> &Path {
        self.connections.place().path()
    }
}

impl MailReader for Reader {
    fn identity(&self) -> Result<String, ReadError> {
        let place = self.connections.place();
        match place.look() {
            Ok(Found::File { identity, .. }) => {
                Ok(format!("{}:{}", identity.device, identity.inode))
            }
            Ok(Found::Nothing) => Err(place.missing().error(self.path()).into()),
            Err(fault) => Err(fault.error(self.path()).into()),
        }
    }

    fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        list::mailboxes(&self.connections, visit).map_err(|fault| fault.error(self.path()).into())
    }

    fn messages(
        &self,
        mailbox: &MailboxName,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError> {
        list::messages(&self.connections, mailbox, visit)
    }

    fn contents(&self, mailbox: &MailboxName) -> Result<Contents, ReadError> {
        list::contents(&self.connections, mailbox)
    }

    fn find(&self, mailbox: &MailboxName, id: &str) -> Result<MessageInfo, ReadError> {
        stream::find(&self.connections, mailbox, id)
    }

    fn open(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<OpenMessage, ReadError> {
        stream::open(&self.connections, mailbox, message.id.as_str())
    }

    fn remove(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<(), ReadError> {
        remove::message(&self.connections, mailbox, message.id.as_str())
    }

    fn remove_mailbox(&self, mailbox: &MailboxName) -> Result<(), ReadError> {
        remove::mailbox(&self.connections, mailbox)
    }

    fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        verify::verify(&self.connections, repair, report)
            .map_err(|fault| fault.error(self.path()).into())
    }

    fn backup(&self, target: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), ReadError> {
        backup::backup(&self.connections, target, progress)
    }
}
