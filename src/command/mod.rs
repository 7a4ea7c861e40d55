//! The commands, one file each.
//!
//! Lives here: from the command line to the command, and to the exit code.
//! May not: do a command's work.

mod arguments;
mod check_config;
mod descriptors;
mod exit;
mod inetd;
mod init;
mod serve;

use crate::config::{
    Given,
    effective::{Role, Sources},
};
use arguments::{Command, Parsed};
use exit::Exit;
use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

/// Runs the program.
pub fn main() -> ExitCode {
    let exit = match arguments::parse(env::args_os()) {
        Ok(Parsed::Run(command)) => run(*command),
        Ok(Parsed::Print(text)) => printed(io::stdout().lock().write_all(text.as_bytes())),
        Err(complaint) => {
            eprintln!("{complaint}");
            Exit::Usage
        }
    };
    exit.into()
}

fn run(command: Command) -> Exit {
    let sources = |role, file: Option<String>, flags: Given| Sources { role, flags, file };
    match command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Serve(mut flags) => {
            let file = flags.config.take();
            serve::run(&sources(Role::Serve, file, flags.into_given()))
        }
        Command::Inetd(mut flags) => {
            let file = flags.config.take();
            inetd::run(&sources(Role::Inetd, file, flags.into_given()))
        }
        Command::CheckConfig(mut flags) => {
            let file = flags.config.take();
            check_config::run(&sources(Role::Serve, file, flags.into_given()))
        }
    }
}

/// The end of a command that has printed: a reader who went away is none of our
/// business.
fn printed(result: io::Result<()>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            Exit::InputOutput
        }
    }
}
