//! Whose mailboxes a command is about.
//!
//! Lives here: the few settings of a command that looks into a store for its accounts,
//! or makes mailboxes of theirs.
//! May not: ask for what only a server needs, where no config file is named.

use super::{
    ConfigError,
    effective::{Effective, Sources},
    parsing::group,
    reader::Reader,
};
use crate::users::Source;

/// Who the users are, and as whom their mailboxes are written.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The users.
    pub users: Source,
    /// The group in place of each one's own (`--mail-group`).
    pub mail_group: Option<u32>,
}

impl Accounts {
    /// The users of these sources; none where they name none. A config file among them
    /// is checked as a whole.
    pub fn load(sources: &Sources) -> Result<Option<Self>, ConfigError> {
        if sources.file.is_some() {
            return sources.load().map(|effective| Some(Self::of(&effective)));
        }
        if sources.flags.get("users").is_empty() {
            return match sources.flags.first() {
                None => Ok(None),
                Some(origin) => Err(ConfigError::one(format!(
                    "{origin} has no meaning without --users or --config"
                ))),
            };
        }
        let mut reader = Reader::of(&sources.flags, false);
        let users = reader.users_to_look_into(sources);
        if users.as_ref().is_some_and(|users| !users.knows_accounts()) {
            for users in sources.flags.get("users") {
                reader.complain(users, "names no accounts; say system or file:PATH");
            }
        }
        let mail_group = reader.one("mail-group", None, |text| group(text).map(Some));
        reader.errors.or(users.map(|users| Some(Self { users, mail_group })))
    }

    /// The users of these settings.
    pub fn of(effective: &Effective) -> Self {
        Self {
            users: effective.server.users.source.clone(),
            mail_group: effective.limits.mail_group,
        }
    }
}
