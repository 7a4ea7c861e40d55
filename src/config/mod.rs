//! Settings: the flags, the config file, and what both together mean.
//!
//! Lives here: one table of all settings ([`flags`]), the file as it stands
//! ([`mod@file`], with its rules for filing), texts as values ([`values`], `parsing`),
//! and all of it checked ([`effective`] and `recipients`, by `reader`; where it comes
//! from is `sources`); the few settings that commands have ([`accounts`]).
//! May not: bind or change anything; a wrong setting is found before that.

pub mod accounts;
pub mod effective;
pub mod file;
mod filing;
pub mod flags;
mod parsing;
mod reader;
mod recipients;
mod sources;
pub mod values;

pub use effective::Effective;
pub use flags::{Given, Kind, SETTINGS, Setting};

use std::fmt;

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/postino/postino.toml";

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// One complaint.
    pub fn one(complaint: impl Into<String>) -> Self {
        Self(vec![complaint.into()])
    }

    /// The complaints, each with what is wrong, where, and what to do.
    pub fn complaints(&self) -> &[String] {
        &self.0
    }

    fn add(&mut self, complaint: String) {
        self.0.push(complaint);
    }

    /// `value`, unless there is a complaint.
    fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, complaint) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{complaint}; nothing was bound or changed")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Of `known` the word most like `word`, where one is like it at all.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Somebody who writes max_size means one of our names: count what has to be
    // changed to make it of the word, blanks and underscores being hyphens.
    let word = word.to_ascii_lowercase().replace(['_', ' '], "-");
    let scored = known.map(|name| {
        let parts_in_common = word.split('-').filter(|part| name.split('-').any(|p| p == *part));
        (distance(&word, name), usize::MAX - parts_in_common.count(), name)
    });
    let (changes, rank, name) = scored.min_by_key(|(changes, rank, _)| (*rank, *changes))?;
    let has_common_part = rank != usize::MAX;
    (has_common_part || changes <= word.len().max(3) / 3 + 1).then_some(name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, d) in b.iter().enumerate() {
            let change = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{SETTINGS, nearest};

    #[test]
    fn the_nearest_setting_is_the_one_that_was_meant() {
        let nearest = |word| nearest(word, SETTINGS.iter().map(|setting| setting.name));
        for (word, meant) in [
            ("max_size", "max-message-size"),
            ("lisen", "listen"),
            ("idle_timeout", "idle-timeout"),
            ("Hostname", "hostname"),
            ("worker", "workers"),
        ] {
            assert_eq!(nearest(word), Some(meant), "{word}");
        }
        assert_eq!(nearest("xyzzyxyzzy"), None);
    }
}
