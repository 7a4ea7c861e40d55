//! `postino check-config`: what would run.
//!
//! Lives here: the listing of settings in force.
//! May not: bind or change anything.

use super::exit::Exit;
use crate::config::{Effective, effective::Sources};
use std::io::{self, Write};

/// Prints each setting, the defaults marked, and each rule for filing.
pub(super) fn run(sources: &Sources) -> Exit {
    match sources.load() {
        Ok(effective) => super::ended(list(&effective, &mut io::stdout().lock())),
        Err(errors) => {
            complain!("{errors}");
            Exit::Config
        }
    }
}

fn list(effective: &Effective, out: &mut impl Write) -> io::Result<()> {
    for warning in &effective.warnings {
        writeln!(out, "# warning: {warning}")?;
    }
    if effective.users_file().is_some() {
        writeln!(out, "# users: {}", effective.server.users.source)?;
    }
    for shown in &effective.shown {
        let mark = if shown.is_set { "" } else { "  # default" };
        writeln!(out, "{} = {}{mark}", shown.name, shown.value)?;
    }
    for rule in effective.server.filing.rules() {
        writeln!(out, "[[file]] {rule}")?;
    }
    out.flush()
}
