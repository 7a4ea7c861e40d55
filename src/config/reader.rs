//! Reads settings one by one.
//!
//! Lives here: a setting's value or its default, and the complaint where it is
//! wrong.
//! May not: know a setting; what it holds of the users file it only hands on.

use super::{
    ConfigError, Given, SETTINGS,
    flags::Value,
    values::{self, DURATION_FORM},
};
use crate::users::Rules;
use std::time::Duration;

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

/// Reads settings one by one and gathers complaints; after one, what it gives
/// is a default that nobody will see.
pub(super) struct Reader<'a> {
    pub(super) given: &'a Given,
    pub(super) has_file: bool,
    pub(super) errors: ConfigError,
    pub(super) warnings: Vec<String>,
    pub(super) shown: Vec<Shown>,
    /// For a users file that is in force already.
    pub(super) users_rules: Option<Rules>,
}

impl<'a> Reader<'a> {
    /// A reader of these settings, which has no complaint yet.
    pub(super) fn of(given: &'a Given, has_file: bool) -> Self {
        Self {
            given,
            has_file,
            errors: ConfigError::default(),
            warnings: Vec::new(),
            shown: Vec::new(),
            users_rules: None,
        }
    }

    pub(super) fn file_hint(&self) -> &'static str {
        if self.has_file { " in the config file nor as a flag" } else { "" }
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        self.one(name, false, |text| Ok(text == "true"))
    }

    pub(super) fn duration(&mut self, name: &'static str, default_s: u64) -> Duration {
        self.one(name, Duration::from_secs(default_s), |text| {
            values::duration(text)
                .filter(|duration| !duration.is_zero())
                .ok_or_else(|| format!("is not {DURATION_FORM}, from 1s to 365d"))
        })
    }

    pub(super) fn number<T>(&mut self, name: &'static str, default: T, min: T, max: T) -> T
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
    pub(super) fn one<T>(
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
    pub(super) fn complain(&mut self, Value { text, origin }: &Value, wrong: &str) {
        self.errors.add(format!("{origin}: {text:?} {wrong}"));
    }

    /// Complains about a setting that does not go with others.
    #[inline(never)]
    pub(super) fn complain_of(&mut self, name: &'static str, wrong: &str) {
        let origin = self.given.get(name).last().map_or(name, |value| &value.origin);
        self.errors.add(format!("{origin}: {wrong}"));
    }

    pub(super) fn list<T: std::fmt::Display>(
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
    pub(super) fn default_is(&mut self, value: impl std::fmt::Display) {
        if let Some(shown) = self.shown.last_mut().filter(|shown| !shown.is_set) {
            shown.value = value.to_string();
        }
    }
}
