//! Which peers may connect.
//!
//! Lives here: networks in CIDR form, and whether an address lies in one.
//! May not: know a connection.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network: `127.0.0.0/8`, `2001:db8::/32`; an address alone is a network of
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Not an address, or not a prefix length that fits it.
    Syntax,
    /// The address has bits behind the prefix.
    HostBits,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "no network; write 192.0.2.0/24, 2001:db8::/32 or one address",
            Self::HostBits => {
                "the address has bits behind the prefix; write the network's first address"
            }
        })
    }
}

impl std::error::Error for NetworkError {}

/// An address as the high bits of 128, and how many it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl Network {
    /// Loopback, the default: `127.0.0.0/8` and `::1`.
    pub fn loopback() -> Vec<Self> {
        vec![
            Self { address: std::net::Ipv4Addr::new(127, 0, 0, 0).into(), prefix: 8 },
            Self { address: std::net::Ipv6Addr::LOCALHOST.into(), prefix: 128 },
        ]
    }

    /// Whether the address lies in it. An IPv4 address that comes mapped into
    /// IPv6 is judged as the IPv4 address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((ours, width), (theirs, their_width)) =
            (bits(self.address), bits(address.to_canonical()));
        width == their_width && mask(ours, self.prefix) == mask(theirs, self.prefix)
    }
}

fn mask(bits: u128, prefix: u32) -> u128 {
    bits & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let (all_bits, width) = bits(address);
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Syntax)?
            }
            Some(_) => return Err(NetworkError::Syntax),
            None => width,
        };
        if prefix > width {
            return Err(NetworkError::Syntax);
        }
        if mask(all_bits, prefix) != all_bits {
            return Err(NetworkError::HostBits);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, NetworkError};

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let network: Network = "192.0.2.0/25".parse().unwrap();
        assert!(network.contains("192.0.2.127".parse().unwrap()));
        assert!(network.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!network.contains("192.0.2.128".parse().unwrap()));
        assert!(!network.contains("2001:db8::1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.7".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError::Syntax), "{wrong:?}");
        }
        assert_eq!("10.0.0.1/8".parse::<Network>(), Err(NetworkError::HostBits));
    }
}
