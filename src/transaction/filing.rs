//! Filing by header: which folder a message belongs into.
//!
//! Lives here: the rules in their order; below it what a `rule` says, and the `scan`
//! of a message's header.
//! May not: know a mailbox.

mod rule;
mod scan;

pub use rule::{FieldName, Folder, NAME_OCTETS_MAX, Pattern, Rule, VALUE_OCTETS_MAX};
pub use scan::LOOKED_AT_OCTETS;

use std::io::{self, BufRead};

/// Rules that there may be.
pub const RULES_MAX: usize = 100;
/// The rules in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filing(Vec<Rule>);

impl Filing {
    /// These rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The folder of the first rule that one of the message's top-level header fields
    /// fits; reads no further than it has to. `Err`: the message cannot be read.
    pub fn folder_of(&self, message: &mut impl BufRead) -> io::Result<Option<&Folder>> {
        let rule = scan::first_that_fits(&self.0, message)?;
        Ok(rule.map(|rule| &rule.folder))
    }
}
