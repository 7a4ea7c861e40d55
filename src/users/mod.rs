//! Who may receive: from a forward-path to a mailbox.
//!
//! Lives here: the rules of each source of users, domains, postmaster; below it
//! the users `file`, Dovecot's format of it (`passwd_file`), the system's
//! users, the detail behind the delimiter.
//! May not: block on the way to a [`Resolution`]; what must be asked of the system
//! or of the store is asked by a worker.

mod detail;
mod file;
mod location;
mod named;
mod passwd_file;
pub mod quota;
mod system;
mod table;

pub use detail::Detail;
pub use file::{UsersFile, UsersFileError};
pub use location::{Opens, Places};
pub use passwd_file::Rules;
pub use system::System;

use crate::{
    reply::{self, Reply},
    transaction::{Address, ForwardPath},
};
use postino_store::{IfMissing, Mailbox, MailboxName, Quota};
use std::{fmt, sync::Arc};
use table::{Account, Standing, Table};

/// The local part that every domain must accept.
const POSTMASTER: &str = "postmaster";

/// Where a recipient's existence is known from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Every valid address has a mailbox, made at the first delivery.
    Any,
    /// The mailbox must be in the store already.
    Store,
    /// A users file names the accounts.
    File(Arc<UsersFile>),
    /// The system's users.
    System(Arc<System>),
}

/// As the log has it: `file(212)`, 212 being the entries.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Store => f.write_str("store"),
            Self::File(file) => write!(f, "file({})", file.count()),
            Self::System(_) => f.write_str("system"),
        }
    }
}

/// The rules by which a forward-path becomes a mailbox.
#[derive(Clone, Debug)]
pub struct Users {
    /// Where existence is known from.
    pub source: Source,
    /// The domains served, in lower case; none: every domain, and of a users file
    /// those of its entries.
    pub domains: Vec<String>,
    /// The domain of names that have none, where there is one.
    pub default_domain: Option<String>,
    /// What separates user and detail; none: details are not split off.
    pub recipient_delimiter: Option<char>,
    /// What becomes of the detail.
    pub detail: Detail,
    /// How much an account may hold that has no quota of its own.
    pub quota: Quota,
    /// The mailbox's name for `<postmaster>`, and for postmaster of a domain that has no such mailbox.
    pub postmaster: MailboxName,
}

/// What a forward-path resolves to, before the store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Where the mail goes if the store does not know that mailbox: postmaster's.
    pub otherwise: Option<Mailbox>,
}

/// How far memory alone resolves a recipient.
#[derive(Debug)]
pub enum Resolution {
    /// To its end.
    Known(Resolved),
    /// Something has to be asked, by a thread that may wait.
    Ask(Inquiry),
}

/// Why a recipient is refused or deferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub reply: Reply,
    /// What the log says beside that.
    pub cause: Option<String>,
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self { reply, cause: None }
    }
}

/// What memory does not tell.
#[derive(Debug)]
pub struct Inquiry(Asked);

#[derive(Debug)]
enum Asked {
    /// Who in this system a user is.
    System(SystemUser),
    /// Whether the users file still is the one in which a name is not.
    Unlisted { file: Arc<UsersFile>, refusal: Reply },
}

/// A question about a user of this system.
#[derive(Debug)]
struct SystemUser {
    system: Arc<System>,
    login: String,
    detail: Option<String>,
    policy: Detail,
    quota: Quota,
    /// Whose user gets postmaster's mail.
    postmaster: String,
    /// He gets it if there is no such user.
    is_for_postmaster: bool,
}

impl Resolution {
    /// Asks what is still to be asked. May block.
    pub fn finish(self) -> Result<Resolved, Refusal> {
        match self {
            Self::Known(resolved) => Ok(resolved),
            Self::Ask(Inquiry(Asked::System(user))) => user.ask().map(Resolved::from),
            Self::Ask(Inquiry(Asked::Unlisted { file, refusal })) => {
                Err(if file.is_as_taken() { refusal.into() } else { not_listed_formerly() })
            }
        }
    }
}

impl From<Mailbox> for Resolved {
    fn from(mailbox: Mailbox) -> Self {
        Self { mailbox, otherwise: None }
    }
}

impl SystemUser {
    fn ask(self) -> Result<Mailbox, Refusal> {
        let postmaster = Some(&*self.postmaster);
        let login = match self.system.find(&self.login, postmaster) {
            Err(refusal) if self.is_for_postmaster && refusal.reply == reply::UNKNOWN_RECIPIENT => {
                // He was there when the settings were checked; his mail is never refused.
                let found = self.system.find(&self.postmaster, postmaster);
                found.map_err(|refusal| Refusal { reply: reply::DIRECTORY_FAILED, ..refusal })?
            }
            found => found?,
        };
        let name =
            MailboxName::new(&*login.name).map_err(|_| Refusal::from(reply::UNUSABLE_NAME))?;
        let mailbox = named::of_login(name, login);
        Ok(self.policy.apply(mailbox.with_quota(self.quota), self.detail.as_deref()))
    }
}

impl Users {
    /// Users by these rules, and otherwise by the defaults.
    pub fn new(source: Source, postmaster: MailboxName) -> Self {
        Self {
            source,
            domains: Vec::new(),
            default_domain: None,
            recipient_delimiter: Some('+'),
            detail: Detail::default(),
            quota: Quota::default(),
            postmaster,
        }
    }

    /// The users file, where that is the source.
    pub fn users_file(&self) -> Option<&Arc<UsersFile>> {
        match &self.source {
            Source::File(file) => Some(file),
            _ => None,
        }
    }

    /// Resolves a recipient as far as memory alone can; `Err` is the refusal.
    pub fn resolve(&self, path: &ForwardPath) -> Result<Resolution, Refusal> {
        match path {
            ForwardPath::Postmaster(_) => self.postmaster(),
            ForwardPath::Address(address) => self.address(address),
        }
    }

    fn address(&self, address: &Address) -> Result<Resolution, Refusal> {
        let domain = address.domain().to_ascii_lowercase();
        let delimiter = self.recipient_delimiter.filter(|_| self.detail != Detail::Off);
        let (user, detail) = detail::split(address.local_part(), delimiter);
        let is_served = self.domains.is_empty() || self.domains.contains(&domain);
        if !is_served {
            return Err(reply::UNKNOWN_DOMAIN.into());
        }
        let is_postmaster = user.eq_ignore_ascii_case(POSTMASTER);
        let lower = user.to_ascii_lowercase();
        let if_missing = match &self.source {
            Source::Any => IfMissing::Create,
            Source::Store => IfMissing::Refuse,
            Source::File(file) => {
                let whole = address.local_part().to_ascii_lowercase();
                let found = file.ask(|table, is_current| {
                    // An entry of the address as it stands goes before one
                    // without the detail.
                    let named = [(&whole[..], None), (&lower, detail)];
                    self.in_table(table, is_current, &named, &domain)
                });
                return found.or_else(|refusal| doubted(file, refusal));
            }
            Source::System(system) => {
                return Ok(self.ask(system, user, detail, is_postmaster));
            }
        };
        let mailbox = Mailbox::new(mailbox_name(&lower, &domain)?, if_missing);
        let mailbox = self.detail.apply(mailbox.with_quota(self.quota), detail);
        let needs_other = is_postmaster && if_missing == IfMissing::Refuse;
        let otherwise = needs_other.then(|| self.plain_postmaster());
        Ok(Resolution::Known(Resolved { mailbox, otherwise }))
    }

    /// Resolves by a table; these are the users that may be meant, each with its
    /// detail, the best first.
    fn in_table(
        &self,
        table: &Table,
        is_current: bool,
        named: &[(&str, Option<&str>); 2],
        domain: &str,
    ) -> Result<Resolution, Refusal> {
        for (user, detail) in named {
            if let Some(account) = table.get(&format!("{user}@{domain}")) {
                return self.account(account, user, domain, *detail);
            }
        }
        let (user, detail) = named[1];
        if let Some(account) = table.get(&format!("@{domain}")) {
            return self.account(account, user, domain, detail);
        }
        if !is_current {
            return Err(not_listed_formerly());
        }
        if self.domains.is_empty() && !table.has_domain(domain) {
            return Err(reply::UNKNOWN_DOMAIN.into());
        }
        if user == POSTMASTER {
            return self.postmaster_in(table, is_current);
        }
        mailbox_name(user, domain)?;
        Err(reply::UNKNOWN_RECIPIENT.into())
    }

    fn account(
        &self,
        account: Account<'_>,
        user: &str,
        domain: &str,
        detail: Option<&str>,
    ) -> Result<Resolution, Refusal> {
        match account.standing {
            Standing::Active => {}
            Standing::Disabled => return Err(reply::MAILBOX_DISABLED.into()),
            Standing::Suspended => return Err(reply::MAILBOX_SUSPENDED.into()),
            Standing::Unusable => {
                let cause = "its entry in the users file cannot be used; the log says why where the \
                             file was read";
                return Err(Refusal { reply: reply::MISCONFIGURED, cause: Some(cause.to_owned()) });
            }
        }
        let name = match account.mailbox {
            Some(name) => MailboxName::new(name).map_err(|_| reply::UNUSABLE_NAME)?,
            None => mailbox_name(user, domain)?,
        };
        let quota = account.quota.unwrap_or(self.quota);
        let mailbox = named::of_account(name, account).with_quota(quota);
        Ok(known(self.detail.apply(mailbox, detail)))
    }

    fn ask(
        &self,
        system: &Arc<System>,
        user: &str,
        detail: Option<&str>,
        is_for_postmaster: bool,
    ) -> Resolution {
        Resolution::Ask(Inquiry(Asked::System(SystemUser {
            system: Arc::clone(system),
            login: user.to_owned(),
            detail: detail.map(str::to_owned),
            policy: self.detail,
            quota: self.quota,
            postmaster: self.postmaster.local_part().to_owned(),
            is_for_postmaster,
        })))
    }

    /// Where mail to `<postmaster>` goes: it must be accepted, whatever mailboxes
    /// there are (RFC 5321 section 4.5.1).
    fn postmaster(&self) -> Result<Resolution, Refusal> {
        match &self.source {
            Source::Any | Source::Store => Ok(known(self.plain_postmaster())),
            Source::File(file) => {
                file.ask(|table, is_current| self.postmaster_in(table, is_current))
            }
            Source::System(system) => {
                Ok(self.ask(system, self.postmaster.local_part(), None, true))
            }
        }
    }

    fn postmaster_in(&self, table: &Table, is_current: bool) -> Result<Resolution, Refusal> {
        let (user, domain) = (self.postmaster.local_part(), self.postmaster.domain());
        match table.get(self.postmaster.as_str()) {
            Some(account) => self.account(account, user, domain.unwrap_or_default(), None),
            // It may have been put into the file since, with a place of its own.
            None if !is_current => Err(reply::DIRECTORY_FAILED.into()),
            None => Ok(known(self.plain_postmaster())),
        }
    }

    fn plain_postmaster(&self) -> Mailbox {
        Mailbox::new(self.postmaster.clone(), IfMissing::Create).with_quota(self.quota)
    }
}

/// Who is not in the file as it was read may be in it since.
fn doubted(file: &Arc<UsersFile>, refusal: Refusal) -> Result<Resolution, Refusal> {
    let is_unlisted = [reply::UNKNOWN_RECIPIENT, reply::UNKNOWN_DOMAIN].contains(&refusal.reply);
    if !is_unlisted {
        return Err(refusal);
    }
    let (file, refusal) = (Arc::clone(file), refusal.reply);
    Ok(Resolution::Ask(Inquiry(Asked::Unlisted { file, refusal })))
}

fn not_listed_formerly() -> Refusal {
    let cause = "not among the former users, and the users file has changed since or is not usable";
    Refusal { reply: reply::DIRECTORY_FAILED, cause: Some(cause.to_owned()) }
}

fn known(mailbox: Mailbox) -> Resolution {
    Resolution::Known(mailbox.into())
}

/// The mailbox's name, where it can only be this address's and is safe.
fn mailbox_name(user: &str, domain: &str) -> Result<MailboxName, Reply> {
    // `"a@b"@c` is an address, but its name would be split elsewhere; beyond
    // ASCII, lower case alone does not tell which names are the same.
    if user.contains('@') || !user.is_ascii() || !domain.is_ascii() {
        return Err(reply::UNUSABLE_NAME);
    }
    MailboxName::new(format!("{user}@{domain}")).map_err(|_| reply::UNUSABLE_NAME)
}

#[cfg(test)]
mod tests;
