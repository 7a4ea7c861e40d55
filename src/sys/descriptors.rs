//! Descriptors 0 to 2, and what a program finds there.
//!
//! Lives here: moving a client's descriptors out of the way of everything that
//! believes in standard input and output.
//! May not: change the flags of a descriptor that others may share.

use rustix::{
    fs::{CWD, FileType, Mode, OFlags},
    io::fcntl_dupfd_cloexec,
    net::{SocketType, sockopt},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin, stdout},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

/// What a server that inetd starts finds on descriptors 0 and 1.
pub struct Inherited {
    /// Descriptor 0.
    pub input: OwnedFd,
    /// Descriptor 1; none where nothing is open there.
    pub output: Option<OwnedFd>,
}

/// What a client is connected by.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A connected stream socket; with the peer's address where it has one.
    Socket(Option<IpAddr>),
    /// A pipe, a file or a terminal for each direction.
    Streams,
}

/// Whether somebody has opened descriptor 0. Where nobody has, Rust's start-up code
/// puts `/dev/null` there for reading and writing; who means an empty input opens
/// that for reading alone.
#[cfg(feature = "tools")]
pub fn is_stdin_open() -> bool {
    let Ok(found) = rustix::fs::fstat(stdin()) else { return false };
    let is_device = FileType::from_raw_mode(found.st_mode).is_char_device();
    let is_null =
        is_device && rustix::fs::stat("/dev/null").is_ok_and(|null| null.st_rdev == found.st_rdev);
    let is_read_alone = rustix::fs::fcntl_getfl(stdin())
        .is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY);
    !is_null || is_read_alone
}

impl Inherited {
    /// Moves 0 and 1 to descriptors above 2 and puts `/dev/null` on 0 to 2, so
    /// that nothing that is printed by mistake reaches the client.
    pub fn take() -> io::Result<Self> {
        let input = fcntl_dupfd_cloexec(stdin(), 3)?;
        let output = fcntl_dupfd_cloexec(stdout(), 3).ok();
        let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR, Mode::empty())?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        Ok(Self { input, output })
    }

    /// Writes a line to the client, as far as it goes.
    pub fn tell(&self, mut line: &[u8]) {
        let output = self.output.as_ref().unwrap_or(&self.input);
        while !line.is_empty() {
            match rustix::io::write(output, line) {
                Ok(written @ 1..) => line = line.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// Looks at what they are; an error says why no client can be there.
    pub fn kind(&self) -> Result<Kind, &'static str> {
        let Ok(socket_type) = sockopt::socket_type(&self.input) else {
            let is_directory = rustix::fs::fstat(&self.input)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
            return match &self.output {
                _ if is_directory => Err("descriptor 0 is a directory"),
                None => Err("nothing is open on descriptor 1"),
                Some(_) => Ok(Kind::Streams),
            };
        };
        if socket_type != SocketType::STREAM {
            return Err("descriptor 0 is a socket, but no stream socket (inetd: stream)");
        }
        if sockopt::socket_acceptconn(&self.input).unwrap_or(false) {
            return Err("descriptor 0 is a listening socket (inetd: nowait; systemd: Accept=yes)");
        }
        let peer = rustix::net::getpeername(&self.input)
            .map_err(|_| "descriptor 0 is a socket without a peer")?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok(Kind::Socket(peer.map(|peer| peer.ip().to_canonical())))
    }
}
