//! What a rule says: a field, its value, a folder.
//!
//! Lives here: the values, checked when they are made.
//! May not: see a message.

use postino_store::{MailboxName, NameError};
use std::fmt;

/// Octets that a field's name in a rule may have.
pub const NAME_OCTETS_MAX: usize = 64;
/// Octets that a value in a rule may have.
pub const VALUE_OCTETS_MAX: usize = 256;

/// The name of a header field, compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(String);

impl FieldName {
    /// A name by RFC 5322 section 3.6.8; `Err` is what is wrong with it, as the end of
    /// a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_name = text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
        if text.is_empty() || text.len() > NAME_OCTETS_MAX || !is_name {
            return Err(format!(
                "is no name of a header field: 1 to {NAME_OCTETS_MAX} visible characters of ASCII, \
                 without the colon"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a field of this name is meant.
    pub(super) fn is(&self, name: &[u8]) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(name)
    }
}

/// What a field's value is to be: exactly this, or with a `*` at its end whatever
/// begins so. Compared without regard to the case of ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_prefix: bool,
}

impl Pattern {
    /// A pattern, without blanks around it; `Err` is what is wrong with it, as the
    /// end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_control = |c: char| c.is_control() && c != '\t';
        let trimmed = text.trim_matches([' ', '\t']);
        if trimmed.is_empty() {
            return Err("is empty; * alone stands for any value".to_owned());
        }
        if trimmed.len() > VALUE_OCTETS_MAX || trimmed.chars().any(is_control) {
            return Err(format!(
                "is no value of a header field: at most {VALUE_OCTETS_MAX} octets, none of them a \
                 control character"
            ));
        }
        let prefix = trimmed.strip_suffix('*');
        Ok(Self { text: prefix.unwrap_or(trimmed).to_owned(), is_prefix: prefix.is_some() })
    }

    /// Whether a value of these first octets, and more where it `is_longer`, is meant.
    pub(super) fn matches(&self, value: &[u8], is_longer: bool) -> bool {
        let text = self.text.as_bytes();
        if self.is_prefix {
            value.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
        } else {
            !is_longer && value.eq_ignore_ascii_case(text)
        }
    }
}

/// A folder's name that is one in every account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(String);

impl Folder {
    /// A folder that [`MailboxName::in_folder`] takes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        MailboxName::new("a")?.in_folder(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One rule: messages with such a field go into this folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which field.
    pub header: FieldName,
    /// What its value is.
    pub value: Pattern,
    /// Where the message goes.
    pub folder: Folder,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.value.is_prefix { "*" } else { "" };
        let value = format!("{}{star}", self.value.text);
        write!(f, "header = {:?}, value = {value:?}, folder = {:?}", self.header.0, self.folder.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldName, Folder, NAME_OCTETS_MAX, Pattern, VALUE_OCTETS_MAX};

    #[test]
    fn what_can_be_no_rule_is_refused() {
        let (long_name, long_value) =
            ("x".repeat(NAME_OCTETS_MAX + 1), "x".repeat(VALUE_OCTETS_MAX + 1));
        for name in ["", "X-Spam:", "X Spam", "X\u{fc}", &long_name] {
            assert!(FieldName::parse(name).is_err(), "{name}");
        }
        for value in ["", " ", "a\nb", &long_value] {
            assert!(Pattern::parse(value).is_err(), "{value}");
        }
        for folder in ["", "..", "a//b", ".x", "a\0"] {
            assert!(Folder::parse(folder).is_err(), "{folder}");
        }
    }
}
