//! Accounts by the names of their mailboxes, for commands.
//!
//! Lives here: which account a mailbox's name means, and all that there are, with
//! home, owner and store of its own.
//! May not: say whether mail is taken: what a disabled account has can be read.

use super::{
    Refusal, Source,
    table::{Account, Standing},
};
use crate::{reply, sys::names::Login};
use postino_store::{IfMissing, Mailbox, MailboxName, Owner};
use std::{collections::BTreeMap, io};

impl Source {
    /// Whether accounts have homes and owners here.
    pub fn knows_accounts(&self) -> bool {
        matches!(self, Self::File(_) | Self::System(_))
    }

    /// The mailbox of this name, with the home and the owner of its account; none where
    /// there is no such account. May block.
    pub fn mailbox(&self, name: &MailboxName) -> Result<Option<Mailbox>, Refusal> {
        match self {
            Self::Any | Self::Store => Ok(None),
            Self::File(file) => Ok(file.ask(|table, _| {
                let is_meant = |account: &Account<'_>| {
                    account.mailbox.is_none_or(|mailbox| mailbox == name.account())
                };
                let catch_all = || table.get(&format!("@{}", name.domain()?));
                table
                    .get(name.account())
                    .filter(is_meant)
                    .or_else(|| table.of_mailbox(name.account()))
                    .or_else(|| catch_all().filter(is_meant))
                    .map(|account| of_account(name.clone(), account))
            })),
            Self::System(system) => {
                let login = match system.find(name.account(), None) {
                    Ok(login) => login,
                    Err(refusal) if refusal.reply == reply::UNKNOWN_RECIPIENT => return Ok(None),
                    Err(refusal) => return Err(refusal),
                };
                let found = MailboxName::new(&*login.name).and_then(|inbox| match name.folder() {
                    Some(folder) => inbox.in_folder(folder),
                    None => Ok(inbox),
                });
                Ok(found.ok().map(|name| of_login(name, login)))
            }
        }
    }

    /// The mailboxes of all accounts by name, without catch-alls, whose have any name,
    /// and without root's. May block.
    pub fn mailboxes(&self) -> io::Result<Vec<Mailbox>> {
        let mut found = BTreeMap::new();
        let mut add = |mailbox: Mailbox| {
            found.entry(mailbox.name().clone()).or_insert(mailbox);
        };
        match self {
            Self::Any | Self::Store => {}
            Self::File(file) => file.ask(|table, _| {
                let is_root = |it: &Account<'_>| it.owner.as_ref().is_some_and(|it| it.uid == 0);
                let all = || table.accounts().filter(|it| !is_root(it));
                // What one has of itself goes before what others say of it.
                let own = all().filter(|it| it.mailbox.is_none_or(|mailbox| mailbox == it.name));
                let others = all().filter(|it| it.mailbox.is_some());
                for account in own.chain(others) {
                    let name = account.mailbox.unwrap_or(account.name);
                    if let Ok(name) = MailboxName::new(name) {
                        add(of_account(name, account));
                    }
                }
            }),
            Self::System(system) => {
                for login in system.all()? {
                    if let Ok(name) = MailboxName::new(&*login.name) {
                        add(of_login(name, login));
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// Stands for the store of an account whose mail goes nowhere.
const UNUSABLE: &str = "one that cannot be used";

/// The mailbox of this name of an account of a users file.
pub(super) fn of_account(name: MailboxName, account: Account<'_>) -> Mailbox {
    let mut mailbox = Mailbox::new(name, IfMissing::Create);
    if let Some(home) = account.home {
        mailbox = mailbox.with_home(home.into());
    }
    if let Some(owner) = account.owner {
        mailbox = mailbox.with_owner(owner);
    }
    let is_unusable = account.standing == Standing::Unusable;
    match account.location.or_else(|| is_unusable.then_some(UNUSABLE)) {
        Some(location) => mailbox.with_location(location.to_owned()),
        None => mailbox,
    }
}

/// The mailbox of this name of a user of the system.
pub(super) fn of_login(name: MailboxName, login: Login) -> Mailbox {
    let Login { uid, gid, groups, home, .. } = login;
    let mailbox = Mailbox::new(name, IfMissing::Create).with_owner(Owner { uid, gid, groups });
    // One that is not absolute would be a place below wherever the server runs.
    if home.is_absolute() { mailbox.with_home(home) } else { mailbox }
}
