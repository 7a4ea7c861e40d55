//! The accounts of a users file, in memory.
//!
//! Lives here: a table that takes little more than its texts: one block of them,
//! one sorted list of places in it, nothing allocated for an account of its own.
//! May not: know how a file is written.

use postino_store::{Owner, Quota};
use std::{cmp::Ordering, collections::HashSet, ops::Range};

/// What is to be done with an account's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is taken.
    Active,
    /// `disabled`: refused for good.
    Disabled,
    /// `suspended`: refused for now.
    Suspended,
    /// Where it should go cannot be used: deferred, and put nowhere else.
    Unusable,
}

/// An account, as it is put in and given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account<'a> {
    /// `alice@example.org`, in lower case; `@example.org` of a catch-all.
    pub(super) name: &'a str,
    /// The mailbox's name, where it is another than the recipient's.
    pub(super) mailbox: Option<&'a str>,
    pub(super) home: Option<&'a str>,
    /// The URL of a store of its own.
    pub(super) location: Option<&'a str>,
    pub(super) owner: Option<Owner>,
    /// None where the file says nothing of it.
    pub(super) quota: Option<Quota>,
    pub(super) standing: Standing,
}

/// A text in the block.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    octets: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Text,
    mailbox: Option<Text>,
    home: Option<Text>,
    location: Option<Text>,
    owner: Option<Owner>,
    quota: Option<Quota>,
    standing: Standing,
}

/// All accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    texts: String,
    /// By name.
    entries: Vec<Entry>,
    /// Places of entries with a mailbox of another name, by that name.
    renamed: Vec<usize>,
    domains: HashSet<Box<str>>,
}

impl Table {
    /// Puts an account behind the others; [`Table::sort`] has to follow. `Err`:
    /// there is no room in the table.
    pub(super) fn push(&mut self, account: Account<'_>) -> Result<(), ()> {
        let entry = Entry {
            name: self.keep(account.name)?,
            mailbox: self.keep_some(account.mailbox)?,
            home: self.keep_some(account.home)?,
            location: self.keep_some(account.location)?,
            owner: account.owner,
            quota: account.quota,
            standing: account.standing,
        };
        self.entries.push(entry);
        if let Some((_, domain)) = account.name.rsplit_once('@')
            && !self.domains.contains(domain)
        {
            self.domains.insert(domain.into());
        }
        Ok(())
    }

    /// Makes it ready to be asked. Of several accounts of one name the first
    /// stays; gives the names of those.
    pub(super) fn sort(&mut self) -> Vec<String> {
        let Self { texts, entries, renamed, .. } = self;
        let name = |entry: &Entry| text(texts, entry.name);
        // Where a name begins in the block says which came first.
        entries.sort_unstable_by(|a, b| (name(a), a.name.start).cmp(&(name(b), b.name.start)));
        let mut repeated = Vec::new();
        entries.dedup_by(|later, earlier| {
            let is_same = name(later) == name(earlier);
            if is_same {
                repeated.push(name(later).to_owned());
            }
            is_same
        });
        entries.shrink_to_fit();
        texts.shrink_to_fit();
        let named = entries.iter().enumerate();
        let mut by_mailbox: Vec<_> =
            named.filter_map(|(at, entry)| Some((text(texts, entry.mailbox?), at))).collect();
        by_mailbox.sort_unstable();
        *renamed = by_mailbox.into_iter().map(|(_, at)| at).collect();
        repeated
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an account has no owner.
    pub(super) fn has_unowned(&self) -> bool {
        self.entries.iter().any(|entry| entry.owner.is_none())
    }

    /// The account of exactly this name.
    pub(super) fn get(&self, name: &str) -> Option<Account<'_>> {
        let found = self.entries.binary_search_by(|entry| self.text(entry.name).cmp(name));
        self.entries.get(found.ok()?).map(|entry| self.account(entry))
    }

    /// The first account, by name, that says of itself that its mailbox has this name.
    pub(super) fn of_mailbox(&self, name: &str) -> Option<Account<'_>> {
        let entry = |at: &usize| self.entries.get(*at);
        let mailbox = |at: &usize| Some(self.text(entry(at)?.mailbox?));
        let first = self.renamed.partition_point(|at| mailbox(at) < Some(name));
        let found = self.renamed.get(first).filter(|at| mailbox(at) == Some(name))?;
        entry(found).map(|entry| self.account(entry))
    }

    /// All accounts, by name.
    pub(super) fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.entries.iter().map(|entry| self.account(entry))
    }

    fn account(&self, entry: &Entry) -> Account<'_> {
        let some = |text: Option<Text>| text.map(|text| self.text(text));
        Account {
            name: self.text(entry.name),
            mailbox: some(entry.mailbox),
            home: some(entry.home),
            location: some(entry.location),
            owner: entry.owner.clone(),
            quota: entry.quota,
            standing: entry.standing,
        }
    }

    /// The domains of the accounts.
    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(|domain| &**domain)
    }

    /// Whether an account is in this domain.
    pub(super) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// Whether a name of this table is not in `newer`.
    pub(super) fn has_more_than(&self, newer: &Self) -> bool {
        let mut others = newer.entries.iter().map(|entry| newer.text(entry.name)).peekable();
        self.entries.iter().map(|entry| self.text(entry.name)).any(|name| {
            while others.peek().is_some_and(|other| (**other).cmp(name) == Ordering::Less) {
                others.next();
            }
            others.peek().is_none_or(|other| *other != name)
        })
    }

    fn keep(&mut self, text: &str) -> Result<Text, ()> {
        let start = u32::try_from(self.texts.len()).map_err(drop)?;
        let octets = u32::try_from(text.len()).map_err(drop)?;
        self.texts.push_str(text);
        Ok(Text { start, octets })
    }

    fn keep_some(&mut self, text: Option<&str>) -> Result<Option<Text>, ()> {
        text.map(|text| self.keep(text)).transpose()
    }

    fn text(&self, place: Text) -> &str {
        text(&self.texts, place)
    }
}

fn text(texts: &str, Text { start, octets }: Text) -> &str {
    let start = start as usize;
    let place: Range<usize> = start..start + octets as usize;
    texts.get(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Account, Standing, Table};

    fn account(name: &str) -> Account<'_> {
        Account {
            name,
            mailbox: None,
            home: Some("/h"),
            location: None,
            owner: None,
            quota: None,
            standing: Standing::Active,
        }
    }

    fn table(names: &[&str]) -> Table {
        let mut table = Table::default();
        for name in names {
            table.push(account(name)).unwrap();
        }
        table.sort();
        table
    }

    #[test]
    fn what_was_put_in_is_found_by_its_whole_name() {
        let table = table(&["b@d", "a@d", "@e", "c@d"]);
        for name in ["a@d", "b@d", "c@d", "@e"] {
            assert_eq!(table.get(name), Some(account(name)), "{name}");
        }
        for other in ["", "a", "a@", "a@d ", "d@d", "@d"] {
            assert_eq!(table.get(other), None, "{other}");
        }
        assert!(table.has_domain("d") && table.has_domain("e") && !table.has_domain("f"));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn of_several_that_name_one_mailbox_the_first_by_name_is_found() {
        let mut table = Table::default();
        let names = [("d@d", Some("x@d")), ("b@d", Some("y@d")), ("c@d", Some("x@d")), ("x", None)];
        for (name, mailbox) in names {
            table.push(Account { mailbox, ..account(name) }).unwrap();
        }
        table.sort();
        let found = |name| table.of_mailbox(name).map(|account| account.name);
        assert_eq!(["x@d", "y@d"].map(found), [Some("c@d"), Some("b@d")]);
        assert_eq!(["", "x", "x@", "x@da", "z@d", "b@d"].map(found), [None; 6]);
    }

    #[test]
    fn of_a_name_that_stands_twice_the_first_counts() {
        let mut table = Table::default();
        table.push(Account { home: Some("/first"), ..account("a@d") }).unwrap();
        table.push(Account { home: Some("/second"), ..account("a@d") }).unwrap();
        assert_eq!(table.sort(), ["a@d"]);
        assert_eq!(table.get("a@d").and_then(|account| account.home), Some("/first"));
    }

    #[test]
    fn a_name_that_is_gone_is_seen() {
        let old = table(&["a@d", "c@d"]);
        assert!(!old.has_more_than(&old));
        assert!(!old.has_more_than(&table(&["a@d", "b@d", "c@d"])));
        assert!(old.has_more_than(&table(&["a@d", "b@d", "d@d", "e@d"])));
        assert!(old.has_more_than(&table(&["c@d"])));
    }
}
