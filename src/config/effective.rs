//! Flags and file together, checked: what the program runs with.
//!
//! Lives here: which value wins, defaults, and every check that one setting or
//! several together have to pass.
//! May not: bind, make or change anything; names of users and groups are looked
//! up, and that is all that is asked of the system.

pub use super::reader::Shown;
pub use super::sources::{Role, Sources};
use super::{
    ConfigError, DEFAULT_FILE, SETTINGS,
    file::{self, Contents},
    parsing::{
        bare_newlines, domain, group, log_level, memory_budget, over_quota, parsed, percent, size,
        socket_mode, suppression_window, user,
    },
    reader::Reader,
    recipients::mixes_domains,
    sources::DEFAULT_STORE,
};
use crate::{
    delivery,
    log::Target,
    protocol::{self, BareNewlines},
    server::{self, ListenAddress, Network, SocketRights},
    stores::{self, Stores},
    sys::{credentials::Identity, names},
    transaction::{Filing, address::is_domain},
    users::{Rules, Source, Users, UsersFile},
};
use postino_store::MailStore;
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// Where large messages wait if the store has no directory for them.
const DEFAULT_SPOOL: &str = "/var/tmp";

/// Settings that are read at the start only.
const NEED_RESTART: &[&str] = &[
    "listen",
    "store",
    "workers",
    "lock-wait",
    "require-marker",
    "memory-budget",
    "max-spool",
    "spool-dir",
    "min-free",
    "single-instance",
    "mail-group",
    "over-quota",
    "suppress-duplicates",
    "socket-mode",
    "socket-owner",
    "socket-group",
    "user",
    "group",
    "log",
];

/// All settings, checked.
pub struct Effective {
    /// Where they came from.
    pub sources: Sources,
    /// Where to listen.
    pub listen: Vec<ListenAddress>,
    /// Rights of Unix sockets.
    pub socket: SocketRights,
    /// What the server is told.
    pub server: server::Settings,
    /// What the pool is told.
    pub limits: delivery::Limits,
    /// The store's URL, for log lines.
    pub store_url: String,
    /// The store, not opened yet.
    pub store: Arc<dyn MailStore>,
    /// Whom to become once the sockets are bound.
    pub identity: Option<Identity>,
    /// Where the log goes.
    pub log_target: Target,
    /// What is logged.
    pub log_level: ::log::LevelFilter,
    /// By what rules the users file in force is to be read again.
    pub users_rules: Option<Rules>,
    /// What is not wrong, but worth a line in the log.
    pub warnings: Vec<String>,
    /// The settings as they are in force, in the table's order.
    pub shown: Vec<Shown>,
}

impl Sources {
    /// Reads and checks everything.
    pub fn load(&self) -> Result<Effective, ConfigError> {
        let mut found = self.clone();
        if found.file.is_none() && is_there(DEFAULT_FILE)? {
            // A reload reads this file again, or fails; without it other
            // defaults would hold.
            found.file = Some(DEFAULT_FILE.to_owned());
        }
        let Contents { given, filing } = match &found.file {
            Some(path) => file::read(path)?,
            None => Contents::default(),
        };
        let given = self.flags.clone().or(self.role.settings_of(given));
        Reader::of(&given, found.file.is_some()).read(found, filing)
    }
}

impl Effective {
    /// Of the settings that only a restart brings, those that were otherwise
    /// when `in_force` was shown.
    pub fn needs_restart_for(&self, in_force: &[Shown]) -> Vec<&'static str> {
        let was = |name| in_force.iter().find(|shown| shown.name == name);
        self.shown
            .iter()
            .filter(|shown| NEED_RESTART.contains(&shown.name))
            .filter(|shown| was(shown.name).is_none_or(|was| was.value != shown.value))
            .map(|shown| shown.name)
            .collect()
    }

    /// The users file, where there is one.
    pub fn users_file(&self) -> Option<&Arc<UsersFile>> {
        self.server.users.users_file()
    }

    /// Whether flag or file set this one.
    pub fn is_set(&self, name: &str) -> bool {
        self.shown.iter().any(|shown| shown.name == name && shown.is_set)
    }

    /// A setting's value as it is in force.
    pub fn shown(&self, name: &str) -> &str {
        self.shown.iter().find(|shown| shown.name == name).map_or("", |shown| &shown.value)
    }
}

impl Reader<'_> {
    fn read(mut self, sources: Sources, filing: Filing) -> Result<Effective, ConfigError> {
        let hostname = self.hostname();
        let users = self.users(&hostname, &sources);
        // A user of the system has one mailbox, whatever the domain.
        let several_domains = users.as_ref().is_some_and(|users| {
            users.domains.len() > 1 && !matches!(users.source, Source::System(_))
        });
        let serves_all_domains = users.as_ref().is_some_and(|users| {
            users.domains.is_empty() && !matches!(users.source, Source::File(_))
        });
        let session = self.session(sources.role, &hostname);
        let server = users.map(|users| self.server(session, users, filing));
        let (listen, socket) = (self.listen(sources.role), self.socket_rights());
        self.check_exposure(&listen);
        let mail_group = self.one("mail-group", None, |text| group(text).map(Some));
        let options = stores::Options {
            hostname: hostname.clone(),
            require_marker: self.switch("require-marker"),
            several_domains,
            shared_with_group: mail_group.is_some(),
            base: None,
        };
        let (store_url, built) = self.store(&sources.stores, &options);
        self.check_ownership(server.as_ref(), &store_url, mail_group);
        let (store, directory) = built.map(|built| (built.store, built.directory)).unzip();
        let has_accounts = matches!(&server, Some(server) if server.users.users_file().is_some());
        let store = match store {
            Some(usual) if has_accounts => Some(sources.stores.by_account(usual, &options)),
            store => store,
        };
        let mut limits = self.limits(&store_url, directory.flatten());
        limits.mail_group = mail_group;
        if serves_all_domains && mixes_domains(&store_url) {
            self.warnings.push(
                "the store's path has neither %u nor %d in it, and every domain is served: alice@ of \
                 each has the same mailbox; name the one domain by domains"
                    .to_owned(),
            );
        }
        if let Some(server) = &server
            && limits.lock_wait >= server.delivery_timeout
        {
            self.warnings.push(
                "lock-wait is not shorter than delivery-timeout: a locked mailbox gets 451 4.3.0 in \
                 place of 450 4.2.0"
                    .to_owned(),
            );
        }
        if let Some(server) = &server {
            let size_max = server.session.message_size_max;
            if size_max == 0 || size_max > limits.spool_octets {
                self.warnings.push(
                    "max-spool is smaller than max-message-size: the largest messages that are \
                     announced as welcome get 452 4.3.1 each time"
                        .to_owned(),
                );
            }
        }
        let identity = self.identity();
        let log_target = self.log_target(sources.role);
        let log_level = self.one("log-level", ::log::LevelFilter::Info, log_level);
        let Self { errors, warnings, mut shown, users_rules, .. } = self;
        let shown = SETTINGS
            .iter()
            .filter_map(|setting| shown.extract_if(.., |shown| shown.name == setting.name).next())
            .collect();
        errors.or(store.zip(server).map(|(store, server)| Effective {
            sources,
            listen,
            socket,
            server,
            limits,
            store_url,
            store,
            identity,
            log_target,
            log_level,
            users_rules,
            warnings,
            shown,
        }))
    }

    fn session(&mut self, role: Role, hostname: &str) -> protocol::Settings {
        let default = if role.delivers() { BareNewlines::Keep } else { BareNewlines::Reject };
        let policy = self.one("bare-newlines", default, bare_newlines);
        if role.delivers() {
            self.default_is("keep");
        }
        protocol::Settings {
            hostname: hostname.to_owned(),
            message_size_max: self.one("max-message-size", 128 << 20, size),
            recipients_max: self.number("max-recipients", 1_000, 1, 1_000_000),
            bare_newlines: policy,
        }
    }

    fn server(
        &mut self,
        session: protocol::Settings,
        users: Users,
        filing: Filing,
    ) -> server::Settings {
        server::Settings {
            session: Arc::new(session),
            users: Arc::new(users),
            filing: Arc::new(filing),
            allow: self.list("allow", Network::loopback(), parsed::<Network>),
            connections_max: self.number("max-connections", 10_000, 1, 1_000_000),
            refusals_max: 0,
            idle_timeout: self.duration("idle-timeout", 300),
            command_timeout: self.duration("command-timeout", 300),
            transaction_timeout: self.duration("transaction-timeout", 1_800),
            delivery_timeout: self.duration("delivery-timeout", 240),
            drain_timeout: self.duration("drain-timeout", 8),
        }
    }

    fn limits(&mut self, store_url: &str, store_directory: Option<PathBuf>) -> delivery::Limits {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = self.number("workers", (8 * cores).clamp(16, 64), 1, 1_024);
        self.default_is(workers);
        let lock_wait = self.duration("lock-wait", 30);
        let window = self.one("suppress-duplicates", None, suppression_window);
        let suppression = window
            .map(|window| delivery::Suppression { window, directory: store_directory.clone() });
        let default = store_directory.unwrap_or_else(|| PathBuf::from(DEFAULT_SPOOL));
        let shown = default.display().to_string();
        let spool_directory = self.one("spool-dir", default, |text| match text {
            "" => Err("is no directory".to_owned()),
            _ => Ok(PathBuf::from(text)),
        });
        self.default_is(shown);
        delivery::Limits {
            workers,
            lock_wait,
            memory: self.one("memory-budget", 64 << 20, memory_budget),
            spool_directory,
            spool_octets: self.one("max-spool", 1 << 30, size),
            single_instance: self.switch("single-instance"),
            over_quota: self.one("over-quota", delivery::OverQuota::Defer, over_quota),
            suppression,
            min_free: self.one("min-free", 2, percent),
            store_name: store_url.to_owned(),
            // How many files the spool may have, descriptors decide later.
            ..delivery::Limits::default()
        }
    }

    pub(super) fn hostname(&mut self) -> String {
        let machine = names::host_name();
        let default = if is_domain(&machine) { machine.clone() } else { "localhost".to_owned() };
        if default != machine && self.given.get("hostname").is_empty() {
            self.warnings.push(format!(
                "the machine's name {machine:?} is no valid domain; the name is localhost until \
                 --hostname says another"
            ));
        }
        let hostname = self.one("hostname", default, domain);
        self.default_is(&hostname);
        hostname
    }

    fn listen(&mut self, role: Role) -> Vec<ListenAddress> {
        if !role.listens() {
            return Vec::new();
        }
        let default = vec![ListenAddress::Tcp(([127, 0, 0, 1], 2424).into())];
        self.list("listen", default, parsed::<ListenAddress>)
    }

    /// Whoever listens beyond this host has to say for whom.
    fn check_exposure(&mut self, listen: &[ListenAddress]) {
        let is_open = |address: &&ListenAddress| matches!(address, ListenAddress::Tcp(address) if !is_loopback(address.ip()));
        if let Some(open) = listen.iter().find(is_open)
            && self.given.get("allow").is_empty()
        {
            let wrong = format!(
                "{open} can be reached from other hosts; name the networks that may connect by \
                 allow, such as 192.0.2.0/24"
            );
            self.complain_of("listen", &wrong);
        }
    }

    fn socket_rights(&mut self) -> SocketRights {
        SocketRights {
            mode: self.one("socket-mode", 0o660, socket_mode),
            owner: self.one("socket-owner", None, |text| user(text).map(Some)),
            group: self.one("socket-group", None, |text| group(text).map(Some)),
        }
    }

    fn store(
        &mut self,
        known: &Stores,
        options: &stores::Options,
    ) -> (String, Option<stores::Built>) {
        if self.given.get("store").is_empty() && self.has_file {
            self.errors.add(format!(
                "store is not set{}; say where mail goes, such as \
                 maildir:/var/lib/postino/mail/%d/%n",
                self.file_hint()
            ));
        }
        let mut store = None;
        let url = self.one("store", DEFAULT_STORE.to_owned(), |url| {
            let opened = known.open(url, options);
            store = Some(opened.map_err(|error| format!("is wrong: {error}"))?);
            Ok(url.to_owned())
        });
        self.default_is(DEFAULT_STORE);
        if store.is_none() && self.given.get("store").is_empty() {
            match known.open(&url, options) {
                Ok(opened) => store = Some(opened),
                Err(error) => self.errors.add(format!("store: {error}")),
            }
        }
        (url, store)
    }

    /// Homes and groups are of users that somebody knows.
    fn check_ownership(
        &mut self,
        server: Option<&server::Settings>,
        store_url: &str,
        mail_group: Option<u32>,
    ) {
        let knows_homes =
            server.is_none_or(|server| !matches!(server.users.source, Source::Any | Source::Store));
        if stores::is_in_homes(store_url) && !knows_homes {
            self.complain_of(
                "store",
                "its path begins at the user's home (%h), which users = any and store do not \
                 know; set users to system or file:PATH",
            );
        }
        if mail_group.is_some() && !store_url.starts_with("mbox:") {
            let wrong = format!("the store {store_url} is none of kind mbox; leave mail-group out");
            self.complain_of("mail-group", &wrong);
        }
    }

    fn identity(&mut self) -> Option<Identity> {
        let name = self.one("user", None, |text| Ok(Some(text.to_owned())));
        let group = self.one("group", None, |text| Ok(Some(text.to_owned())));
        let Some(name) = name else {
            if group.is_some() {
                self.complain_of("group", "user is not set; set both or neither");
            }
            return None;
        };
        match Identity::of_user(&name, group.as_deref()) {
            Ok(identity) => Some(identity),
            Err(error) => {
                let origin = self.given.get("user").first().map_or("user", |value| &value.origin);
                self.errors.add(format!("{origin}: {error}"));
                None
            }
        }
    }

    fn log_target(&mut self, role: Role) -> Target {
        let (default, shown) =
            if role.listens() { (Target::Stderr, "stderr") } else { (Target::Syslog, "syslog") };
        let target = self.one("log", default, parsed::<Target>);
        self.default_is(shown);
        target
    }
}

/// Whether there is a file; one that cannot be looked for is an error, since
/// other settings would hold without it.
fn is_there(path: &str) -> Result<bool, ConfigError> {
    let there = Path::new(path).try_exists();
    there.map_err(|error| ConfigError::one(format!("{path}: cannot look for it: {error}")))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
