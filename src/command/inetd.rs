//! `postino inetd`: one session with whoever is on descriptors 0 and 1.
//!
//! Lives here: making a socket of what is there, so that the event loop and the
//! session are those of the daemon.
//! May not: print to the client, but for the one line that a wrong configuration
//! or descriptor is worth.

use super::{
    exit::Exit,
    serve::{open_spool, open_store, open_users, prepare_process, warn_of_root},
};
use crate::{
    config::{Effective, effective::Sources},
    log as log_thread, reply,
    server::EventLoop,
    sys::{
        credentials,
        descriptors::{Inherited, Kind},
        names,
    },
};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use std::{
    fs::File,
    io::{self, Read, Write},
    net::IpAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread::{self, JoinHandle},
};

/// Octets copied at once.
const COPY_OCTETS: usize = 64 * 1024;

/// Serves one session.
pub(super) fn run(sources: &Sources) -> Exit {
    // Before anything can print: descriptors 0 to 2 become harmless.
    // Where that fails there is nobody to tell.
    let Ok(inherited) = Inherited::take() else { return Exit::InputOutput };
    let config = sources.load();
    let target = config.as_ref().map_or(log_thread::Target::Syslog, |config| config.log_target);
    let level = config.as_ref().map_or(::log::LevelFilter::Info, |config| config.log_level);
    log_thread::start(target, level);
    let exit = match config {
        Ok(mut config) => serve(inherited, &mut config),
        Err(errors) => {
            for complaint in errors.complaints() {
                log::error!("{complaint}");
            }
            refuse(&inherited, &names::host_name());
            Exit::Config
        }
    };
    log_thread::finish();
    exit
}

fn serve(inherited: Inherited, config: &mut Effective) -> Exit {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let result = prepare_process(config).and_then(|_| {
        if let Some(identity) = &config.identity {
            credentials::become_user(identity).map_err(|error| {
                log::error!("cannot become another user: {error}");
                Exit::Permission
            })?;
        }
        open_users(config)?;
        warn_of_root(config);
        open_store(config)?;
        open_spool(config)
    });
    if let Err(exit) = result {
        refuse(&inherited, &config.server.session.hostname);
        return exit;
    }
    if let Err(error) = credentials::no_new_privs() {
        log::warn!("cannot set no_new_privs: {error}");
    }
    let kind = match inherited.kind() {
        Ok(kind) => kind,
        Err(why) => {
            log::error!("{why}");
            refuse(&inherited, &config.server.session.hostname);
            return Exit::Config;
        }
    };
    match serve_client(inherited, kind, config) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            log::error!("the session ended: {error}");
            Exit::InputOutput
        }
    }
}

fn serve_client(inherited: Inherited, kind: Kind, config: &Effective) -> io::Result<()> {
    let store = Arc::clone(&config.store);
    let mut event_loop =
        EventLoop::new(Vec::new(), config.server.clone(), store, config.limits.clone())?;
    event_loop.handle_signals(None)?;
    log_thread::spawn_thread()?;
    let (socket, peer, writer) = connect(inherited, kind)?;
    event_loop.serve(socket, peer)?;
    let result = event_loop.run();
    // Every octet of the replies is out before the process ends.
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    result
}

/// A socket of what the client is connected by; with the thread that writes to
/// him where that is none.
fn connect(
    Inherited { input, output }: Inherited,
    kind: Kind,
) -> io::Result<(OwnedFd, Option<IpAddr>, Option<JoinHandle<()>>)> {
    let output = match (kind, output) {
        (Kind::Socket(peer), _) => return Ok((input, peer, None)),
        (Kind::Streams, Some(output)) => output,
        (Kind::Streams, None) => return Err(io::ErrorKind::NotConnected.into()),
    };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let incoming = UnixStream::from(theirs);
    let outgoing = incoming.try_clone()?;
    // The reader may wait for a client who never ends; the process does not
    // wait for it.
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        copy(File::from(input), &incoming);
        let _ = rustix::net::shutdown(&incoming, Shutdown::Write);
    })?;
    let writer = thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || copy(outgoing, File::from(output)))?;
    Ok((ours, None, Some(writer)))
}

/// Copies until the end or an error of either side, each of which ends it.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; COPY_OCTETS];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("cannot read from the client: {error}");
                return;
            }
        }
    }
}

/// The one line that a client gets where no session can be.
fn refuse(inherited: &Inherited, hostname: &str) {
    let mut line = Vec::new();
    reply::BAD_CONFIGURATION.named(hostname).write_to(&mut line, None);
    inherited.tell(&line);
}
