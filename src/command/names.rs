//! The words of deliver's command line: who sends, who shall receive, and flags.
//!
//! Lives here: telling names from flags, as getopt(3) does.
//! May not: judge a name or a flag.
//! Holds: behind the first recipient, and behind `--`, every word is a recipient,
//! whatever it looks like: an MTA puts there what a stranger has written.

use crate::config::{Kind, SETTINGS};

/// Whom the command line names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// `-f`.
    pub(super) sender: Option<String>,
    /// `-d`, and what is no flag.
    pub(super) recipients: Vec<String>,
}

/// Takes the names out; gives them and the other flags.
pub(super) fn split(words: &[String]) -> Result<(Names, Vec<String>), String> {
    let (mut names, mut flags) = (Names::default(), Vec::new());
    let (mut user, mut words) = (None, words.iter());
    while let Some(word) = words.next() {
        let (slot, value) = match word.split_at_checked(2) {
            Some(("--", "")) => break,
            Some(("-f", value)) => (&mut names.sender, value),
            Some(("-d", value)) => (&mut user, value),
            _ if word.starts_with('-') && word != "-" => {
                flags.push(word.clone());
                if has_value_behind(word) {
                    flags.extend(words.next().cloned());
                }
                continue;
            }
            _ => {
                names.recipients.push(word.clone());
                break;
            }
        };
        let (option, _) = word.split_at(2);
        let value = match value {
            "" => words.next().ok_or_else(|| format!("no value behind {option}"))?.clone(),
            value => value.to_owned(),
        };
        if slot.replace(value).is_some() {
            return Err(format!("{option} stands twice"));
        }
    }
    names.recipients.extend(words.cloned());
    names.recipients.splice(..0, user);
    Ok((names, flags))
}

/// Whether the word behind this flag is its value.
fn has_value_behind(flag: &str) -> bool {
    let Some(name) = flag.strip_prefix("--") else { return false };
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    name == "config" || setting.is_some_and(|setting| setting.kind != Kind::Switch)
}

#[cfg(test)]
mod tests {
    use super::{Names, split};

    fn of(line: &str) -> Result<(Names, Vec<String>), String> {
        split(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[track_caller]
    fn assert_split(line: &str, sender: Option<&str>, recipients: &[&str], flags: &[&str]) {
        let (names, others) = of(line).unwrap();
        assert_eq!(names.sender.as_deref(), sender, "{line}");
        assert_eq!(names.recipients, recipients, "{line}");
        assert_eq!(others, flags, "{line}");
    }

    #[test]
    fn behind_the_first_recipient_every_word_is_one() {
        assert_split(
            "-f a@b c@d -f --help help",
            Some("a@b"),
            &["c@d", "-f", "--help", "help"],
            &[],
        );
        assert_split("help", None, &["help"], &[]);
        assert_split("c@d -- x", None, &["c@d", "--", "x"], &[]);
        assert_split("-f a -- -x@d --store=y@d", Some("a"), &["-x@d", "--store=y@d"], &[]);
        assert_split("-- help", None, &["help"], &[]);
        assert_split("- x", None, &["-", "x"], &[]);
    }

    #[test]
    fn a_value_is_no_name_whatever_it_looks_like() {
        assert_split("-f -x@d c@d", Some("-x@d"), &["c@d"], &[]);
        assert_split("-f help c@d", Some("help"), &["c@d"], &[]);
        assert_split("-fa@b -dc@d", Some("a@b"), &["c@d"], &[]);
        assert_split("-f  c@d", Some(""), &["c@d"], &[]);
        assert_split("-d -- c@d", None, &["--", "c@d"], &[]);
        assert_split("--store maildir:m c@d", None, &["c@d"], &["--store", "maildir:m"]);
        assert_split("--store=maildir:m c@d", None, &["c@d"], &["--store=maildir:m"]);
        assert_split(
            "--config x --require-marker c@d",
            None,
            &["c@d"],
            &["--config", "x", "--require-marker"],
        );
    }

    #[test]
    fn an_unknown_flag_stays_for_the_complaint() {
        assert_split("-e c@d", None, &["c@d"], &["-e"]);
        assert_split("--stor x", None, &["x"], &["--stor"]);
    }

    #[test]
    fn an_option_without_its_value_or_twice_is_wrong() {
        assert_eq!(of("-f").unwrap_err(), "no value behind -f");
        assert_eq!(of("-f a -f b c").unwrap_err(), "-f stands twice");
        assert_eq!(of("-d a -d b").unwrap_err(), "-d stands twice");
    }
}
