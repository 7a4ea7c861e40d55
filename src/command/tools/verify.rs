//! `postino verify`: what is damaged in a store, and mending it.
//!
//! Lives here: the command, and how findings are told; the store does the work.
//! May not: mend anything without `--repair --yes`.

use super::{arguments::Verify, listing::Listing};
use crate::{command::exit::Exit, stores::Stores};
use postino_store::{Finding, FindingKind, Remedy, Repair, Verified};
use serde_json::{Value, json};

/// How many there are.
#[derive(Default)]
struct Count {
    damaged: u64,
    stray: u64,
    mended: u64,
    /// Damage that is still there.
    left: u64,
}

/// Prints a line for each finding, and a summary.
pub(super) fn run(arguments: &Verify, stores: &Stores) -> Result<Exit, Exit> {
    if arguments.yes && !arguments.repair {
        complain!("--yes has no meaning without --repair; nothing was changed");
        return Err(Exit::Usage);
    }
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let repair = if arguments.yes { Repair::Yes } else { Repair::No };
    let mut listing = Listing::new(arguments.json);
    let mut count = Count::default();
    let mut is_begun = false;
    let verified = opened.patiently("", || {
        let verified = reader.verify(repair, &mut |finding| {
            is_begun = true;
            count.add(&finding);
            // A reader that went away does not stop a repair.
            let _ = if arguments.json {
                listing.object(&of_finding(&finding))
            } else {
                listing.text(&line(&finding, arguments.repair))
            };
        });
        match verified {
            // What was told would be told and counted again.
            Err(error) if is_begun => Ok(Err(error)),
            verified => verified.map(Ok),
        }
    })?;
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => {
            listing.finish()?;
            return Err(opened.failed("", &error));
        }
    };
    let _ = if arguments.json {
        listing.object(&count.of_summary(verified))
    } else {
        listing.text(&count.summary(verified))
    };
    listing.finish()?;
    Ok(if count.left > 0 { Exit::Failure } else { Exit::Ok })
}

impl Count {
    fn add(&mut self, finding: &Finding) {
        let is_done = matches!(finding.remedy, Remedy::Done(_));
        self.mended += u64::from(is_done);
        match finding.kind {
            FindingKind::Damage => {
                self.damaged += 1;
                self.left += u64::from(!is_done);
            }
            FindingKind::Stray => self.stray += 1,
        }
    }

    fn summary(&self, verified: Verified) -> String {
        let Verified { mailboxes, messages, octets } = verified;
        format!(
            "{mailboxes} mailboxes, {messages} messages, {octets} bytes: {} damaged, {} stray, {} mended",
            self.damaged, self.stray, self.mended
        )
    }

    fn of_summary(&self, verified: Verified) -> Value {
        json!({
            "mailboxes": verified.mailboxes,
            "messages": verified.messages,
            "bytes": verified.octets,
            "damaged": self.damaged,
            "stray": self.stray,
            "mended": self.mended,
        })
    }
}

fn kind(finding: &Finding) -> &'static str {
    match finding.kind {
        FindingKind::Damage => "damaged",
        FindingKind::Stray => "stray",
    }
}

fn line(finding: &Finding, with_repair: bool) -> String {
    let Finding { place, what, advice, remedy, .. } = finding;
    let remedy = match remedy {
        Remedy::Nothing => String::new(),
        Remedy::Possible(doing) if with_repair => format!("; --yes would {doing}"),
        Remedy::Possible(_) => "; --repair can mend it".to_owned(),
        Remedy::Done(doing) => format!("; mended: {doing}"),
        Remedy::Failed { doing, cause } => format!("; could not {doing}: {cause}"),
    };
    format!("{}: {place} {what}; {advice}{remedy}", kind(finding))
}

fn of_finding(finding: &Finding) -> Value {
    let Finding { place, what, advice, remedy, .. } = finding;
    let (state, doing, cause) = match remedy {
        Remedy::Nothing => ("none", None, None),
        Remedy::Possible(doing) => ("possible", Some(doing), None),
        Remedy::Done(doing) => ("done", Some(doing), None),
        Remedy::Failed { doing, cause } => ("failed", Some(doing), Some(cause)),
    };
    json!({
        "kind": kind(finding),
        "place": place,
        "what": what,
        "advice": advice,
        "remedy": state,
        "doing": doing,
        "cause": cause,
    })
}
