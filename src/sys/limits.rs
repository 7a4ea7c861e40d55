//! Resource limits, and the signals that go with them.
//!
//! Lives here: the number of descriptors, SIGPIPE and SIGXFSZ.
//! May not: decide what a limit means for the server.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Raises the limit of open descriptors to the hard limit; says what it is then.
pub fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it can't be raised, what there is holds.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Has writing to a closed pipe, or beyond the file size limit, fail with an
/// error in place of a signal that ends the process.
pub fn ignore_write_signals() -> io::Result<()> {
    // Rust's start-up code ignores SIGPIPE already; we do not build on it.
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        ignore(signal)?;
    }
    Ok(())
}

#[allow(unsafe_code, reason = "signal dispositions are libc's")]
fn ignore(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: SIG_IGN runs no code of ours; the signal numbers are valid.
    let previous = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if previous == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{ignore_write_signals, raise_descriptors};

    #[test]
    fn the_limit_of_descriptors_becomes_the_hard_limit() {
        let raised = raise_descriptors();
        assert!(raised > 0);
        assert_eq!(raised, raise_descriptors());
    }

    #[test]
    fn write_signals_can_be_ignored() {
        ignore_write_signals().unwrap();
    }
}
