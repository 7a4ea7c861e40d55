//! The trace header fields that postino puts before a message.
//!
//! Lives here: Return-Path, Delivered-To and Received, in this order (RFC 5321
//! section 4.4).
//! May not: ask for the time or the peer; the caller says them.
//! Holds: no octet that a client sent ends a line, opens a comment or makes a
//! field that is longer than a line may be.

use super::{
    ForwardPath, ReversePath, TransactionId,
    address::{is_address_literal, is_client_domain},
};
use crate::escape;
use std::{
    io::{self, Write},
    net::IpAddr,
};

/// Octets of the client's name that stand in Received.
const CLIENT_NAME_OCTETS_MAX: usize = 255;
/// What a literal of unknown kind may have in it, and what readers of Received
/// take for a comment, a quoted string or a separator.
const SPECIALS: &str = "()\\\"<>;,";

/// Who handed a message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client, in an LMTP session: its address; none where it is on this host.
    Client(Option<IpAddr>),
    /// Whoever ran `postino deliver`.
    Command,
}

/// What the fields of one recipient's copy say, or those of a copy that several
/// recipients share.
#[derive(Clone, Copy, Debug)]
pub struct TraceFields<'a> {
    /// MAIL's argument.
    pub reverse_path: &'a ReversePath,
    /// RCPT's argument; none where recipients share the copy, which then has no
    /// Delivered-To.
    pub recipient: Option<&'a ForwardPath>,
    /// Whether the transaction has no other recipient: only then Received may
    /// name him (RFC 5321 section 7.2).
    pub sole_recipient: bool,
    /// LHLO's argument, as sent; of no effect where there was no client.
    pub client_name: &'a str,
    /// Who handed the message in.
    pub origin: Origin,
    /// Our name.
    pub hostname: &'a str,
    /// The transaction's name.
    pub id: TransactionId,
    /// The date-time, as RFC 5322 section 3.3 has it.
    pub date: &'a str,
}

impl TraceFields<'_> {
    /// The fields, each line ended by CRLF.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        let _ = write!(out, "Return-Path: {}\r\n", self.reverse_path);
        if let Some(recipient) = self.recipient {
            let _ = write!(out, "Delivered-To: {}\r\n", recipient.as_str());
        }
        let _ = match self.origin {
            Origin::Client(peer) => self.write_client(peer, out),
            Origin::Command => {
                write!(out, "Received: by {} (postino deliver) id {}", self.hostname, self.id)
            }
        };
        let _ = match self.recipient {
            Some(recipient @ ForwardPath::Address(_)) if self.sole_recipient => {
                write!(out, "\r\n\tfor {recipient}; {}\r\n", self.date)
            }
            _ => write!(out, ";\r\n\t{}\r\n", self.date),
        };
    }

    fn write_client(&self, peer: Option<IpAddr>, out: &mut Vec<u8>) -> io::Result<()> {
        write!(out, "Received: from {} ", self.client())?;
        match peer.map(|peer| peer.to_canonical()) {
            None => write!(out, "(local)"),
            Some(IpAddr::V4(address)) => write!(out, "([{address}])"),
            Some(IpAddr::V6(address)) => write!(out, "([IPv6:{address}])"),
        }?;
        write!(out, "\r\n\tby {} with LMTP id {}", self.hostname, self.id)
    }

    /// What the client calls itself, where that can stand in the field; else as
    /// a comment's octets, escaped, behind a name that says so.
    fn client(&self) -> String {
        let name = self.client_name;
        let is_name = is_client_domain(name) || is_address_literal(name);
        if is_name && !name.contains(|c| SPECIALS.contains(c)) {
            return name.to_owned();
        }
        let visible: String = escape::visible(name.as_bytes())
            .chars()
            .map(|c| if c.is_ascii_graphic() && !SPECIALS.contains(c) { c } else { '_' })
            .take(CLIENT_NAME_OCTETS_MAX)
            .collect();
        format!("unknown (LHLO {visible})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, TraceFields};
    use crate::transaction::{ForwardPath, ReversePath, TransactionId};

    fn fields(client_name: &str, peer: Option<&str>, sole_recipient: bool) -> String {
        let (recipient, _) = ForwardPath::parse(b"<@r.example:Al+Ice@Example.org>").unwrap();
        fields_of(Some(&recipient), client_name, peer, sole_recipient)
    }

    fn fields_of(
        recipient: Option<&ForwardPath>,
        client_name: &str,
        peer: Option<&str>,
        sole_recipient: bool,
    ) -> String {
        let (reverse_path, _) = ReversePath::parse(b"<X@y.example>").unwrap();
        let fields = TraceFields {
            reverse_path: &reverse_path,
            recipient,
            sole_recipient,
            client_name,
            origin: Origin::Client(peer.map(|peer| peer.parse().unwrap())),
            hostname: "mx.example.org",
            id: TransactionId { session: 0x7f3a, transaction: 2 },
            date: "Tue, 24 Nov 2026 08:47:49 +0100",
        };
        String::from_utf8(fields.to_octets()).unwrap()
    }

    #[test]
    fn the_fields_are_those_of_5321_section_4_4() {
        assert_eq!(
            fields("client.example", Some("192.0.2.1"), true),
            "Return-Path: <X@y.example>\r\n\
             Delivered-To: Al+Ice@Example.org\r\n\
             Received: from client.example ([192.0.2.1])\r\n\
             \tby mx.example.org with LMTP id 7f3a-2\r\n\
             \tfor <Al+Ice@Example.org>; Tue, 24 Nov 2026 08:47:49 +0100\r\n"
        );
    }

    #[test]
    fn received_names_no_recipient_where_there_are_several() {
        let fields = fields("c", Some("2001:db8::1"), false);
        assert!(!fields.contains("for <"), "{fields}");
        assert!(fields.contains("from c ([IPv6:2001:db8::1])\r\n"), "{fields}");
        assert!(fields.contains("id 7f3a-2;\r\n\tTue, "), "{fields}");
    }

    #[test]
    fn a_copy_that_recipients_share_names_none_of_them() {
        assert_eq!(
            fields_of(None, "c", None, false),
            "Return-Path: <X@y.example>\r\n\
             Received: from c (local)\r\n\
             \tby mx.example.org with LMTP id 7f3a-2;\r\n\
             \tTue, 24 Nov 2026 08:47:49 +0100\r\n"
        );
    }

    #[test]
    fn a_client_on_this_host_is_local() {
        assert!(fields("c", None, true).contains("from c (local)\r\n"));
    }

    #[test]
    fn what_no_client_brought_names_the_command() {
        let (recipient, _) = ForwardPath::parse(b"<a@b.example>").unwrap();
        let mut fields = TraceFields {
            reverse_path: &ReversePath::Null,
            recipient: Some(&recipient),
            sole_recipient: true,
            client_name: "",
            origin: Origin::Command,
            hostname: "mx.example.org",
            id: TransactionId { session: 0x7f3a, transaction: 1 },
            date: "Tue, 24 Nov 2026 08:47:49 +0100",
        };
        assert_eq!(
            String::from_utf8(fields.to_octets()).unwrap(),
            "Return-Path: <>\r\n\
             Delivered-To: a@b.example\r\n\
             Received: by mx.example.org (postino deliver) id 7f3a-1\r\n\
             \tfor <a@b.example>; Tue, 24 Nov 2026 08:47:49 +0100\r\n"
        );
        fields.sole_recipient = false;
        let several = String::from_utf8(fields.to_octets()).unwrap();
        assert!(several.ends_with(" id 7f3a-1;\r\n\tTue, 24 Nov 2026 08:47:49 +0100\r\n"));
    }

    #[test]
    fn a_literal_of_unknown_kind_opens_no_comment() {
        let fields = fields("[x:a(b;c<d]", None, true);
        assert!(fields.contains("from unknown (LHLO [x:a_b_c_d]) (local)\r\n"), "{fields}");
    }

    #[test]
    fn no_client_name_breaks_the_field() {
        let hostile = format!("a) (b\r\nX: y\x1b\u{202e}{}", "\u{e4}".repeat(4000));
        let fields = fields(&hostile, None, true);
        assert!(fields.contains("from unknown (LHLO a"), "{fields}");
        assert!(fields.lines().all(|line| line.len() < 998), "{fields}");
        assert_eq!(fields.matches("\r\n").count(), fields.matches('\n').count());
        assert_eq!(fields.lines().count(), 5, "{fields}");
        assert_eq!(fields.matches('(').count(), 2, "{fields}");
    }
}
