//! What a check has found, on its way to whoever asked.
//!
//! Lives here: [`Findings`], which reports each, and moves what may be moved.
//! May not: decide what is wrong.

use postino_files::{
    Dir, Files,
    lost::{self, Lost},
};
use postino_store::{Finding, FindingKind, Remedy, Repair, Verified};
use std::{io, path::Path};

/// The check's results, and its right to repair.
pub(crate) struct Findings<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) root: &'a Dir,
    pub(crate) repair: Repair,
    pub(crate) report: &'a mut dyn FnMut(Finding),
    pub(crate) verified: Verified,
    /// Whether something was moved away since this was set.
    pub(crate) has_moved: bool,
}

/// What is wrong with something, and what to do.
pub(crate) struct Fault {
    pub(crate) kind: FindingKind,
    /// The end of a sentence: `is empty`.
    pub(crate) what: String,
    /// A sentence without its end.
    pub(crate) advice: String,
}

impl Fault {
    pub(crate) fn damage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind: FindingKind::Damage, what: what.into(), advice: advice.into() }
    }

    pub(crate) fn stray(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind: FindingKind::Stray, what: what.into(), advice: advice.into() }
    }
}

impl Findings<'_> {
    /// Reports a fault of what lies at `path` below the root.
    pub(crate) fn report(&mut self, path: &Path, fault: Fault, remedy: Remedy) {
        let place = self.root.path_to(path).display().to_string();
        let Fault { kind, what, advice } = fault;
        (self.report)(Finding { kind, place, what, advice, remedy });
    }

    /// The same for one that nothing mends.
    pub(crate) fn tell(&mut self, path: &Path, fault: Fault) {
        self.report(path, fault, Remedy::Nothing);
    }

    /// The same for a thing that is better off elsewhere, `name` in `dir`. One that
    /// has gone meanwhile is no finding.
    pub(crate) fn move_away(&mut self, dir: &Dir, name: &Path, path: &Path, fault: Fault) {
        let to = lost::path_in(self.files, self.root);
        let to = to.unwrap_or_else(|_| self.root.path().join(lost::NAME));
        let doing = format!("move it to {}", to.display());
        let remedy = match self.repair {
            Repair::No => Remedy::Possible(doing),
            Repair::Yes => match Lost::open(self.files, self.root)
                .and_then(|lost| lost.take(dir, name, path))
            {
                Ok(place) => {
                    self.has_moved = true;
                    Remedy::Done(format!("move it to {}", place.display()))
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return,
                Err(cause) => Remedy::Failed { doing, cause: cause.to_string() },
            },
        };
        self.report(path, fault, remedy);
    }
}
