//! The one writer of log lines.
//!
//! Lives here: the queue, its thread, and the ways out: standard error and
//! syslog's socket.
//! May not: format a record; lines come finished.

use super::{Target, line};
use ::log::Level;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that wait to be written; beyond these they are dropped and counted.
const QUEUE_LINES_MAX: usize = 4096;
const STACK_OCTETS: usize = 128 * 1024;
const SYSLOG_SOCKET: &str = "/dev/log";

/// Takes finished lines.
pub(super) struct Writer {
    target: Target,
    queue: OnceLock<Sender<Message>>,
    dropped: AtomicU64,
    syslog: Mutex<Option<UnixDatagram>>,
}

enum Message {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(Sender<()>),
}

impl Writer {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            queue: OnceLock::new(),
            dropped: AtomicU64::new(0),
            syslog: Mutex::new(None),
        }
    }

    /// Starts the thread; a second call does nothing.
    pub(super) fn spawn(&'static self) -> io::Result<()> {
        if self.queue.get().is_some() {
            return Ok(());
        }
        let (sender, receiver) = bounded(QUEUE_LINES_MAX);
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK_OCTETS)
            .spawn(move || self.run(&receiver))?;
        let _ = self.queue.set(sender);
        Ok(())
    }

    pub(super) fn finish(&self, wait: Duration) {
        if let Some(queue) = self.queue.get() {
            let (done, written) = bounded(1);
            let deadline = Instant::now() + wait;
            if queue.send_deadline(Message::Flush(done), deadline).is_ok() {
                let _ = written.recv_deadline(deadline);
            }
        }
    }

    fn run(&self, queue: &Receiver<Message>) {
        for message in queue {
            match message {
                Message::Line(line) => self.write_or_count(&line),
                Message::Flush(done) => drop(done.try_send(())),
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let text = format_args!("log: {dropped} lines dropped, its reader is too slow");
                if !self.write(line(self.target, Level::Warn, &text).as_bytes()) {
                    // The count is still to be told.
                    self.dropped.fetch_add(dropped, Ordering::Relaxed);
                }
            }
        }
    }

    fn take(&self, line: &[u8]) {
        let Some(queue) = self.queue.get() else { return self.write_or_count(line) };
        match queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn write_or_count(&self, line: &[u8]) {
        if !self.write(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line where it belongs; says whether that went well.
    fn write(&self, line: &[u8]) -> bool {
        match self.target {
            Target::Stderr | Target::Journal => io::stderr().lock().write_all(line).is_ok(),
            Target::Syslog => self.send_to_syslog(line).is_ok(),
        }
    }

    /// Sends a datagram; over a new socket where syslogd has been restarted.
    fn send_to_syslog(&self, line: &[u8]) -> io::Result<()> {
        let mut socket = self.syslog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*socket
            && open.send(line).is_ok()
        {
            return Ok(());
        }
        *socket = None;
        let fresh = UnixDatagram::unbound()?;
        fresh.set_nonblocking(true)?;
        fresh.connect(SYSLOG_SOCKET)?;
        fresh.send(line)?;
        *socket = Some(fresh);
        Ok(())
    }
}

/// How `env_logger` hands over a line: each in one call.
impl Write for &'static Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
