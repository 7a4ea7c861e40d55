//! Who may receive: from a forward-path to a mailbox.
//!
//! Lives here: the sources `any` and `store`, domains, the detail behind the
//! delimiter, postmaster.
//! May not: block; what must be asked of the store is asked by a worker.

use crate::{
    reply::{self, Reply},
    transaction::ForwardPath,
};
use postino_store::{IfMissing, Mailbox, MailboxName};

/// The local part that every domain must accept.
const POSTMASTER: &str = "postmaster";

/// Where a recipient's existence is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Every valid address has a mailbox, made at the first delivery.
    Any,
    /// The mailbox must be in the store already.
    Store,
}

/// The rules by which a forward-path becomes a mailbox.
#[derive(Clone, Debug)]
pub struct Users {
    /// Where existence is known from.
    pub source: Source,
    /// The domains served, in lower case; none: every domain.
    pub domains: Vec<String>,
    /// What separates user and detail; none: details are not split off.
    pub recipient_delimiter: Option<char>,
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

impl Users {
    /// Resolves a recipient by memory alone; `Err` is the refusal.
    pub fn resolve(&self, path: &ForwardPath) -> Result<Resolved, Reply> {
        let address = match path {
            ForwardPath::Postmaster(_) => {
                return Ok(Resolved { mailbox: self.postmaster(), otherwise: None });
            }
            ForwardPath::Address(address) => address,
        };
        let domain = address.domain().to_ascii_lowercase();
        if !self.serves(&domain) {
            return Err(reply::UNKNOWN_DOMAIN);
        }
        let local_part = address.local_part().to_ascii_lowercase();
        let user = self.without_detail(&local_part);
        let name = mailbox_name(user, &domain)?;
        Ok(match self.source {
            Source::Any => {
                Resolved { mailbox: Mailbox::new(name, IfMissing::Create), otherwise: None }
            }
            Source::Store => Resolved {
                mailbox: Mailbox::new(name, IfMissing::Refuse),
                otherwise: (user == POSTMASTER).then(|| self.postmaster()),
            },
        })
    }

    /// Where mail to `<postmaster>` goes: it must be accepted, whatever mailboxes
    /// there are (RFC 5321 section 4.5.1).
    fn postmaster(&self) -> Mailbox {
        Mailbox::new(self.postmaster.clone(), IfMissing::Create)
    }

    fn serves(&self, domain: &str) -> bool {
        self.domains.is_empty()
            || self.domains.iter().any(|served| served.eq_ignore_ascii_case(domain))
    }

    /// The local part before the delimiter. One that begins with the delimiter
    /// has no detail, else nothing would be left of it.
    fn without_detail<'a>(&self, local_part: &'a str) -> &'a str {
        match self.recipient_delimiter.and_then(|delimiter| local_part.split_once(delimiter)) {
            Some((user, _)) if !user.is_empty() => user,
            _ => local_part,
        }
    }
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
mod tests {
    use super::{Resolved, Source, Users};
    use crate::{
        reply::{self, Reply},
        transaction::{Address, ForwardPath},
    };
    use postino_store::{IfMissing, Mailbox, MailboxName};

    fn users(source: Source) -> Users {
        Users {
            source,
            domains: Vec::new(),
            recipient_delimiter: Some('+'),
            postmaster: MailboxName::new("root@mx.example.org").unwrap(),
        }
    }

    fn path(local_part: &str, domain: &str) -> ForwardPath {
        ForwardPath::Address(Address::unchecked(local_part, domain))
    }

    fn mailbox(name: &str, if_missing: IfMissing) -> Mailbox {
        Mailbox::new(MailboxName::new(name).unwrap(), if_missing)
    }

    fn name(users: &Users, local_part: &str, domain: &str) -> Result<String, Reply> {
        users.resolve(&path(local_part, domain)).map(|found| found.mailbox.name().to_string())
    }

    #[test]
    fn a_mailbox_is_named_after_the_address_in_lower_case() {
        let users = users(Source::Any);
        assert_eq!(name(&users, "Alice", "Example.ORG"), Ok("alice@example.org".to_owned()));
        assert_eq!(name(&users, "a b", "example.org"), Ok("a b@example.org".to_owned()));
        assert_eq!(name(&users, "a", "[IPv6:::1]"), Ok("a@[ipv6:::1]".to_owned()));
    }

    #[test]
    fn the_detail_behind_the_first_delimiter_is_ignored() {
        let mut users = users(Source::Any);
        for (given, user) in [
            ("bob+x", "bob"),
            ("bob+", "bob"),
            ("bob+x+y", "bob"),
            ("+bob", "+bob"),
            ("+a+b", "+a+b"),
        ] {
            assert_eq!(name(&users, given, "d"), Ok(format!("{user}@d")), "{given}");
        }
        users.recipient_delimiter = None;
        assert_eq!(name(&users, "bob+x", "d"), Ok("bob+x@d".to_owned()));
    }

    #[test]
    fn only_served_domains_are_taken_in_any_case() {
        let mut users = users(Source::Any);
        users.domains = vec!["example.org".to_owned(), "example.net".to_owned()];
        assert_eq!(name(&users, "a", "EXAMPLE.net"), Ok("a@example.net".to_owned()));
        assert_eq!(name(&users, "a", "example.com"), Err(reply::UNKNOWN_DOMAIN));
        assert_eq!(name(&users, "postmaster", "example.com"), Err(reply::UNKNOWN_DOMAIN));
    }

    #[test]
    fn no_address_makes_a_name_that_is_unsafe_or_another_addresss() {
        let users = users(Source::Any);
        for local_part in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a@b",
            "a\0",
            "a\n",
            "a\x7f",
            ".hidden",
            "\u{fc}ber",
            "..+x",
        ] {
            assert_eq!(name(&users, local_part, "d"), Err(reply::UNUSABLE_NAME), "{local_part:?}");
        }
        for domain in ["[x:/../..]", "[x:\0]", "d\u{fc}"] {
            assert_eq!(name(&users, "a", domain), Err(reply::UNUSABLE_NAME), "{domain:?}");
        }
    }

    #[test]
    fn a_mailbox_is_made_or_refused_as_the_source_says() {
        for (source, if_missing) in
            [(Source::Any, IfMissing::Create), (Source::Store, IfMissing::Refuse)]
        {
            let resolved = users(source).resolve(&path("a", "d")).unwrap();
            let expected = Resolved { mailbox: mailbox("a@d", if_missing), otherwise: None };
            assert_eq!(resolved, expected);
        }
    }

    #[test]
    fn postmaster_is_known_under_every_source() {
        let own = mailbox("root@mx.example.org", IfMissing::Create);
        for source in [Source::Any, Source::Store] {
            let resolved = users(source).resolve(&ForwardPath::Postmaster("PostMaster".into()));
            assert_eq!(resolved.unwrap(), Resolved { mailbox: own.clone(), otherwise: None });
        }
        let any = users(Source::Any).resolve(&path("Postmaster", "d")).unwrap();
        assert_eq!(any.mailbox, mailbox("postmaster@d", IfMissing::Create));
        assert_eq!(any.otherwise, None);
        let store = users(Source::Store).resolve(&path("Postmaster", "d")).unwrap();
        assert_eq!(store.mailbox, mailbox("postmaster@d", IfMissing::Refuse));
        assert_eq!(store.otherwise, Some(own));
    }
}
