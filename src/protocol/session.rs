//! One session: its states and what each event does in them.
//!
//! | state | LHLO | MAIL | RCPT | DATA | RSET | left when |
//! |---|---|---|---|---|---|---|
//! | Ready, no LHLO yet | Ready | 503 | 503 | 503 | stays | LHLO |
//! | Ready | stays | Envelope | 503 | 503 | stays | MAIL |
//! | Envelope | Ready | 503 | stays | Data; 503 if no RCPT stands | Ready | DATA, RSET, LHLO |
//! | Data | octets of the message | | | | | CRLF . CRLF |
//! | Spooling | input waits | | | | | last part spooled: Delivering |
//! | Delivering | input waits, in order | | | | | last reply made: Ready |
//! | Closed | nothing is taken | | | | | never |
//!
//! MAIL and DATA are carried out once the owner has admitted them.
//!
//! Lives here: the states (RFC 2033, RFC 5321 section 4.1.4), when input has to
//! wait, results and their replies, the end of the session; below, in `commands`,
//! what each command does, in `data` the message and its way to the spool.
//! May not: parse arguments, decode data, order replies; the modules beside it do.
//! Holds: each accepted RCPT gets one reply after the data, in RCPT order; what
//! is kept for a client is bounded, whatever it sends.

mod commands;
mod data;

use super::{
    BareNewlines,
    command::Command,
    line::{Line, LineBuffer},
    output::Output,
    replies::Replies,
};
use crate::{
    reply::{self, Reply},
    transaction::{Envelope, ForwardPath, Recipient, RecipientIndex, Transaction, TransactionId},
};
use data::{Data, Last};
use std::{collections::VecDeque, sync::Arc};

/// Recipients of a session that are looked up at the same time.
const LOOK_UPS_MAX: usize = 128;
/// Syntax and sequence errors since the last good transaction that are answered
/// as such.
const ERRORS_MAX: u32 = 20;

/// What a session is told once; replaced as a whole at a reload, for later
/// sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in greeting and LHLO reply.
    pub hostname: String,
    /// Octets a message may have; 0 is no limit (SIZE, RFC 1870).
    pub message_size_max: u64,
    /// Recipients a transaction may have.
    pub recipients_max: u32,
    /// What becomes of bare newlines.
    pub bare_newlines: BareNewlines,
}

/// What the session wants done.
#[derive(Debug)]
pub enum Event {
    /// May a transaction begin? Answered by [`Session::admitted`], before
    /// anything else.
    AdmitMail {
        /// MAIL's SIZE parameter.
        declared_size: Option<u64>,
    },
    /// May this transaction's data begin? Answered by [`Session::admitted`],
    /// before anything else.
    AdmitData {
        /// MAIL's SIZE parameter.
        declared_size: Option<u64>,
    },
    /// Look this recipient up. Answered by [`Session::recipient_checked`], in
    /// any order.
    CheckRecipient {
        /// Which RCPT.
        index: RecipientIndex,
        /// Its argument.
        path: ForwardPath,
        /// MAIL's SIZE parameter.
        declared_size: Option<u64>,
    },
    /// Append this part of the message to the transaction's spool. Answered by
    /// [`Session::spooled`]; until then there is no other.
    Spool(Vec<u8>),
    /// The message that is being spooled is refused: its spool can go.
    SpoolDropped,
    /// Deliver; each recipient is answered once, in any order, by
    /// [`Session::recipient_delivered`].
    Deliver(Box<Transaction>),
    /// A transaction that had begun is over without a delivery (RSET, LHLO,
    /// refused data): what was kept for its recipients can go.
    TransactionDropped,
    /// Write the output, then close; after a 421 with the care that it takes to
    /// arrive.
    Close,
}

/// What the session waits for, so that its owner can time it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A command; nothing of it has come.
    Idle,
    /// The rest of a command line.
    Line,
    /// The message.
    Data,
    /// Look-ups or deliveries: the client waits for us.
    Working,
    /// Nothing more: it is over.
    Closed,
}

/// One LMTP session.
///
/// The owner calls [`Session::receive`] with what came from the client and takes
/// events by [`Session::next_event`] until there is none; writes
/// [`Session::output`] and says how much went by [`Session::output_sent`]; hands
/// in results as they come, and after each of these steps looks for events and
/// output again. Octets that `receive` did not take are given to it again, first,
/// after the next result or output progress.
pub struct Session {
    settings: Arc<Settings>,
    id: TransactionId,
    state: State,
    /// What LHLO said.
    client_name: Option<Arc<str>>,
    next_recipient: RecipientIndex,
    line: LineBuffer,
    lines_taken: u32,
    /// A command that has come whole and is not carried out yet.
    waiting: Option<Box<Command>>,
    /// A command that the owner has to admit.
    admitting: Option<Admitting>,
    errors: u32,
    /// The last MAIL was refused: the RCPTs and DATA pipelined behind it are no
    /// errors of their own.
    mail_refused: bool,
    /// The last reply told of a delivery: the client has not spoken since.
    just_delivered: bool,
    /// The server shuts down: one more command, and this is over.
    leaving: bool,
    output: Output,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Ready,
    Envelope(Box<Collecting>),
    Data(Box<Data>),
    Spooling(Box<Last>),
    Delivering(Box<Delivering>),
    Closed,
}

#[derive(Debug)]
enum Admitting {
    Mail(Box<Envelope>),
    Data,
}

/// Recipients being collected.
#[derive(Debug)]
struct Collecting {
    envelope: Envelope,
    /// RCPTs whose replies wait for a look-up, or for one before them.
    replies: Replies<Recipient>,
    /// A RCPT was refused: DATA without a recipient is no error of its own.
    rcpt_refused: bool,
}

impl Collecting {
    /// Whether the transaction could have no further recipient, if all that
    /// are looked up are accepted.
    fn is_full(&self, settings: &Settings) -> bool {
        let recipients_max = usize::try_from(settings.recipients_max).unwrap_or(usize::MAX);
        self.envelope.recipients.len() + self.replies.len() >= recipients_max
    }
}

#[derive(Debug)]
struct Delivering {
    replies: Replies<()>,
    any_stored: bool,
}

impl Session {
    /// A session whose output is the greeting. `number` names it in the log.
    pub fn new(settings: Arc<Settings>, number: u32) -> Self {
        let mut session = Self::silent(settings, number);
        session.reply_named(&reply::GREETING);
        session
    }

    /// A session that is over: its output is this 421 in place of the greeting
    /// (RFC 5321 section 3.8).
    pub fn refused(settings: Arc<Settings>, number: u32, reply: &Reply) -> Self {
        let mut session = Self::silent(settings, number);
        session.close_with(reply);
        session
    }

    fn silent(settings: Arc<Settings>, number: u32) -> Self {
        Self {
            settings,
            id: TransactionId { session: number, transaction: 0 },
            state: State::Ready,
            client_name: None,
            next_recipient: RecipientIndex(0),
            line: LineBuffer::default(),
            lines_taken: 0,
            waiting: None,
            admitting: None,
            errors: 0,
            mail_refused: false,
            just_delivered: false,
            leaving: false,
            output: Output::default(),
            events: VecDeque::new(),
        }
    }

    /// Takes octets from the client; says how many. Fewer than given: the
    /// session waits for a result, or for its output being read.
    pub fn receive(&mut self, octets: &[u8]) -> usize {
        let mut taken = 0;
        while self.takes_input() {
            let Some(rest) = octets.get(taken..).filter(|rest| !rest.is_empty()) else { break };
            taken += match self.state {
                State::Data(_) => self.receive_data(rest),
                _ => self.receive_line(rest),
            };
        }
        taken
    }

    /// Whether the MAIL or DATA of the last event may be carried out; the reply
    /// where not.
    pub fn admitted(&mut self, result: Result<(), Reply>) {
        match self.admitting.take() {
            Some(Admitting::Mail(envelope)) => self.mail_admitted(*envelope, result),
            Some(Admitting::Data) => self.data_admitted(result),
            None => {}
        }
    }

    /// The look-up's result: a 2yz accepts the recipient.
    pub fn recipient_checked(&mut self, index: RecipientIndex, reply: Reply) {
        if let State::Envelope(collecting) = &mut self.state {
            collecting.replies.answer(index, reply);
            self.send_checked();
            self.resume();
        }
    }

    /// The delivery's result. The finished prefix goes out at once. Results of
    /// recipients that do not wait are ignored.
    pub fn recipient_delivered(&mut self, index: RecipientIndex, reply: Reply) {
        if let State::Delivering(delivering) = &mut self.state {
            delivering.replies.answer(index, reply);
            self.send_delivered();
        }
    }

    /// Ends the session with this 421, answered at once; where recipients wait
    /// for their delivery, each gets `451 4.3.2` before it: the owner has made
    /// sure that none of them is stored.
    pub fn close_with(&mut self, reply: &Reply) {
        self.give_up_spooling(&reply::NOT_DELIVERED_SHUTDOWN);
        if let State::Delivering(delivering) = &mut self.state {
            delivering.replies.answer_rest(&reply::NOT_DELIVERED_SHUTDOWN);
            self.send_delivered();
        }
        if !matches!(self.state, State::Closed) {
            self.reply_named(reply);
            self.close();
        }
    }

    /// The server shuts down. A session in which deliveries are in progress, or
    /// whose last reply told of one, answers what it has to and then one more
    /// command, with 221 where it is QUIT and 421 where it is another, so that a
    /// client never takes a stored message for a refused one; any other ends
    /// with `421 4.3.2` now. Says whether it goes on for that while.
    pub fn shut_down(&mut self) -> bool {
        match self.state {
            State::Closed => false,
            State::Spooling(_) | State::Delivering(_) => self.leave(),
            State::Ready if self.just_delivered => self.leave(),
            _ => {
                self.close_with(&reply::SHUTTING_DOWN);
                false
            }
        }
    }

    fn leave(&mut self) -> bool {
        self.leaving = true;
        true
    }

    /// The next thing to do.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        event
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        self.output.octets()
    }

    /// So many octets of the output were written.
    pub fn output_sent(&mut self, octets: usize) {
        self.output.sent(octets);
        self.resume();
    }

    /// Whether [`Session::receive`] would take octets now.
    pub fn takes_input(&self) -> bool {
        self.output.has_room()
            && self.waiting.is_none()
            && self.admitting.is_none()
            && match &self.state {
                State::Ready | State::Envelope(_) => true,
                State::Data(data) => !data.has_to_wait(),
                State::Spooling(_) | State::Delivering(_) | State::Closed => false,
            }
    }

    /// How many command lines have come whole; it wraps. A line that is being
    /// received is another one where this differs.
    pub fn lines_taken(&self) -> u32 {
        self.lines_taken
    }

    /// What it waits for.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Closed => Phase::Closed,
            State::Delivering(_) | State::Spooling(_) => Phase::Working,
            State::Data(data) if data.has_to_wait() => Phase::Working,
            State::Data(_) => Phase::Data,
            State::Envelope(collecting) if !collecting.replies.is_empty() => Phase::Working,
            _ if self.waiting.is_some() || self.admitting.is_some() => Phase::Working,
            State::Ready | State::Envelope(_) if self.line.is_empty() => Phase::Idle,
            State::Ready | State::Envelope(_) => Phase::Line,
        }
    }

    /// Whether a transaction has begun (MAIL accepted) and its data has not
    /// ended.
    pub fn in_transaction(&self) -> bool {
        matches!(self.state, State::Envelope(_) | State::Data(_))
    }

    /// Its name now, for the log.
    pub fn id(&self) -> TransactionId {
        self.id
    }
}

// Input.
impl Session {
    /// Takes octets up to the end of a command line.
    fn receive_line(&mut self, input: &[u8]) -> usize {
        let (taken, line) = self.line.take(input);
        if let Some(line) = line {
            self.lines_taken = self.lines_taken.wrapping_add(1);
            let command = match line {
                Line::Whole(line) => Command::parse(&line),
                Line::TooLong => Command::Wrong(reply::LINE_TOO_LONG),
            };
            if self.has_to_wait(&command) {
                self.waiting = Some(Box::new(command));
            } else {
                self.carry_out(command);
            }
        }
        taken
    }

    /// Carries out the command that waits, where it need not wait any longer.
    fn resume(&mut self) {
        let may_go_on = self.waiting.as_deref().is_some_and(|command| !self.has_to_wait(command));
        if may_go_on && let Some(command) = self.waiting.take() {
            self.carry_out(*command);
        }
    }

    /// Whether a command cannot be carried out now. Behind RCPTs that are being
    /// looked up only further look-ups can begin: replies go out in the commands'
    /// order.
    fn has_to_wait(&self, command: &Command) -> bool {
        if !self.output.has_room() {
            return true;
        }
        let State::Envelope(collecting) = &self.state else { return false };
        let is_look_up = matches!(command, Command::Rcpt(Ok(_)))
            && collecting.replies.len() < LOOK_UPS_MAX
            && !collecting.is_full(&self.settings);
        !collecting.replies.is_empty() && !is_look_up
    }
}

// Results.
impl Session {
    /// Sends the RCPT replies that are due, and notes the recipients.
    fn send_checked(&mut self) {
        while let State::Envelope(collecting) = &mut self.state
            && let Some((recipient, reply)) = collecting.replies.next()
        {
            if reply.is_positive() {
                collecting.envelope.recipients.push(recipient);
            } else {
                collecting.rcpt_refused = true;
            }
            self.reply_tagged(&reply);
        }
    }

    /// Sends the replies that are due; after the last the session is ready.
    fn send_delivered(&mut self) {
        while let State::Delivering(delivering) = &mut self.state {
            let Some(((), reply)) = delivering.replies.next() else {
                if delivering.replies.is_empty() {
                    if delivering.any_stored {
                        self.errors = 0;
                    }
                    self.just_delivered = true;
                    self.state = State::Ready;
                }
                return;
            };
            delivering.any_stored |= reply.is_positive();
            self.reply_tagged(&reply);
        }
    }

    fn drop_transaction(&mut self) {
        self.mail_refused = false;
        if let State::Envelope(_) = self.state {
            self.state = State::Ready;
            self.events.push_back(Event::TransactionDropped);
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.line = LineBuffer::default();
        self.waiting = None;
        self.admitting = None;
        self.events.push_back(Event::Close);
    }
}

// Output.
impl Session {
    fn reply(&mut self, reply: &Reply) {
        self.output.reply(reply, None);
    }

    /// A reply to RCPT or DATA, or after the data: a refusal ends with the
    /// transaction's name.
    fn reply_tagged(&mut self, reply: &Reply) {
        self.output.reply(reply, Some(self.id));
    }

    /// A reply whose text begins with our name (RFC 5321 section 4.2): 220, 221
    /// and 421.
    fn reply_named(&mut self, reply: &Reply) {
        self.reply_tagged(&reply.named(&self.settings.hostname));
    }

    /// A syntax or sequence error.
    fn error(&mut self, reply: &Reply) {
        if self.is_one_error_more() {
            self.reply(reply);
        }
    }

    fn error_tagged(&mut self, reply: &Reply) {
        if self.is_one_error_more() {
            self.reply_tagged(reply);
        }
    }

    /// Counts an error; the one too many is answered here, and ends the session.
    fn is_one_error_more(&mut self) -> bool {
        self.errors += 1;
        let is_too_many = self.errors > ERRORS_MAX;
        if is_too_many {
            self.close_with(&reply::TOO_MANY_ERRORS);
        }
        !is_too_many
    }
}
