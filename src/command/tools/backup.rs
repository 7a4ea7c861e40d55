//! `postino backup`: a copy of a SQLite store while it is in use.
//!
//! Lives here: the command, and its progress on a terminal; the store does the work.
//! May not: overwrite anything.

use super::arguments::Backup;
use crate::{
    command::{exit::Exit, printed},
    escape,
    stores::Stores,
};
use postino_store::{DeliveryError, ReadError};
use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    path::Path,
};

/// Makes the copy.
pub(super) fn run(arguments: &Backup, stores: &Stores) -> Result<Exit, Exit> {
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let target = Path::new(&arguments.file);
    let shown = escape::visible(arguments.file.as_bytes());
    if target.symlink_metadata().is_ok() {
        complain!("{shown} is there already; nothing was changed");
        return Err(Exit::CannotCreate);
    }
    let is_watched = io::stderr().is_terminal();
    let mut told = None;
    let mut progress = |done: u64, all: u64| {
        let percent = (done * 100).checked_div(all);
        if is_watched && percent.is_some() && percent != told {
            told = percent;
            let _ = write!(io::stderr(), "\r{:3} %", percent.unwrap_or(0));
        }
    };
    let mut cannot_create = false;
    let made = opened.patiently(&arguments.file, || {
        let made = reader.backup(target, &mut progress);
        cannot_create = made.as_ref().is_err_and(is_about_target);
        made
    });
    if is_watched && told.is_some() {
        complain!("");
    }
    match made {
        Ok(()) => printed(writeln!(io::stdout().lock(), "{shown}: a copy of {}", opened.shown()))
            .map(|()| Exit::Ok),
        Err(_) if cannot_create => Err(Exit::CannotCreate),
        Err(exit) => Err(exit),
    }
}

/// Whether the directory is not there, or something else has the name.
fn is_about_target(error: &ReadError) -> bool {
    let ReadError::Store(DeliveryError::Io(failure) | DeliveryError::Misconfigured(failure)) =
        error
    else {
        return false;
    };
    matches!(
        failure.cause.kind(),
        ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::NotADirectory
    )
}
