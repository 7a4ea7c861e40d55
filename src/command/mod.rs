//! The commands, one file each.
//!
//! Lives here: from the command line to the command, and to the exit code.
//! May not: do a command's work.

/// Prints a line on standard error; nobody may be there to read it.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod accounts;
mod arguments;
mod check_config;
#[cfg(feature = "tools")]
mod deliver;
mod descriptors;
mod exit;
mod inetd;
mod init;
#[cfg(feature = "tools")]
mod names;
mod serve;
#[cfg(feature = "tools")]
mod tools;

use crate::{
    config::{
        effective::{Role, Sources},
        flags::Flags,
    },
    stores::Stores,
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
    main_with(Stores::built_in())
}

/// Runs the program with these stores, so that a program of one's own has
/// postino's command line and a store that postino does not bring:
///
/// ```no_run
/// use postino::stores::{Built, Options, StoreUrlError, Stores, Url};
/// # struct MyStore;
/// # impl MyStore { fn at(_: &str) -> Self { Self } }
/// # impl postino_store::MailStore for MyStore {
/// #     fn deliver(&self, _: &postino_store::Delivery)
/// #         -> Result<postino_store::DeliveryId, postino_store::DeliveryError> { unimplemented!() }
/// # }
/// fn open(url: &Url<'_>, _: &Options) -> Result<Built, StoreUrlError> {
///     Ok(Built { store: std::sync::Arc::new(MyStore::at(url.path)), directory: None })
/// }
///
/// fn main() -> std::process::ExitCode {
///     postino::main_with(Stores::built_in().with("mine", open))
/// }
/// ```
pub fn main_with(stores: Stores) -> ExitCode {
    let exit = match arguments::parse(env::args_os()) {
        Ok(Parsed::Run(command)) => run(*command, stores),
        Ok(Parsed::Print(text)) => ended(io::stdout().lock().write_all(text.as_bytes())),
        // An MTA has run this one; it is to try again.
        #[cfg(feature = "tools")]
        Err(complaint) if env::args_os().nth(1).is_some_and(|word| word == "deliver") => {
            deliver::refuse(&complaint)
        }
        Err(complaint) => {
            complain!("{complaint}");
            Exit::Usage
        }
    };
    exit.into()
}

fn run(command: Command, stores: Stores) -> Exit {
    match command {
        Command::Init(arguments) => init::run(&arguments, &stores),
        Command::Serve(flags) => serve::run(&sources(Role::Serve, flags, stores)),
        Command::Inetd(flags) => inetd::run(&sources(Role::Inetd, flags, stores)),
        #[cfg(feature = "tools")]
        Command::Tool(tool) => tool.run(&stores),
        #[cfg(feature = "tools")]
        Command::Deliver(names, flags) => {
            deliver::run(&names, &sources(Role::Deliver, flags, stores))
        }
        Command::CheckConfig(flags) => check_config::run(&sources(Role::Serve, flags, stores)),
    }
}

fn sources(role: Role, mut flags: Flags, stores: Stores) -> Sources {
    Sources { role, stores, file: flags.config.take(), flags: flags.into_given(), users_file: None }
}

/// How a command ends that has printed.
fn ended(result: io::Result<()>) -> Exit {
    printed(result).err().unwrap_or(Exit::Ok)
}

/// What comes of having printed: a reader who went away is none of our business.
fn printed(result: io::Result<()>) -> Result<(), Exit> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain!("cannot write to standard output: {error}");
            Err(Exit::InputOutput)
        }
        _ => Ok(()),
    }
}
