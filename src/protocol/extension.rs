//! Service extensions: the keywords of LHLO's reply, and the parameters that
//! they allow.
//!
//! Lives here: PIPELINING (RFC 2920), ENHANCEDSTATUSCODES (RFC 2034), 8BITMIME
//! (RFC 6152), SIZE (RFC 1870); ORCPT (RFC 3461 section 4.2), which some clients
//! send unasked.
//! May not: judge a value against a limit; the session does.

use super::Settings;
use crate::{
    reply::{self, Reply},
    transaction::BodyType,
};

/// Octets of an ORCPT value (RFC 3461 section 4.2).
const ORCPT_OCTETS_MAX: usize = 500;
/// Digits of a SIZE value (RFC 1870 section 4).
const SIZE_DIGITS_MAX: usize = 20;

/// The lines of LHLO's reply below the first, which is the server's name.
pub(super) fn keywords(settings: &Settings) -> [String; 4] {
    [
        "PIPELINING".to_owned(),
        "ENHANCEDSTATUSCODES".to_owned(),
        "8BITMIME".to_owned(),
        format!("SIZE {}", settings.message_size_max),
    ]
}

/// MAIL's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    pub(super) size: Option<u64>,
    pub(super) body_type: Option<BodyType>,
}

/// RCPT's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RcptParameters {
    /// The original recipient, as sent.
    pub(super) original_recipient: Option<String>,
}

pub(super) fn mail_parameters(text: &[u8]) -> Result<MailParameters, Reply> {
    let mut parameters = MailParameters::default();
    for parameter in split(text)? {
        match parameter {
            ("SIZE", value) => set_once(&mut parameters.size, size(value)?)?,
            ("BODY", value) => set_once(&mut parameters.body_type, body_type(value)?)?,
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(parameters)
}

pub(super) fn rcpt_parameters(text: &[u8]) -> Result<RcptParameters, Reply> {
    let mut parameters = RcptParameters::default();
    for parameter in split(text)? {
        match parameter {
            ("ORCPT", value) => {
                set_once(&mut parameters.original_recipient, original_recipient(value)?)?;
            }
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(parameters)
}

/// Splits into keywords, those that we know in upper case, others empty, and
/// values (RFC 5321 section 4.1.2, esmtp-param).
fn split(text: &[u8]) -> Result<impl Iterator<Item = (&'static str, Option<&str>)>, Reply> {
    const KNOWN: [&str; 3] = ["SIZE", "BODY", "ORCPT"];
    if !text.is_empty() && !text.starts_with(b" ") && !text.starts_with(b"\t") {
        return Err(reply::BAD_PARAMETER);
    }
    let text = std::str::from_utf8(text).map_err(|_| reply::BAD_PARAMETER)?;
    let words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let parameters = words.map(|word| match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    });
    // The syntax of all of them before the meaning of any.
    if !parameters.clone().all(is_parameter) {
        return Err(reply::BAD_PARAMETER);
    }
    Ok(parameters.map(|(keyword, value)| {
        let known = KNOWN.iter().find(|known| keyword.eq_ignore_ascii_case(known));
        (known.copied().unwrap_or_default(), value)
    }))
}

fn is_parameter((keyword, value): (&str, Option<&str>)) -> bool {
    let is_keyword = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let is_value = |value: &str| {
        !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=')
    };
    is_keyword && value.is_none_or(is_value)
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Reply> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(reply::REPEATED_PARAMETER),
    }
}

fn size(value: Option<&str>) -> Result<u64, Reply> {
    let digits = value.ok_or(reply::BAD_PARAMETER)?;
    if digits.len() > SIZE_DIGITS_MAX || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(reply::BAD_PARAMETER);
    }
    // What is beyond the type is beyond any limit.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body_type(value: Option<&str>) -> Result<BodyType, Reply> {
    match value {
        Some(value) if value.eq_ignore_ascii_case("7BIT") => Ok(BodyType::SevenBit),
        Some(value) if value.eq_ignore_ascii_case("8BITMIME") => Ok(BodyType::EightBitMime),
        _ => Err(reply::BAD_PARAMETER),
    }
}

/// `type;xtext` (RFC 3461 sections 4 and 4.2).
fn original_recipient(value: Option<&str>) -> Result<String, Reply> {
    let value = value.ok_or(reply::BAD_PARAMETER)?;
    let (address_type, address) = value.split_once(';').ok_or(reply::BAD_PARAMETER)?;
    let is_type = !address_type.is_empty()
        && address_type.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if value.len() > ORCPT_OCTETS_MAX || !is_type || !is_xtext(address) {
        return Err(reply::BAD_PARAMETER);
    }
    Ok(value.to_owned())
}

/// Printable ASCII, in which `+XX` (upper-case hexadecimal) stands for an octet
/// that is printable ASCII or a blank (RFC 3461 section 4.4).
fn is_xtext(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => {
                let (Some(high), Some(low)) = (octets.next(), octets.next()) else { return false };
                let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low)) else {
                    return false;
                };
                if !matches!(high * 16 + low, 32..=126) {
                    return false;
                }
            }
            b'=' => return false,
            33..=126 => {}
            _ => return false,
        }
    }
    !text.is_empty()
}

fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}
