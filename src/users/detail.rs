//! What stands behind the delimiter in a local part.
//!
//! Lives here: splitting it off, and which folder it means.
//! May not: refuse a recipient: a detail that can be no folder's name goes to the
//! inbox.

use postino_store::{IfNoFolder, Mailbox};

/// What becomes of the detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// It is part of the name, as if there were no delimiter.
    Off,
    /// It is dropped.
    #[default]
    Ignore,
    /// It names a folder; where there is none of this name, the inbox.
    Folder,
    /// It names a folder, which is made.
    Create,
}

/// User and detail of a local part. One that begins with the delimiter has no
/// detail, else nothing would be left of it.
pub(super) fn split(local_part: &str, delimiter: Option<char>) -> (&str, Option<&str>) {
    match delimiter.and_then(|delimiter| local_part.split_once(delimiter)) {
        Some((user, detail)) if !user.is_empty() => (user, Some(detail)),
        _ => (local_part, None),
    }
}

impl Detail {
    /// The mailbox, or its folder where the detail names one.
    pub(super) fn apply(self, mailbox: Mailbox, detail: Option<&str>) -> Mailbox {
        let if_missing = match self {
            Self::Off | Self::Ignore => return mailbox,
            Self::Folder => IfNoFolder::Inbox,
            Self::Create => IfNoFolder::Create,
        };
        let Some(detail) = detail.filter(|detail| !detail.is_empty()) else { return mailbox };
        let inbox = mailbox.clone();
        let in_folder = folder(detail).and_then(|name| mailbox.in_folder(&name, if_missing).ok());
        in_folder.unwrap_or_else(|| {
            let shown = crate::escape::value(detail.as_bytes());
            log::debug!("no folder can be named {shown}: its mail goes to the inbox");
            inbox
        })
    }
}

/// The folder that a detail means, its levels separated by `/`: both that and the
/// dot separate, since both do in addresses and the dot does in a Maildir. None
/// for what could be another folder to some program: a level that is empty, the
/// inbox under its own name, a home.
fn folder(detail: &str) -> Option<String> {
    let levels: Vec<&str> = detail.split(['/', '.']).collect();
    let is_strange = |level: &&str| level.is_empty() || level.starts_with('~');
    let is_inbox = levels.first().is_some_and(|first| first.eq_ignore_ascii_case("INBOX"));
    (!is_inbox && !levels.iter().any(is_strange)).then(|| levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Detail, split};
    use postino_store::{IfMissing, IfNoFolder, Mailbox, MailboxName};

    fn alice() -> Mailbox {
        Mailbox::new(MailboxName::new("alice").unwrap(), IfMissing::Create)
    }

    fn folder(detail: &str) -> Option<String> {
        let mailbox = Detail::Folder.apply(alice(), Some(detail));
        mailbox.name().folder().map(str::to_owned)
    }

    #[test]
    fn the_first_delimiter_that_leaves_a_user_splits() {
        for (local_part, user, detail) in [
            ("bob", "bob", None),
            ("bob+x", "bob", Some("x")),
            ("bob+x+y", "bob", Some("x+y")),
            ("bob+", "bob", Some("")),
            ("+bob", "+bob", None),
            ("+a+b", "+a+b", None),
        ] {
            assert_eq!(split(local_part, Some('+')), (user, detail), "{local_part}");
        }
        assert_eq!(split("bob+x", None), ("bob+x", None));
    }

    #[test]
    fn slash_and_dot_separate_levels_and_case_is_kept() {
        for (detail, name) in [
            ("lists", "lists"),
            ("Lists/2026", "Lists/2026"),
            ("Lists.2026", "Lists/2026"),
            ("a+b", "a+b"),
            ("x/INBOX", "x/INBOX"),
            ("a b", "a b"),
        ] {
            assert_eq!(folder(detail).as_deref(), Some(name), "{detail}");
        }
    }

    #[test]
    fn what_can_be_no_folders_name_goes_to_the_inbox() {
        let (long, deep) = ("x".repeat(121), ["x"; 9].join("/"));
        for detail in [
            "",
            ".",
            "..",
            "/",
            "../x",
            "..x",
            ".x",
            "x.",
            "x/",
            "/x",
            "a//b",
            "a..b",
            "a/../b",
            "/etc/passwd",
            "~",
            "~root",
            "a/~b",
            "inbox",
            "INBOX",
            "INBOX.x",
            "a\0",
            "a\nb",
            "a\x7f",
            &long,
            &deep,
        ] {
            assert_eq!(folder(detail), None, "{detail:?}");
        }
    }

    #[test]
    fn a_folder_is_used_or_made_as_the_policy_says() {
        for (policy, expected) in [
            (Detail::Off, None),
            (Detail::Ignore, None),
            (Detail::Folder, Some(IfNoFolder::Inbox)),
            (Detail::Create, Some(IfNoFolder::Create)),
        ] {
            let mailbox = policy.apply(alice(), Some("x"));
            let made = mailbox.name().folder().map(|_| mailbox.if_no_folder());
            assert_eq!(made, expected, "{policy:?}");
            assert_eq!(policy.apply(alice(), None), alice());
        }
    }
}
