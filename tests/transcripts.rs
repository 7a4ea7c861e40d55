//! Dialogues with the session, one rule of the RFCs a file, named after it.
//!
//! Each file in `tests/transcripts` begins with the rule as a comment, then
//! options, then steps:
//!
//! ```text
//! # RFC ... section ...: the rule
//! ! size=1000 recipients=3 bare=keep   limits, and the bare-newline policy
//! ! fresh                              greeting and LHLO are the file's business
//! ! refused                            there are too many connections
//! ! data_to=a@x.example,b@x.example    begin behind the 354 of such a transaction
//! ! look_ups=manual deliveries=manual  the file answers by itself, and so with
//!                                      admissions=manual and spool=manual
//! C: MAIL FROM:<>        a line from the client; CRLF is added
//! C> a\r\n\t\0\x80\\     octets from the client; nothing is added
//! S: 250 2.1.0 Sender ok the next line to the client
//! E: check a@x.example   the next event: check PATH [size=n], deliver PATH..., dropped, close,
//!                        admit MAIL [size=n], admit DATA [size=n], spool OCTETS, unspooled
//! R: a@x.example stored  the answer for a recipient: accepted, unknown, stored, full,
//!                        timeout, or `code x.y text`; `a@x.example#2`: his second RCPT;
//!                        for MAIL, DATA and SPOOL: taken, or such a code
//! A: shut_down           or close_with (421 4.4.2): what the owner does
//! B: body\r\n            (a part of) the body of the next message delivered
//! T: octets=5            a fact of it: octets, bare, sender, size, body, client, id, orcpt,
//!                        received, message_id, queue_id
//! ```
//!
//! `{ab*3}` in a text stands for `ababab`, `S*20:` for twenty such lines. Where
//! the file does not answer by itself, each look-up is answered `accepted`, but
//! `unknown` where the address begins so; each delivery `stored`, but `full`;
//! their events are not shown then. What comes out has to be known before the
//! next `R:` or `A:`, and at the end: a line or event too many is a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use postino::{
    protocol::{BareNewlines, Event, Session, Settings},
    reply::{self, Reply},
    transaction::{ForwardPath, ReceivedBody, RecipientIndex, Transaction},
};
use std::{collections::VecDeque, fs, mem, path::Path, sync::Arc};

const RANDOM_SPLITS: u64 = 16;
/// Fewer: some were lost, and the tests would tell of nothing.
const TRANSCRIPTS_MIN: usize = 150;

#[test]
fn whole_input_at_once() {
    for_each_transcript(|transcript| transcript.run("at once", || usize::MAX, true));
}

#[test]
fn an_octet_at_a_time() {
    for_each_transcript(|transcript| transcript.run("an octet at a time", || 1, false));
}

#[test]
fn random_splits() {
    for_each_transcript(|transcript| {
        (1..=RANDOM_SPLITS).try_for_each(|seed| {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let piece = move || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random % 16).unwrap() + 1
            };
            transcript.run(&format!("split at random, seed {seed}"), piece, true)
        })
    });
}

#[test]
fn each_transcript_names_its_rule() {
    for_each_transcript(|transcript| {
        let rule = transcript.text.lines().next().and_then(|line| line.strip_prefix("# RFC "));
        match rule.and_then(|rule| rule.split_once(": ")) {
            Some((source, _)) if source.contains("section") => Ok(()),
            _ => Err(format!("{}:1: no rule", transcript.name)),
        }
    });
}

fn for_each_transcript(check: impl Fn(&Transcript) -> Result<(), String>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let results: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            check(&Transcript { name, text: fs::read_to_string(&path).unwrap() })
        })
        .collect();
    assert!(results.len() >= TRANSCRIPTS_MIN, "only {} transcripts found", results.len());
    let mut failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    failures.sort();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

struct Transcript {
    name: String,
    text: String,
}

/// A line of a transcript: its number, what it is, and the rest.
struct Step<'a> {
    number: usize,
    kind: &'a str,
    text: &'a str,
}

impl Transcript {
    /// Runs it. `piece` says how many octets are given to the session next;
    /// `merged`: with all that the client sends until somebody else acts.
    fn run(
        &self,
        mode: &str,
        mut piece: impl FnMut() -> usize,
        merged: bool,
    ) -> Result<(), String> {
        let (options, steps) = self.steps();
        let mut run = Run::new(&options);
        for (at, step) in steps.iter().enumerate() {
            let is_first = at == 0 || acts(&steps[at - 1]);
            let until = match merged {
                true if is_first => {
                    steps[at..].iter().position(acts).map_or(steps.len(), |n| at + n)
                }
                true => at,
                false => at + 1,
            };
            let input: Vec<u8> = steps[at..until].iter().flat_map(from_client).collect();
            run.feed(&input, &mut piece);
            let result = run.step(step);
            result.map_err(|what| format!("{}:{}: {mode}: {what}", self.name, step.number))?;
        }
        run.nothing_left().map_err(|what| format!("{}: {mode}: at the end: {what}", self.name))
    }

    fn steps(&self) -> (Vec<(&str, &str)>, Vec<Step<'_>>) {
        let (mut options, mut steps) = (Vec::new(), Vec::new());
        for (at, line) in self.text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
            if kind == "!" {
                options.extend(text.split(' ').map(|o| o.split_once('=').unwrap_or((o, ""))));
            } else {
                steps.push(Step { number: at + 1, kind, text });
            }
        }
        (options, steps)
    }
}

/// Whether somebody else than the client does something.
fn acts(step: &Step) -> bool {
    matches!(step.kind, "R:" | "A:")
}

fn from_client(step: &Step) -> Vec<u8> {
    match step.kind {
        "C:" => [&expanded(step.text)[..], b"\r\n"].concat(),
        "C>" => octets(step.text),
        _ => Vec::new(),
    }
}

/// `{ab*3}` repeated.
fn expanded(text: &str) -> Vec<u8> {
    let repeated = |from: usize| {
        let inner = &text[from + 1..from + text[from..].find('}')?];
        let (what, count) = inner.rsplit_once('*')?;
        Some((what.repeat(count.parse().ok()?), from + inner.len() + 2))
    };
    match text.find('{').and_then(|from| Some((from, repeated(from)?))) {
        Some((from, (what, to))) => {
            [&text.as_bytes()[..from], what.as_bytes(), &expanded(&text[to..])].concat()
        }
        None => text.as_bytes().to_vec(),
    }
}

/// The same with escapes.
fn octets(text: &str) -> Vec<u8> {
    let text = expanded(text);
    let (mut out, mut rest) = (Vec::new(), text.iter().copied());
    while let Some(octet) = rest.next() {
        out.push(match octet {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("unknown escape {other:?}"),
            },
            octet => octet,
        });
    }
    out
}

/// One run of a transcript.
struct Run {
    session: Session,
    looks_up: bool,
    delivers: bool,
    admits: bool,
    spools: bool,
    output: Vec<u8>,
    events: VecDeque<String>,
    /// Recipients that wait for an answer.
    waiting: Vec<(String, RecipientIndex, Wants)>,
    unread: Vec<u8>,
    /// What went to the spool of the message that comes.
    spool: Vec<u8>,
    /// The part that waits for an answer.
    part: Vec<u8>,
    delivered: VecDeque<(Transaction, Vec<u8>)>,
    message: Option<(Transaction, Vec<u8>)>,
    body_checked: usize,
    /// The client has spoken since a message was looked at.
    is_next_message: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Wants {
    LookUp,
    Delivery,
    Admission,
    Spool,
}

/// The word of a file's answer to an admission or to the spool.
const TAKEN: &str = "taken";

impl Run {
    fn new(options: &[(&str, &str)]) -> Self {
        let option = |name| options.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        let settings = Settings {
            hostname: "mx.example.org".to_owned(),
            message_size_max: option("size").map_or(0, |size| size.parse().unwrap()),
            recipients_max: option("recipients").map_or(1000, |count| count.parse().unwrap()),
            bare_newlines: match option("bare") {
                None | Some("reject") => BareNewlines::Reject,
                Some("keep") => BareNewlines::Keep,
                Some("normalise") => BareNewlines::Normalise,
                Some(other) => panic!("no such policy: {other}"),
            },
        };
        let settings = Arc::new(settings);
        let mut run = Self {
            session: match option("refused") {
                None => Session::new(settings, 0x7f3a),
                Some(_) => Session::refused(settings, 0x7f3a, &reply::TOO_MANY_CONNECTIONS),
            },
            looks_up: true,
            delivers: true,
            admits: true,
            spools: true,
            output: Vec::new(),
            events: VecDeque::new(),
            waiting: Vec::new(),
            unread: Vec::new(),
            spool: Vec::new(),
            part: Vec::new(),
            delivered: VecDeque::new(),
            message: None,
            body_checked: 0,
            is_next_message: true,
        };
        run.settle();
        if option("fresh").or(option("refused")).is_none() {
            run.prelude("LHLO client.example\r\n", "250 SIZE");
        }
        if let Some(recipients) = option("data_to") {
            run.prelude("MAIL FROM:<sender@client.example>\r\n", "250");
            for recipient in recipients.split(',') {
                run.prelude(&format!("RCPT TO:<{recipient}>\r\n"), "250");
            }
            run.prelude("DATA\r\n", "354");
        }
        run.looks_up = option("look_ups").is_none();
        run.delivers = option("deliveries").is_none();
        run.admits = option("admissions").is_none();
        run.spools = option("spool").is_none();
        run
    }

    fn prelude(&mut self, line: &str, reply: &str) {
        self.output.clear();
        self.feed(line.as_bytes(), &mut || usize::MAX);
        let output = String::from_utf8(mem::take(&mut self.output)).unwrap();
        assert!(output.lines().last().unwrap().starts_with(reply), "{line}: {output}");
    }

    fn feed(&mut self, input: &[u8], piece: &mut impl FnMut() -> usize) {
        let mut rest = input;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().min(rest.len()));
            self.unread.extend_from_slice(now);
            rest = later;
            self.settle();
        }
    }

    /// Gives the session what it takes, and takes what it gives, until nothing
    /// more happens.
    fn settle(&mut self) {
        loop {
            let taken = self.session.receive(&self.unread);
            self.unread.drain(..taken);
            let mut is_quiet = taken == 0;
            while let Some(event) = self.session.next_event() {
                self.event(event);
                is_quiet = false;
            }
            let count = self.session.output().len();
            self.output.extend_from_slice(self.session.output());
            self.session.output_sent(count);
            if is_quiet && count == 0 {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let with_size = |what: &str, size: Option<u64>| {
            size.map_or(what.to_owned(), |size| format!("{what} size={size}"))
        };
        match event {
            Event::AdmitMail { .. } | Event::AdmitData { .. } if self.admits => {
                self.session.admitted(Ok(()));
            }
            Event::AdmitMail { declared_size } => {
                self.waits("MAIL", Wants::Admission, with_size("admit MAIL", declared_size));
            }
            Event::AdmitData { declared_size } => {
                self.waits("DATA", Wants::Admission, with_size("admit DATA", declared_size));
            }
            Event::Spool(part) => {
                let shown = format!("spool {}", part.len());
                self.part = part;
                if self.spools {
                    self.spooled(Ok(()));
                } else {
                    self.waits("SPOOL", Wants::Spool, shown);
                }
            }
            Event::SpoolDropped => {
                self.spool.clear();
                if !self.spools {
                    self.events.push_back("unspooled".to_owned());
                }
            }
            Event::CheckRecipient { index, path, .. } if self.looks_up => {
                let is_unknown = path.as_str().starts_with("unknown");
                let reply = if is_unknown { "unknown" } else { "accepted" };
                self.session.recipient_checked(index, named_reply(reply));
            }
            Event::CheckRecipient { index, path, declared_size } => {
                self.events
                    .push_back(with_size(&format!("check {}", path.as_str()), declared_size));
                self.waiting.push((path.as_str().to_owned(), index, Wants::LookUp));
            }
            Event::Deliver(transaction) => {
                let recipients = transaction.envelope.recipients.iter();
                let recipients: Vec<_> =
                    recipients.map(|r| (r.index, r.path.as_str().to_owned())).collect();
                let body = match &transaction.body {
                    ReceivedBody::InMemory(octets) => octets.clone(),
                    ReceivedBody::Spooled(octets) => {
                        assert_eq!(*octets, self.spool.len() as u64);
                        mem::take(&mut self.spool)
                    }
                };
                self.delivered.push_back((*transaction, body));
                if self.delivers {
                    for (index, path) in recipients {
                        let reply = if path.starts_with("full") { "full" } else { "stored" };
                        self.session.recipient_delivered(index, named_reply(reply));
                    }
                    return;
                }
                let mut shown = "deliver".to_owned();
                for (index, path) in recipients {
                    shown = format!("{shown} {path}");
                    self.waiting.push((path, index, Wants::Delivery));
                }
                self.events.push_back(shown);
            }
            Event::TransactionDropped => {
                self.spool.clear();
                self.events.push_back("dropped".to_owned());
            }
            Event::Close => self.events.push_back("close".to_owned()),
        }
    }

    fn waits(&mut self, who: &str, wants: Wants, event: String) {
        self.events.push_back(event);
        self.waiting.push((who.to_owned(), RecipientIndex(0), wants));
    }

    fn spooled(&mut self, result: Result<(), Reply>) {
        let part = mem::take(&mut self.part);
        self.session.spooled(result.map(|()| {
            self.spool.extend_from_slice(&part);
            part
        }));
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let text = step.text;
        match step.kind {
            "C:" | "C>" => {
                self.is_next_message = true;
                Ok(())
            }
            "S:" => self.expect_line(text),
            "E:" => match self.events.pop_front() {
                Some(event) if event == text => Ok(()),
                other => Err(format!("expected event {text:?}, got {other:?}")),
            },
            "R:" => {
                self.nothing_left()?;
                self.answer(text)
            }
            "A:" => {
                self.nothing_left()?;
                match text {
                    "shut_down" => drop(self.session.shut_down()),
                    "close_with" => self.session.close_with(&reply::TIMED_OUT),
                    _ => return Err(format!("no such act: {text}")),
                }
                self.settle();
                Ok(())
            }
            "B:" => self.expect_body(&octets(text)),
            "T:" => self.expect_fact(text),
            kind if kind.starts_with("S*") => {
                let count = kind[2..kind.len() - 1].parse().unwrap();
                (0..count).try_for_each(|_: u32| self.expect_line(text))
            }
            kind => Err(format!("no such step: {kind}")),
        }
    }

    fn expect_line(&mut self, text: &str) -> Result<(), String> {
        let text = String::from_utf8(expanded(text)).unwrap();
        let end = self.output.windows(2).position(|two| two == b"\r\n");
        let Some(end) = end else { return Err(format!("expected {text:?}, got nothing")) };
        let line: Vec<u8> = self.output.drain(..end + 2).take(end).collect();
        let line = String::from_utf8_lossy(&line);
        if line == text { Ok(()) } else { Err(format!("expected {text:?}, got {line:?}")) }
    }

    fn answer(&mut self, text: &str) -> Result<(), String> {
        let (recipient, reply) = text.split_once(' ').unwrap();
        let (path, which) = recipient.split_once('#').unwrap_or((recipient, "1"));
        let at = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, (waiting, ..))| waiting == path)
            .nth(which.parse::<usize>().unwrap() - 1)
            .map(|(at, _)| at);
        let Some(at) = at else { return Err(format!("{recipient} waits for nothing")) };
        let (_, index, wants) = self.waiting.remove(at);
        match wants {
            Wants::LookUp => self.session.recipient_checked(index, named_reply(reply)),
            Wants::Delivery => self.session.recipient_delivered(index, named_reply(reply)),
            Wants::Admission if reply == TAKEN => self.session.admitted(Ok(())),
            Wants::Admission => self.session.admitted(Err(named_reply(reply))),
            Wants::Spool if reply == TAKEN => self.spooled(Ok(())),
            Wants::Spool => self.spooled(Err(named_reply(reply))),
        }
        self.settle();
        Ok(())
    }

    fn next_message(&mut self) -> Result<&(Transaction, Vec<u8>), String> {
        if mem::take(&mut self.is_next_message) {
            self.message = self.delivered.pop_front();
            self.body_checked = 0;
        }
        self.message.as_ref().ok_or_else(|| "no message was delivered".to_owned())
    }

    fn expect_body(&mut self, part: &[u8]) -> Result<(), String> {
        let body = self.next_message()?.1.clone();
        let rest = &body[self.body_checked..];
        if !rest.starts_with(part) || (part.is_empty() && !rest.is_empty()) {
            return Err(format!(
                "expected body {:?}, got {:?}",
                String::from_utf8_lossy(part),
                String::from_utf8_lossy(rest)
            ));
        }
        self.body_checked += part.len();
        Ok(())
    }

    fn expect_fact(&mut self, text: &str) -> Result<(), String> {
        let (message, _) = self.next_message()?;
        let shown = |octets: &Option<Vec<u8>>| {
            octets.as_ref().map_or("none".to_owned(), |o| String::from_utf8_lossy(o).into_owned())
        };
        let envelope = &message.envelope;
        let text = String::from_utf8(expanded(text)).unwrap();
        let (name, expected) = text.split_once('=').unwrap();
        let got = match name {
            "octets" => message.octets_received.to_string(),
            "bare" => message.bare_newlines.to_string(),
            "sender" => envelope.reverse_path.to_string(),
            "size" => format!("{:?}", envelope.declared_size),
            "body" => format!("{:?}", envelope.body_type),
            "client" => message.client_name.to_string(),
            "id" => message.id.to_string(),
            "received" => message.header.received_count.to_string(),
            "message_id" => shown(&message.header.message_id),
            "queue_id" => shown(&message.header.queue_id),
            "to" => {
                let paths = envelope.recipients.iter().map(|r| match &r.path {
                    ForwardPath::Postmaster(name) => format!("postmaster:{name}"),
                    ForwardPath::Address(address) => {
                        format!("{}|{}", address.local_part(), address.domain())
                    }
                });
                paths.collect::<Vec<_>>().join(" ")
            }
            "orcpt" => {
                let originals = envelope.recipients.iter().map(|r| r.original.as_deref());
                originals.map(|o| o.unwrap_or("none")).collect::<Vec<_>>().join(" ")
            }
            _ => return Err(format!("no such fact: {name}")),
        };
        if got == expected {
            Ok(())
        } else {
            Err(format!("{name}: expected {expected}, got {got}"))
        }
    }

    /// What nobody asked for: a line, an event, the rest of a body.
    fn nothing_left(&self) -> Result<(), String> {
        if !self.output.is_empty() {
            return Err(format!("unexpected {:?}", String::from_utf8_lossy(&self.output)));
        }
        if !self.events.is_empty() {
            return Err(format!("unexpected events {:?}", self.events));
        }
        match &self.message {
            Some((_, body)) if self.body_checked > 0 && self.body_checked < body.len() => {
                let rest = String::from_utf8_lossy(&body[self.body_checked..]);
                Err(format!("unexpected in the body: {rest:?}"))
            }
            _ => Ok(()),
        }
    }
}

fn named_reply(text: &str) -> Reply {
    match text {
        "accepted" => reply::RECIPIENT_OK,
        "unknown" => reply::UNKNOWN_RECIPIENT,
        "stored" => reply::STORED.with_text("ID stored"),
        "full" => reply::MAILBOX_FULL,
        "timeout" => reply::LOOKUP_TIMEOUT,
        _ => {
            let mut words = text.splitn(3, ' ');
            let code = words.next().unwrap().parse().unwrap();
            let mut codes = words.next().unwrap().split('.').skip(1).map(|n| n.parse().unwrap());
            let (subject, detail) = (codes.next().unwrap(), codes.next().unwrap());
            reply::STORED.with_codes(code, subject, detail).with_text(words.next().unwrap())
        }
    }
}
