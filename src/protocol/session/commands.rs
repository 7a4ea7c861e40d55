//! What each command does.
//!
//! Lives here: the session's transitions but for the end of the data, and what
//! counts as a client's error.
//! May not: decide when a command has to wait; the session has, before.

use super::{Admitting, Collecting, Data, Event, Session, State};
use crate::{
    protocol::{
        command::Command,
        extension::{self, MailParameters, RcptParameters},
        intake::Intake,
        receiving::Decoder,
        replies::Replies,
    },
    reply::{self, Reply},
    transaction::{Envelope, ForwardPath, Recipient, RecipientIndex, ReversePath},
};
use std::{iter, mem};

impl Session {
    pub(super) fn carry_out(&mut self, command: Command) {
        self.just_delivered = false;
        if self.leaving {
            let is_quit = command == Command::Quit;
            let last = if is_quit { reply::BYE } else { reply::SHUTTING_DOWN };
            self.reply_named(&last);
            return self.close();
        }
        match command {
            Command::Lhlo(Ok(client_name)) => self.lhlo(&client_name),
            Command::Lhlo(Err(reply)) | Command::Wrong(reply) => self.error(&reply),
            Command::Mail(parsed) => self.mail(parsed),
            Command::Rcpt(parsed) => self.rcpt(parsed),
            Command::Data(Ok(())) => self.data(),
            Command::Data(Err(reply)) => self.error_tagged(&reply),
            Command::Bdat => self.error_tagged(&reply::NOT_IMPLEMENTED),
            Command::Rset => {
                self.drop_transaction();
                self.reply(&reply::RESET);
            }
            Command::Noop => self.reply(&reply::NOTHING_DONE),
            Command::Help => self.reply(&reply::HELP),
            Command::Vrfy => self.reply(&reply::NOT_VERIFIED),
            Command::Quit => {
                self.reply_named(&reply::BYE);
                self.close();
            }
        }
    }

    fn lhlo(&mut self, client_name: &str) {
        self.drop_transaction();
        self.client_name = Some(client_name.into());
        let keywords = extension::keywords(&self.settings);
        let keywords = keywords.iter().map(String::as_str);
        self.output.lines(250, iter::once(self.settings.hostname.as_str()).chain(keywords));
    }

    fn mail(&mut self, parsed: Result<(ReversePath, MailParameters), Reply>) {
        if !matches!(self.state, State::Ready) {
            return self.error(&reply::NESTED_MAIL);
        }
        self.mail_refused = true;
        if self.client_name.is_none() {
            return self.error(&reply::LHLO_FIRST);
        }
        let (reverse_path, MailParameters { size, body_type }) = match parsed {
            Ok(parsed) => parsed,
            Err(reply) => return self.error(&reply),
        };
        let size_max = self.settings.message_size_max;
        if size_max != 0 && size.is_some_and(|size| size > size_max) {
            return self.reply(&reply::MESSAGE_TOO_BIG);
        }
        self.admitting = Some(Admitting::Mail(Box::new(Envelope {
            reverse_path,
            declared_size: size,
            body_type: body_type.unwrap_or_default(),
            recipients: Vec::new(),
        })));
        self.events.push_back(Event::AdmitMail { declared_size: size });
    }

    pub(super) fn mail_admitted(&mut self, envelope: Envelope, result: Result<(), Reply>) {
        if let Err(reply) = result {
            return self.reply_tagged(&reply);
        }
        self.mail_refused = false;
        self.id.transaction = self.id.transaction.saturating_add(1);
        self.state = State::Envelope(Box::new(Collecting {
            envelope,
            replies: Replies::default(),
            rcpt_refused: false,
        }));
        self.reply(&reply::SENDER_OK);
    }

    fn rcpt(&mut self, parsed: Result<(ForwardPath, RcptParameters), Reply>) {
        let State::Envelope(collecting) = &mut self.state else {
            return self.out_of_place();
        };
        let parsed = match parsed {
            Ok(_) if collecting.is_full(&self.settings) => Err(reply::TOO_MANY_RECIPIENTS),
            parsed => parsed,
        };
        match parsed {
            Ok((path, RcptParameters { original_recipient: original })) => {
                let index = self.next_recipient;
                self.next_recipient = RecipientIndex(index.0 + 1);
                let recipient = Recipient { index, path: path.clone(), original };
                collecting.replies.wait_for(index, recipient);
                let declared_size = collecting.envelope.declared_size;
                self.events.push_back(Event::CheckRecipient { index, path, declared_size });
            }
            // One recipient's fault is no error of the session, which may have
            // others.
            Err(reply) => {
                collecting.rcpt_refused = true;
                self.reply_tagged(&reply);
            }
        }
    }

    fn data(&mut self) {
        let State::Envelope(collecting) = &self.state else {
            return self.out_of_place();
        };
        if !collecting.envelope.recipients.is_empty() {
            let declared_size = collecting.envelope.declared_size;
            self.admitting = Some(Admitting::Data);
            self.events.push_back(Event::AdmitData { declared_size });
        } else if collecting.rcpt_refused {
            self.reply_tagged(&reply::NO_RECIPIENTS);
        } else {
            self.error_tagged(&reply::NO_RECIPIENTS);
        }
    }

    pub(super) fn data_admitted(&mut self, result: Result<(), Reply>) {
        if let Err(reply) = result {
            return self.reply_tagged(&reply);
        }
        match mem::replace(&mut self.state, State::Ready) {
            State::Envelope(collecting) => {
                let settings = &self.settings;
                let intake = Intake::new(settings.bare_newlines, settings.message_size_max);
                let decoder = Decoder::new(intake);
                self.state = State::Data(Box::new(Data::new(collecting.envelope, decoder)));
                self.reply_tagged(&reply::START_DATA);
            }
            other => self.state = other,
        }
    }

    /// RCPT or DATA outside of a transaction.
    fn out_of_place(&mut self) {
        let is_introduced = self.client_name.is_some();
        let reply = if is_introduced { reply::MAIL_FIRST } else { reply::LHLO_FIRST };
        if self.mail_refused {
            self.reply_tagged(&reply);
        } else {
            self.error_tagged(&reply);
        }
    }
}
