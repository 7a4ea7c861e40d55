//! `postino cat`: a message on standard output.
//!
//! Lives here: the command; the store does the work.
//! May not: change an octet of it.

use super::{arguments::Cat, open_store};
use crate::{
    command::{exit::Exit, printed},
    escape,
    stores::Stores,
};
use postino_store::BodyReader;
use std::io::{self, BufRead, Write};

/// Prints the message.
pub(super) fn run(arguments: &Cat, stores: &Stores) -> Result<Exit, Exit> {
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let mailbox = open_store::mailbox(&arguments.mailbox)?;
    let about = format!("{mailbox} {}", arguments.id);
    let message = opened.patiently(&about, || {
        let found = reader.find(&mailbox, &arguments.id)?;
        reader.open(&mailbox, &found)
    })?;
    let mut body = message.body.reader();
    let mut out = io::stdout().lock();
    loop {
        match copy_piece(&mut body, &mut out) {
            Ok(true) => {}
            Ok(false) => return printed(out.flush()).map(|()| Exit::Ok),
            Err(Stopped::Written(error)) => return printed(Err(error)).map(|()| Exit::Ok),
            Err(Stopped::Read(error)) => {
                let about = escape::visible(about.as_bytes());
                complain!("{about}: {error}; what was printed is not the whole message");
                return Err(Exit::InputOutput);
            }
        }
    }
}

enum Stopped {
    Read(io::Error),
    Written(io::Error),
}

/// Copies what is read at once; says whether there was anything.
fn copy_piece(body: &mut BodyReader<'_>, out: &mut impl Write) -> Result<bool, Stopped> {
    let octets = match body.fill_buf() {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(Stopped::Read(error)),
    };
    out.write_all(octets).map_err(Stopped::Written)?;
    let count = octets.len();
    body.consume(count);
    Ok(count > 0)
}
