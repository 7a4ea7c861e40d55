//! Where to listen.
//!
//! Lives here: `127.0.0.1:2424`, `[::1]:2424`, `unix:/run/postino/lmtp.sock`.
//! May not: look a name up.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// SMTP's port, where LMTP must not be spoken (RFC 2033 section 5).
const SMTP_PORT: u16 = 25;

/// The octets that a Unix socket's address has room for, its final NUL left out.
const UNIX_PATH_OCTETS_MAX: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 has the system pick a free one.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

/// Why a text is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddressError {
    /// Neither form.
    Syntax,
    /// Port 25.
    SmtpPort,
    /// The path has no octet, or more than a socket's address can hold.
    PathLength,
}

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str(
                "neither ADDRESS:PORT (127.0.0.1:2424, [::1]:2424) nor unix:PATH; names are not looked up",
            ),
            Self::SmtpPort => f.write_str(
                "port 25 is SMTP's, LMTP must not be spoken there (RFC 2033 section 5); take another, such as 2424",
            ),
            Self::PathLength => {
                write!(f, "a Unix socket's path has 1 to {UNIX_PATH_OCTETS_MAX} octets")
            }
        }
    }
}

impl std::error::Error for ListenAddressError {}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.len() > UNIX_PATH_OCTETS_MAX || path.contains('\0') {
                return Err(ListenAddressError::PathLength);
            }
            return Ok(Self::Unix(path.into()));
        }
        let address: SocketAddr = text.parse().map_err(|_| ListenAddressError::Syntax)?;
        if address.port() == SMTP_PORT {
            return Err(ListenAddressError::SmtpPort);
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenAddress, ListenAddressError};

    #[test]
    fn port_25_is_refused() {
        for address in ["127.0.0.1:25", "[::]:25"] {
            assert_eq!(address.parse::<ListenAddress>(), Err(ListenAddressError::SmtpPort));
        }
    }

    #[test]
    fn addresses_print_as_they_are_read() {
        for address in ["127.0.0.1:2424", "[::1]:0", "unix:/run/postino/lmtp.sock"] {
            assert_eq!(address.parse::<ListenAddress>().unwrap().to_string(), address);
        }
        for wrong in ["", "2424", "localhost:2424", "127.0.0.1", "unix:"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong:?}");
        }
    }
}
