//! Where settings come from, and for whom.
//!
//! Lives here: what a reload needs to read all of them again.
//! May not: read any.

use super::Given;
use crate::{stores::Stores, users::UsersFile};
use std::sync::Arc;

/// The store where neither flag nor file names one.
pub(super) const DEFAULT_STORE: &str = "maildir:./mail";

/// What the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon.
    Serve,
    /// One session on descriptor 0.
    Inetd,
    /// One message on descriptor 0.
    #[cfg(feature = "tools")]
    Deliver,
}

/// Where settings come from, to be read again at a reload.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What they are for.
    pub role: Role,
    /// The stores that there are.
    pub stores: Stores,
    /// The flags.
    pub flags: Given,
    /// The file that `--config` names.
    pub file: Option<String>,
    /// The users file in force, at a reload: it keeps its table where the file is
    /// no good now.
    pub users_file: Option<Arc<UsersFile>>,
}

impl Role {
    /// Whether it serves clients that come by themselves.
    pub(super) fn listens(self) -> bool {
        self == Self::Serve
    }

    /// Whether it hands one message in, whose MTA has accepted it already.
    pub(super) fn delivers(self) -> bool {
        // Which role that is, only some builds have.
        !matches!(self, Self::Serve | Self::Inetd)
    }

    /// What counts for it of a file that it shares with the daemon.
    pub(super) fn settings_of(self, mut file: Given) -> Given {
        if self.delivers() {
            // Its standard error is what the MTA reads.
            file.remove("log");
        }
        file
    }
}
