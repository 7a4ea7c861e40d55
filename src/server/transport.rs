//! One client's octets: a TCP or Unix stream socket, whoever opened it.
//!
//! Lives here: reading, writing and half-closing without ever blocking.
//! May not: change the descriptor's flags, which other processes may share
//! (inetd); each call says `MSG_DONTWAIT` instead.

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// A connected stream socket; closed when dropped.
pub(super) struct Transport {
    descriptor: OwnedFd,
}

/// What reading gave.
pub(super) enum Read {
    /// So many octets, at least one.
    Octets(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever more: the client has closed its sending side.
    End,
}

impl Transport {
    /// A transport over a connected stream socket.
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor }
    }

    /// Has `registry` report readiness, at each change of it, under `token`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.descriptor.as_raw_fd()),
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Reads what is there, up to the buffer's size.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        loop {
            match rustix::net::recv(&self.descriptor, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(Read::End),
                Ok((octets, _)) => return Ok(Read::Octets(octets)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Read::Nothing),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what fits now; says how many octets that were.
    pub(super) fn write(&self, octets: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            match rustix::net::send(&self.descriptor, octets, flags) {
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Closes the sending side: the client reads our last octets, then the end.
    pub(super) fn end_output(&self) {
        // It fails only where the client is gone, which reading tells as well.
        let _ = rustix::net::shutdown(&self.descriptor, Shutdown::Write);
    }
}
