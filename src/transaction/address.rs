//! Addresses and paths (RFC 5321 sections 4.1.2 and 4.1.3).
//!
//! Lives here: the full grammar, its size limits, and printing.
//! May not: decide who a recipient is; `users` does.
//! Holds: what parses prints as what parses to the same again.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr};

/// Octets of a local part as given (RFC 5321 section 4.5.3.1.1).
const LOCAL_PART_OCTETS_MAX: usize = 64;
/// Octets of a domain (section 4.5.3.1.2).
const DOMAIN_OCTETS_MAX: usize = 255;
/// Octets of a path, brackets included (section 4.5.3.1.3).
const PATH_OCTETS_MAX: usize = 256;
/// Octets of a label of a domain (RFC 1035 section 2.3.4).
const LABEL_OCTETS_MAX: usize = 63;

/// A mailbox in the RFC's sense: local part and domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without source route and brackets.
    as_given: String,
    /// Where its `@` stands.
    at: usize,
    /// The local part with its quoting undone, where it has any.
    unquoted: Option<String>,
}

/// MAIL's argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`.
    #[default]
    Null,
    /// An address.
    Address(Address),
}

/// RCPT's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in the case given.
    Postmaster(String),
    /// An address.
    Address(Address),
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It does not follow the grammar.
    Syntax,
    /// Local part over 64, domain over 255 or path over 256 octets.
    TooLong,
    /// It has octets beyond ASCII, which SMTPUTF8 would have to announce.
    NotAscii,
}

impl ReversePath {
    /// Reads a path with its brackets at the beginning of `text`; gives it and
    /// what stands behind it.
    pub fn parse(text: &[u8]) -> Result<(Self, &[u8]), AddressError> {
        if let Some(rest) = text.strip_prefix(b"<>") {
            return Ok((Self::Null, rest));
        }
        let (address, rest) = bracketed(text)?;
        Ok((Self::Address(Address::parse(address)?), rest))
    }

    /// The address as given; empty for `<>`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Address(address) => address.as_str(),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl ForwardPath {
    /// Reads a path with its brackets at the beginning of `text`; gives it and
    /// what stands behind it.
    pub fn parse(text: &[u8]) -> Result<(Self, &[u8]), AddressError> {
        let (address, rest) = bracketed(text)?;
        if address.eq_ignore_ascii_case(b"postmaster") {
            let as_given = String::from_utf8_lossy(address).into_owned();
            return Ok((Self::Postmaster(as_given), rest));
        }
        Ok((Self::Address(Address::parse(address)?), rest))
    }

    /// The recipient as given, without brackets and source route.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Postmaster(as_given) => as_given,
            Self::Address(address) => address.as_str(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl Address {
    /// Reads a whole address: `alice@example.org`, `"a b"@[192.0.2.1]`.
    pub fn parse(text: &[u8]) -> Result<Self, AddressError> {
        let text = match std::str::from_utf8(text) {
            Ok(text) if text.is_ascii() => text,
            _ => return Err(AddressError::NotAscii),
        };
        let (unquoted, at) = local_part(text)?;
        let domain =
            text.get(at..).and_then(|rest| rest.strip_prefix('@')).ok_or(AddressError::Syntax)?;
        if at > LOCAL_PART_OCTETS_MAX || domain.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if !is_domain(domain) && !is_address_literal(domain) {
            return Err(AddressError::Syntax);
        }
        Ok(Self { as_given: text.to_owned(), at, unquoted })
    }

    /// An address of any two parts, even such as [`Address::parse`] refuses.
    #[cfg(test)]
    pub(crate) fn unchecked(local_part: &str, domain: &str) -> Self {
        let as_given = format!("{local_part}@{domain}");
        Self { as_given, at: local_part.len(), unquoted: None }
    }

    /// The local part with its quoting undone: `"a"@d` and `a@d` have the same.
    pub fn local_part(&self) -> &str {
        self.unquoted.as_deref().unwrap_or_else(|| self.halves().0)
    }

    /// The domain or address literal as given.
    pub fn domain(&self) -> &str {
        self.halves().1
    }

    /// The address as given, without source route and brackets.
    pub fn as_str(&self) -> &str {
        &self.as_given
    }

    /// What stands before and behind the `@`.
    fn halves(&self) -> (&str, &str) {
        let (local_part, rest) = self.as_given.split_at_checked(self.at).unwrap_or_default();
        (local_part, rest.strip_prefix('@').unwrap_or_default())
    }
}

/// Splits `<...>` off; drops a source route (RFC 5321 appendix C).
fn bracketed(text: &[u8]) -> Result<(&[u8], &[u8]), AddressError> {
    let inner = text.strip_prefix(b"<").ok_or(AddressError::Syntax)?;
    let end = end_of_path(inner).ok_or(AddressError::Syntax)?;
    let (path, rest) = inner.split_at(end);
    if path.len() + 2 > PATH_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    Ok((without_route(path)?, rest.get(1..).unwrap_or_default()))
}

/// Where the closing bracket stands: not in a quoted string.
fn end_of_path(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|&octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

fn without_route(path: &[u8]) -> Result<&[u8], AddressError> {
    if !path.starts_with(b"@") {
        return Ok(path);
    }
    let colon = path.iter().position(|&octet| octet == b':').ok_or(AddressError::Syntax)?;
    let (route, address) = path.split_at(colon);
    let route = std::str::from_utf8(route).map_err(|_| AddressError::NotAscii)?;
    let hops_are_domains = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    if !hops_are_domains {
        return Err(AddressError::Syntax);
    }
    Ok(address.get(1..).unwrap_or_default())
}

/// The local part at the beginning of `text`: its quoting undone, where it is
/// quoted, and how many octets it takes there.
fn local_part(text: &str) -> Result<(Option<String>, usize), AddressError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('@').ok_or(AddressError::Syntax)?;
        let (dot_string, _) = text.split_at(end);
        let atoms_are_atoms = dot_string.split('.').all(is_atom);
        return if atoms_are_atoms { Ok((None, end)) } else { Err(AddressError::Syntax) };
    };
    let mut content = String::new();
    let mut octets = quoted.bytes().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            // Both quotes count.
            b'"' => return Ok((Some(content), at + 2)),
            b'\\' => match octets.next() {
                Some((_, escaped @ 32..=126)) => content.push(char::from(escaped)),
                _ => return Err(AddressError::Syntax),
            },
            32..=126 => content.push(char::from(octet)),
            _ => return Err(AddressError::Syntax),
        }
    }
    Err(AddressError::Syntax)
}

fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet))
}

/// Whether this is a domain: labels of letters, digits and inner hyphens.
pub fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_OCTETS_MAX && text.split('.').all(|label| is_label(label, |_| false))
}

/// Whether LHLO's argument may be this: a domain, with underscores too, as
/// other servers take it.
pub fn is_client_domain(text: &str) -> bool {
    text.len() <= DOMAIN_OCTETS_MAX
        && text.split('.').all(|label| is_label(label, |octet| octet == b'_'))
}

fn is_label(label: &str, also: impl Fn(u8) -> bool) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_OCTETS_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || also(octet))
}

/// Whether this is an address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`, or
/// `[Tag:content]` with a tag that we do not know.
pub fn is_address_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return false;
    };
    if text.len() > DOMAIN_OCTETS_MAX {
        return false;
    }
    match inner.split_once(':') {
        None => inner.parse::<Ipv4Addr>().is_ok(),
        Some((tag, content)) if tag.eq_ignore_ascii_case("IPv6") => {
            content.parse::<Ipv6Addr>().is_ok()
        }
        Some((tag, content)) => {
            let is_content = |octet| matches!(octet, 33..=90 | 94..=126);
            is_label(tag, |_| false) && !content.is_empty() && content.bytes().all(is_content)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError, ForwardPath, ReversePath};

    fn local_part(text: &str) -> Result<String, AddressError> {
        Address::parse(text.as_bytes()).map(|address| address.local_part().to_owned())
    }

    #[test]
    fn all_quoted_forms_of_a_local_part_are_equal() {
        for same in ["a@d", "\"a\"@d", "\"\\a\"@d"] {
            assert_eq!(local_part(same).as_deref(), Ok("a"), "{same}");
        }
        assert_eq!(local_part("\"a\\\"b@c >\"@d").as_deref(), Ok("a\"b@c >"));
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for wrong in [
            "",
            "a",
            "@d",
            "a@",
            ".a@d",
            "a.@d",
            "a..b@d",
            "a b@d",
            "a@d.",
            "a@-d",
            "a@d-",
            "a@d_e",
            "a@[1.2.3]",
            "a@[300.1.1.1]",
            "a@[IPv6:1.2.3.4]",
            "a@[IPv6:::g]",
            "a@[x:]",
            "a@[1.2.3.4",
            "\"a@d",
            "\"a\\",
            "\"a\"b@d",
            "\"a\t\"@d",
            "a\0@d",
            "a@b@c",
        ] {
            assert_eq!(local_part(wrong), Err(AddressError::Syntax), "{wrong:?}");
        }
        assert_eq!(local_part("\u{e4}@d"), Err(AddressError::NotAscii));
        assert_eq!(Address::parse(b"\xff@d"), Err(AddressError::NotAscii));
    }

    #[test]
    fn literals_of_known_and_unknown_kind_are_domains() {
        for right in
            ["a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@[ipv6:::ffff:192.0.2.1]", "a@[X-tag:any!]"]
        {
            assert!(local_part(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_literal_is_no_longer_than_a_domain() {
        assert!(super::is_address_literal(&format!("[x:{}]", "a".repeat(251))));
        assert!(!super::is_address_literal(&format!("[x:{}]", "a".repeat(252))));
    }

    #[test]
    fn source_routes_are_accepted_and_ignored() {
        let (path, rest) = ForwardPath::parse(b"<@a.example,@b.example:u@d> X").unwrap();
        assert_eq!((path.as_str(), rest), ("u@d", &b" X"[..]));
        for wrong in ["<@a.example>", "<@a.example,:u@d>", "<@:u@d>", "<a,@b:u@d>"] {
            assert!(ForwardPath::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_limits_of_5321_section_4_5_3_1_work_and_one_octet_more_is_too_long() {
        let local = "l".repeat(64);
        let labels = format!("{0}.{0}.{0}", "d".repeat(60));
        // 64 + 1 + 182 octets and two brackets, then one label up to 256.
        let path = format!("<{local}@{labels}>");
        assert!(path.len() <= 256 && ReversePath::parse(path.as_bytes()).is_ok());
        let long = format!("<{local}@{labels}.{}>", "e".repeat(256 - path.len() - 1));
        assert_eq!(long.len(), 256);
        assert!(ReversePath::parse(long.as_bytes()).is_ok());
        let longer = format!("<{local}@{labels}.{}>", "e".repeat(256 - path.len()));
        assert_eq!(ReversePath::parse(longer.as_bytes()), Err(AddressError::TooLong));
        assert_eq!(local_part(&format!("l{local}@d")), Err(AddressError::TooLong));
    }

    #[test]
    fn only_the_reverse_path_may_be_null() {
        assert_eq!(ReversePath::parse(b"<>").map(|(path, _)| path), Ok(ReversePath::Null));
        assert_eq!(ForwardPath::parse(b"<>").map(drop), Err(AddressError::Syntax));
    }

    #[test]
    fn postmaster_needs_no_domain_as_a_recipient() {
        let (path, _) = ForwardPath::parse(b"<PostMaster>").unwrap();
        assert_eq!(path, ForwardPath::Postmaster("PostMaster".to_owned()));
        assert!(ReversePath::parse(b"<postmaster>").is_err());
    }
}
