//! A store of one's own: each message goes to a program, as other servers' pipe
//! transports do it. `cargo run --example pipe -- serve --store pipe:/PROGRAM --users any`
//!
//! The program is called as `PROGRAM check MAILBOX` (is it there?), `PROGRAM init
//! MAILBOX` (make it) and `PROGRAM deliver MAILBOX` with the message on standard
//! input. It exits with 0 once that is safe, 67: no such mailbox, else: try later.

use postino::stores::{Built, Options, StoreUrlError, Stores, Url};
use postino_store::{
    Delivery, DeliveryError, DeliveryId, IfMissing, MailStore, Mailbox, MailboxName, Timestamp,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
};

const NO_USER: i32 = 67; // EX_NOUSER of sysexits.h
const NAME_OCTETS_MAX: usize = 255; // what programs can be trusted with

/// Pipes messages to a program.
pub struct Pipe {
    program: PathBuf,
}

impl Pipe {
    /// To this program.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    fn start(&self, verb: &str, mailbox: &MailboxName) -> Result<Child, DeliveryError> {
        let mut command = Command::new(&self.program);
        command.process_group(0).arg(verb).arg(mailbox.as_str());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().map_err(|cause| DeliveryError::io("start", &self.program, cause))
    }

    fn end(&self, mut child: Child) -> Result<(), DeliveryError> {
        drop(child.stdin.take()); // the end of the message
        let status = child.wait().map_err(|cause| self.failed(cause))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(NO_USER) => Err(DeliveryError::NoSuchMailbox),
            _ => Err(self.failed(io::Error::other(status.to_string()))),
        }
    }

    fn failed(&self, cause: io::Error) -> DeliveryError {
        DeliveryError::io("have the message taken by", &self.program, cause)
    }
}

impl MailStore for Pipe {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        self.admit(delivery.mailbox(), None)?;
        let mut child = self.start("deliver", delivery.mailbox().name())?;
        let sent = child.stdin.as_mut().map_or(Ok(0), |stdin| {
            stdin.write_all(delivery.header())?;
            io::copy(&mut delivery.message().body().reader(), stdin)
        });
        // The program stores when its input ends: not before the commit may begin,
        // and never half a message; nor may a `cat` do so that it has started.
        let may_end = sent.map_err(|cause| self.failed(cause)).and(delivery.begin_commit());
        if let Err(error) = may_end {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            return Err(error);
        }
        let id = format!("{}.{}", Timestamp::now_utc().since_epoch.as_micros(), child.id());
        self.end(child).map(|()| DeliveryId::new(id))
    }

    fn admit(&self, mailbox: &Mailbox, _size: Option<u64>) -> Result<(), DeliveryError> {
        match mailbox.if_missing() {
            _ if mailbox.name().as_str().len() > NAME_OCTETS_MAX => {
                Err(DeliveryError::UnusableName("it is too long".to_owned()))
            }
            IfMissing::Refuse => self.end(self.start("check", mailbox.name())?),
            IfMissing::Create => Ok(()),
        }
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        mailboxes.iter().try_for_each(|mailbox| self.end(self.start("init", mailbox)?))
    }
}

fn open(url: &Url<'_>, _: &Options) -> Result<Built, StoreUrlError> {
    url.options("pipe", &[])?;
    Ok(Built { store: Arc::new(Pipe::new(url.path)), directory: None })
}

fn main() -> ExitCode {
    postino::main_with(Stores::built_in().with("pipe", open))
}
