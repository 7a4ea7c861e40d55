//! Dovecot's passwd-file: `user:password:uid:gid:gecos:home:shell:extra`.
//!
//! Lives here: from the file's octets to a table of accounts, or to the first
//! line that is wrong.
//! May not: read the file, nor keep a password.

use super::{
    location::{Places, Variables},
    quota,
    table::{Account, Standing, Table},
};
use crate::{
    escape,
    sys::names::{self, NameError},
};
use postino_store::{MailboxName, Owner, Quota};
use std::{collections::HashMap, fmt};

/// Entries that a file may have.
const ENTRIES_MAX: usize = 1_000_000;
/// Lines of one kind that are warned of one by one.
const WARNINGS_MAX: usize = 10;
/// Unknown fields that are warned of.
const UNKNOWN_MAX: usize = 100;

/// By what rules a users file is read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The domain of names that have none; none: there may be no such names.
    pub default_domain: Option<String>,
    /// The domains served; none: those of the file's entries.
    pub domains: Vec<String>,
    /// Whether alice of each domain would have the same mailbox.
    pub is_for_one_domain: bool,
    /// Where accounts may have their mail.
    pub places: Places,
}

/// What is wrong with a users file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// In which line; none: the whole.
    pub(super) line: Option<usize>,
    /// What, and what to do.
    pub(super) what: String,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) table: Table,
    /// The last line is whole for sure.
    pub(super) has_end: bool,
    /// What is not wrong, but worth a line in the log: the place and the text.
    pub(super) warnings: Vec<(usize, String)>,
}

/// Reads a file's octets.
pub(super) fn parse(octets: &[u8], rules: &Rules) -> Result<Parsed, Broken> {
    let mut reading = Reading {
        rules,
        table: Table::default(),
        unknown: Vec::new(),
        warnings: Vec::new(),
        unusable: 0,
        unserved: 0,
        names: Names::default(),
    };
    for (at, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        reading.line(at + 1, line).map_err(|what| Broken { line: Some(at + 1), what })?;
        if reading.table.len() > ENTRIES_MAX {
            let what = format!("there are more than the {ENTRIES_MAX} entries that are read");
            return Err(Broken { line: Some(at + 1), what });
        }
    }
    if reading.table.len() == 0 {
        let what = "it has no entry; put in a line NAME:PASSWORD:UID:GID:GECOS:HOME:SHELL:EXTRA \
                    for each user";
        return Err(Broken { line: None, what: what.to_owned() });
    }
    Ok(reading.end(octets.ends_with(b"\n")))
}

/// What stands for "none" to the kernel.
const NO_ID: u32 = u32::MAX;

struct Reading<'a> {
    rules: &'a Rules,
    table: Table,
    /// Fields that have been warned of.
    unknown: Vec<String>,
    warnings: Vec<(usize, String)>,
    unusable: usize,
    unserved: usize,
    names: Names,
}

/// What the system was asked, once for each name: a file may have a million lines of
/// one user.
#[derive(Default)]
struct Names {
    users: HashMap<String, names::User>,
    groups: HashMap<String, u32>,
}

/// What the extra fields say.
#[derive(Default)]
struct Extra<'a> {
    mailbox: Option<&'a str>,
    home: Option<&'a str>,
    uid: Option<&'a str>,
    gid: Option<&'a str>,
    place: Option<&'a str>,
    /// Dovecot 2.4 has the place in two parts.
    driver: Option<&'a str>,
    path: Option<&'a str>,
    quota: Option<Quota>,
    is_disabled: bool,
    is_suspended: bool,
}

impl Reading<'_> {
    fn line(&mut self, at: usize, line: &[u8]) -> Result<(), String> {
        let mut fields = line.splitn(8, |octet| *octet == b':');
        let mut field = || fields.next();
        let name = text("name", field())?;
        let Some(_password) = field() else {
            return Err(
                "there is no colon; a line is NAME:PASSWORD:UID:GID:GECOS:HOME:SHELL:EXTRA, \
                        of which all but the name may be empty"
                    .to_owned(),
            );
        };
        let (uid, gid) = (text("uid", field())?, text("gid", field())?);
        let _gecos = field();
        let home = text("home", field())?;
        let _shell = field();
        let extra = self.extra(at, text("extra field", field())?)?;

        let name = self.name(name)?;
        let (local_part, domain) = name.rsplit_once('@').unwrap_or((&name, ""));
        let is_catch_all = local_part.is_empty();
        let probe = if is_catch_all { format!("x@{domain}") } else { name.clone() };
        MailboxName::new(probe)
            .map_err(|error| format!("the name {} cannot be one: {error}", shown(&name)))?;
        self.check_domain(at, domain)?;
        let mailbox = extra.mailbox.map(|given| self.name(given)).transpose()?;
        if let Some(mailbox) = &mailbox {
            MailboxName::new(mailbox.as_str())
                .map_err(|error| format!("user={} cannot be a name: {error}", shown(mailbox)))?;
        }
        let home = extra.home.unwrap_or(home);
        if !home.is_empty() && !home.starts_with('/') {
            return Err(format!("the home {} is no absolute path", shown(home)));
        }
        let home = Some(home).filter(|home| !home.is_empty());
        let owner = self.names.owner(extra.uid.unwrap_or(uid), extra.gid.unwrap_or(gid))?;
        let mut standing = match (extra.is_disabled, extra.is_suspended) {
            (true, _) => Standing::Disabled,
            (false, true) => Standing::Suspended,
            (false, false) => Standing::Active,
        };
        let named = mailbox.as_deref().or_else(|| (!is_catch_all).then_some(name.as_str()));
        let location = match self.location(&extra, named, domain, home) {
            Ok(location) => location,
            Err(why) => {
                standing = Standing::Unusable;
                self.warn_unusable(at, &name, &why);
                None
            }
        };
        if owner.as_ref().is_some_and(|owner| owner.uid == 0) {
            standing = Standing::Unusable;
            self.warn_unusable(at, &name, "root is nobody whose mail is written");
        }
        if owner.as_ref().is_some_and(|owner| [owner.uid, owner.gid].contains(&NO_ID)) {
            standing = Standing::Unusable;
            self.warn_unusable(at, &name, "4294967295 is no uid or gid, but none at all");
        }
        let account = Account {
            name: &name,
            mailbox: mailbox.as_deref(),
            home,
            location: location.as_deref(),
            owner,
            quota: extra.quota,
            standing,
        };
        self.table.push(account).map_err(|()| "the table is full".to_owned())
    }

    /// In lower case and with a domain.
    fn name(&self, given: &str) -> Result<String, String> {
        let name = given.to_ascii_lowercase();
        if name.is_empty() {
            return Err("there is no name before the first colon".to_owned());
        }
        if name.contains('@') {
            return Ok(name);
        }
        match &self.rules.default_domain {
            Some(domain) => Ok(format!("{name}@{domain}")),
            None => Err(format!(
                "the name {} has no domain; add one, or say by default-domain which it is",
                shown(&name)
            )),
        }
    }

    fn check_domain(&mut self, at: usize, domain: &str) -> Result<(), String> {
        let others = self.table.domains().any(|known| known != domain);
        if self.rules.is_for_one_domain && others {
            return Err(format!(
                "{} is a second domain, but the store's path has neither %u nor %d in it: alice@ \
                 of each would share a mailbox; add one of them to the store's path",
                shown(domain)
            ));
        }
        if !self.rules.domains.is_empty() && !self.rules.domains.iter().any(|own| own == domain) {
            self.unserved += 1;
            if self.unserved <= WARNINGS_MAX {
                let text = format!(
                    "the domain {} is not among domains: this entry gets no mail",
                    shown(domain)
                );
                self.warnings.push((at, text));
            }
        }
        Ok(())
    }

    fn extra<'a>(&mut self, at: usize, fields: &'a str) -> Result<Extra<'a>, String> {
        let mut extra = Extra::default();
        for field in fields.split([' ', '\t']).filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let wrong = || format!("{} is wrong", shown(field));
            let is_yes = !matches!(value, "no" | "n" | "false" | "0");
            match key {
                "user" | "userdb_user" => extra.mailbox = Some(value),
                "userdb_home" => extra.home = Some(value),
                "userdb_uid" => extra.uid = Some(value),
                "userdb_gid" => extra.gid = Some(value),
                "store" | "userdb_mail" => extra.place = Some(value),
                "userdb_mail_driver" => extra.driver = Some(value),
                "userdb_mail_path" => extra.path = Some(value),
                "disabled" => extra.is_disabled = is_yes,
                "suspended" => extra.is_suspended = is_yes,
                "quota" => {
                    let quota = quota::quota(value);
                    let quota =
                        quota.ok_or_else(|| format!("{}: it is {}", wrong(), quota::QUOTA_FORM));
                    extra.quota = Some(quota?);
                }
                "userdb_quota_storage_size" => {
                    let octets = quota::octets_of(value, 0).ok_or_else(wrong)?;
                    extra.quota.get_or_insert_default().octets = quota::limit(octets);
                }
                "userdb_quota_message_count" => {
                    let count = quota::number(value).ok_or_else(wrong)?;
                    extra.quota.get_or_insert_default().messages = quota::limit(count);
                }
                _ => {
                    let is_rule = key.strip_prefix("userdb_quota_rule").is_some_and(is_number);
                    let mut quota = extra.quota.unwrap_or_default();
                    if is_rule && quota::add_rule(&mut quota, value).map_err(|()| wrong())? {
                        extra.quota = Some(quota);
                    } else {
                        self.warn_unknown(at, key);
                    }
                }
            }
        }
        Ok(extra)
    }

    fn location(
        &self,
        extra: &Extra<'_>,
        name: Option<&str>,
        domain: &str,
        home: Option<&str>,
    ) -> Result<Option<String>, String> {
        let of_parts =
            extra.path.map(|path| format!("{}:{path}", extra.driver.unwrap_or("maildir")));
        let Some(place) = extra.place.or(of_parts.as_deref()) else {
            return match extra.driver {
                Some(_) => Err("has userdb_mail_driver without userdb_mail_path".to_owned()),
                None => Ok(None),
            };
        };
        let variables = Variables { name, domain, home };
        let own = self.rules.places.own_store(place, variables);
        own.map_err(|why| format!("{} {why}", shown(place)))
    }

    fn warn_unknown(&mut self, at: usize, key: &str) {
        if self.unknown.len() < UNKNOWN_MAX && !self.unknown.iter().any(|known| known == key) {
            self.unknown.push(key.to_owned());
            let text = format!("the field {} is not known and has no effect", shown(key));
            self.warnings.push((at, text));
        }
    }

    fn warn_unusable(&mut self, at: usize, name: &str, why: &str) {
        self.unusable += 1;
        if self.unusable <= WARNINGS_MAX {
            let name = shown(name);
            self.warnings.push((at, format!("{name} gets 451 4.3.5 until this is mended: {why}")));
        }
    }

    fn end(mut self, has_end: bool) -> Parsed {
        for name in self.table.sort().iter().take(WARNINGS_MAX) {
            self.warnings
                .push((0, format!("{} stands there twice; the first counts", shown(name))));
        }
        for (count, what) in
            [(self.unusable, "get 451 4.3.5"), (self.unserved, "are in domains not served")]
        {
            if let Some(more) = count.checked_sub(WARNINGS_MAX).filter(|more| *more > 0) {
                self.warnings.push((0, format!("{more} entries more {what}")));
            }
        }
        Parsed { table: self.table, has_end, warnings: self.warnings }
    }
}

fn text<'a>(what: &str, field: Option<&'a [u8]>) -> Result<&'a str, String> {
    std::str::from_utf8(field.unwrap_or_default()).map_err(|_| format!("the {what} is no UTF-8"))
}

fn shown(text: &str) -> impl fmt::Display {
    escape::value(text.as_bytes())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit())
}

impl Names {
    /// As whom the account's mail is written; none where no uid is given.
    fn owner(&mut self, uid: &str, gid: &str) -> Result<Option<Owner>, String> {
        if uid.is_empty() {
            return Ok(None);
        }
        let user = match uid.parse() {
            Ok(uid) => names::User { uid, gid: None },
            Err(_) => asked(&mut self.users, uid, names::user)
                .map_err(|error| format!("the uid {} is {error}", shown(uid)))?,
        };
        let gid = match (gid, user.gid) {
            ("", Some(own)) => own,
            ("", None) => return Err("there is a uid without a gid".to_owned()),
            (gid, _) => match gid.parse() {
                Ok(gid) => gid,
                Err(_) => asked(&mut self.groups, gid, names::group)
                    .map_err(|error| format!("the gid {} is {error}", shown(gid)))?,
            },
        };
        Ok(Some(Owner { uid: user.uid, gid, groups: Vec::new() }))
    }
}

fn asked<T: Copy>(
    known: &mut HashMap<String, T>,
    name: &str,
    ask: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, NameError> {
    if let Some(answer) = known.get(name) {
        return Ok(*answer);
    }
    let answer = ask(name)?;
    known.insert(name.to_owned(), answer);
    Ok(answer)
}

#[cfg(test)]
mod tests;
