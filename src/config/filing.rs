//! The `[[file]]` tables of the config file: filing by header.
//!
//! Lives here: from a table to a rule.
//! May not: know a file's path; whoever calls says where a place is.

use super::{ConfigError, nearest};
use crate::transaction::filing::{FieldName, Filing, Folder, Pattern, RULES_MAX, Rule};
use std::{collections::BTreeMap, fmt::Display, ops::Range};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// The tables' name.
pub(super) const NAME: &str = "file";

const KEYS: [&str; 3] = ["header", "value", "folder"];
const FORM: &str = "[[file]] tables, each with header, value and folder";

/// Reads the tables; `place` gives the place of a span, as complaints begin.
pub(super) fn read(
    key: &Spanned<DeString<'_>>,
    value: &DeValue<'_>,
    place: impl Fn(Range<usize>) -> String,
    errors: &mut ConfigError,
) -> Filing {
    let DeValue::Array(tables) = value else {
        let (place, found) = (place(key.span()), value.type_str());
        errors.add(format!("{place}: {NAME} must be {FORM}, not a TOML {found}"));
        return Filing::default();
    };
    if let Some(beyond) = tables.get(RULES_MAX) {
        let place = place(beyond.span());
        errors.add(format!("{place}: {NAME}: there are more than the {RULES_MAX} that may be"));
    }
    let mut rules = Vec::new();
    for table in tables.iter().take(RULES_MAX) {
        let at = place(table.span());
        match table.get_ref() {
            DeValue::Table(entries) => rules.extend(rule(entries, &at, &place, errors)),
            other => {
                let found = other.type_str();
                errors.add(format!("{at}: {NAME} must be {FORM}, not a TOML {found}"));
            }
        }
    }
    Filing::new(rules)
}

/// One table's rule; none where there are complaints.
fn rule(
    table: &DeTable<'_>,
    at: &str,
    place: &impl Fn(Range<usize>) -> String,
    errors: &mut ConfigError,
) -> Option<Rule> {
    // In the file's order, for the complaints.
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        entries.insert(key.span().start, (key, value));
    }
    let (mut header, mut pattern, mut folder) = (None, None, None);
    for (key, value) in entries.into_values() {
        let (place, name) = (place(key.span()), key.get_ref().as_ref());
        if !KEYS.contains(&name) {
            let near = nearest(name, KEYS.into_iter());
            let near = near.map(|near| format!(", nearest {near:?}")).unwrap_or_default();
            errors.add(format!("{place}: unknown key {name:?} in a [[{NAME}]] table{near}"));
            continue;
        }
        let DeValue::String(text) = value.get_ref() else {
            let found = value.get_ref().type_str();
            errors.add(format!("{place}: {name} must be a string, not a TOML {found}"));
            continue;
        };
        let mut complain = |wrong: &dyn Display| {
            errors.add(format!("{place}: {name}: {text:?} {wrong}"));
        };
        match name {
            "header" => header = FieldName::parse(text).map_err(|wrong| complain(&wrong)).ok(),
            "value" => pattern = Pattern::parse(text).map_err(|wrong| complain(&wrong)).ok(),
            _ => {
                let wrong = |why| complain(&format_args!("is no folder's name: {why}"));
                folder = Folder::parse(text).map_err(wrong).ok();
            }
        }
    }
    let has = |name: &str| table.keys().any(|key| key.get_ref().as_ref() == name);
    for missing in KEYS.into_iter().filter(|name| !has(name)) {
        errors.add(format!("{at}: a [[{NAME}]] table has no {missing}; it must be {FORM}"));
    }
    Some(Rule { header: header?, value: pattern?, folder: folder? })
}
