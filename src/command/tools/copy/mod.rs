//! `postino copy`: from one store into another, between any two kinds.
//!
//! Lives here: the command; the mailboxes go through [`mailbox`], each message is
//! known by its [`identity`].
//! May not: change the source; store what the target has already.
//! Holds: nothing is kept between two runs and nothing needs to be, so it may be
//! killed at any moment and run again. Of each identity the target gets as many
//! messages as the source has, less those that it had.
//!
//! A signal ends it as a kill does: what is stored is whole, the rest is absent.

mod identity;
mod letter;
mod mailbox;
mod marks;
mod progress;
mod tally;
mod target;
mod trace_lines;

#[cfg(test)]
mod tests;

use super::{
    arguments::Copy,
    lock_wait::unlocked,
    open_store::{self, Opened},
};
use crate::{
    command::{exit::Exit, printed},
    escape,
    stores::Stores,
    sys::limits,
};
use mailbox::Route;
use postino_store::{DeliveryError, IfMissing, MailReader, Mailbox, MailboxName, ReadError};
use progress::{Progress, Screen};
use rustix::process;
use std::{
    io::{self, Write},
    ops::ControlFlow,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};
use tally::Tally;
use target::Target;

/// Threads that read and store.
const THREADS_MAX: usize = 16;

/// Copies; says what came of it.
pub(super) fn run(arguments: &Copy, stores: &Stores) -> Result<Exit, Exit> {
    let began = Instant::now();
    let open = |url| arguments.place(url).open(stores);
    let (from, to) = (open(&arguments.from_store)?, open(&arguments.to_store)?);
    let (source, held) = (from.reader()?, to.reader()?);
    // A file that may not grow is an error, and no end.
    limits::ignore_write_signals().map_err(|error| {
        complain!("cannot ignore SIGXFSZ: {error}; nothing was changed");
        Exit::Internal
    })?;
    limits::raise_descriptors();
    let is_there = tell_apart(&from, &to)?;
    if is_there && !arguments.dry_run && to.as_owners.is_none() {
        check_owner(&to)?;
    }
    let tally = Tally::default();
    let names = names(&from, &arguments.mailboxes, &tally)?;
    check_domains(&arguments.to_store, stores, &names)?;
    if !arguments.dry_run {
        let made = unlocked(to.lock_wait, || to.store.init(&[]))
            .and_then(|()| unlocked(to.lock_wait, || to.store.open()));
        made.map_err(|error| {
            let exit = Exit::of(&error);
            to.failed("", &ReadError::Store(error));
            exit
        })?;
    }
    let target = Target::new(&*to.store, to.as_owners.as_deref(), to.lock_wait);
    let dry_run = arguments.dry_run;
    let held = (is_there || !dry_run).then_some(held);
    copy_all(&Route { source, target: &target, held, dry_run, tally: &tally }, &names, began);
    let stop = tally.take_stop();
    if let Some(error) = &stop {
        let why = escape::visible(error.to_string().as_bytes());
        complain!("{}: {why}; stopped: make room, and run it again", to.shown());
    }
    let mut out = io::stdout().lock();
    let summary = tally.summary(dry_run, began.elapsed());
    printed(writeln!(out, "{summary}").and_then(|()| out.flush()))?;
    Ok(match stop {
        Some(_) => Exit::InputOutput,
        None if tally.failed.get() > 0 => Exit::Failure,
        None => Exit::Ok,
    })
}

/// Says whether the target is there; refuses it where it is the source.
fn tell_apart(from: &Opened, to: &Opened) -> Result<bool, Exit> {
    let (source, target) = (from.reader()?, to.reader()?);
    let source = from.patiently("", || source.identity())?;
    match unlocked(to.lock_wait, || target.identity()) {
        Ok(target) if target == source => {
            complain!(
                "{} and {} are the same store; nothing was changed",
                from.shown(),
                to.shown()
            );
            Err(Exit::Config)
        }
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(to.failed("", &error)),
    }
}

/// Refuses to write as root what is another user's: he could not read it.
fn check_owner(to: &Opened) -> Result<(), Exit> {
    let owner = to.patiently("", || to.reader().map_or(Ok(None), MailReader::owner))?;
    match owner {
        Some(owner @ 1..) if process::geteuid().is_root() => {
            complain!(
                "{} belongs to uid {owner}, who could not read what root writes; run this as \
                 that user, such as by setpriv --reuid={owner} --clear-groups; nothing was changed",
                to.shown()
            );
            Err(Exit::Permission)
        }
        _ => Ok(()),
    }
}

fn is_absent(error: &ReadError) -> bool {
    match error {
        ReadError::Store(DeliveryError::StoreMissing { .. }) => true,
        ReadError::Store(DeliveryError::Io(failure)) => {
            failure.cause.kind() == io::ErrorKind::NotFound
        }
        _ => false,
    }
}

/// The source's mailboxes, those `wanted` if any are.
fn names(from: &Opened, wanted: &[String], tally: &Tally) -> Result<Vec<MailboxName>, Exit> {
    let reader = from.reader()?;
    let (mut names, strays) = from.patiently("", || {
        let (mut names, mut strays) = (Vec::new(), Vec::new());
        reader.mailboxes(&mut |found| {
            match found {
                Ok(name) => names.push(name),
                Err(stray) => strays.push(stray),
            }
            ControlFlow::Continue(())
        })?;
        Ok((names, strays))
    })?;
    if wanted.is_empty() {
        for stray in &strays {
            tally.fail_unread(stray);
        }
    }
    for name in wanted {
        if !names.iter().any(|there| is_called(there, name)) {
            tally.say_failed(&format!("not copied: {name}: {} has no such mailbox", from.url));
        }
    }
    if !wanted.is_empty() {
        names.retain(|there| wanted.iter().any(|name| is_called(there, name)));
    }
    Ok(names)
}

/// Refuses a target in which mailboxes of several domains would be one.
fn check_domains(url: &str, stores: &Stores, names: &[MailboxName]) -> Result<(), Exit> {
    let first = names.first().map(MailboxName::domain);
    if names.iter().all(|name| Some(name.domain()) == first) {
        return Ok(());
    }
    open_store::open(url, stores, true, false).map(drop)
}

/// Whether a mailbox is meant by this: by an account's name its folders are too.
/// Accounts are made with names in lower case.
fn is_called(mailbox: &MailboxName, name: &str) -> bool {
    let (account, folder) = match name.split_once('/') {
        Some((account, folder)) => (account, Some(folder)),
        None => (name, None),
    };
    let is_account = mailbox.account() == account || mailbox.account() == account.to_lowercase();
    is_account && (folder.is_none() || folder == mailbox.folder())
}

/// Copies these mailboxes, several at once.
fn copy_all(route: &Route<'_>, names: &[MailboxName], began: Instant) {
    let Route { target, tally, .. } = route;
    let Some(first) = names.first() else { return };
    let lane = target.store().lane(&Mailbox::new(first.clone(), IfMissing::Create));
    let at_once = (THREADS_MAX / mailbox::hands(&lane)).clamp(1, names.len());
    let next = AtomicUsize::new(0);
    let copy_some = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed))
            && !tally.is_stopped()
        {
            route.copy(name);
        }
    };
    let of = OnceLock::new();
    let progress = || Progress {
        messages: tally.done.get(),
        octets: tally.done_octets.get(),
        of: of.get().copied(),
        took: began.elapsed(),
    };
    thread::scope(|scope| {
        // Where a thread cannot be had the others do its work, or no line is drawn.
        if Screen::is_terminal() {
            let draw = || tally.screen.draw(progress);
            let _ = thread::Builder::new().spawn_scoped(scope, draw);
            let count = || count(route.source, names, &of, &tally.screen);
            let _ = thread::Builder::new().spawn_scoped(scope, count);
        }
        thread::scope(|scope| {
            for _ in 1..at_once {
                let _ = thread::Builder::new().spawn_scoped(scope, copy_some);
            }
            copy_some();
        });
        tally.screen.end();
    });
}

/// Counts what is to be gone through, for the time that is left.
fn count(
    source: &dyn MailReader,
    names: &[MailboxName],
    of: &OnceLock<(u64, u64)>,
    screen: &Screen,
) {
    let (mut messages, mut octets) = (0, 0);
    for name in names {
        if screen.has_ended() {
            return;
        }
        let contents = source.contents(name).unwrap_or_default();
        messages += contents.messages;
        octets += contents.octets;
    }
    let _ = of.set((messages, octets));
}
