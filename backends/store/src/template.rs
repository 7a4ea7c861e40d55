//! Path templates: where a mailbox lies below a store's root.
//!
//! Lives here: `%u` (mailbox name), `%n` (local part), `%d` (domain), `%%`,
//! expanded once, so that nothing in an address is ever a template; `%h` in front,
//! for the user's home in place of a root.
//! May not: touch a file.

use crate::MailboxName;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The most octets a path component can have on the file systems we know.
const COMPONENT_OCTETS_MAX: usize = 255;

/// The user's home, in front of a path.
const HOME: &str = "%h";

/// A path with variables: a root without any, or the user's home, and components
/// below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    root: PathBuf,
    components: Vec<Vec<Piece>>,
    /// The one account whose path it is.
    account: Option<Account>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    name: MailboxName,
    /// Whether the root is the user's home.
    is_in_home: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    LocalPart,
    Domain,
}

/// What is wrong with a template, or with a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// No path at all.
    Empty,
    /// A percent sign before something that is no variable.
    Unknown(String),
    /// A variable stands before `..` or `.`.
    DotComponent,
    /// `%h` stands where it cannot.
    Home,
    /// The expansion of a component is empty or longer than 255 octets, or
    /// begins with a dot.
    Component(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::Unknown(variable) => {
                write!(f, "unknown variable {variable:?}; there are %u, %n, %d, %h and %%")
            }
            Self::DotComponent => f.write_str("\".\" and \"..\" may not stand behind a variable"),
            Self::Home => f.write_str(
                "%h is the whole beginning of a path that goes on behind it, such as %h/Maildir",
            ),
            Self::Component(component) => write!(
                f,
                "{component:?} can be no file name: empty, longer than {COMPONENT_OCTETS_MAX} octets, or a dot in front"
            ),
        }
    }
}

impl std::error::Error for TemplateError {}

impl PathTemplate {
    /// Reads a template. One without a variable means `PATH/%u`.
    ///
    /// ```
    /// use postino_store::{MailboxName, PathTemplate};
    /// let template = PathTemplate::parse("/var/vmail/%d/%n/Maildir").unwrap();
    /// assert_eq!(template.root().to_str(), Some("/var/vmail"));
    /// let alice = MailboxName::new("alice@example.org").unwrap();
    /// assert_eq!(template.expand(&alice).unwrap(), ["example.org", "alice", "Maildir"]);
    /// ```
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut root = PathBuf::new();
        let mut components = Vec::new();
        if text.starts_with('/') {
            root.push("/");
        }
        let (in_home, text) = match text.strip_prefix(HOME) {
            Some(rest) if rest.starts_with('/') => (true, rest),
            _ => (false, text),
        };
        for component in text.split('/').filter(|component| !component.is_empty()) {
            let pieces = pieces(component)?;
            match (&pieces[..], components.is_empty() && !in_home) {
                ([Piece::Text(text)], true) => root.push(text),
                ([Piece::Text(text)], false) if text == "." || text == ".." => {
                    return Err(TemplateError::DotComponent);
                }
                _ => components.push(pieces),
            }
        }
        match (components.is_empty(), in_home) {
            (true, true) => return Err(TemplateError::Home),
            (true, false) => components.push(vec![Piece::Name]),
            (false, _) => {}
        }
        if root.as_os_str().is_empty() && !in_home {
            root.push(".");
        }
        Ok(Self { root, components, account: None })
    }

    /// The template of one place, as it stands: every mailbox lies there. None where the
    /// path has no last component.
    pub fn of_place(path: &std::path::Path) -> Option<Self> {
        let (root, name) = (path.parent()?, path.file_name()?.to_str()?);
        Some(Self {
            root: root.to_owned(),
            components: vec![vec![Piece::Text(name.to_owned())]],
            account: None,
        })
    }

    /// Whether mailboxes lie below their users' [homes](crate::Mailbox::home) (`%h`).
    ///
    /// ```
    /// use postino_store::PathTemplate;
    /// assert!(PathTemplate::parse("%h/Maildir").unwrap().is_in_homes());
    /// assert!(PathTemplate::parse("/home/%h").is_err());
    /// ```
    pub fn is_in_homes(&self) -> bool {
        self.root.as_os_str().is_empty() && self.account.is_none()
    }

    /// The template of one account alone, without variables: below the root, or below
    /// this home where mailboxes lie in homes.
    ///
    /// ```
    /// use postino_store::{MailboxName, PathTemplate};
    /// use std::path::{Path, PathBuf};
    /// let template = PathTemplate::parse("%h/mail/%n").unwrap();
    /// let alice = MailboxName::new("alice@example.org").unwrap();
    /// let of_alice = template.of_account(Path::new("/home/alice"), &alice).unwrap();
    /// assert_eq!(of_alice.root(), Path::new("/home/alice"));
    /// assert_eq!(of_alice.only(), Some(PathBuf::from("mail/alice")));
    /// assert_eq!(of_alice.mailbox(&["mail", "alice"]), Some(alice));
    /// assert_eq!(of_alice.mailbox(&["mail", "bob"]), None);
    /// ```
    pub fn of_account(&self, home: &Path, account: &MailboxName) -> Result<Self, TemplateError> {
        let components = self.expand(account)?.into_iter().map(|text| vec![Piece::Text(text)]);
        let is_in_home = self.is_in_homes();
        Ok(Self {
            root: if is_in_home { home.to_owned() } else { self.root.clone() },
            components: components.collect(),
            account: Some(Account { name: account.inbox(), is_in_home }),
        })
    }

    /// The only path at which a mailbox lies, if it is [one account's](PathTemplate::of_account).
    pub fn only(&self) -> Option<PathBuf> {
        let Account { name, .. } = self.account.as_ref()?;
        Some(self.expand(name).ok()?.iter().collect())
    }

    /// Whether the root is the home of the [one account](PathTemplate::of_account).
    pub fn is_of_a_home(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.is_in_home)
    }

    /// The path before the first component with a variable: the store's root; empty
    /// where there is none, [in homes](PathTemplate::is_in_homes).
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many components lie below the root, or the home.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// Whether the domain is part of the path (`%u` or `%d`), or the user himself is.
    pub fn tells_domains_apart(&self) -> bool {
        self.is_in_homes()
            || self
                .components
                .iter()
                .flatten()
                .any(|piece| matches!(piece, Piece::Name | Piece::Domain))
    }

    /// The components of this mailbox's path below the root.
    pub fn expand(&self, mailbox: &MailboxName) -> Result<Vec<String>, TemplateError> {
        self.components
            .iter()
            .map(|pieces| {
                let text: String = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text,
                        Piece::Name => mailbox.account(),
                        Piece::LocalPart => mailbox.local_part(),
                        Piece::Domain => mailbox.domain().unwrap_or_default(),
                    })
                    .collect();
                // A dot that the template itself has in front is its author's wish.
                let hidden = text.starts_with('.')
                    && !matches!(&pieces[0], Piece::Text(own) if own.starts_with('.'));
                if text.is_empty()
                    || text.len() > COMPONENT_OCTETS_MAX
                    || hidden
                    || text == "."
                    || text == ".."
                {
                    return Err(TemplateError::Component(text));
                }
                Ok(text)
            })
            .collect()
    }
}

impl PathTemplate {
    /// The mailbox that lies at these components below the root; none where no
    /// mailbox does. Where several would, it is one of them.
    ///
    /// ```
    /// use postino_store::PathTemplate;
    /// let template = PathTemplate::parse("/var/vmail/%d/%n").unwrap();
    /// let mailbox = template.mailbox(&["example.org", "alice"]).unwrap();
    /// assert_eq!(mailbox.as_str(), "alice@example.org");
    /// assert_eq!(template.mailbox(&["example.org", ".hidden"]), None);
    /// ```
    pub fn mailbox(&self, components: &[&str]) -> Option<MailboxName> {
        if components.len() != self.components.len() {
            return None;
        }
        if let Some(Account { name, .. }) = &self.account {
            return self.expand(name).is_ok_and(|own| own == components).then(|| name.clone());
        }
        let mut found = vec![Bound::default()];
        for (pieces, component) in self.components.iter().zip(components) {
            found = found.iter().flat_map(|bound| bound.read(pieces, component)).collect();
        }
        found
            .into_iter()
            .filter_map(|bound| MailboxName::new(bound.name()?).ok())
            .find(|name| self.expand(name).is_ok_and(|expanded| expanded == components))
    }
}

/// What a path says of the mailbox that lies there.
#[derive(Clone, Copy, Default)]
struct Bound<'a> {
    name: Option<&'a str>,
    local_part: Option<&'a str>,
    domain: Option<&'a str>,
}

impl<'a> Bound<'a> {
    /// Each way in which `text` can have been made of these pieces.
    fn read(self, pieces: &[Piece], text: &'a str) -> Vec<Self> {
        let Some((piece, rest)) = pieces.split_first() else {
            return if text.is_empty() { vec![self] } else { Vec::new() };
        };
        if let Piece::Text(own) = piece {
            return text.strip_prefix(&own[..]).map_or_else(Vec::new, |text| self.read(rest, text));
        }
        // A variable that ends the component takes all that is left.
        let ends = match rest {
            [] => text.len()..=text.len(),
            _ => 0..=text.len(),
        };
        ends.filter_map(|end| text.split_at_checked(end))
            .filter_map(|(value, text)| Some((self.with(piece, value)?, text)))
            .flat_map(|(bound, text)| bound.read(rest, text))
            .collect()
    }

    /// None where the variable has another value already.
    fn with(mut self, piece: &Piece, value: &'a str) -> Option<Self> {
        let variable = match piece {
            Piece::Name => &mut self.name,
            Piece::LocalPart => &mut self.local_part,
            Piece::Domain => &mut self.domain,
            Piece::Text(_) => return None,
        };
        match *variable {
            Some(other) if other != value => None,
            _ => {
                *variable = Some(value);
                Some(self)
            }
        }
    }

    fn name(self) -> Option<String> {
        match (self.name, self.local_part, self.domain) {
            (Some(name), _, _) => Some(name.to_owned()),
            (None, Some(local_part), Some(domain)) => Some(format!("{local_part}@{domain}")),
            (None, Some(local_part), None) => Some(local_part.to_owned()),
            (None, None, _) => None,
        }
    }
}

/// The text that [`PathTemplate::parse`] reads as this template.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_homes = self.is_in_homes();
        let root = self.root.to_string_lossy().replace('%', "%%");
        f.write_str(if in_homes { HOME } else { &root })?;
        if self.components == [[Piece::Name]] && !in_homes {
            return Ok(());
        }
        for (at, component) in self.components.iter().enumerate() {
            if at > 0 || !root.ends_with('/') {
                f.write_str("/")?;
            }
            for piece in component {
                match piece {
                    Piece::Text(text) => f.write_str(&text.replace('%', "%%"))?,
                    Piece::Name => f.write_str("%u")?,
                    Piece::LocalPart => f.write_str("%n")?,
                    Piece::Domain => f.write_str("%d")?,
                }
            }
        }
        Ok(())
    }
}

fn pieces(component: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut characters = component.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let variable = match characters.next() {
            Some('%') => {
                text.push('%');
                continue;
            }
            Some('u') => Piece::Name,
            Some('n') => Piece::LocalPart,
            Some('d') => Piece::Domain,
            Some('h') => return Err(TemplateError::Home),
            other => {
                return Err(TemplateError::Unknown(std::iter::once('%').chain(other).collect()));
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(variable);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::{PathTemplate, TemplateError};
    use crate::MailboxName;

    #[test]
    fn the_mailbox_of_a_path_is_the_one_that_lies_there() {
        let table = [
            ("/v", "alice@example.org", "alice@example.org"),
            ("/v/%d/%n/Maildir", "alice@example.org", "alice@example.org"),
            ("/v/%n", "alice@example.org", "alice"),
            ("/v/%n.d/%u", "a.b@c.d", "a.b@c.d"),
            ("/v/%d-%n", "a-b@c-d.e", ""), // one of several
            ("/v/x%%%u", "a@b@c", "a@b@c"),
        ];
        for (text, name, found) in table {
            let template = PathTemplate::parse(text).unwrap();
            let expanded = template.expand(&MailboxName::new(name).unwrap()).unwrap();
            let components: Vec<&str> = expanded.iter().map(String::as_str).collect();
            let mailbox = template.mailbox(&components).unwrap();
            assert_eq!(template.expand(&mailbox).unwrap(), expanded, "{text}");
            assert!(found.is_empty() || mailbox.as_str() == found, "{text}: {mailbox}");
        }
        let template = PathTemplate::parse("/v/%d/%n/Maildir").unwrap();
        for components in [
            &["example.org", "alice", "mail"][..],
            &["example.org", "alice"],
            &["example.org", "..", "Maildir"],
            &["", "alice", "Maildir"],
            &["example.org", "al/ice", "Maildir"],
        ] {
            assert_eq!(template.mailbox(components), None, "{components:?}");
        }
    }

    #[test]
    fn a_home_is_the_whole_beginning_of_a_path() {
        let alice = MailboxName::new("alice@example.org").unwrap();
        for (text, expected) in [
            ("%h/Maildir", &["Maildir"][..]),
            ("%h//mail/%n/", &["mail", "alice"]),
            ("%h/%u", &["alice@example.org"]),
            ("%h/.mail", &[".mail"]),
        ] {
            let template = PathTemplate::parse(text).unwrap();
            assert!(template.is_in_homes() && template.tells_domains_apart(), "{text}");
            assert_eq!(template.expand(&alice).unwrap(), expected, "{text}");
            assert_eq!(PathTemplate::parse(&template.to_string()).unwrap(), template, "{text}");
        }
        for text in ["%h", "%h/", "/%h/x", "/home/%h", "x%h/y", "%hx/y", "%h/%h", "%u/%h"] {
            assert_eq!(PathTemplate::parse(text), Err(TemplateError::Home), "{text}");
        }
        assert_eq!(PathTemplate::parse("%h/../x"), Err(TemplateError::DotComponent));
        assert!(!PathTemplate::parse("%%h/x").unwrap().is_in_homes());
    }

    #[test]
    fn a_template_is_printed_as_the_text_that_it_is_read_from() {
        for text in ["/var/vmail", "./mail", "/%d/%n/Maildir", "/a%%b/%u.d/x%%", "/"] {
            let template = PathTemplate::parse(text).unwrap();
            assert_eq!(PathTemplate::parse(&template.to_string()).unwrap(), template, "{text}");
        }
        let printed = PathTemplate::parse("/var/vmail/%u").unwrap().to_string();
        assert_eq!(printed, "/var/vmail");
    }
}
