//! The config file as it stands.
//!
//! Lives here: reading the TOML file into texts, with the place of each.
//! May not: judge a value beyond its type.
//! Holds: every complaint names file, line, column and key, and all complaints
//! of a file are told at once.

use super::{ConfigError, Given, Kind, SETTINGS, filing, flags::Value, nearest};
use crate::transaction::Filing;
use std::{collections::BTreeMap, fs::File, io::Read, ops::Range};
use toml::de::{DeTable, DeValue};

const LIST: &str = "a string or an array of strings, one at least";
/// The largest file that is read.
const OCTETS_MAX: u64 = 1024 * 1024;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The settings that are flags too.
    pub given: Given,
    /// What only a file can say: which folders messages go into by their header.
    pub filing: Filing,
}

/// Reads the file.
pub fn read(path: &str) -> Result<Contents, ConfigError> {
    let cannot = |cause: String| ConfigError::one(format!("{path}: cannot read it: {cause}"));
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(OCTETS_MAX + 1).read_to_string(&mut text))
        .map_err(|error| cannot(error.to_string()))?;
    if read as u64 > OCTETS_MAX {
        return Err(cannot(format!("it has more than the {OCTETS_MAX} octets that are read")));
    }
    parse(path, &text)
}

/// Reads the text of a file that is called `path`.
pub fn parse(path: &str, text: &str) -> Result<Contents, ConfigError> {
    let Contents { mut given, mut filing } = Contents::default();
    let mut errors = ConfigError::default();
    let place = |span: Range<usize>| format!("{path}:{}", line_and_column(text, span.start));
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let place = error.span().map_or_else(|| path.to_owned(), place);
        errors.add(format!("{place}: {}", error.message()));
    }
    if !syntax.is_empty() {
        return Err(errors);
    }
    // In the file's order, for the complaints.
    let mut entries = BTreeMap::new();
    for (key, value) in table.get_ref() {
        entries.insert(key.span().start, (key, value));
    }
    for (key, value) in entries.into_values() {
        if key.get_ref().as_ref() == filing::NAME {
            filing = filing::read(key, value.get_ref(), place, &mut errors);
            continue;
        }
        let place = place(key.span());
        let name = key.get_ref().as_ref();
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let near = nearest(name, keys());
            let near = near.map(|near| format!(", nearest {near:?}")).unwrap_or_default();
            errors.add(format!("{place}: unknown key {name:?}{near}"));
            continue;
        };
        match texts(setting.kind, value.get_ref()) {
            Ok(texts) => {
                for text in texts {
                    given.add(setting.name, Value { text, origin: format!("{place}: {name}") });
                }
            }
            Err(expected) => {
                let found = value.get_ref().type_str();
                errors.add(format!("{place}: {name} must be {expected}, not a TOML {found}"));
            }
        }
    }
    errors.or(Some(Contents { given, filing }))
}

/// All keys that there are at a file's top.
fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).chain([filing::NAME])
}

/// The value's texts; `Err` says what it should have been.
fn texts(kind: Kind, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    match (kind, value) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string()]),
        (Kind::Text | Kind::List | Kind::Duration | Kind::Size, DeValue::String(text)) => {
            Ok(vec![text.to_string()])
        }
        (Kind::Number | Kind::Duration | Kind::Size, DeValue::Integer(number))
            if number.radix() == 10 =>
        {
            Ok(vec![number.as_str().to_owned()])
        }
        (Kind::List, DeValue::Array(array)) if !array.is_empty() => array
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(LIST),
            })
            .collect(),
        (Kind::Switch, _) => Err("true or false"),
        (Kind::Text, _) => Err("a string"),
        (Kind::List, _) => Err(LIST),
        (Kind::Number, _) => Err("a whole number"),
        (Kind::Duration, _) => Err("a string such as \"5m\", or a number of seconds"),
        (Kind::Size, _) => Err("a string such as \"128M\", or a number of octets"),
    }
}

/// `LINE:COLUMN` of an octet, both from 1, columns in characters.
fn line_and_column(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}")
}
