//! What a check has found.
//!
//! Lives here: the making of each finding, and the mending, where that is allowed.
//! May not: look at the database.
//! Holds: nothing is mended in a database whose structure is damaged: writing to it
//! could overwrite what can still be read.

use crate::{connections::Connections, fault::Fault, place::Place};
use postino_store::{Finding, FindingKind, Remedy, Repair};

/// Takes the findings.
pub(crate) struct Report<'a> {
    connections: &'a Connections,
    repair: Repair,
    is_damaged: bool,
    take: &'a mut dyn FnMut(Finding),
}

/// How something can be mended.
pub(crate) struct Mend<'a> {
    /// As a verb and its object.
    pub(crate) doing: String,
    /// Does it, and says what was done, or why it could not be.
    pub(crate) act: Box<dyn FnOnce() -> Result<String, String> + 'a>,
    /// Whether all is as it was stored then, or only no worse will come of it.
    is_cure: bool,
}

impl<'a> Mend<'a> {
    pub(crate) fn new(
        doing: impl Into<String>,
        act: impl FnOnce() -> Result<String, String> + 'a,
    ) -> Self {
        Self { doing: doing.into(), act: Box::new(act), is_cure: true }
    }

    /// The same, where what is lost stays lost: it is done, but mends nothing.
    pub(crate) fn cures_nothing(self) -> Self {
        Self { is_cure: false, ..self }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        connections: &'a Connections,
        repair: Repair,
        take: &'a mut dyn FnMut(Finding),
    ) -> Self {
        Self { connections, repair, is_damaged: false, take }
    }

    pub(crate) fn connections(&self) -> &'a Connections {
        self.connections
    }

    pub(crate) fn place(&self) -> &'a Place {
        self.connections.place()
    }

    /// The database, as a finding's place.
    pub(crate) fn database(&self) -> String {
        self.place().path().display().to_string()
    }

    /// The structure is damaged.
    pub(crate) fn refuse_to_mend(&mut self) {
        self.is_damaged = true;
    }

    /// Mail is damaged, or what the store needs to find it.
    pub(crate) fn damage(
        &mut self,
        place: &str,
        what: String,
        advice: &str,
        mend: Option<Mend<'_>>,
    ) {
        self.found(FindingKind::Damage, place, what, advice, mend);
    }

    /// Something lies about.
    pub(crate) fn stray(
        &mut self,
        place: &str,
        what: String,
        advice: &str,
        mend: Option<Mend<'_>>,
    ) {
        self.found(FindingKind::Stray, place, what, advice, mend);
    }

    /// The end of some checks; a database that does not let them come to it is
    /// damaged, and any other fault is the caller's. Says whether they came to it.
    pub(crate) fn section(
        &mut self,
        what: &str,
        advice: &str,
        checked: Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let why = match checked {
            Ok(()) => return Ok(true),
            Err(Fault::Refused { why }) => why,
            Err(fault) if fault.is_damage() => fault.error(self.place().path()).to_string(),
            Err(fault) => return Err(fault),
        };
        self.damage(&self.database(), format!("{what}: {why}"), advice, None);
        Ok(false)
    }

    fn found(
        &mut self,
        kind: FindingKind,
        place: &str,
        what: String,
        advice: &str,
        mend: Option<Mend<'_>>,
    ) {
        let remedy = match (mend, self.repair) {
            (None, _) | (Some(Mend { is_cure: false, .. }), Repair::No) => Remedy::Nothing,
            (Some(Mend { doing, .. }), Repair::No) => Remedy::Possible(doing),
            (Some(Mend { doing, .. }), Repair::Yes) if self.is_damaged => {
                let cause = "the database's structure is damaged".to_owned();
                Remedy::Failed { doing, cause }
            }
            (Some(Mend { act, is_cure: false, .. }), Repair::Yes) => {
                let doing = "bring back what was stored".to_owned();
                let done = act().unwrap_or_else(|cause| format!("and no more was done: {cause}"));
                Remedy::Failed { doing, cause: format!("it is lost; {done}") }
            }
            (Some(Mend { doing, act, .. }), Repair::Yes) => match act() {
                Ok(done) => Remedy::Done(done),
                Err(cause) => Remedy::Failed { doing, cause },
            },
        };
        let (place, advice) = (place.to_owned(), advice.to_owned());
        (self.take)(Finding { kind, place, what, advice, remedy });
    }
}
