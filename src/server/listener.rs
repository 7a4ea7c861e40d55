//! Where clients connect.
//!
//! Lives here: binding and accepting, TCP and Unix alike.
//! May not: judge a client; the loop does.

use super::{
    ListenAddress, SocketRights, bind_error::BindError, transport::Transport,
    unix_socket::UnixSocket,
};
use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, sockopt},
};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// An address that is listened on. Dropped, it is closed, and a Unix socket's
/// files are removed.
pub struct Listener {
    socket: Socket,
}

enum Socket {
    Tcp(OwnedFd, SocketAddr),
    Unix(UnixSocket),
}

impl Listener {
    /// Binds and listens.
    pub fn bind(address: &ListenAddress, rights: SocketRights) -> Result<Self, BindError> {
        let socket = match address {
            ListenAddress::Tcp(address) => {
                let fail = |cause: Errno| BindError::tcp(*address, cause);
                let descriptor = bind_tcp(*address).map_err(fail)?;
                let bound = rustix::net::getsockname(&descriptor).map_err(fail)?;
                Socket::Tcp(descriptor, SocketAddr::try_from(bound).map_err(fail)?)
            }
            ListenAddress::Unix(path) => Socket::Unix(UnixSocket::bind(path, rights)?),
        };
        let listener = Self { socket };
        rustix::net::listen(listener.descriptor(), BACKLOG)
            .map_err(|error| BindError::listen(listener.to_string(), error))?;
        Ok(listener)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(descriptor, _) => descriptor.as_fd(),
            Socket::Unix(socket) => socket.descriptor.as_fd(),
        }
    }

    /// Has `registry` report waiting connections under `token`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.descriptor().as_raw_fd()), token, Interest::READABLE)
    }

    /// A descriptor that is good for nothing but to be closed.
    pub(super) fn spare_descriptor(&self) -> Option<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self.descriptor(), 0).ok()
    }

    /// Accepts a connection, if one waits; with the peer's address where it has
    /// one. An error may pass: the next call may succeed.
    pub(super) fn accept(&self) -> Result<Option<(Transport, Option<IpAddr>)>, Errno> {
        let (descriptor, peer) =
            match rustix::net::acceptfrom_with(self.descriptor(), SocketFlags::CLOEXEC) {
                Ok(accepted) => accepted,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error),
            };
        let peer = match &self.socket {
            Socket::Tcp(..) => {
                // Without it a reply could wait for the client's delayed ACK.
                let _ = sockopt::set_tcp_nodelay(&descriptor, true);
                peer.and_then(ip_address)
            }
            Socket::Unix(_) => None,
        };
        Ok(Some((Transport::new(descriptor), peer)))
    }
}

/// The IP address of a peer, an IPv4 address mapped into IPv6 as what it is.
pub(super) fn ip_address(peer: SocketAddrAny) -> Option<IpAddr> {
    SocketAddr::try_from(peer).ok().map(|peer| peer.ip().to_canonical())
}

fn bind_tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of an earlier run that still time out do not hinder this one.
    sockopt::set_socket_reuseaddr(&descriptor, true)?;
    if address.is_ipv6() {
        // `[::]` is IPv6 alone, whatever the system's default: who wants both
        // says both.
        sockopt::set_ipv6_v6only(&descriptor, true)?;
    }
    rustix::net::bind(&descriptor, &address)?;
    Ok(descriptor)
}

/// The address as it is: the real port where the system picked it.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Tcp(_, address) => address.fmt(f),
            Socket::Unix(socket) => write!(f, "unix:{}", socket.path().display()),
        }
    }
}
