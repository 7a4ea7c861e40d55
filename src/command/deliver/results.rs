//! What becomes of each recipient, for whoever runs the command.
//!
//! Lives here: the lines on standard error, their order, and the exit code.
//! May not: show a cause that is not the administrator's own affair.
//! Holds: an MTA that reads nothing but the exit code, and Postfix, which takes the
//! first line's code for all recipients, try again whatever may still be stored;
//! neither bounces for a recipient who is stored.

use crate::{command::exit::Exit, reply::Reply};
use std::{
    fmt::Display,
    io::{self, Write},
};

const TEMPORARY: u16 = 4;
/// Recipients that would have to be handed over apart (RFC 3463 section 3.6).
const MIXED: &str = "4.5.3";
const UNKNOWN: (u16, u16, u16) = (5, 1, 1);

/// How the command went.
pub(super) enum Results {
    /// The recipients as they are shown, and the refusals among them.
    Each(Vec<(String, Option<Reply>)>),
    /// Nobody's delivery was tried: an enhanced code of class 4, and why.
    Nothing(String),
}

impl Results {
    /// Nothing was tried.
    pub(super) fn nothing(detail: &str, why: impl Display) -> Self {
        Self::Nothing(format!("4.{detail} {why}\n"))
    }

    /// What is printed, and the exit code.
    fn told(&self, id: &dyn Display) -> (String, Exit) {
        let recipients = match self {
            Self::Nothing(line) => return (line.clone(), Exit::Locked),
            Self::Each(recipients) => recipients,
        };
        let refused: Vec<_> = recipients
            .iter()
            .filter_map(|(shown, refusal)| Some((shown, refusal.as_ref()?)))
            .collect();
        let is_temporary = |reply: &Reply| reply.enhanced().0 == TEMPORARY;
        let (temporary, permanent): (Vec<_>, Vec<_>) =
            refused.iter().partition(|(_, reply)| is_temporary(reply));
        let mut text = String::new();
        let stored = recipients.len() - refused.len();
        if stored > 0 && temporary.is_empty() && !permanent.is_empty() {
            text = format!(
                "{MIXED} {stored} of {} recipients stored, the others not: hand over one at a time\n",
                recipients.len()
            );
        }
        let lines = temporary.iter().chain(&permanent).map(|(shown, reply)| {
            let (class, subject, detail) = reply.enhanced();
            format!("{class}.{subject}.{detail} {shown} {} [{id}]\n", reply.text())
        });
        text.extend(lines);
        let exit = if refused.is_empty() {
            Exit::Ok
        } else if stored == 0 && refused.iter().all(|(_, reply)| reply.enhanced() == UNKNOWN) {
            Exit::NoUser
        } else {
            Exit::Locked
        };
        (text, exit)
    }

    /// Prints it; says how the command ends.
    pub(super) fn tell(&self, id: &dyn Display) -> Exit {
        let (text, exit) = self.told(id);
        // Whoever closed it reads the exit code.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        exit
    }
}

#[cfg(test)]
mod tests {
    use super::Results;
    use crate::{
        command::exit::Exit,
        reply::{self, Reply},
    };

    fn told(refusals: &[Option<Reply>]) -> (Vec<String>, Exit) {
        let names = ["<a@d>", "<b@d>", "<c@d>"].into_iter().map(str::to_owned);
        let (text, exit) =
            Results::Each(names.zip(refusals.iter().cloned()).collect()).told(&"7-1");
        (text.lines().map(str::to_owned).collect(), exit)
    }

    #[test]
    fn who_is_stored_has_no_line() {
        assert_eq!(told(&[None, None]), (vec![], Exit::Ok));
    }

    #[test]
    fn only_where_all_are_unknown_it_is_no_user() {
        let unknown = Some(reply::UNKNOWN_RECIPIENT);
        let (lines, exit) = told(&[unknown.clone(), unknown.clone()]);
        assert_eq!(
            lines,
            ["5.1.1 <a@d> No such mailbox [7-1]", "5.1.1 <b@d> No such mailbox [7-1]"]
        );
        assert_eq!(exit, Exit::NoUser);
        for other in [None, Some(reply::UNKNOWN_DOMAIN), Some(reply::MAILBOX_LOCKED)] {
            assert_eq!(told(&[unknown.clone(), other]).1, Exit::Locked);
        }
    }

    #[test]
    fn a_temporary_fault_stands_before_the_permanent_ones() {
        let (lines, exit) = told(&[
            Some(reply::UNKNOWN_RECIPIENT),
            Some(reply::MAILBOX_LOCKED),
            Some(reply::STORAGE_FULL),
        ]);
        let codes: Vec<_> = lines.iter().map(|line| &line[..11]).collect();
        assert_eq!(codes, ["4.2.0 <b@d>", "4.3.1 <c@d>", "5.1.1 <a@d>"]);
        assert_eq!(exit, Exit::Locked);
    }

    #[test]
    fn nobody_bounces_who_is_stored() {
        let (lines, exit) = told(&[Some(reply::MESSAGE_TOO_BIG), None, None]);
        assert!(lines[0].starts_with("4.5.3 2 of 3 recipients stored"), "{lines:?}");
        assert!(lines[1].starts_with("5.3.4 <a@d> "), "{lines:?}");
        assert_eq!(exit, Exit::Locked);
    }

    #[test]
    fn what_is_refused_to_all_for_good_may_bounce() {
        let (lines, exit) = told(&[Some(reply::MAIL_LOOP), Some(reply::MAIL_LOOP)]);
        assert!(lines.len() == 2 && lines[0].starts_with("5.4.6 <a@d> "), "{lines:?}");
        assert_eq!(exit, Exit::Locked);
    }
}
