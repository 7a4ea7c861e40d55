//! The command line, before and behind argh.
//!
//! Lives here: the commands and their arguments; what argh does not take
//! (`--name=value`, `-h`, `--version`) made into what it takes; its complaints
//! with the nearest right word.
//! May not: judge a setting's value.

use super::accounts::Asked;
#[cfg(feature = "tools")]
use super::{
    names::{self, Names},
    tools::{TOOLS, Tool},
};
use crate::config::{Kind, SETTINGS, flags::Flags, nearest};
use argh::FromArgs;
use std::ffi::OsString;

/// The program's name in usage texts.
const PROGRAM: &str = "postino";

/// The commands that are always there, and what each does.
const COMMANDS: &[(&str, &str)] = &[
    ("serve", "receive mail by LMTP and store it, until told to stop"),
    ("inetd", "serve one session on descriptors 0 and 1, then exit"),
    #[cfg(feature = "tools")]
    ("deliver", "put the message on standard input into its recipients' mailboxes"),
    ("init", "make a store and mailboxes in it"),
    ("check-config", "check the settings that serve would have, and print them"),
];

/// What deliver has beside the settings.
#[cfg(feature = "tools")]
const DELIVER_HELP: &str = "\
Usage: postino deliver [-f SENDER] [-d RECIPIENT] [FLAGS] [--] [RECIPIENT...] < MESSAGE

Put the message on standard input into its recipients' mailboxes. Exits with 0 if
all have it, 67 if none has a mailbox, else 75. postino(8) has the settings at length.

Options:
  -f                the sender's address; <> without it
  -d                a recipient's address";

/// A command with its arguments.
#[derive(Debug)]
pub(super) enum Command {
    Serve(Flags),
    Inetd(Flags),
    CheckConfig(Flags),
    Init(Init),
    #[cfg(feature = "tools")]
    Tool(Tool),
    #[cfg(feature = "tools")]
    Deliver(Names, Flags),
}

/// Make a store and mailboxes in it; what is there is left alone.
#[derive(Debug, FromArgs)]
#[allow(clippy::doc_markdown, reason = "the comments are the texts of --help")]
pub(super) struct Init {
    /// the store: maildir:PATH, mbox:PATH or sqlite:FILE
    #[argh(positional)]
    pub(super) store: String,
    /// names of mailboxes: alice@example.org, alice@example.org/Lists
    #[argh(positional)]
    pub(super) mailboxes: Vec<String>,
    /// whose mailboxes they are: system or file:PATH
    #[argh(option, arg_name = "users")]
    pub(super) users: Option<String>,
    /// the config file that says whose they are
    #[argh(option, arg_name = "file")]
    pub(super) config: Option<String>,
    /// least uid of a user of the system
    #[argh(option, arg_name = "uid")]
    pub(super) first_uid: Option<String>,
    /// domain of names in the users file that have none
    #[argh(option, arg_name = "domain")]
    pub(super) default_domain: Option<String>,
    /// group of mbox files that root writes as their users
    #[argh(option, arg_name = "group")]
    pub(super) mail_group: Option<String>,
}

impl Init {
    /// What it says of accounts.
    pub(super) fn accounts(&self) -> Asked<'_> {
        Asked {
            config: self.config.as_deref(),
            users: self.users.as_deref(),
            first_uid: self.first_uid.as_deref(),
            default_domain: self.default_domain.as_deref(),
            mail_group: self.mail_group.as_deref(),
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Parsed {
    Run(Box<Command>),
    /// To be printed on standard output: help, or the version.
    Print(String),
}

/// Reads the command line; `Err` is a complaint for standard error.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut words = Vec::new();
    for (at, argument) in arguments.skip(1).enumerate() {
        let word = argument.into_string().map_err(|argument| {
            format!("argument {} is no UTF-8: {}", at + 1, argument.display())
        })?;
        words.push(word);
    }
    #[cfg(feature = "tools")]
    if let Some((command, rest)) = words.split_first()
        && command == "deliver"
    {
        return deliver(rest);
    }
    if words.iter().take(2).any(|word| matches!(&word[..], "--version" | "-v" | "-V")) {
        return Ok(Parsed::Print(format!("postino {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let words = split(&words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (command, rest) = match words.split_first() {
        None => return Err(format!("no command given\n{}", usage())),
        Some((&("--help" | "help"), _)) => return Ok(Parsed::Print(usage())),
        Some((&command, rest)) => (command, rest),
    };
    let name = [PROGRAM, command];
    let flags = || Flags::from_args(&name, rest);
    let parsed = match command {
        "serve" => flags().map(Command::Serve),
        "inetd" => flags().map(Command::Inetd),
        "check-config" => flags().map(Command::CheckConfig),
        "init" => Init::from_args(&name, rest).map(Command::Init),
        #[cfg(feature = "tools")]
        tool if Tool::is_one(tool) => Tool::from_args(&name, tool, rest).map(Command::Tool),
        unknown => {
            let near = nearest(unknown, commands().map(|(name, _)| *name));
            let near = near.map(|near| format!("; nearest: {near}")).unwrap_or_default();
            return Err(format!("unknown command {unknown:?}{near}\nsee {PROGRAM} --help"));
        }
    };
    match parsed {
        Ok(command) => Ok(Parsed::Run(Box::new(command))),
        Err(early) if early.status.is_ok() => Ok(Parsed::Print(early.output)),
        Err(early) => Err(complaint(command, &early.output)),
    }
}

/// All commands.
fn commands() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    #[cfg(feature = "tools")]
    return COMMANDS.iter().chain(TOOLS);
    #[cfg(not(feature = "tools"))]
    COMMANDS.iter()
}

/// Whether a person may be there, or nobody, and no message.
#[cfg(feature = "tools")]
fn is_stdin_a_device() -> bool {
    use rustix::fs::{FileType, fstat};
    fstat(std::io::stdin())
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice)
}

/// deliver's words: names first, since of these none is argh's.
#[cfg(feature = "tools")]
fn deliver(words: &[String]) -> Result<Parsed, String> {
    let command = "deliver";
    let help = format!("see {PROGRAM} {command} --help");
    let (names, flags) = names::split(words).map_err(|complaint| format!("{complaint}\n{help}"))?;
    let flags = split(&flags);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    if flags.iter().any(|flag| matches!(*flag, "-v" | "-V" | "--version")) {
        return Err(format!("{PROGRAM} --version prints the version\n{help}"));
    }
    match Flags::from_args(&[PROGRAM, command], &flags) {
        Ok(_) if names.recipients.is_empty() => Err(format!("no recipient given\n{help}")),
        Ok(flags) => Ok(Parsed::Run(Box::new(Command::Deliver(names, flags)))),
        // Whoever hands a message over would take help for its delivery.
        Err(early) if early.status.is_ok() && is_stdin_a_device() => {
            let (_, options) = early.output.split_once("Options:").unwrap_or_default();
            Ok(Parsed::Print(format!("{DELIVER_HELP}{options}")))
        }
        Err(early) if early.status.is_ok() => Err(format!("--help beside a message\n{help}")),
        Err(early) => Err(complaint(command, &early.output)),
    }
}

fn usage() -> String {
    let commands: Vec<String> =
        commands().map(|(name, does)| format!("  {name:13} {does}")).collect();
    format!(
        "Usage: {PROGRAM} COMMAND [ARGUMENTS]\n\nCommands:\n{}\n\n{PROGRAM} COMMAND --help lists its \
         arguments; {PROGRAM} --version; manual: {PROGRAM}(8)\n",
        commands.join("\n")
    )
}

/// `--name=value` in two words, `-h` in full; nothing behind `--` is touched.
fn split(words: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            _ if word == "--" => {
                out.push(word.clone());
                out.extend(words.by_ref().cloned());
            }
            _ if word == "-h" => out.push("--help".to_owned()),
            // A switch has no value to argh.
            Some((name, "true")) if is_switch(name) => out.push(name.to_owned()),
            Some((name, "false")) if is_switch(name) => {}
            Some((name, value)) if name.starts_with("--") => {
                out.extend([name.to_owned(), value.to_owned()]);
            }
            _ => out.push(word.clone()),
        }
    }
    out
}

fn is_switch(flag: &str) -> bool {
    SETTINGS
        .iter()
        .filter(|setting| setting.kind == Kind::Switch)
        .any(|setting| flag.strip_prefix("--") == Some(setting.name))
}

/// The flag of this command that is most like `unknown`.
fn nearest_flag(command: &str, unknown: &str) -> Option<&'static str> {
    #[cfg(feature = "tools")]
    if Tool::is_one(command) {
        return nearest(unknown, super::tools::FLAGS.iter().copied());
    }
    let _ = command;
    nearest(unknown, SETTINGS.iter().map(|setting| setting.name).chain(["config"]))
}

/// argh's complaint, with the right flag where one is near, and the right help.
fn complaint(command: &str, argh: &str) -> String {
    let mut lines = argh.trim_end().lines();
    let first = lines.next().unwrap_or_default();
    let near = first
        .strip_prefix("Unrecognized argument: --")
        .and_then(|unknown| nearest_flag(command, unknown))
        .map(|near| format!("; nearest: --{near}"))
        .unwrap_or_default();
    // What is missing is listed below the first line, indented.
    let missing: Vec<&str> = lines.filter(|line| line.starts_with(' ')).collect();
    let help = format!("see {PROGRAM} {command} --help");
    [&[&format!("{first}{near}")[..]], &missing[..], &[&help]].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_value_may_follow_an_equals_sign() {
        let words = ["serve", "--a=b=c", "--d", "e=f", "-h", "--", "--g=h"].map(String::from);
        let expected = ["serve", "--a", "b=c", "--d", "e=f", "--help", "--", "--g=h"];
        assert_eq!(split(&words), expected);
        let words = ["--require-marker=true", "--require-marker=false"].map(String::from);
        assert_eq!(split(&words), ["--require-marker"]);
    }
}
