//! Flags and file together, checked: what the program runs with.
//!
//! Lives here: which value wins, defaults, and every check that one setting or
//! several together have to pass.
//! May not: bind, make or change anything; names of users and groups are looked
//! up, and that is all that is asked of the system.

use super::{
    ConfigError, DEFAULT_FILE, Given, SETTINGS, file,
    flags::Value,
    values::{self, DURATION_FORM, SIZE_FORM},
};
use crate::{
    delivery,
    log::Target,
    protocol::{self, BareNewlines},
    server::{self, ListenAddress, Network, SocketRights},
    stores,
    sys::{credentials::Identity, names},
    transaction::address::{Address, is_domain},
    users::{Source, Users},
};
use postino_store::{MailStore, MailboxName};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// The store where neither flag nor file names one.
const DEFAULT_STORE: &str = "maildir:./mail";

/// Where large messages wait if the store has no directory for them.
const DEFAULT_SPOOL: &str = "/var/tmp";

/// The least memory: with less not even one message of many recipients comes in.
const MEMORY_MIN: u64 = 1 << 20;

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
    "socket-mode",
    "socket-owner",
    "socket-group",
    "user",
    "group",
    "log",
];

/// What the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon.
    Serve,
    /// One session on descriptor 0.
    Inetd,
}

/// Where settings come from, to be read again at a reload.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What they are for.
    pub role: Role,
    /// The flags.
    pub flags: Given,
    /// The file that `--config` names.
    pub file: Option<String>,
}

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether flag or file set it.
    pub is_set: bool,
}

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
        let given = match &found.file {
            Some(path) => self.flags.clone().or(file::read(path)?),
            None => self.flags.clone(),
        };
        let reader = Reader {
            given: &given,
            has_file: found.file.is_some(),
            errors: ConfigError::default(),
            warnings: Vec::new(),
            shown: Vec::new(),
        };
        reader.read(found)
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

    /// Whether flag or file set this one.
    pub fn is_set(&self, name: &str) -> bool {
        self.shown.iter().any(|shown| shown.name == name && shown.is_set)
    }

    /// A setting's value as it is in force.
    pub fn shown(&self, name: &str) -> &str {
        self.shown.iter().find(|shown| shown.name == name).map_or("", |shown| &shown.value)
    }
}

/// Reads settings one by one and gathers complaints; after one, what it gives
/// is a default that nobody will see.
struct Reader<'a> {
    given: &'a Given,
    has_file: bool,
    errors: ConfigError,
    warnings: Vec<String>,
    shown: Vec<Shown>,
}

impl<'a> Reader<'a> {
    fn read(mut self, sources: Sources) -> Result<Effective, ConfigError> {
        let hostname = self.hostname();
        let domains = self.list("domains", Vec::new(), domain_lower);
        let several_domains = domains.len() > 1;
        let serves_all_domains = domains.is_empty();
        let users = self.users(&hostname, domains);
        let session = self.session(&hostname);
        let server = users.map(|users| self.server(session, users));
        let (listen, socket) = (self.listen(sources.role), self.socket_rights());
        self.check_exposure(&listen);
        let (store_url, built) = self.store(&hostname, several_domains);
        let (store, directory) = built.map(|built| (built.store, built.directory)).unzip();
        let limits = self.limits(&store_url, directory.flatten());
        let has = |variable| store_url.contains(variable);
        if serves_all_domains && has("%n") && !has("%u") && !has("%d") {
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
        let identity = self.identity();
        let log_target = self.log_target(sources.role);
        let log_level = self.one("log-level", ::log::LevelFilter::Info, log_level);
        let Self { errors, warnings, mut shown, .. } = self;
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
            warnings,
            shown,
        }))
    }

    fn session(&mut self, hostname: &str) -> protocol::Settings {
        protocol::Settings {
            hostname: hostname.to_owned(),
            message_size_max: self.one("max-message-size", 128 << 20, size),
            recipients_max: self.number("max-recipients", 1_000, 1, 1_000_000),
            bare_newlines: self.one("bare-newlines", BareNewlines::Reject, bare_newlines),
        }
    }

    fn server(&mut self, session: protocol::Settings, users: Users) -> server::Settings {
        server::Settings {
            session: Arc::new(session),
            users: Arc::new(users),
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
            min_free: self.one("min-free", 2, percent),
            store_name: store_url.to_owned(),
            // How many files the spool may have, descriptors decide later.
            ..delivery::Limits::default()
        }
    }

    fn hostname(&mut self) -> String {
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

    /// None only where there are complaints.
    fn users(&mut self, hostname: &str, domains: Vec<String>) -> Option<Users> {
        let is_default_store = !self.has_file && self.given.get("store").is_empty();
        if self.given.get("users").is_empty() && !is_default_store {
            self.errors.add(format!(
                "users is not set{}; say any (mailboxes are made at the first delivery) or store \
                 (they must be there)",
                self.file_hint()
            ));
        }
        let source = self.one("users", Source::Any, source);
        self.default_is("any");
        let postmaster = format!("postmaster@{hostname}");
        let postmaster =
            self.one("postmaster", mailbox(&postmaster).ok(), |text| mailbox(text).map(Some));
        if let Some(postmaster) = &postmaster {
            self.default_is(postmaster);
        }
        Some(Users {
            source,
            domains,
            recipient_delimiter: self.one("recipient-delimiter", Some('+'), delimiter),
            postmaster: postmaster?,
        })
    }

    fn listen(&mut self, role: Role) -> Vec<ListenAddress> {
        if role == Role::Inetd {
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
            self.errors.add(format!(
                "listen {open} can be reached from other hosts; name the networks that may connect \
                 by allow, such as 192.0.2.0/24"
            ));
        }
    }

    fn socket_rights(&mut self) -> SocketRights {
        SocketRights {
            mode: self.one("socket-mode", 0o660, socket_mode),
            owner: self.one("socket-owner", None, |text| user(text).map(Some)),
            group: self.one("socket-group", None, |text| group(text).map(Some)),
        }
    }

    fn store(&mut self, hostname: &str, several_domains: bool) -> (String, Option<stores::Built>) {
        if self.given.get("store").is_empty() && self.has_file {
            self.errors.add(format!(
                "store is not set{}; say where mail goes, such as \
                 maildir:/var/lib/postino/mail/%d/%n",
                self.file_hint()
            ));
        }
        let options = stores::Options {
            hostname: hostname.to_owned(),
            require_marker: self.switch("require-marker"),
            several_domains,
        };
        let mut store = None;
        let url = self.one("store", DEFAULT_STORE.to_owned(), |url| {
            let opened = stores::open(url, &options);
            store = Some(opened.map_err(|error| format!("is wrong: {error}"))?);
            Ok(url.to_owned())
        });
        self.default_is(DEFAULT_STORE);
        if store.is_none() && self.given.get("store").is_empty() {
            match stores::open(&url, &options) {
                Ok(opened) => store = Some(opened),
                Err(error) => self.errors.add(format!("store: {error}")),
            }
        }
        (url, store)
    }

    fn identity(&mut self) -> Option<Identity> {
        let name = self.one("user", None, |text| Ok(Some(text.to_owned())));
        let group = self.one("group", None, |text| Ok(Some(text.to_owned())));
        let Some(name) = name else {
            if group.is_some() {
                self.errors.add("group is set, but user is not; set both or neither".to_owned());
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
        let default = match role {
            Role::Serve => Target::Stderr,
            Role::Inetd => Target::Syslog,
        };
        let target = self.one("log", default, parsed::<Target>);
        self.default_is(if role == Role::Inetd { "syslog" } else { "stderr" });
        target
    }

    fn file_hint(&self) -> &'static str {
        if self.has_file { " in the config file nor as a flag" } else { "" }
    }

    fn switch(&mut self, name: &'static str) -> bool {
        self.one(name, false, |text| Ok(text == "true"))
    }

    fn duration(&mut self, name: &'static str, default_s: u64) -> Duration {
        self.one(name, Duration::from_secs(default_s), |text| {
            values::duration(text)
                .filter(|duration| !duration.is_zero())
                .ok_or_else(|| format!("is not {DURATION_FORM}, from 1s to 365d"))
        })
    }

    fn number<T>(&mut self, name: &'static str, default: T, min: T, max: T) -> T
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        self.one(name, default, |text| {
            let number = text.parse().ok().filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| format!("is no whole number from {min} to {max}"))
        })
    }

    /// A setting with one value; `read` says what is wrong with a text, as the
    /// end of a sentence that begins with it.
    fn one<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.given_value(name) else { return default };
        match read(&value.text) {
            Ok(read) => {
                self.note_set(name, value);
                read
            }
            Err(wrong) => {
                self.complain(value, &wrong);
                default
            }
        }
    }

    // What does not depend on a value's type is compiled once.

    /// The value given; without one the default is noted.
    #[inline(never)]
    fn given_value(&mut self, name: &'static str) -> Option<&'a Value> {
        let given = self.given.get(name).last();
        if given.is_none() {
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            let text = setting.map_or("", |setting| setting.default).to_owned();
            self.shown.push(Shown { name, value: text, is_set: false });
        }
        given
    }

    #[inline(never)]
    fn note_set(&mut self, name: &'static str, value: &Value) {
        self.shown.push(Shown { name, value: value.text.clone(), is_set: true });
    }

    #[inline(never)]
    fn complain(&mut self, Value { text, origin }: &Value, wrong: &str) {
        self.errors.add(format!("{origin}: {text:?} {wrong}"));
    }

    fn list<T: std::fmt::Display>(
        &mut self,
        name: &'static str,
        default: Vec<T>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given = self.given.get(name);
        let mut list = Vec::new();
        for value in given {
            match read(&value.text) {
                Ok(item) => list.push(item),
                Err(wrong) => self.complain(value, &wrong),
            }
        }
        let list = if given.is_empty() { default } else { list };
        let text: Vec<String> = list.iter().map(ToString::to_string).collect();
        let is_set = !given.is_empty();
        self.shown.push(Shown { name, value: text.join(" "), is_set });
        list
    }

    /// A default that is known only here, to be shown in place of the table's.
    fn default_is(&mut self, value: impl std::fmt::Display) {
        if let Some(shown) = self.shown.last_mut().filter(|shown| !shown.is_set) {
            shown.value = value.to_string();
        }
    }
}

/// Whether there is a file; one that cannot be looked for is an error, since
/// other settings would hold without it.
fn is_there(path: &str) -> Result<bool, ConfigError> {
    let there = Path::new(path).try_exists();
    there.map_err(|error| ConfigError::one(format!("{path}: cannot look for it: {error}")))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("is wrong: {error}"))
}

fn size(text: &str) -> Result<u64, String> {
    values::size(text).ok_or_else(|| format!("is not {SIZE_FORM}"))
}

fn memory_budget(text: &str) -> Result<u64, String> {
    let memory = size(text)?;
    if memory >= MEMORY_MIN { Ok(memory) } else { Err("is less than 1M".to_owned()) }
}

/// `5%`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let percent = number.filter(|percent| *percent < 100 && !text.starts_with('+'));
    percent.ok_or_else(|| "is not a percentage from 0% to 99%".to_owned())
}

fn domain(text: &str) -> Result<String, String> {
    let complaint = "is no domain: labels of letters, digits and inner hyphens, dots between";
    if is_domain(text) { Ok(text.to_owned()) } else { Err(complaint.to_owned()) }
}

fn domain_lower(text: &str) -> Result<String, String> {
    domain(text).map(|domain| domain.to_ascii_lowercase())
}

/// The mailbox of an address, named as users name theirs.
fn mailbox(text: &str) -> Result<MailboxName, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("is no address of a mailbox: {why}");
    let address = Address::parse(text.as_bytes()).map_err(|_| wrong(&"say NAME@DOMAIN"))?;
    let name = format!("{}@{}", address.local_part, address.domain).to_ascii_lowercase();
    MailboxName::new(name).map_err(|error| wrong(&error))
}

fn bare_newlines(text: &str) -> Result<BareNewlines, String> {
    match text {
        "reject" => Ok(BareNewlines::Reject),
        "keep" => Ok(BareNewlines::Keep),
        "normalise" => Ok(BareNewlines::Normalise),
        _ => Err("is not one of reject, keep and normalise".to_owned()),
    }
}

fn source(text: &str) -> Result<Source, String> {
    match text {
        "any" => Ok(Source::Any),
        "store" => Ok(Source::Store),
        _ => Err("is not one of any and store, which are all that this version has".to_owned()),
    }
}

/// One character that may stand in a local part, or none.
fn delimiter(text: &str) -> Result<Option<char>, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Ok(None),
        (Some(c), None) if c.is_ascii_punctuation() && !"@\"<>()[]\\,:;/".contains(c) => {
            Ok(Some(c))
        }
        _ => Err("is not one character such as + or -, nor empty".to_owned()),
    }
}

fn socket_mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "is no octal mode from 0000 to 0777, such as 0660".to_owned())
}

fn log_level(text: &str) -> Result<::log::LevelFilter, String> {
    match text {
        "error" => Ok(::log::LevelFilter::Error),
        "warn" => Ok(::log::LevelFilter::Warn),
        "info" => Ok(::log::LevelFilter::Info),
        "debug" => Ok(::log::LevelFilter::Debug),
        _ => Err("is not one of error, warn, info and debug".to_owned()),
    }
}

fn user(text: &str) -> Result<u32, String> {
    names::user(text).map(|user| user.uid).map_err(|error| format!("is {error}"))
}

fn group(text: &str) -> Result<u32, String> {
    names::group(text).map_err(|error| format!("is {error}"))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
