//! The stores that there are: from a URL's scheme to a backend.
//!
//! Lives here: the one place that names the backends, each behind the cargo
//! feature of its name, the way for a program to add its own, and the reading of
//! `SCHEME:PATH?option=value`.
//! May not: touch the disk; [`MailStore::open`] does, under the right identity.

mod by_account;
mod look_ups;

use by_account::ByAccount;
use postino_store::{MailStore, TemplateError};
use std::{fmt, path::PathBuf, sync::Arc};

/// What every store is told, whatever its URL says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's name, for names of messages that must differ between hosts.
    pub hostname: String,
    /// Whether a store without a marker is taken for one that is not mounted.
    pub require_marker: bool,
    /// Whether mailboxes of the same local part in several domains are to be
    /// told apart.
    pub several_domains: bool,
    /// Whether mailboxes that are one file each are for their group to read and write
    /// where the URL does not say otherwise.
    pub shared_with_group: bool,
    /// Where the URL is an account's own place, whose path stands as it is, without
    /// variables: the directory above it from which on no symbolic link is followed.
    pub base: Option<PathBuf>,
}

/// A store of its URL.
pub struct Built {
    /// The store.
    pub store: Arc<dyn MailStore>,
    /// A directory on its file system where messages may wait to be stored;
    /// none where its mailboxes have no file system in common.
    pub directory: Option<PathBuf>,
}

/// What is wrong with a store URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrlError {
    /// There is no `SCHEME:` in front.
    NoScheme {
        /// What was given.
        url: String,
        /// The schemes that there are.
        known: String,
    },
    /// There is no store of this scheme.
    UnknownScheme {
        /// What was given.
        scheme: String,
        /// The schemes that there are.
        known: String,
    },
    /// The path's template.
    Path(TemplateError),
    /// The path of a store that is one file has a variable in it.
    OneFile {
        /// The store's scheme.
        scheme: &'static str,
    },
    /// The path does not tell several domains apart.
    DomainsMixed,
    /// The store has no such option.
    UnknownOption {
        /// The store's scheme.
        scheme: &'static str,
        /// What was given.
        option: String,
        /// The options that it has.
        known: &'static [&'static str],
    },
    /// An option twice.
    RepeatedOption(&'static str),
    /// An option's value.
    BadValue {
        /// Which option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl fmt::Display for StoreUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme { url, known } => {
                write!(f, "store {url:?} is not of the form SCHEME:PATH; there is: {known}")
            }
            Self::UnknownScheme { scheme, known } => {
                write!(f, "unknown kind of store {scheme:?}; there is: {known}")
            }
            Self::Path(error) => write!(f, "the store's path: {error}"),
            Self::OneFile { scheme } => {
                write!(f, "a store of kind {scheme} is one file: its path takes no %")
            }
            Self::DomainsMixed => f.write_str(
                "the store's path has neither %u nor %d in it, but several domains are served: \
                 alice@ of each would share a mailbox",
            ),
            Self::UnknownOption { scheme, option, known: [] } => {
                write!(f, "a store of kind {scheme} has no option {option:?}; it has none")
            }
            Self::UnknownOption { scheme, option, known } => write!(
                f,
                "a store of kind {scheme} has no option {option:?}; it has: {}",
                known.join(", ")
            ),
            Self::RepeatedOption(option) => write!(f, "the store's option {option} stands twice"),
            Self::BadValue { option, value, expected } => {
                write!(f, "the store's option {option} cannot be {value:?}; it is {expected}")
            }
        }
    }
}

impl std::error::Error for StoreUrlError {}

impl From<TemplateError> for StoreUrlError {
    fn from(error: TemplateError) -> Self {
        Self::Path(error)
    }
}

/// Makes the store of a URL whose scheme was recognized; touches no disk yet.
pub type Open = fn(&Url<'_>, &Options) -> Result<Built, StoreUrlError>;

/// The stores by their URLs' schemes: those that are built in, and what a
/// program [adds](crate::main_with).
#[derive(Clone, Debug)]
pub struct Stores(Vec<(&'static str, Open)>);

impl Stores {
    /// Those that are built in.
    pub fn built_in() -> Self {
        Self(vec![
            #[cfg(feature = "maildir")]
            ("maildir", maildir),
            #[cfg(feature = "mbox")]
            ("mbox", mbox),
            #[cfg(feature = "sqlite")]
            ("sqlite", sqlite),
        ])
    }

    /// These, and those of one scheme more, which goes before one of the same
    /// name.
    #[must_use]
    pub fn with(mut self, scheme: &'static str, open: Open) -> Self {
        self.0.insert(0, (scheme, open));
        self
    }

    /// The store of this URL; touches no disk yet.
    ///
    /// ```
    /// # #[cfg(feature = "maildir")] {
    /// use postino::stores::{Options, Stores};
    /// let options = Options {
    ///     hostname: "mx.example.org".to_owned(),
    ///     require_marker: false,
    ///     several_domains: true,
    ///     shared_with_group: false,
    ///     base: None,
    /// };
    /// let stores = Stores::built_in();
    /// assert!(stores.open("maildir:/var/vmail/%d/%n?mode=0660", &options).is_ok());
    /// assert!(stores.open("/var/vmail", &options).is_err());
    /// # }
    /// ```
    pub fn open(&self, url: &str, options: &Options) -> Result<Built, StoreUrlError> {
        let (scheme, rest) = url
            .split_once(':')
            .ok_or_else(|| StoreUrlError::NoScheme { url: url.to_owned(), known: self.list() })?;
        let (_, open) = self.0.iter().find(|(name, _)| *name == scheme).ok_or_else(|| {
            StoreUrlError::UnknownScheme { scheme: scheme.to_owned(), known: self.list() }
        })?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        open(&Url { path, query }, options)
    }

    /// This store, and beside it those of accounts that have one of their
    /// [own](postino_store::Mailbox::location).
    #[must_use]
    pub fn by_account(&self, usual: Arc<dyn MailStore>, options: &Options) -> Arc<dyn MailStore> {
        let options = Options { require_marker: false, several_domains: false, ..options.clone() };
        Arc::new(ByAccount::new(usual, self.clone(), options))
    }

    /// How many of the descriptors that the system allows the stores of [accounts
    /// together](Self::by_account) use at the most, beside what is under way.
    pub(crate) fn descriptors_of_accounts(allowed: u64) -> u64 {
        by_account::descriptors(allowed)
    }

    fn list(&self) -> String {
        let schemes: Vec<&str> = self.0.iter().map(|(scheme, _)| *scheme).collect();
        if schemes.is_empty() { "none".to_owned() } else { schemes.join(", ") }
    }
}

/// Whether a store that was opened has its mailboxes in their users' homes.
pub fn is_in_homes(url: &str) -> bool {
    url.split_once(':').is_some_and(|(_, path)| path.starts_with("%h/"))
}

/// What stands behind the scheme.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    /// The path, as it stands there.
    pub path: &'a str,
    /// `option=value`, several with `&` between them.
    query: &'a str,
}

#[cfg(feature = "maildir")]
fn maildir(url: &Url<'_>, options: &Options) -> Result<Built, StoreUrlError> {
    let [mode] = url.options("maildir", &[MODE])?;
    let mut maildir_options = postino_maildir::Options {
        hostname: options.hostname.clone(),
        require_marker: options.require_marker,
        base: options.base.clone(),
        ..postino_maildir::Options::default()
    };
    if let Some(mode) = mode {
        maildir_options.file_mode = file_mode(mode)?;
    }
    let template = url.template(options)?;
    let files = Arc::new(postino_files::Kernel::new());
    let directory = directory(&template);
    let store = Arc::new(postino_maildir::Maildir::new(template, maildir_options, files));
    Ok(Built { store, directory })
}

#[cfg(feature = "mbox")]
fn mbox(url: &Url<'_>, options: &Options) -> Result<Built, StoreUrlError> {
    const FORMAT: &str = "format";
    const LOCK: &str = "lock";
    let bad = |option, value: &str, expected| {
        let value = value.to_owned();
        StoreUrlError::BadValue { option, value, expected }
    };
    let [mode, format, lock] = url.options("mbox", &[MODE, FORMAT, LOCK])?;
    let mut mbox_options = postino_mbox::Options {
        require_marker: options.require_marker,
        base: options.base.clone(),
        ..postino_mbox::Options::default()
    };
    if options.shared_with_group {
        mbox_options.file_mode = 0o660;
    }
    if let Some(mode) = mode {
        mbox_options.file_mode = file_mode(mode)?;
    }
    match format {
        None | Some("mboxrd") => {}
        Some("mboxo") => mbox_options.format = postino_mbox::Format::Mboxo,
        Some(other) => return Err(bad(FORMAT, other, "mboxrd or mboxo")),
    }
    if let Some(lock) = lock {
        mbox_options.locks = postino_mbox::LockKind::list(lock).ok_or_else(|| {
            bad(LOCK, lock, "some of fcntl, dotlock and flock, with commas between them")
        })?;
    }
    let template = url.template(options)?;
    let files = Arc::new(postino_files::Kernel::new());
    let directory = directory(&template);
    let store = Arc::new(postino_mbox::Mbox::new(template, mbox_options, files));
    Ok(Built { store, directory })
}

/// Where messages may wait; none where mailboxes lie in their users' homes.
#[cfg(any(feature = "maildir", feature = "mbox"))]
fn directory(template: &postino_store::PathTemplate) -> Option<PathBuf> {
    (!template.is_in_homes()).then(|| template.root().to_owned())
}

/// The option of every store of files.
#[cfg(any(feature = "maildir", feature = "mbox"))]
const MODE: &str = "mode";

#[cfg(feature = "sqlite")]
fn sqlite(url: &Url<'_>, options: &Options) -> Result<Built, StoreUrlError> {
    let scheme = "sqlite";
    let [] = url.options(scheme, &[])?;
    if url.path.is_empty() {
        return Err(TemplateError::Empty.into());
    }
    if url.path.contains('%') {
        return Err(StoreUrlError::OneFile { scheme });
    }
    let sqlite_options = postino_sqlite::Options { require_marker: options.require_marker };
    let (path, files) = (url.path.into(), Arc::new(postino_files::Kernel::new()));
    let store = match &options.base {
        Some(base) => postino_sqlite::Sqlite::of_account(path, base.clone(), files),
        None => postino_sqlite::Sqlite::new(path, sqlite_options, files),
    };
    let directory = Some(store.directory().to_owned());
    Ok(Built { store: Arc::new(store), directory })
}

impl<'a> Url<'a> {
    /// The path, which is to tell domains apart where there are several; an account's
    /// own as it stands.
    pub fn template(
        &self,
        options: &Options,
    ) -> Result<postino_store::PathTemplate, StoreUrlError> {
        if options.base.is_some() {
            let template = postino_store::PathTemplate::of_place(self.path.as_ref());
            return Ok(template.ok_or(TemplateError::Empty)?);
        }
        let template = postino_store::PathTemplate::parse(self.path)?;
        if options.several_domains && !template.tells_domains_apart() {
            return Err(StoreUrlError::DomainsMixed);
        }
        Ok(template)
    }

    /// The values of a store's options, in the order of `known`; `scheme` is for
    /// complaints.
    pub fn options<const N: usize>(
        &self,
        scheme: &'static str,
        known: &'static [&'static str; N],
    ) -> Result<[Option<&'a str>; N], StoreUrlError> {
        let mut values = [None; N];
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some((name, slot)) =
                known.iter().zip(&mut values).find(|(name, _)| **name == option)
            else {
                let option = option.to_owned();
                return Err(StoreUrlError::UnknownOption { scheme, option, known });
            };
            if slot.replace(value).is_some() {
                return Err(StoreUrlError::RepeatedOption(name));
            }
        }
        Ok(values)
    }
}

/// An octal mode in which the owner reads and writes, and nobody executes.
#[cfg(any(feature = "maildir", feature = "mbox"))]
fn file_mode(text: &str) -> Result<u32, StoreUrlError> {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| is_number && mode & 0o600 == 0o600 && mode & !0o666 == 0)
        .ok_or_else(|| StoreUrlError::BadValue {
            option: MODE,
            value: text.to_owned(),
            expected: "an octal file mode with read and write for the owner, such as 0660",
        })
}

#[cfg(all(test, feature = "maildir", feature = "mbox"))]
mod tests {
    use super::{Options, StoreUrlError, Stores};

    fn error(url: &str) -> Option<StoreUrlError> {
        let options = Options {
            hostname: "mx.example.org".to_owned(),
            require_marker: false,
            several_domains: false,
            shared_with_group: false,
            base: None,
        };
        Stores::built_in().open(url, &options).err()
    }

    #[test]
    fn a_store_url_is_scheme_path_and_options() {
        for url in [
            "maildir:./mail",
            "maildir:/v/%d/%n",
            "maildir:/v?mode=0660",
            "maildir:/v?",
            "mbox:/v",
            "mbox:/v/%d/%n?mode=0660&format=mboxo&lock=dotlock,fcntl",
            "mbox:/v?format=mboxrd&lock=flock",
            "maildir:%h/Maildir?mode=0660",
            "mbox:%h/mail/inbox",
        ] {
            assert_eq!(error(url), None, "{url}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_store_that_is_one_file_takes_its_path_as_it_is() {
        assert_eq!(error("sqlite:/var/lib/postino/mail.db"), None);
        for (url, expected) in [
            ("sqlite:", "path is empty"),
            ("sqlite:/v/%u.db", "is one file: its path takes no %"),
            ("sqlite:%h/mail.db", "is one file: its path takes no %"),
            ("sqlite:/v/mail.db?mode=0660", "has no option \"mode\"; it has none"),
        ] {
            let text = error(url).map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(expected), "{url}: {text}");
        }
    }

    #[test]
    fn an_error_in_a_store_url_names_what_is_there_instead() {
        let table = [
            ("/var/vmail", "there is: maildir, mbox, sqlite"),
            ("pop3:/var/vmail", "unknown kind of store \"pop3\"; there is: maildir, mbox, sqlite"),
            ("maildir:", "path is empty"),
            ("maildir:/v/%x", "\"%x\""),
            ("maildir:%h", "such as %h/Maildir"),
            ("mbox:/home/%h/mail", "such as %h/Maildir"),
            ("maildir:/v?mod=1", "no option \"mod\"; it has: mode"),
            ("maildir:/v?mode=0660&mode=0600", "twice"),
            ("maildir:/v?mode", "cannot be \"\""),
            ("maildir:/v?mode=0777", "octal"),
            ("maildir:/v?mode=0400", "octal"),
            ("maildir:/v?mode=+660", "octal"),
            ("mbox:/v?mode=0400", "octal"),
            ("mbox:/v?format=mmdf", "cannot be \"mmdf\"; it is mboxrd or mboxo"),
            ("mbox:/v?lock=fcntl,lockf", "it is some of fcntl, dotlock and flock"),
            ("mbox:/v?lock=", "cannot be \"\""),
            ("mbox:/v?colour=red", "it has: mode, format, lock"),
        ];
        for (url, expected) in table {
            let text = error(url).map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains(expected), "{url}: {text}");
        }
    }
}
