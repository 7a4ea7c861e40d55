//! Texts as values.
//!
//! Lives here: what a setting's text may be; what is wrong with one, as the end
//! of a sentence that begins with it.
//! May not: know which setting it is; names of users and groups are looked up.

use super::values::{self, DURATION_FORM, SIZE_FORM};
use crate::{
    delivery::OverQuota,
    protocol::BareNewlines,
    sys::names,
    transaction::address::{Address, is_domain},
    users::{
        Detail,
        quota::{self, QUOTA_FORM},
    },
};
use postino_store::{MailboxName, Quota};
use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// The least memory: with less not even one message of many recipients comes in.
const MEMORY_MIN: u64 = 1 << 20;

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("is wrong: {error}"))
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    values::size(text).ok_or_else(|| format!("is not {SIZE_FORM}"))
}

pub(super) fn memory_budget(text: &str) -> Result<u64, String> {
    let memory = size(text)?;
    if memory >= MEMORY_MIN { Ok(memory) } else { Err("is less than 1M".to_owned()) }
}

pub(super) fn suppression_window(text: &str) -> Result<Option<Duration>, String> {
    let window = values::duration(text).filter(|window| !window.is_zero());
    match (text, window) {
        ("off", _) => Ok(None),
        (_, Some(window)) => Ok(Some(window)),
        _ => Err(format!("is neither off nor {DURATION_FORM}, from 1s to 365d")),
    }
}

/// `5%`.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let percent = number.filter(|percent| *percent < 100 && !text.starts_with('+'));
    percent.ok_or_else(|| "is not a percentage from 0% to 99%".to_owned())
}

pub(super) fn domain(text: &str) -> Result<String, String> {
    let complaint = "is no domain: labels of letters, digits and inner hyphens, dots between";
    if is_domain(text) { Ok(text.to_owned()) } else { Err(complaint.to_owned()) }
}

pub(super) fn domain_lower(text: &str) -> Result<String, String> {
    domain(text).map(|domain| domain.to_ascii_lowercase())
}

/// The mailbox of an address, named as users name theirs.
pub(super) fn mailbox(text: &str) -> Result<MailboxName, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("is no address of a mailbox: {why}");
    let address = Address::parse(text.as_bytes()).map_err(|_| wrong(&"say NAME@DOMAIN"))?;
    let name = format!("{}@{}", address.local_part(), address.domain()).to_ascii_lowercase();
    MailboxName::new(name).map_err(|error| wrong(&error))
}

pub(super) fn bare_newlines(text: &str) -> Result<BareNewlines, String> {
    match text {
        "reject" => Ok(BareNewlines::Reject),
        "keep" => Ok(BareNewlines::Keep),
        "normalise" => Ok(BareNewlines::Normalise),
        _ => Err("is not one of reject, keep and normalise".to_owned()),
    }
}

/// What `users` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UsersKind {
    Any,
    Store,
    System,
    File(PathBuf),
}

pub(super) fn users_kind(text: &str) -> Result<UsersKind, String> {
    match (text, text.strip_prefix("file:")) {
        ("any", _) => Ok(UsersKind::Any),
        ("store", _) => Ok(UsersKind::Store),
        ("system", _) => Ok(UsersKind::System),
        (_, Some(path)) if !path.is_empty() => Ok(UsersKind::File(path.into())),
        _ => Err("is not one of any, store, system and file:PATH".to_owned()),
    }
}

pub(super) fn detail(text: &str) -> Result<Detail, String> {
    match text {
        "off" => Ok(Detail::Off),
        "ignore" => Ok(Detail::Ignore),
        "folder" => Ok(Detail::Folder),
        "create" => Ok(Detail::Create),
        _ => Err("is not one of off, ignore, folder and create".to_owned()),
    }
}

pub(super) fn account_quota(text: &str) -> Result<Quota, String> {
    quota::quota(text).ok_or_else(|| format!("is not {QUOTA_FORM}"))
}

pub(super) fn over_quota(text: &str) -> Result<OverQuota, String> {
    match text {
        "defer" => Ok(OverQuota::Defer),
        "reject" => Ok(OverQuota::Reject),
        _ => Err("is not one of defer and reject".to_owned()),
    }
}

/// An absolute directory that is not the whole tree.
pub(super) fn store_root(text: &str) -> Result<String, String> {
    let is_plain = |part| !matches!(part, Component::ParentDir);
    let path = Path::new(text);
    if path.is_absolute() && path.components().all(is_plain) && path.parent().is_some() {
        Ok(text.to_owned())
    } else {
        Err("is no absolute path of a directory below /, without ..".to_owned())
    }
}

/// One character that may stand in a local part, or none.
pub(super) fn delimiter(text: &str) -> Result<Option<char>, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Ok(None),
        (Some(c), None) if c.is_ascii_punctuation() && !"@\"<>()[]\\,:;/".contains(c) => {
            Ok(Some(c))
        }
        _ => Err("is not one character such as + or -, nor empty".to_owned()),
    }
}

pub(super) fn socket_mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "is no octal mode from 0000 to 0777, such as 0660".to_owned())
}

pub(super) fn log_level(text: &str) -> Result<::log::LevelFilter, String> {
    match text {
        "error" => Ok(::log::LevelFilter::Error),
        "warn" => Ok(::log::LevelFilter::Warn),
        "info" => Ok(::log::LevelFilter::Info),
        "debug" => Ok(::log::LevelFilter::Debug),
        _ => Err("is not one of error, warn, info and debug".to_owned()),
    }
}

pub(super) fn user(text: &str) -> Result<u32, String> {
    names::user(text).map(|user| user.uid).map_err(|error| format!("is {error}"))
}

pub(super) fn group(text: &str) -> Result<u32, String> {
    names::group(text).map_err(|error| format!("is {error}"))
}
