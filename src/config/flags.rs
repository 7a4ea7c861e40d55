//! The one table of settings: each is a flag of the same name and a key of the
//! config file.
//!
//! Lives here: the table, and the flags that argh makes of it.
//! May not: judge a value.

#![allow(clippy::doc_markdown, reason = "the table's comments are the texts of --help")]

use argh::FromArgs;

/// What a setting's value is made of, in the config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string, or an array of strings; the flag can be repeated.
    List,
    /// An integer.
    Number,
    /// A string such as `5m`, or an integer of seconds.
    Duration,
    /// A string such as `128M`, or an integer of octets.
    Size,
    /// A boolean; the flag has no value.
    Switch,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its hyphens, and the key.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it, in words or as a value.
    pub default: &'static str,
}

/// Settings as texts, by name: from the flags or from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(Vec<(&'static str, Vec<Value>)>);

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As written; `true` or `false` of a switch.
    pub text: String,
    /// `--idle-timeout`, or `FILE:LINE:COLUMN: idle-timeout`.
    pub origin: String,
}

impl Given {
    /// Adds a value.
    pub fn add(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(given, _)| *given == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    /// The values of a setting, in the order given.
    pub fn get(&self, name: &str) -> &[Value] {
        self.0.iter().find(|(given, _)| *given == name).map_or(&[], |(_, values)| values)
    }

    /// Where the first one stands.
    pub fn first(&self) -> Option<&str> {
        self.0.iter().find_map(|(_, values)| Some(&*values.first()?.origin))
    }

    /// Leaves a setting out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(given, _)| *given != name);
    }

    /// These settings, and those of `others` that are not among them.
    #[must_use]
    pub fn or(mut self, others: Self) -> Self {
        for (name, values) in others.0 {
            if self.get(name).is_empty() {
                self.0.push((name, values));
            }
        }
        self
    }

    fn add_flags<T: Flag, const N: usize>(&mut self, flags: [(&'static str, T); N]) {
        for (name, flag) in flags {
            for text in flag.into_texts() {
                self.add(name, Value { text, origin: format!("--{name}") });
            }
        }
    }
}

/// A flag's value, of whichever type argh gives it.
trait Flag {
    fn into_texts(self) -> Vec<String>;
}

impl Flag for Option<String> {
    fn into_texts(self) -> Vec<String> {
        self.into_iter().collect()
    }
}

impl Flag for Vec<String> {
    fn into_texts(self) -> Vec<String> {
        self
    }
}

impl Flag for bool {
    fn into_texts(self) -> Vec<String> {
        if self { vec!["true".to_owned()] } else { Vec::new() }
    }
}

/// A field's name with hyphens, as argh makes the flag of it.
macro_rules! hyphened {
    ($field:ident) => {{
        const UNDERSCORED: &str = stringify!($field);
        const OCTETS: [u8; UNDERSCORED.len()] = with_hyphens(UNDERSCORED);
        match std::str::from_utf8(&OCTETS) {
            Ok(name) => name,
            Err(_) => UNDERSCORED,
        }
    }};
}
const fn with_hyphens<const N: usize>(name: &str) -> [u8; N] {
    let mut octets = [0; N];
    let mut at = 0;
    while at < N {
        octets[at] = match name.as_bytes()[at] {
            b'_' => b'-',
            octet => octet,
        };
        at += 1;
    }
    octets
}

macro_rules! settings {
    (
        lists { $($(#[doc = $list_doc:literal])* $list:ident, $list_arg:literal, $list_default:literal;)* }
        values { $($(#[doc = $value_doc:literal])* $value:ident: $kind:ident, $value_arg:literal, $value_default:literal;)* }
        switches { $($(#[doc = $switch_doc:literal])* $switch:ident;)* }
    ) => {
        /// All settings.
        pub const SETTINGS: &[Setting] = &[
            $(Setting { name: hyphened!($list), kind: Kind::List, default: $list_default },)*
            $(Setting { name: hyphened!($value), kind: Kind::$kind, default: $value_default },)*
            $(Setting { name: hyphened!($switch), kind: Kind::Switch, default: "off" },)*
        ];

        /// The settings that serve, inetd and check-config have; postino(8) has
        /// them at length.
        #[derive(Debug, FromArgs)]
        pub struct Flags {
            #[argh(option, arg_name = "file")]
            /// the TOML file with the same settings; flags win over it
            pub config: Option<String>,
            $(#[argh(option, arg_name = $list_arg)] $(#[doc = $list_doc])* $list: Vec<String>,)*
            $(#[argh(option, arg_name = $value_arg)] $(#[doc = $value_doc])* $value: Option<String>,)*
            $(#[argh(switch)] $(#[doc = $switch_doc])* $switch: bool,)*
        }

        impl Flags {
            /// The settings among the flags.
            pub fn into_given(self) -> Given {
                let mut given = Given::default();
                // By way of arrays, so that the code is there once, not once for
                // each flag.
                given.add_flags([$((hyphened!($list), self.$list)),*]);
                given.add_flags([$((hyphened!($value), self.$value)),*]);
                given.add_flags([$((hyphened!($switch), self.$switch)),*]);
                given
            }
        }
    };
}

settings! {
    lists {
        /// address to listen on: 127.0.0.1:2424, [::1]:2424, unix:/run/postino/lmtp.sock;
        /// port 0 picks a free one; can be repeated
        listen, "addr", "127.0.0.1:2424";
        /// network whose hosts may connect over TCP; can be repeated
        allow, "cidr", "loopback";
        /// domain that is served, others get 550 5.1.2; can be repeated
        domains, "domain", "every domain";
        /// directory below which an account of a users file may have a store of its own;
        /// can be repeated
        store_roots, "dir", "none";
    }
    values {
        /// where mail is stored: maildir:PATH or mbox:PATH, with %u, %n, %d in PATH and
        /// %h/ in front, or sqlite:FILE
        store: Text, "store", "maildir:./mail without a config file";
        /// who may receive: any (mailboxes are made), store (they must be there), system
        /// (the system's users) or file:PATH (Dovecot's passwd-file)
        users: Text, "users", "any with the default store";
        /// the name in greeting, LHLO reply and Received
        hostname: Text, "name", "the machine's";
        /// octets a message may have, 0 for no limit
        max_message_size: Size, "size", "128M";
        /// recipients a transaction may have
        max_recipients: Number, "n", "1000";
        /// sessions at the same time
        max_connections: Number, "n", "10000";
        /// threads that deliver, started at need
        workers: Number, "n", "8 per core, 16 to 64";
        /// time without an octet from the client
        idle_timeout: Duration, "time", "5m";
        /// time for one command line
        command_timeout: Duration, "time", "5m";
        /// time from MAIL to the end of the data
        transaction_timeout: Duration, "time", "30m";
        /// what becomes of a message with a bare CR or LF: reject, keep or normalise
        bare_newlines: Text, "policy", "reject";
        /// time from the end of the data to the answer
        delivery_timeout: Duration, "time", "4m";
        /// time that a locked mailbox is tried again
        lock_wait: Duration, "time", "30s";
        /// time that deliveries in progress have at a shutdown
        drain_timeout: Duration, "time", "8s";
        /// memory for envelopes and messages, over all sessions
        memory_budget: Size, "size", "64M";
        /// what large messages may use of the disk while they are received
        max_spool: Size, "size", "1G";
        /// where they lie meanwhile
        spool_dir: Text, "dir", "the store's root";
        /// share of the store's disk and of its inodes that is to stay free
        min_free: Text, "percent", "2%";
        /// time for which a message that was stored is not stored again: 24h, or off
        suppress_duplicates: Duration, "time", "off";
        /// what separates user and detail in a local part; empty for nothing
        recipient_delimiter: Text, "char", "+";
        /// what becomes of the detail: off, ignore, folder or create
        detail: Text, "policy", "ignore";
        /// what an account may hold that has no quota of its own: 1G or 1G,10000 (messages)
        quota: Text, "quota", "none";
        /// what becomes of mail beyond it: defer or reject
        over_quota: Text, "policy", "defer";
        /// domain of names that have none: in the users file, and of postmaster
        default_domain: Text, "domain", "the only domain, else HOSTNAME";
        /// least uid of a user of the system who gets mail
        first_uid: Number, "uid", "1000";
        /// who gets the mail of a postmaster that has no mailbox
        postmaster: Text, "address", "postmaster@HOSTNAME";
        /// group of mbox files that root writes as their users, such as mail for /var/mail
        mail_group: Text, "group", "the user's own";
        /// permissions of Unix sockets
        socket_mode: Text, "mode", "0660";
        /// owner of Unix sockets
        socket_owner: Text, "user", "the process's";
        /// group of Unix sockets
        socket_group: Text, "group", "the process's";
        /// whom root becomes once the sockets are bound
        user: Text, "user", "stays";
        /// the group, where it is not that user's own
        group: Text, "group", "the user's";
        /// where the log goes: stderr, syslog or journal
        log: Text, "target", "stderr; syslog under inetd";
        /// least level that is logged: error, warn, info or debug
        log_level: Text, "level", "info";
    }
    switches {
        /// only postino init may write the marker of a store
        require_marker;
        /// several recipients' copies of a message are one file with several names
        single_instance;
    }
}
