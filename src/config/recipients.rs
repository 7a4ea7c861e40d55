//! The settings of who may receive.
//!
//! Lives here: the source of users with its domains, details, quota and postmaster,
//! and the checks that these have to pass together.
//! May not: bind, make or change anything; a users file is read, and a name that
//! has to be a user's is looked up.

use super::{
    parsing::{
        UsersKind, account_quota, delimiter, detail, domain_lower, mailbox, store_root, users_kind,
    },
    reader::Reader,
    sources::{DEFAULT_STORE, Sources},
};
use crate::{
    stores::{self, Stores},
    sys::names::{self, NameError},
    users::{Detail, Places, Rules, Source, System, Users, UsersFile},
};
use postino_store::{MailboxName, Quota};
use std::{path::Path, sync::Arc};

/// The least uid of people, on most systems.
const FIRST_UID: u32 = 1_000;

impl Reader<'_> {
    /// None only where there are complaints.
    pub(super) fn users(&mut self, hostname: &str, sources: &Sources) -> Option<Users> {
        let is_any =
            !self.has_file && (sources.role.delivers() || self.given.get("store").is_empty());
        if self.given.get("users").is_empty() && !is_any {
            self.errors.add(format!(
                "users is not set{}; say any (mailboxes are made at the first delivery), store \
                 (they must be there), system (the system's users) or file:PATH",
                self.file_hint()
            ));
        }
        let kind = self.one("users", UsersKind::Any, users_kind);
        self.default_is("any");
        let mut domains = self.list("domains", Vec::new(), domain_lower);
        let default_domain = self.default_domain(hostname, &domains);
        let first_uid = self.number("first-uid", FIRST_UID, 0, u32::MAX);
        let roots = self.list("store-roots", Vec::new(), store_root);
        if kind == UsersKind::System && domains.is_empty() {
            domains = vec![hostname.to_ascii_lowercase(), "localhost".to_owned()];
            domains.dedup();
            if let Some(shown) = self.shown.iter_mut().find(|shown| shown.name == "domains") {
                shown.value = domains.join(" ");
            }
        }
        let rules = Rules {
            default_domain: default_domain.clone(),
            domains: domains.clone(),
            is_for_one_domain: mixes_domains(&self.store_url()),
            places: self.places(&sources.stores, hostname, roots),
        };
        let source = self.source(kind, first_uid, rules, sources)?;
        let postmaster = self.postmaster(hostname, default_domain.as_deref())?;
        let users = Users {
            domains,
            recipient_delimiter: self.one("recipient-delimiter", Some('+'), delimiter),
            detail: self.one("detail", Detail::Ignore, detail),
            quota: self.one("quota", Quota::default(), account_quota),
            default_domain,
            ..Users::new(source, postmaster)
        };
        self.check_postmaster(&users, first_uid);
        Some(users)
    }

    /// The source of users alone, for commands: who gets whose mail is no question then.
    pub(super) fn users_to_look_into(&mut self, sources: &Sources) -> Option<Source> {
        let hostname = self.hostname();
        let kind = self.one("users", UsersKind::Any, users_kind);
        let rules = Rules {
            default_domain: self.default_domain(&hostname, &[]),
            domains: Vec::new(),
            is_for_one_domain: false,
            places: self.places(&sources.stores, &hostname, Vec::new()),
        };
        let first_uid = self.number("first-uid", FIRST_UID, 0, u32::MAX);
        self.source(kind, first_uid, rules, sources)
    }

    fn source(
        &mut self,
        kind: UsersKind,
        first_uid: u32,
        rules: Rules,
        sources: &Sources,
    ) -> Option<Source> {
        Some(match kind {
            UsersKind::Any => Source::Any,
            UsersKind::Store => Source::Store,
            UsersKind::System => Source::System(Arc::new(System::new(first_uid))),
            UsersKind::File(path) => Source::File(self.users_file(&path, rules, sources)?),
        })
    }

    /// The domain of names that have none; none where it has to be said.
    fn default_domain(&mut self, hostname: &str, domains: &[String]) -> Option<String> {
        let default = match domains {
            [] => Some(hostname.to_ascii_lowercase()),
            [only] => Some(only.clone()),
            _ => None,
        };
        let domain = self.one("default-domain", default, |text| domain_lower(text).map(Some));
        self.default_is(domain.as_deref().unwrap_or("none"));
        if let Some(domain) = &domain
            && !domains.is_empty()
            && !domains.contains(domain)
        {
            let wrong = format!("{domain} is not among domains; add it there, or name one of them");
            self.complain_of("default-domain", &wrong);
        }
        domain
    }

    fn postmaster(&mut self, hostname: &str, default_domain: Option<&str>) -> Option<MailboxName> {
        let default = match (self.given.get("default-domain"), default_domain) {
            ([_, ..], Some(domain)) => domain,
            _ => hostname,
        };
        let default = mailbox(&format!("{}@{default}", "postmaster")).ok();
        let is_domain_said = !self.given.get("default-domain").is_empty()
            || self.given.get("users").last().is_some_and(|value| value.text == "system");
        let postmaster = self.one("postmaster", default, |text| match default_domain {
            Some(domain) if is_domain_said && !text.contains('@') => {
                mailbox(&format!("{text}@{domain}")).map(Some)
            }
            _ => mailbox(text).map(Some),
        });
        if let Some(postmaster) = &postmaster {
            self.default_is(postmaster);
        }
        postmaster
    }

    /// Whose mail postmaster's is has to have a place.
    fn check_postmaster(&mut self, users: &Users, first_uid: u32) {
        let has_home = stores::is_in_homes(&self.store_url());
        let given = self.given.get("postmaster").last();
        let name = &users.postmaster;
        let (wrong, origin) = match (&users.source, given) {
            (Source::System(_), None) => {
                let text = "postmaster is not set; with users = system name the user who gets its \
                            mail";
                return self.complain_of("users", text);
            }
            (Source::File(_), None) if has_home => {
                let text = "postmaster is not set; with %h in the store's path name the user who \
                            gets its mail";
                return self.complain_of("users", text);
            }
            (Source::System(_), Some(value)) => {
                let user = name.local_part();
                let wrong = match names::login(user) {
                    Ok(login) if login.uid == 0 || login.uid < first_uid => format!(
                        "has uid {}, and root and uids under first-uid {first_uid} get no mail; \
                         name another user",
                        login.uid
                    ),
                    Err(NameError::Unknown) => {
                        "is no user of this system; name one who is".to_owned()
                    }
                    Ok(_) | Err(NameError::Service(_)) => return,
                };
                (wrong, value)
            }
            (Source::File(file), Some(value)) if has_home && !file.has(name.as_str()) => (
                "is not in the users file, so it has no home for %h; add it there".to_owned(),
                value,
            ),
            // The other sources know no home, whoever postmaster is: `check_ownership`
            // says so.
            _ => return,
        };
        self.complain(origin, &wrong);
    }

    fn users_file(
        &mut self,
        path: &Path,
        rules: Rules,
        sources: &Sources,
    ) -> Option<Arc<UsersFile>> {
        if let Some(in_force) = &sources.users_file
            && in_force.path() == path
        {
            // It is read once all settings are found good.
            self.users_rules = Some(rules);
            return Some(Arc::clone(in_force));
        }
        match UsersFile::load(path, rules) {
            Ok((file, warnings)) => {
                self.warnings.extend(warnings);
                Some(Arc::new(file))
            }
            Err(error) => {
                let origin = self.given.get("users").last().map_or("users", |value| &value.origin);
                self.errors.add(format!("{origin}: {error}"));
                None
            }
        }
    }

    fn places(&self, stores: &Stores, hostname: &str, roots: Vec<String>) -> Places {
        let options = stores::Options {
            hostname: hostname.to_owned(),
            require_marker: false,
            several_domains: false,
            shared_with_group: false,
            base: None,
        };
        let stores = stores.clone();
        let mut store_url = self.store_url();
        if !store_url.contains('%') {
            // What a path without variables means.
            let end = store_url.find('?').unwrap_or(store_url.len());
            store_url.insert_str(end, "/%u");
        }
        Places {
            store_url,
            roots: roots.into_iter().map(Into::into).collect(),
            opens: Arc::new(move |url| {
                stores.open(url, &options).map(drop).map_err(|error| error.to_string())
            }),
        }
    }

    fn store_url(&self) -> String {
        self.given.get("store").last().map_or(DEFAULT_STORE, |value| &value.text).to_owned()
    }
}

/// Whether alice of each domain has the same mailbox in this store.
pub(super) fn mixes_domains(store_url: &str) -> bool {
    let has = |variable| store_url.contains(variable);
    has("%n") && !has("%u") && !has("%d") && !stores::is_in_homes(store_url)
}
