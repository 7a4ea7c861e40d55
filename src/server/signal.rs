//! Signals, as octets in sockets that the loop waits for.
//!
//! Lives here: SIGTERM and SIGINT, which end the server, and SIGHUP, which
//! has it reload.
//! May not: do anything in a signal handler but write one octet.

use mio::{Interest, Registry, Token, net::UnixStream};
use signal_hook::{
    SigId,
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::{pipe, unregister},
};
use std::{
    io::{self, Read},
    os::unix::net::UnixStream as Stream,
};

/// Signals of one meaning.
pub(super) struct Signals {
    arrived: UnixStream,
    registered: Vec<SigId>,
}

impl Signals {
    /// Those that end the server.
    pub(super) fn ending() -> io::Result<Self> {
        Self::of(&[SIGTERM, SIGINT])
    }

    /// Those at which it reloads.
    pub(super) fn reloading() -> io::Result<Self> {
        Self::of(&[SIGHUP])
    }

    fn of(signals: &[i32]) -> io::Result<Self> {
        let (arrived, handler) = Stream::pair()?;
        arrived.set_nonblocking(true)?;
        let mut this = Self { arrived: UnixStream::from_std(arrived), registered: Vec::new() };
        for signal in signals {
            this.registered.push(pipe::register(*signal, handler.try_clone()?)?);
        }
        Ok(this)
    }

    /// Has `registry` report arrivals under `token`.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.arrived, token, Interest::READABLE)
    }

    /// How many have come since the last call.
    pub(super) fn take(&mut self) -> usize {
        let mut count = 0;
        let mut octets = [0; 64];
        while let Ok(more @ 1..) = self.arrived.read(&mut octets) {
            count += more;
        }
        count
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}
