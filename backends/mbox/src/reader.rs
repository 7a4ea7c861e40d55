//! The reading side: listing, reading, removing and checking what is stored.
//!
//! Lives here: [`Reader`], what all of it works on, and the modules below it.
//! May not: deliver; make a mailbox.
//! Holds: a message of a mailbox is looked at under the locks that a delivery
//! takes, and these are given back before the caller has the word; a text is read
//! without them, and its digest tells whether it was changed meanwhile.

mod access;
mod from_line;
mod lines;
mod listing;
mod names;
mod open;
mod places;
mod remove;
mod replace;
mod scan;
mod text;
mod unquote;
mod verify;

pub(crate) use places::Places;

use crate::{lock::Locking, mailbox::Mailboxes, render::Format};
use postino_files::{Files, root::Root};
use postino_store::PathTemplate;
use std::sync::Arc;

/// A store that is read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) template: &'a PathTemplate,
    pub(crate) files: &'a Arc<dyn Files>,
    pub(crate) format: Format,
    pub(crate) root: &'a Root,
    pub(crate) mailboxes: &'a Mailboxes,
    pub(crate) locking: &'a Locking,
    pub(crate) places: &'a Places,
}
