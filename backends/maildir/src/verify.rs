//! The check of the whole store.
//!
//! Lives here: the way through the root and its mailboxes, and what can be wrong with
//! directories. What can be wrong with files is [`messages`]' and [`drafts`]'.
//! May not: remove anything; change what a delivery or a reader is about to use.
//! Holds: it may run while others deliver and read: what they move meanwhile is no
//! finding, and what it moves itself is nobody's any more.

mod account;
mod content;
mod drafts;
mod findings;
mod messages;

use crate::{
    Maildir,
    location::Location,
    mailbox::{CUR, NEW, TMP, Whose},
    read::{
        LOST_AND_FOUND, Place,
        failure::{failed, is_missing, is_shortage},
        folder::Folder,
        remove,
    },
};
use findings::{Fault, Findings};
use postino_files::{Dir, Kind, Status, lost, marker, process};
use postino_store::{Finding, ReadError, Remedy, Repair, Timestamp, Verified};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A mailbox that was changed so many seconds ago may be just being made.
const BEING_MADE_SECONDS: i64 = 10;
/// How long is waited for it then, and how often.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSES_MAX: usize = 6;

/// The bits of a mode that let the owner use a directory.
const OWNER_USES: u32 = 0o700;

/// Octets of the marker that are looked at.
const MARKER_OCTETS: usize = 64;

impl Maildir {
    /// Checks everything; see [`MailReader::verify`](postino_store::MailReader::verify).
    pub(crate) fn check(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        let files = &*self.files;
        let root = &self.root_to_read()?;
        let verified = Verified::default();
        let has_moved = false;
        let mut findings = Findings { files, root, repair, report, verified, has_moved };
        if self.template.only().is_none() {
            self.check_marker(&mut findings);
            check_root(&mut findings)?;
        }
        let mut places: Vec<(PathBuf, Place)> = Vec::new();
        self.visit_places(root, &mut |path, place| places.push((path.to_owned(), place)))?;
        for (path, place) in places {
            match place {
                Place::Mailbox(name) => {
                    findings.verified.mailboxes += 1;
                    let location = Location { path, is_folder: name.folder().is_some() };
                    let path = &location.path;
                    if let Err(error) = self.check_mailbox(&mut findings, &location) {
                        let advice = "see that it can be read, and check the disk; what lies \
                                      in it was not checked";
                        findings
                            .tell(path, Fault::damage(format!("is not readable: {error}"), advice));
                    }
                    account::check(&mut findings, &location);
                }
                Place::Unread(cause) if is_shortage(&cause) => {
                    return Err(failed("look for a mailbox at", root.path_to(&path), cause));
                }
                Place::Unread(cause) => findings.tell(
                    &path,
                    Fault::damage(
                        format!("was not looked at: {cause}"),
                        "run this as a user who can read it, or see that he can; where it is \
                         no question of rights, check the disk",
                    ),
                ),
                Place::Stray(why) => findings.tell(
                    &path,
                    Fault::stray(why, "nobody gets mail there; move it away, or rename it"),
                ),
                Place::Other if remove::is_remainder(&path) => remainder(&mut findings, &path),
                Place::Other => self.check_other(&mut findings, &path),
            }
        }
        Ok(findings.verified)
    }

    fn check_marker(&self, findings: &mut Findings<'_>) {
        let (files, root, name) = (findings.files, findings.root, Path::new(marker::NAME));
        let init = format!("postino init maildir:{}", self.template);
        let beginning = || {
            let file = files.open(root, name)?;
            let mut beginning = vec![0; MARKER_OCTETS];
            let count = files.read_at(&file, &mut beginning, 0)?;
            beginning.truncate(count);
            Ok(beginning)
        };
        let is_here = marker::is_present(files, root);
        let fault = match is_here.and_then(|here| here.then(beginning).transpose()) {
            Ok(Some(text)) if is_marker(&text) => return,
            Ok(Some(_)) => Fault::stray(
                "does not begin as a marker of postino does",
                format!("move it away, then: {init}"),
            ),
            Ok(None) => Fault::stray(
                "is missing, so that a disk that is not mounted cannot be told",
                format!("if this is the store: {init}"),
            ),
            Err(cause) => Fault::stray(
                format!("cannot be read: {cause}"),
                format!("see that it is a file; if not, move it away, then: {init}"),
            ),
        };
        findings.tell(name, fault);
    }

    fn check_mailbox(
        &self,
        findings: &mut Findings<'_>,
        location: &Location,
    ) -> Result<(), ReadError> {
        let path = &*location.path;
        let (files, root) = (findings.files, findings.root);
        let mailbox = match files.open_dir(root, path) {
            Err(cause) if is_missing(&cause) => return Ok(()),
            opened => opened.map_err(|cause| failed("open it", root.path_to(path), cause))?,
        };
        let status = files
            .stat_dir(&mailbox)
            .map_err(|cause| failed("look at it", mailbox.path(), cause))?;
        access(findings, path, &status, status.owner);
        self.check_missing(findings, &mailbox, &status, location);
        let mut is_whole = true;
        for name in [TMP, NEW, CUR] {
            let at = path.join(name);
            match files.open_dir(&mailbox, Path::new(name)) {
                Ok(dir) => {
                    if let Ok(status_of_it) = files.stat_dir(&dir) {
                        access(findings, &at, &status_of_it, status.owner);
                    }
                    if name == TMP {
                        drafts::check(findings, &dir, &at)?;
                    }
                }
                Err(cause) if is_missing(&cause) => {}
                Err(cause) => {
                    is_whole &= name == TMP;
                    let advice = "deliveries here fail; put a directory of the mailbox's owner \
                                  in its place, and what it had into that";
                    let what = format!("is no directory that can be opened: {cause}");
                    findings.tell(&at, Fault::damage(what, advice));
                }
            }
        }
        if !is_whole {
            return Ok(());
        }
        match Folder::open(files, root, path) {
            Ok(folder) => messages::check(findings, &folder, path),
            // It has just been removed.
            Err(_) if files.open_dir(root, path).is_err() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn check_missing(
        &self,
        findings: &mut Findings<'_>,
        mailbox: &Dir,
        status: &Status,
        location: &Location,
    ) {
        let path = &*location.path;
        let (files, root) = (findings.files, findings.root);
        let missing = || -> Vec<&str> {
            let is_gone = |name: &&str| {
                files.stat(mailbox, Path::new(name)).is_err_and(|cause| is_missing(&cause))
            };
            [TMP, NEW, CUR].into_iter().filter(is_gone).collect()
        };
        let absent = once_made(status, missing, Vec::is_empty);
        if absent.is_empty() || files.open_dir(root, path).is_err() {
            return;
        }
        let made = (findings.repair == Repair::Yes).then(|| {
            if process::user() != status.owner {
                return Err(format!("only user {}, its owner, can make it his", status.owner));
            }
            self.directories.forget(root.path(), path);
            let made = self.directories.open_or_make(files, root, location, Whose::Anyones);
            made.map(drop).map_err(|error| error.to_string())
        });
        for name in absent {
            let doing = "make it".to_owned();
            let remedy = match &made {
                None => Remedy::Possible(doing),
                Some(Ok(())) => Remedy::Done(doing),
                Some(Err(cause)) => Remedy::Failed { doing, cause: cause.clone() },
            };
            let fault = if name == TMP {
                Fault::stray("is missing", "the next delivery makes it")
            } else {
                Fault::damage(
                    "is missing",
                    "the next delivery makes it; if there was mail in it, look in a backup",
                )
            };
            findings.report(&path.join(name), fault, remedy);
        }
    }

    /// A directory that is no Maildir: of interest where one has begun to be.
    fn check_other(&self, findings: &mut Findings<'_>, path: &Path) {
        let components: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        let name = components.and_then(|components| self.template.mailbox(&components));
        let is_ours = name.is_some_and(|name| name.as_str() != LOST_AND_FOUND);
        let Ok(dir) = findings.files.open_dir(findings.root, path) else { return };
        let Ok(status) = findings.files.stat_dir(&dir) else { return };
        let has_more = || match findings.files.read_dir(&dir, 2) {
            Ok(names) => names.iter().any(|name| name != TMP),
            Err(_) => true,
        };
        if is_ours && !once_made(&status, has_more, |has_more| *has_more) {
            findings.tell(
                path,
                Fault::stray(
                    "is a mailbox that was not made to its end",
                    "the next delivery completes it; if none is to come, rmdir it",
                ),
            );
        }
    }
}

/// What a look at a mailbox's directory gives, once that is as it should be or nobody
/// can be just making it.
fn once_made<T>(status: &Status, look: impl Fn() -> T, is_right: impl Fn(&T) -> bool) -> T {
    let mut seen = look();
    for _ in 0..PAUSES_MAX {
        if is_right(&seen) || now() - status.written > BEING_MADE_SECONDS {
            break;
        }
        thread::sleep(PAUSE);
        seen = look();
    }
    seen
}

/// Files of ours in the root that a crash may have left.
fn check_root(findings: &mut Findings<'_>) -> Result<(), ReadError> {
    let (files, root) = (findings.files, findings.root);
    let names = files
        .read_dir(root, usize::MAX)
        .map_err(|cause| failed("read the store's root", root.path(), cause))?;
    for name in names {
        let is_ours = name.as_encoded_bytes().starts_with(marker::NAME.as_bytes());
        if !is_ours || name == marker::NAME || name == lost::NAME {
            continue;
        }
        let path = Path::new(&name);
        let Ok(status) = files.stat(root, path) else { continue };
        if status.kind == Kind::Directory && remove::is_remainder(path) {
            remainder(findings, path);
        } else if status.kind == Kind::File && drafts::is_unused(&status) {
            let advice = "it was never finished, and nothing needs it";
            let fault = Fault::stray("is a file of postino's own that a crash left", advice);
            findings.move_away(root, path, path, fault);
        }
    }
    Ok(())
}

fn remainder(findings: &mut Findings<'_>, path: &Path) {
    let place = findings.root.path_to(path);
    findings.tell(
        path,
        Fault::stray(
            "is left of a mailbox whose removal was broken off",
            format!("if nothing of it is wanted: rm -r '{}'", place.display()),
        ),
    );
}

/// Whether a mailbox's owner can use a directory of it.
fn access(findings: &mut Findings<'_>, path: &Path, status: &Status, owner: u32) {
    if status.owner != owner {
        findings.tell(
            path,
            Fault::damage(
                format!("belongs to user {}, but its mailbox to user {owner}", status.owner),
                format!("chown {owner} it"),
            ),
        );
    } else if status.mode & OWNER_USES != OWNER_USES {
        findings.tell(
            path,
            Fault::damage(
                format!("cannot be used by its owner: its mode is {:04o}", status.mode),
                "chmod u+rwx it",
            ),
        );
    }
}

fn is_marker(text: &[u8]) -> bool {
    text.split(|octet| *octet == b'\n').next() == Some(marker::FORMAT.as_bytes())
}

fn now() -> i64 {
    i64::try_from(Timestamp::now_utc().since_epoch.as_secs()).unwrap_or(i64::MAX)
}
