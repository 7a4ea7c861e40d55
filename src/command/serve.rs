//! `postino serve`: the daemon.
//!
//! Lives here: the order in which it starts, which is a promise: everything is
//! checked, then bound, then rights are given up for good, then the store is
//! opened, and only then there are threads.
//! May not: serve; the event loop does.

use super::{descriptors, exit::Exit};
use crate::{
    config::{Effective, effective::Sources},
    delivery, log as log_thread,
    server::{EventLoop, Listener, Reload},
    sys::{credentials, limits},
    users::Source,
};
use postino_store::{DeliveryError, IfMissing, MailStore, Mailbox, MailboxName, Owner};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

/// Runs until told to stop.
pub(super) fn run(sources: &Sources) -> Exit {
    let mut config = match sources.load() {
        Ok(config) => config,
        Err(errors) => {
            complain!("{errors}");
            return Exit::Config;
        }
    };
    log_thread::start(config.log_target, config.log_level);
    let exit = match start(&mut config) {
        Ok(event_loop) => serve(event_loop),
        Err(exit) => exit,
    };
    log_thread::finish();
    exit
}

fn start(config: &mut Effective) -> Result<EventLoop, Exit> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    // Before anything is bound or made; once more below, as whoever will use it.
    let _ = look_at_spool(config)?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        // An error here drops those that were bound, which undoes them.
        listeners.push(Listener::bind(address, config.socket).map_err(|error| {
            log::error!("{error}");
            Exit::CannotCreate
        })?);
    }
    let descriptors = prepare_process(config)?;
    if let Some(identity) = &config.identity {
        credentials::become_user(identity).map_err(|error| {
            log::error!("cannot become uid {}: {error}", identity.uid);
            Exit::Permission
        })?;
    }
    if let Err(error) = credentials::no_new_privs() {
        log::warn!("cannot set no_new_privs: {error}");
    }
    open_users(config)?;
    warn_of_root(config);
    open_store(config)?;
    open_spool(config)?;
    let limits = config.limits.clone();
    let store = Arc::clone(&config.store);
    let event_loop = EventLoop::new(listeners, config.server.clone(), store, limits);
    let event_loop = event_loop.and_then(|mut event_loop| {
        event_loop.handle_signals(Some(reload(config)))?;
        log_thread::spawn_thread()?;
        watch_users(config);
        Ok(event_loop)
    });
    let event_loop = event_loop.map_err(|error| {
        log::error!("cannot start the event loop: {error}");
        Exit::InputOutput
    })?;
    for listener in event_loop.listeners() {
        log::info!("listening on {listener}");
    }
    log::info!(
        "ready postino {} {} uid={} users={} store={}{} nofile={descriptors} workers={}",
        env!("CARGO_PKG_VERSION"),
        addresses(event_loop.listeners()),
        rustix::process::getuid().as_raw(),
        config.server.users.source,
        config.store_url,
        event_loop.free().map(|free| format!(" free={free}")).unwrap_or_default(),
        config.limits.workers
    );
    Ok(event_loop)
}

fn serve(event_loop: EventLoop) -> Exit {
    match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
        Ok(Ok(())) => {
            log::info!("stopped");
            Exit::Ok
        }
        Ok(Err(error)) => {
            log::error!("the event loop ended: {error}");
            Exit::Internal
        }
        // The panic was logged where it happened.
        Err(_) => Exit::Internal,
    }
}

/// What is the process's own: limits, signals, umask. Says how many descriptors
/// there may be.
pub(super) fn prepare_process(config: &mut Effective) -> Result<u64, Exit> {
    let listeners = config.listen.len();
    let descriptors = descriptors::fit(&mut config.server, &mut config.limits, listeners);
    limits::ignore_write_signals().map_err(|error| {
        log::error!("cannot ignore SIGPIPE and SIGXFSZ: {error}");
        Exit::Internal
    })?;
    credentials::restrict_umask();
    Ok(descriptors)
}

/// Mailboxes that are nobody's are written as who runs the program, which need not
/// be root; so are all in a store that is one user's as a whole.
pub(super) fn warn_of_root(config: &Effective) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (unowned, why) = match &config.server.users.source {
        _ if is_one_users(&*config.store) => {
            ("all mail", format!("the store {} belongs to one user", config.store_url))
        }
        Source::File(file) if !file.has_unowned() => return,
        Source::System(_) => return,
        source => {
            let is_some = matches!(source, Source::File(_));
            let unowned = if is_some { "mail of accounts without a uid" } else { "all mail" };
            let users = config.shown("users");
            (unowned, format!("the mailboxes of users = {users} have no owner"))
        }
    };
    log::warn!("{unowned} is stored as root, since {why}; name whom to be by --user");
}

/// Whether a store is written as one user, whosever a mailbox is.
fn is_one_users(store: &dyn MailStore) -> bool {
    let owner = Owner { uid: 1, gid: 1, groups: Vec::new() };
    MailboxName::new("x").is_ok_and(|name| {
        let mailbox = Mailbox::new(name, IfMissing::Refuse).with_owner(owner);
        store.written_as(&mailbox).is_none()
    })
}

/// Opens the store. One that is not there is no reason to end: every recipient
/// is deferred until it is.
pub(super) fn open_store(config: &Effective) -> Result<(), Exit> {
    match config.store.open() {
        Ok(()) => {
            if let Some(notice) = config.store.notice() {
                log::warn!("{notice}");
            }
            Ok(())
        }
        Err(error @ DeliveryError::StoreMissing { .. }) => {
            log::error!("{error}");
            Ok(())
        }
        Err(error) => {
            log::error!("{}: {error}", config.store_url);
            Err(Exit::of(&error))
        }
    }
}

/// A users file that can be read now has to be readable later too, as whoever
/// the process has become.
pub(super) fn open_users(config: &Effective) -> Result<(), Exit> {
    let Some(file) = config.users_file() else { return Ok(()) };
    file.check_readable().map_err(|error| {
        log::error!("users: {error}");
        Exit::Config
    })
}

/// Has changes of the users file seen from now on.
fn watch_users(config: &Effective) {
    if let Some(file) = config.users_file() {
        file.watch();
    }
}

/// Looks at the spool's directory; gives what an administrator should know of
/// it. One that somebody named has to be usable; the store's own may come later,
/// with the store.
fn look_at_spool(config: &Effective) -> Result<Option<String>, Exit> {
    let limits = &config.limits;
    match delivery::inspect_spool(&*limits.files, &limits.spool_directory) {
        Ok(warning) => Ok(warning),
        Err(error) if config.is_set("spool-dir") => {
            log::error!("spool-dir: {error}");
            Err(match Exit::of(&error) {
                Exit::InputOutput => Exit::CannotCreate,
                exit => exit,
            })
        }
        Err(error) => {
            Ok(Some(format!("{error}; large messages are deferred as long as that is so")))
        }
    }
}

/// Looks at the spool's directory as whoever will use it.
pub(super) fn open_spool(config: &Effective) -> Result<(), Exit> {
    if let Some(warning) = look_at_spool(config)? {
        log::warn!("{warning}");
    }
    Ok(())
}

/// Reads the settings anew; the loop has it run on a thread of its own.
fn reload(config: &Effective) -> Reload {
    let mut sources = config.sources.clone();
    sources.users_file = config.users_file().cloned();
    let in_force = Mutex::new((sources, config.shown.clone()));
    Arc::new(move || {
        // Held over the reading: of two reloads the later one must win.
        let mut in_force = in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let (sources, shown) = &mut *in_force;
        let mut newer = match sources.load() {
            Ok(newer) => newer,
            Err(errors) => {
                for complaint in errors.complaints() {
                    log::error!("reload: {complaint}; the old settings stay");
                }
                if let Some(file) = &sources.users_file {
                    file.reload(None);
                }
                return None;
            }
        };
        for warning in &newer.warnings {
            log::warn!("{warning}");
        }
        for name in newer.needs_restart_for(shown) {
            log::warn!("reload: {name} has changed, which only a restart brings");
        }
        log_thread::set_level(newer.log_level);
        descriptors::fit(&mut newer.server, &mut newer.limits, newer.listen.len());
        if let (Some(rules), Some(file)) = (newer.users_rules.take(), newer.users_file()) {
            file.reload(Some(rules));
        }
        watch_users(&newer);
        log::info!("reloaded; sessions that are open keep their settings");
        sources.users_file = newer.users_file().cloned();
        *shown = newer.shown;
        Some(Box::new(newer.server))
    })
}

fn addresses(listeners: &[Listener]) -> String {
    listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
