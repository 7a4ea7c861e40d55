//! The arguments of the commands that look into a store.
//!
//! Lives here: a struct for each, those that need a store with the same three flags
//! to say which.
//! May not: judge a value.

#![allow(clippy::doc_markdown, reason = "the comments are the texts of --help")]

use super::open_store::Place;
use crate::command::accounts::Asked;
use argh::FromArgs;

macro_rules! asked {
    ($arguments:ident) => {
        Asked {
            config: $arguments.config.as_deref(),
            users: $arguments.users.as_deref(),
            first_uid: $arguments.first_uid.as_deref(),
            default_domain: $arguments.default_domain.as_deref(),
            mail_group: $arguments.mail_group.as_deref(),
        }
    };
}

// A type stands in brackets: argh looks at its words, which a macro passes on only
// one by one.
macro_rules! of_a_store {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $($(#[doc = $field_doc:literal])* #[argh($($kind:tt)*)] $field:ident: [$($type:tt)+],)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, FromArgs)]
        pub(super) struct $name {
            /// the store: maildir:PATH, mbox:PATH or sqlite:FILE
            #[argh(option, arg_name = "store")]
            pub(super) store: Option<String>,
            /// the config file that names the store
            #[argh(option, arg_name = "file")]
            pub(super) config: Option<String>,
            /// whose mailboxes they are: system or file:PATH
            #[argh(option, arg_name = "users")]
            pub(super) users: Option<String>,
            /// least uid of a user of the system
            #[argh(option, arg_name = "uid")]
            pub(super) first_uid: Option<String>,
            /// domain of names in the users file that have none
            #[argh(option, arg_name = "domain")]
            pub(super) default_domain: Option<String>,
            /// group of mbox files that root writes as their users
            #[argh(option, arg_name = "group")]
            pub(super) mail_group: Option<String>,
            /// time that what others have locked is tried again
            #[argh(option, arg_name = "time", default = "String::from(\"30s\")")]
            pub(super) lock_wait: String,
            $($(#[doc = $field_doc])* #[argh($($kind)*)] pub(super) $field: $($type)+,)*
        }

        impl $name {
            /// Where the store is.
            pub(super) fn place(&self) -> Place<'_> {
                Place {
                    store: self.store.as_deref(),
                    accounts: asked!(self),
                    lock_wait: &self.lock_wait,
                }
            }
        }
    };
}

of_a_store! {
    /// List a store's mailboxes: name, messages, bytes.
    Mailboxes {
        /// one JSON object a line
        #[argh(switch)]
        json: [bool],
    }
}

of_a_store! {
    /// List a mailbox's messages: id, bytes, time received, flags.
    Messages {
        /// the mailbox
        #[argh(positional)]
        mailbox: [String],
        /// one JSON object a line
        #[argh(switch)]
        json: [bool],
    }
}

of_a_store! {
    /// Print a message.
    Cat {
        /// the mailbox
        #[argh(positional)]
        mailbox: [String],
        /// the message's id
        #[argh(positional)]
        id: [String],
    }
}

of_a_store! {
    /// Remove a message, or a whole mailbox.
    Delete {
        /// the mailbox
        #[argh(positional)]
        mailbox: [String],
        /// the message's id; without it the mailbox goes
        #[argh(positional)]
        id: [Option<String>],
    }
}

of_a_store! {
    /// Check a store: one line for each damaged or stray item.
    Verify {
        /// say what can be mended; with --yes, mend it
        #[argh(switch)]
        repair: [bool],
        /// do what --repair says
        #[argh(switch)]
        yes: [bool],
        /// one JSON object a line
        #[argh(switch)]
        json: [bool],
    }
}

of_a_store! {
    /// Copy a SQLite store while it is in use.
    Backup {
        /// the copy, which must not be there yet
        #[argh(positional)]
        file: [String],
    }
}

/// Copy mailboxes from one store into another; what is there already is not copied again.
#[derive(Debug, FromArgs)]
pub(super) struct Copy {
    /// the store to copy from: maildir:PATH, mbox:PATH or sqlite:FILE
    #[argh(positional)]
    pub(super) from_store: String,
    /// the store to copy to; it is made where it is not there
    #[argh(positional)]
    pub(super) to_store: String,
    /// the mailboxes; all, where none is given
    #[argh(positional)]
    pub(super) mailboxes: Vec<String>,
    /// say what would be copied, and change nothing
    #[argh(switch)]
    pub(super) dry_run: bool,
    /// the config file that says whose mailboxes they are
    #[argh(option, arg_name = "file")]
    pub(super) config: Option<String>,
    /// whose mailboxes they are: system or file:PATH
    #[argh(option, arg_name = "users")]
    pub(super) users: Option<String>,
    /// least uid of a user of the system
    #[argh(option, arg_name = "uid")]
    pub(super) first_uid: Option<String>,
    /// domain of names in the users file that have none
    #[argh(option, arg_name = "domain")]
    pub(super) default_domain: Option<String>,
    /// group of mbox files that root writes as their users
    #[argh(option, arg_name = "group")]
    pub(super) mail_group: Option<String>,
    /// time that what others have locked is tried again
    #[argh(option, arg_name = "time", default = "String::from(\"30s\")")]
    pub(super) lock_wait: String,
}

impl Copy {
    /// One of the two stores.
    pub(super) fn place<'a>(&'a self, store: &'a str) -> Place<'a> {
        Place { store: Some(store), accounts: asked!(self), lock_wait: &self.lock_wait }
    }
}

/// Ask a server whether it is well.
#[derive(Debug, FromArgs)]
pub(super) struct Ping {
    /// the server: 127.0.0.1:2424, [::1]:2424 or unix:PATH
    #[argh(positional, default = "String::from(\"127.0.0.1:2424\")")]
    pub(super) address: String,
    /// also ask whether this recipient would be accepted
    #[argh(option, arg_name = "address")]
    pub(super) rcpt: Option<String>,
    /// time for all of it
    #[argh(option, arg_name = "time", default = "String::from(\"10s\")")]
    pub(super) timeout: String,
}
