//! The check of what Maildir++ keeps of an account: how much it holds.
//!
//! Lives here: `maildirsize`, where it is wrong, or where a repair has made it so.
//! May not: take for a fault what a delivery or a reader is about to note.

use super::{
    PAUSE, PAUSES_MAX,
    findings::{Fault, Findings},
};
use crate::{location::Location, quota, read::remove};
use postino_files::Kind;
use postino_store::{Remedy, Repair};
use std::{path::Path, thread};

/// Checks the account of the mailbox at this place, whose messages have been checked.
pub(crate) fn check(findings: &mut Findings<'_>, location: &Location) {
    let path = &*location.path;
    let (files, root) = (findings.files, findings.root);
    let account = if location.is_folder { remove::parent(path) } else { Some(path) };
    // What was not read has been told.
    let Some(Ok(dir)) = account.map(|path| files.open_dir(root, path)) else { return };
    let at = account.unwrap_or(path).join(quota::NAME);
    // Anything else that stands there gives way to the one that a delivery makes.
    if !location.is_folder
        && files.stat(root, &at).is_ok_and(|status| status.kind == Kind::Directory)
    {
        let advice = "where there is a quota no mail is taken for the account; see who made it";
        let fault = Fault::damage("is a directory, not a count of what is held", advice);
        findings.move_away(&dir, Path::new(quota::NAME), &at, fault);
    }
    if std::mem::take(&mut findings.has_moved) {
        let _ = quota::forget(files, &dir);
    }
    if !location.is_folder {
        check_sum(findings, path, &at);
    }
}

fn check_sum(findings: &mut Findings<'_>, account: &Path, at: &Path) {
    let (files, root) = (findings.files, findings.root);
    let wrong = || quota::wrong_sum(files, files.open_dir(root, account).ok()?).ok()?;
    // A reader notes what it has removed a moment later.
    let Some((said, held)) =
        wrong().filter(|first| is_lasting(|| wrong().filter(|it| it == first)))
    else {
        return;
    };
    let doing = "remove it".to_owned();
    let remedy = match findings.repair {
        Repair::No => Remedy::Possible(doing),
        Repair::Yes => {
            let removed =
                files.open_dir(root, account).and_then(|account| quota::forget(files, &account));
            match removed {
                Ok(()) => Remedy::Done(doing),
                Err(cause) => Remedy::Failed { doing, cause: cause.to_string() },
            }
        }
    };
    let what = format!(
        "says {} octets in {} messages, but there are {} in {}",
        said.octets, said.messages, held.octets, held.messages
    );
    findings.report(at, Fault::stray(what, "without it the next delivery counts anew"), remedy);
}

/// Whether a look finds the same each time.
fn is_lasting<T>(look: impl Fn() -> Option<T>) -> bool {
    (0..PAUSES_MAX).all(|_| {
        thread::sleep(PAUSE);
        look().is_some()
    })
}
