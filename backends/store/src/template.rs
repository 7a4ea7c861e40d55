//! Path templates: where a mailbox lies below a store's root.
//!
//! Lives here: `%u` (mailbox name), `%n` (local part), `%d` (domain), `%%`,
//! expanded once, so that nothing in an address is ever a template.
//! May not: touch a file.

use crate::MailboxName;
use std::{fmt, path::PathBuf};

/// The most octets a path component can have on the file systems we know.
const COMPONENT_OCTETS_MAX: usize = 255;

/// A path with variables: a root without any, and components below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    root: PathBuf,
    components: Vec<Vec<Piece>>,
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
    /// The expansion of a component is empty or longer than 255 octets, or
    /// begins with a dot.
    Component(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::Unknown(variable) => {
                write!(f, "unknown variable {variable:?}; there are %u, %n, %d and %%")
            }
            Self::DotComponent => f.write_str("\".\" and \"..\" may not stand behind a variable"),
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
        for component in text.split('/').filter(|component| !component.is_empty()) {
            let pieces = pieces(component)?;
            match (&pieces[..], components.is_empty()) {
                ([Piece::Text(text)], true) => root.push(text),
                ([Piece::Text(text)], false) if text == "." || text == ".." => {
                    return Err(TemplateError::DotComponent);
                }
                _ => components.push(pieces),
            }
        }
        if components.is_empty() {
            components.push(vec![Piece::Name]);
        }
        if root.as_os_str().is_empty() {
            root.push(".");
        }
        Ok(Self { root, components })
    }

    /// The path before the first component with a variable: the store's root.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// How many components lie below the root.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// Whether the domain is part of the path (`%u` or `%d`).
    pub fn tells_domains_apart(&self) -> bool {
        self.components.iter().flatten().any(|piece| matches!(piece, Piece::Name | Piece::Domain))
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
                        Piece::Name => mailbox.as_str(),
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

/// The text that [`PathTemplate::parse`] reads as this template.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.to_string_lossy().replace('%', "%%");
        f.write_str(&root)?;
        if self.components == [[Piece::Name]] {
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
    use super::PathTemplate;

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
