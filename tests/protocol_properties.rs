//! What holds for the session whatever is sent to it, in whatever pieces, and in
//! whatever order its results come.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use postino::{
    protocol::{BareNewlines, Event, Phase, Session, Settings},
    reply::{self, Reply},
    transaction::{Address, ForwardPath, HeaderFilter, ReceivedBody, RecipientIndex, ReversePath},
};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{collections::VecDeque, sync::Arc};

fn settings(bare_newlines: BareNewlines) -> Arc<Settings> {
    Arc::new(Settings {
        hostname: "mx.example.org".to_owned(),
        message_size_max: 1000,
        recipients_max: 5,
        bare_newlines,
    })
}

/// When and in which order results come.
#[derive(Clone, Copy, Debug)]
enum Results {
    AtOnce,
    /// Only once the session takes no more input, the last asked for first.
    Late,
}

/// What a session said and wanted.
#[derive(Debug, Default, PartialEq)]
struct Course {
    output: String,
    events: Vec<String>,
}

enum Question {
    LookUp(RecipientIndex, Reply),
    Delivery(RecipientIndex, Reply),
    Admission,
    Spool(Vec<u8>),
}

/// Runs a session over input that comes in pieces.
fn course(policy: BareNewlines, input: &[u8], pieces: &[usize], results: Results) -> Course {
    let mut session = Session::new(settings(policy), 1);
    let mut course = Course::default();
    let mut questions = Vec::new();
    let mut pieces = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    let (mut unread, mut rest) = (Vec::new(), input);
    loop {
        if unread.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            unread.extend_from_slice(piece);
            rest = later;
        }
        let taken = session.receive(&unread);
        unread.drain(..taken);
        let mut is_quiet = taken == 0;
        while let Some(event) = session.next_event() {
            is_quiet = false;
            note(event, &mut course, &mut questions);
        }
        if matches!(results, Results::AtOnce) || is_quiet {
            while let Some(question) = questions.pop() {
                is_quiet = false;
                match question {
                    Question::LookUp(index, reply) => session.recipient_checked(index, reply),
                    Question::Delivery(index, reply) => session.recipient_delivered(index, reply),
                    Question::Admission => session.admitted(Ok(())),
                    Question::Spool(part) => session.spooled(Ok(part)),
                }
            }
        }
        course.output.push_str(std::str::from_utf8(session.output()).unwrap());
        session.output_sent(session.output().len());
        if is_quiet && (rest.is_empty() || !unread.is_empty()) {
            return course;
        }
    }
}

fn note(event: Event, course: &mut Course, questions: &mut Vec<Question>) {
    course.events.push(match event {
        Event::CheckRecipient { index, path, declared_size } => {
            let is_unknown = path.as_str().starts_with('u');
            let reply = if is_unknown { reply::UNKNOWN_RECIPIENT } else { reply::RECIPIENT_OK };
            questions.push(Question::LookUp(index, reply));
            format!("check {index:?} {path} {declared_size:?}")
        }
        Event::AdmitMail { .. } | Event::AdmitData { .. } => {
            questions.push(Question::Admission);
            format!("{event:?}")
        }
        Event::Spool(part) => {
            let shown = format!("spool {}", part.len());
            questions.push(Question::Spool(part));
            shown
        }
        Event::SpoolDropped => "unspooled".to_owned(),
        Event::Deliver(transaction) => {
            for recipient in &transaction.envelope.recipients {
                let is_full = recipient.path.as_str().starts_with('f');
                let reply = if is_full { reply::MAILBOX_FULL } else { reply::STORED };
                questions.push(Question::Delivery(recipient.index, reply));
            }
            format!("{transaction:?}")
        }
        Event::TransactionDropped => "dropped".to_owned(),
        Event::Close => "close".to_owned(),
    });
}

/// What clients send, and what they should not.
fn pieces_of_a_session() -> impl Strategy<Value = Vec<u8>> {
    let plausible = select(vec![
        "LHLO client.example\r\n",
        "EHLO client.example\r\n",
        "MAIL FROM:<a@x.example> SIZE=100\r\n",
        "MAIL FROM:<>\r\n",
        "MAIL FROM:<bad>\r\n",
        "RCPT TO:<a@x.example>\r\n",
        "RCPT TO:<b@x.example> ORCPT=rfc822;c\r\n",
        "RCPT TO:<unknown@x.example>\r\n",
        "RCPT TO:<full@x.example>\r\n",
        "RCPT TO:<bad>\r\n",
        "RCPT TO:<a@x.example>\nNOOP\r\n",
        "DATA\r\n",
        "DATA now\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "VRFY a\r\n",
        "WHAT\r\n",
        "Subject: x\r\n",
        "Return-Path: <a@b>\r\n",
        "\r\n",
        ".\r\n",
        "..\r\n",
        ".",
        "\r",
        "\n",
        "text",
        "\n.\n",
    ]);
    let transaction = "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n";
    prop_oneof![
        20 => plausible.prop_map(|text| text.as_bytes().to_vec()),
        5 => Just(transaction.as_bytes().to_vec()),
        5 => Just(b"\r\n.\r\n".to_vec()),
        1 => Just(b"QUIT\r\n".to_vec()),
        1 => vec(any::<u8>(), 0..20),
        1 => (0_usize..5000).prop_map(|length| vec![b'x'; length]),
    ]
}

fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    vec(pieces_of_a_session(), 0..40)
        .prop_map(|pieces| [&b"LHLO client.example\r\n"[..], &pieces.concat()].concat())
}

fn policy() -> impl Strategy<Value = BareNewlines> {
    select(vec![BareNewlines::Reject, BareNewlines::Keep, BareNewlines::Normalise])
}

/// Text in which everything is near that ends lines and messages.
fn tricky_text() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        3 => Just(b"\r\n".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\n".to_vec()),
        4 => Just(b".".to_vec()),
        3 => Just(b"a".to_vec()),
        1 => any::<u8>().prop_map(|octet| vec![octet]),
    ];
    vec(octet, 0..60).prop_map(|octets| octets.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_split_and_any_order_of_results_is_the_same_session(
        input in dialogue(),
        policy in policy(),
        pieces in vec(1_usize..60, 0..60),
    ) {
        let whole = course(policy, &input, &[], Results::AtOnce);
        let octets = vec![1; input.len()];
        prop_assert_eq!(&course(policy, &input, &octets, Results::AtOnce), &whole);
        prop_assert_eq!(&course(policy, &input, &octets, Results::Late), &whole);
        prop_assert_eq!(&course(policy, &input, &pieces, Results::Late), &whole);
        prop_assert_eq!(&course(policy, &input, &[], Results::Late), &whole);
    }

    #[test]
    fn every_reply_is_a_line_as_it_should_be(input in dialogue(), policy in policy()) {
        let course = course(policy, &input, &[], Results::AtOnce);
        prop_assert!(course.output.ends_with("\r\n"));
        for line in course.output.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510 && line.chars().all(|c| matches!(c, ' '..='~')), "{}", line);
            let (code, rest) = line.split_at(3);
            prop_assert!(code.parse::<u16>().is_ok_and(|code| (200..600).contains(&code)), "{}", line);
            let has_code = rest[1..].starts_with(&format!("{}.", &code[..1]));
            let needs_none = rest.starts_with('-')
                || ["220 ", "354 ", "250 SIZE", "500 This is LMTP", "501 Syntax: LHLO"]
                    .iter()
                    .any(|start| line.starts_with(start));
            prop_assert_eq!(has_code, !needs_none, "{}", line);
        }
    }

    #[test]
    fn no_octets_make_it_panic(input in vec(any::<u8>(), 0..2000), policy in policy()) {
        course(policy, &input, &[], Results::Late);
        let data = b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n";
        course(policy, &[&data[..], &input].concat(), &[], Results::Late);
    }

    #[test]
    fn no_order_of_calls_makes_it_panic(
        pieces in vec((pieces_of_a_session(), 0_u8..40, 0_u64..8, 0_usize..200), 0..60),
        policy in policy(),
    ) {
        let mut session = Session::new(settings(policy), u32::MAX);
        session.receive(b"LHLO client.example\r\n");
        for (octets, call, index, count) in pieces {
            let index = RecipientIndex(index);
            match call {
                0..5 => session.recipient_checked(index, reply::RECIPIENT_OK),
                5..8 => session.recipient_checked(index, reply::UNKNOWN_RECIPIENT),
                8..12 => session.recipient_delivered(index, reply::STORED),
                12..15 => session.output_sent(count),
                15 => session.close_with(&reply::TIMED_OUT),
                16 => drop(session.shut_down()),
                17..20 => drop(session.next_event()),
                20..23 => session.admitted(Ok(())),
                23 => session.admitted(Err(reply::OUT_OF_MEMORY)),
                24 => session.spooled(Ok(Vec::new())),
                25 => session.spooled(Err(reply::STORAGE_FULL)),
                26 => drop(session.spool_kept()),
                _ => drop(session.receive(&octets)),
            }
            if session.phase() == Phase::Closed {
                prop_assert!(!session.takes_input() && session.receive(b"NOOP\r\n") == 0);
            }
        }
    }

    #[test]
    fn unstuffing_inverts_stuffing(text in tricky_text(), policy in policy()) {
        // Without a header nothing is dropped.
        let mut body = [b"\r\n", &text[..]].concat();
        if !body.ends_with(b"\r\n") {
            body.extend_from_slice(b"\r\n");
        }
        let mut stuffed = Vec::new();
        for (at, &octet) in body.iter().enumerate() {
            if octet == b'.' && body[..at].ends_with(b"\r\n") {
                stuffed.push(b'.');
            }
            stuffed.push(octet);
        }
        stuffed.extend_from_slice(b".\r\n");
        let (delivered, output) = delivered(policy, &stuffed);
        let is_bare = is_bare(&body);
        let is_refused = policy == BareNewlines::Reject && is_bare;
        let expected = if is_refused { "554 5.6.0 " } else { "250 2.0.0 " };
        prop_assert!(output.starts_with(expected), "{}", output);
        match policy {
            BareNewlines::Reject if is_bare => prop_assert_eq!(delivered, None),
            BareNewlines::Normalise => prop_assert_eq!(delivered, Some((normalised(&body), body.len() as u64, false))),
            _ => prop_assert_eq!(delivered, Some((body.clone(), body.len() as u64, is_bare))),
        }
    }

    #[test]
    fn each_accepted_recipient_gets_one_reply_in_order(
        recipients in vec((any::<bool>(), any::<bool>(), any::<u32>(), any::<u32>()), 1..5),
    ) {
        let mut session = Session::new(settings(BareNewlines::Keep), 1);
        receive(&mut session, b"LHLO c\r\nMAIL FROM:<>\r\n");
        for _ in &recipients {
            session.receive(b"RCPT TO:<a@x.example>\r\n");
        }
        while session.next_event().is_some() {}
        session.output_sent(session.output().len());
        let mut indices: Vec<_> = (0_u64..).zip(&recipients).collect();
        indices.sort_by_key(|(_, (.., key, _))| *key);
        for (index, (is_known, ..)) in &indices {
            let reply = if *is_known { reply::RECIPIENT_OK } else { reply::UNKNOWN_RECIPIENT };
            session.recipient_checked(RecipientIndex(*index), reply);
        }
        let known = recipients.iter().map(|(is_known, ..)| if *is_known { "250" } else { "550" });
        prop_assert_eq!(codes_sent(&mut session), known.collect::<Vec<_>>());
        receive(&mut session, b"DATA\r\n.\r\n");
        session.output_sent(session.output().len());
        indices.sort_by_key(|(_, (.., key))| *key);
        for (index, (_, is_stored, ..)) in &indices {
            let reply = if *is_stored { reply::STORED } else { reply::MAILBOX_FULL };
            session.recipient_delivered(RecipientIndex(*index), reply);
            // Only the first answer counts.
            session.recipient_delivered(RecipientIndex(*index), reply::STORE_TIMEOUT);
        }
        let accepted = recipients.iter().filter(|(is_known, ..)| *is_known);
        let stored = accepted.map(|(_, is_stored, ..)| if *is_stored { "250" } else { "452" });
        prop_assert_eq!(codes_sent(&mut session), stored.collect::<Vec<_>>());
    }

    #[test]
    fn what_parses_as_an_address_prints_as_the_same(
        local in "[a-z0-9!#+=.-]{1,10}|\"([ !#-\\[\\]-~]|\\\\[ -~]){0,10}\"",
        domain in "[a-zA-Z0-9-]{1,8}(\\.[a-z0-9-]{1,8}){0,3}|\\[192\\.0\\.2\\.[0-9]{1,3}\\]|\\[IPv6:[0-9a-f:]{2,12}\\]|\\[[a-z]{1,3}:[!-Z^-~]{1,5}\\]",
        route in "(@[a-z]{1,5}(,@[a-z]{1,5}){0,2}:)?",
        rest in "( [A-Z]{1,5}(=[a-z>]{1,5})?)?",
    ) {
        let text = format!("<{route}{local}@{domain}>{rest}");
        let forward = ForwardPath::parse(text.as_bytes());
        let reverse = ReversePath::parse(text.as_bytes());
        prop_assert_eq!(forward.is_ok(), reverse.is_ok());
        if let (Ok((forward, behind)), Ok((reverse, _))) = (forward, reverse) {
            prop_assert_eq!(behind, rest.as_bytes());
            prop_assert_eq!(forward.as_str(), format!("{local}@{domain}"));
            let printed = forward.to_string();
            prop_assert_eq!(ForwardPath::parse(printed.as_bytes()), Ok((forward, &b""[..])));
            let printed = reverse.to_string();
            prop_assert_eq!(ReversePath::parse(printed.as_bytes()), Ok((reverse, &b""[..])));
        }
    }

    #[test]
    fn quoting_a_local_part_and_reading_it_is_the_same(local in "[ -~]{0,31}") {
        let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
        let all_quoted: String = local.chars().flat_map(|c| ['\\', c]).collect();
        for form in [&quoted, &all_quoted] {
            let address = Address::parse(format!("\"{form}\"@x.example").as_bytes());
            prop_assert_eq!(address.map(|address| address.local_part().to_owned()), Ok(local.clone()));
        }
    }

    #[test]
    fn no_octets_as_a_path_make_it_panic(text in vec(select(b"<>@:,\"\\.[]a1 \0\xff".to_vec()), 0..40)) {
        let _ = ForwardPath::parse(&text);
        let _ = ReversePath::parse(&[b"<", &text[..], b">"].concat());
        let _ = Address::parse(&text);
    }

    #[test]
    fn the_header_filter_is_what_a_look_at_the_whole_message_says(
        lines in vec(header_piece(), 0..20),
        pieces in vec(1_usize..30, 0..40),
    ) {
        let message = lines.concat();
        let (mut filter, mut out) = (HeaderFilter::default(), Vec::new());
        let mut rest = &message[..];
        for piece in pieces.into_iter().chain(std::iter::repeat(usize::MAX)) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            filter.pass(now, &mut out);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let facts = filter.finish(&mut out);
        let (expected, received_count) = filtered(&message);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
        prop_assert_eq!(facts.received_count, received_count);
    }
}

/// The body, octets and bare newlines of the one message delivered, and the
/// replies behind the data.
fn delivered(policy: BareNewlines, data: &[u8]) -> (Option<(Vec<u8>, u64, bool)>, String) {
    let mut session = Session::new(settings(policy), 1);
    receive(&mut session, b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n");
    session.recipient_checked(RecipientIndex(0), reply::RECIPIENT_OK);
    receive(&mut session, b"DATA\r\n");
    session.output_sent(session.output().len());
    assert_eq!(session.receive(data), data.len());
    session.recipient_delivered(RecipientIndex(0), reply::STORED);
    let events: VecDeque<_> = std::iter::from_fn(|| session.next_event()).collect();
    let message = events.into_iter().find_map(|event| match event {
        Event::Deliver(t) => match t.body {
            ReceivedBody::InMemory(body) => Some((body, t.octets_received, t.bare_newlines)),
            ReceivedBody::Spooled(_) => None,
        },
        _ => None,
    });
    (message, String::from_utf8(session.output().to_vec()).unwrap())
}

/// Gives the session octets until it takes no more, and admits what it asks to
/// be admitted; gives the other events.
fn receive(session: &mut Session, octets: &[u8]) -> Vec<Event> {
    let (mut rest, mut others) = (octets, Vec::new());
    loop {
        let taken = session.receive(rest);
        rest = &rest[taken..];
        let mut admitted = false;
        while let Some(event) = session.next_event() {
            match event {
                Event::AdmitMail { .. } | Event::AdmitData { .. } => {
                    session.admitted(Ok(()));
                    admitted = true;
                }
                other => others.push(other),
            }
        }
        if !admitted {
            return others;
        }
    }
}

fn is_bare(body: &[u8]) -> bool {
    normalised(body) != body
}

/// Each CR or LF that is no part of a CRLF as a CRLF.
fn normalised(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'\r' | b'\n' => {
                out.extend_from_slice(b"\r\n");
                if first == b'\r' {
                    rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                }
            }
            octet => out.push(octet),
        }
    }
    out
}

fn codes_sent(session: &mut Session) -> Vec<String> {
    let output = String::from_utf8(session.output().to_vec()).unwrap();
    session.output_sent(session.output().len());
    output.lines().map(|line| line[..3].to_owned()).collect()
}

fn header_piece() -> impl Strategy<Value = Vec<u8>> {
    let name = select(vec!["Return-Path", "return-PATH", "Received", "Subject", "Return-Pat", ""]);
    let colon = select(vec![":", " :", "\t :", "", "\0:"]);
    let value = select(vec![" x", "", ":", "Return-Path:", " Received: y", "\r", "\u{e4}"]);
    let end = select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r\n ", "\r\n\t", "\n ", "\r", ""]);
    prop_oneof![
        10 => (name, colon, value, end).prop_map(|(a, b, c, d)| [a, b, c, d].concat().into_bytes()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => prop_oneof![49_usize..56, 980_usize..990].prop_map(|blanks| {
            [b"Return-Path", &b" ".repeat(blanks)[..], b":\r\n"].concat()
        }),
    ]
}

/// The message without its Return-Path fields, and how many Received fields it
/// has, found line by line.
fn filtered(message: &[u8]) -> (Vec<u8>, u32) {
    const NAME_OCTETS_MAX: usize = 64;
    const RETURN_PATH_OCTETS_MAX: usize = 998;
    let (mut out, mut received_count) = (Vec::new(), 0);
    let (mut in_header, mut is_dropped) = (true, false);
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        in_header &= !matches!(line, b"\n" | b"\r\n");
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if !in_header {
            is_dropped = false;
        } else if !is_folded {
            let colon = line.iter().position(|&octet| octet == b':').unwrap_or(0);
            let name = line[..colon].trim_ascii_end();
            let is_named =
                |wanted: &[u8], octets_max| colon < octets_max && name.eq_ignore_ascii_case(wanted);
            is_dropped = is_named(b"Return-Path", RETURN_PATH_OCTETS_MAX);
            received_count += u32::from(is_named(b"Received", NAME_OCTETS_MAX));
        }
        if !is_dropped {
            out.extend_from_slice(line);
        }
    }
    (out, received_count)
}

#[test]
fn an_answer_that_comes_too_late_is_nobody_elses() {
    let mut session = Session::new(settings(BareNewlines::Reject), 1);
    let events = receive(&mut session, b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\n");
    let [Event::CheckRecipient { index: late, .. }] = events[..] else { panic!("{events:?}") };
    session.recipient_checked(late, reply::LOOKUP_TIMEOUT);
    let events = receive(&mut session, b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\n");
    session.output_sent(session.output().len());
    session.recipient_checked(late, reply::RECIPIENT_OK);
    assert_eq!(session.output(), b"");
    let [Event::TransactionDropped, Event::CheckRecipient { index, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert_ne!(index, late);
    session.recipient_checked(index, reply::UNKNOWN_RECIPIENT);
    assert_eq!(codes_sent(&mut session), ["550"]);
}

#[test]
fn a_session_that_waits_is_small() {
    assert!(size_of::<Session>() <= 256, "{}", size_of::<Session>());
}

#[test]
fn a_client_that_reads_no_replies_is_not_read_from() {
    let mut session = Session::new(settings(BareNewlines::Reject), 1);
    let flood = b"NOOP\r\n".repeat(1024 * 1024 / 6);
    let taken = session.receive(&flood);
    assert!(taken < 64 * 1024, "{taken} octets taken");
    assert!(session.output().len() < 32 * 1024);
    assert_eq!(session.receive(&flood[taken..]), 0);
    session.output_sent(session.output().len());
    assert!(session.receive(&flood[taken..]) > 0);
}

#[test]
fn look_ups_that_are_not_answered_stop_the_input() {
    let settings = Settings {
        recipients_max: u32::MAX,
        ..Arc::unwrap_or_clone(settings(BareNewlines::Reject))
    };
    let mut session = Session::new(Arc::new(settings), 1);
    receive(&mut session, b"LHLO c\r\nMAIL FROM:<>\r\n");
    let flood = b"RCPT TO:<a@x.example>\r\n".repeat(10_000);
    let taken = session.receive(&flood);
    assert!(taken < 4096, "{taken} octets taken");
    assert!(std::iter::from_fn(|| session.next_event()).count() < 200);
    assert_eq!(session.receive(&flood[taken..]), 0);
    session.recipient_checked(RecipientIndex(0), reply::RECIPIENT_OK);
    assert!(session.next_event().is_some() && session.receive(&flood[taken..]) > 0);
}
