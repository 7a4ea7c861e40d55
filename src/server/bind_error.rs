//! Why an address cannot be listened on.
//!
//! Lives here: the error, with what an administrator can do about it.
//! May not: bind.

use rustix::io::Errno;
use std::{fmt, io, net::SocketAddr, path::Path};

/// Why an address cannot be listened on, and what to do.
#[derive(Debug)]
pub struct BindError {
    address: String,
    why: String,
    cause: Option<io::Error>,
}

impl BindError {
    pub(super) fn listen(address: String, cause: Errno) -> Self {
        Self { address, why: "cannot listen".to_owned(), cause: Some(cause.into()) }
    }

    pub(super) fn tcp(address: SocketAddr, cause: Errno) -> Self {
        let why = match cause {
            Errno::ADDRINUSE => {
                "another program listens there; stop it, or take another port (`ss -ltnp` tells which)"
            }
            Errno::ACCESS => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; take a higher one"
            }
            Errno::ADDRNOTAVAIL => "this host has no such address; `ip address` lists those it has",
            Errno::AFNOSUPPORT => "this system has no such protocol (is IPv6 off?)",
            _ => "cannot listen",
        };
        Self { address: address.to_string(), why: why.to_owned(), cause: Some(cause.into()) }
    }

    pub(super) fn unix(path: &Path, doing: &str, cause: io::Error) -> Self {
        let hint = match cause.kind() {
            io::ErrorKind::NotFound => "; its directory must exist",
            io::ErrorKind::PermissionDenied => {
                "; postino needs write permission in its directory, and root or membership for another owner or group"
            }
            _ => "",
        };
        Self {
            address: format!("unix:{}", path.display()),
            why: format!("cannot {doing}{hint}"),
            cause: Some(cause),
        }
    }

    pub(super) fn refused(address: String, why: &str) -> Self {
        Self { address, why: why.to_owned(), cause: None }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.why)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}
