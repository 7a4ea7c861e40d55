//! As whom a store is called.
//!
//! Lives here: from a mailbox's owner to a thread that acts as he, and what is said
//! where that cannot be.
//! May not: outlast the store's call: spool, log and answers are the process's own,
//! and a thread that is started meanwhile would be the user's too.

use crate::sys::{credentials::Identity, thread_identity::Assumed};
use postino_store::{DeliveryError, Failure, Mailbox, Owner};
use std::io;

/// Whom this process can act as.
pub struct Owners {
    /// The process's own uid.
    uid: u32,
    /// The group in place of each owner's own (`--mail-group`).
    mail_group: Option<u32>,
}

impl Owners {
    /// For the process as it is now: whoever it is to become, it has become.
    pub fn new(mail_group: Option<u32>) -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), mail_group }
    }

    /// Has the calling thread act as the owner of a mailbox, until what this gives is
    /// dropped; nothing is to be done where there is none, or he runs the program.
    pub(super) fn assume(&self, owner: Option<&Owner>) -> io::Result<Option<Assumed>> {
        let Some(owner) = owner else { return Ok(None) };
        if self.uid != 0 {
            return if owner.uid == self.uid { Ok(None) } else { Err(self.foreign()) };
        }
        if owner.uid == 0 {
            let why = "mail is not delivered as root; alias the user to another";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let Owner { uid, gid, groups } = owner;
        let mut groups = groups.clone();
        if !groups.contains(gid) {
            groups.push(*gid);
        }
        let gid = self.mail_group.unwrap_or(*gid);
        Assumed::take(&Identity { uid: *uid, gid, groups }).map(Some)
    }

    /// Acts as the owner of a mailbox, for as long as that takes; `act` starts no thread.
    pub fn act<T>(
        &self,
        mailbox: &Mailbox,
        owner: Option<&Owner>,
        act: impl FnOnce() -> T,
    ) -> Result<T, DeliveryError> {
        let _assumed = self.assume(owner).map_err(|cause| error(mailbox, owner, &cause))?;
        Ok(act())
    }

    fn foreign(&self) -> io::Error {
        let why = format!(
            "postino runs as uid {}, and only root can be another user; start it as root without \
             --user, or give the mailbox that uid or none",
            self.uid
        );
        io::Error::new(io::ErrorKind::PermissionDenied, why)
    }
}

/// The error of a mailbox whose owner could not be [assumed](Owners::assume).
pub(super) fn error(mailbox: &Mailbox, owner: Option<&Owner>, cause: &io::Error) -> DeliveryError {
    let cause = io::Error::new(cause.kind(), cause.to_string());
    let doing = "act as the owner of";
    let path = match owner {
        Some(owner) => format!("{}, uid {}", mailbox.name(), owner.uid),
        None => mailbox.name().to_string(),
    };
    DeliveryError::Misconfigured(Failure { doing, path: path.into(), cause })
}
