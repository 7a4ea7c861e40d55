//! One turn after the other: ready sockets, reports, timers.
//!
//! Lives here: the only thread that reads and writes sockets, and whose turn it
//! is there; below, who is let in, and what happens where memory is full.
//! May not: block; touch a file, a database or a name service; know what a
//! session says.
//! Holds: each connection that has something to do gets one turn before any gets
//! a second.

mod accepting;
mod memory;
mod occasional;

use super::{
    Settings,
    connection::{Connection, Lack, Next, READ_OCTETS, Turn},
    listener::Listener,
    reports::{Report, Reporter, Reports, reports},
    signal::Signals,
    slab::Slab,
    timer::Timers,
    transport::Transport,
};
use crate::delivery::{Answer, Limits, Pool, Ticket};
use accepting::Accepting;
use memory::Shortage;
use mio::{Events, Poll, Token};
use postino_store::MailStore;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Events taken from the system at once; the rest come at the next call.
const EVENTS_MAX: usize = 1024;
/// The end of the time to drain, in which the last replies have to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

const WAKER: Token = Token(usize::MAX);
const ENDING: Token = Token(usize::MAX - 1);
const RELOADING: Token = Token(usize::MAX - 2);
/// Listeners have the tokens from here, in their order; connections those below.
const LISTENERS: usize = usize::MAX / 2;

/// Reads the settings anew; none where the old ones are to stay. Runs on a
/// thread of its own.
pub type Reload = Arc<dyn Fn() -> Option<Box<Settings>> + Send + Sync>;

/// The server's state: all of it belongs to one thread.
pub struct EventLoop {
    poll: Poll,
    reporter: Reporter,
    reports: Reports,
    pool: Pool,
    settings: Arc<Settings>,
    reload: Option<Reload>,
    ending: Option<Signals>,
    reloading: Option<Signals>,
    listeners: Vec<Listener>,
    accepting: Accepting,
    connections: Slab<Connection>,
    /// Connections that have something to do, each once.
    ready: VecDeque<usize>,
    timers: Timers,
    shortage: Shortage,
    buffer: Vec<u8>,
    next_number: u32,
    drain: Option<Drain>,
    /// When to look for threads of the pool that hang; none while it had nothing
    /// to do.
    watch_at: Option<Instant>,
    stops: bool,
}

/// The server shuts down.
struct Drain {
    /// When who still waits is told to try again; until then deliveries in
    /// progress may end.
    tells_at: Option<Instant>,
    /// When the loop ends, whoever is there.
    ends_at: Instant,
}

/// Has a loop on another thread end as at SIGTERM.
#[derive(Clone)]
pub struct Stopper(Reporter);

impl Stopper {
    /// Asks for the end; a second call ends it at once.
    pub fn stop(&self) {
        self.0.report(Report::Stop);
    }
}

impl EventLoop {
    /// A loop over these listeners, each of which is listening. Signals are its
    /// own only after [`EventLoop::handle_signals`].
    pub fn new(
        listeners: Vec<Listener>,
        settings: Settings,
        store: Arc<dyn MailStore>,
        limits: Limits,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (reporter, reports) = reports(mio::Waker::new(poll.registry(), WAKER)?);
        let answers = reporter.clone();
        let workers =
            Pool::new(store, limits, move |answer| answers.report(Report::Answer(answer)));
        for (at, listener) in listeners.iter().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS + at))?;
        }
        let mut event_loop = Self {
            poll,
            reporter,
            reports,
            pool: workers,
            settings: Arc::new(settings),
            reload: None,
            ending: None,
            reloading: None,
            listeners,
            accepting: Accepting::default(),
            connections: Slab::default(),
            ready: VecDeque::new(),
            timers: Timers::default(),
            shortage: Shortage::default(),
            buffer: vec![0; READ_OCTETS],
            next_number: first_number(),
            drain: None,
            watch_at: None,
            stops: false,
        };
        event_loop.keep_reserve();
        Ok(event_loop)
    }

    /// Ends at SIGTERM and SIGINT, reads the settings anew at SIGHUP.
    pub fn handle_signals(&mut self, reload: Option<Reload>) -> io::Result<()> {
        let mut ending = Signals::ending()?;
        ending.register(self.poll.registry(), ENDING)?;
        self.ending = Some(ending);
        if reload.is_some() {
            let mut reloading = Signals::reloading()?;
            reloading.register(self.poll.registry(), RELOADING)?;
            self.reloading = Some(reloading);
            self.reload = reload;
        }
        Ok(())
    }

    /// A handle with which other threads end the loop.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.reporter.clone())
    }

    /// Where it listens, the real ports where the system picked them.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Octets that are free where the store lies, for the log.
    pub fn free(&self) -> Option<impl std::fmt::Display + use<>> {
        self.pool.free()
    }

    /// Serves a client that is connected already, as if it had been accepted.
    /// `socket` is a connected stream socket, whose flags stay as they are;
    /// `peer` its other end's address, where that is not this host.
    pub fn serve(&mut self, socket: OwnedFd, peer: Option<IpAddr>) -> io::Result<()> {
        self.admit(Transport::new(socket), peer, Instant::now())
    }

    /// Turns until there are neither listeners nor connections.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while self.has_more_to_do() {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                self.note(event);
            }
            self.take_reports();
            self.accept();
            self.turn_connections();
            self.relieve();
            self.pass_time();
        }
        Ok(())
    }

    fn has_more_to_do(&self) -> bool {
        let is_idle = self.listeners.is_empty() && self.connections.len() == 0;
        !self.stops && !is_idle
    }

    /// How long nothing will happen, as far as we know.
    fn wait(&self) -> Option<Duration> {
        if !self.ready.is_empty() || self.can_accept() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let until = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now));
        let drain = self.drain.as_ref().map(|drain| drain.tells_at.unwrap_or(drain.ends_at));
        [
            until(drain),
            until(self.accepting.retry_at),
            until(self.shortage.relief_at),
            until(self.watch_at),
            self.timers.wait(now),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn note(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            ENDING => {
                let count = self.ending.as_mut().map_or(0, Signals::take);
                (0..count).for_each(|_| self.stop());
            }
            RELOADING => {
                if self.reloading.as_mut().map_or(0, Signals::take) > 0 {
                    self.begin_reload();
                }
            }
            Token(token) if token >= LISTENERS => {
                self.accepting.is_ready(token - LISTENERS);
            }
            Token(slot) => {
                let Some(connection) = self.connections.get_mut(slot) else { return };
                if connection.is_ready(event) {
                    connection.lost();
                    self.remove(slot);
                } else {
                    self.queue(slot);
                }
            }
        }
    }

    fn take_reports(&mut self) {
        if !self.reports.look() {
            return;
        }
        let now = Instant::now();
        while let Some(report) = self.reports.take() {
            match report {
                Report::Answer(Answer::Checked { ticket, index, result, memory }) => {
                    if let Some(slot) = self.asked(ticket) {
                        self.call(slot, |connection| {
                            connection.checked(index, result, memory, now);
                            Next::Again
                        });
                    }
                }
                Report::Answer(Answer::Delivered { ticket, index, reply }) => {
                    if let Some(slot) = self.asked(ticket) {
                        self.call(slot, |connection| {
                            connection.delivered(index, reply, now);
                            Next::Again
                        });
                    }
                }
                Report::Answer(Answer::Spooled { ticket, id, result }) => {
                    if let Some(slot) = self.asked(ticket) {
                        let memory = Arc::clone(self.pool.memory());
                        self.call(slot, |connection| {
                            connection.spooled(id, result, now, &memory);
                            Next::Again
                        });
                    }
                }
                Report::Answer(Answer::HasMemory) => self.feed(),
                Report::Reloaded(Some(settings)) => self.settings = Arc::from(settings),
                Report::Reloaded(None) => {}
                Report::Stop => self.stop(),
            }
        }
    }

    /// The slot of the connection that asked, if it is there still.
    fn asked(&mut self, ticket: Ticket) -> Option<usize> {
        let (number, slot) = number_and_slot(ticket)?;
        let connection = self.connections.get_mut(slot)?;
        (connection.number == number).then_some(slot)
    }

    /// Has a connection do something, and follows what it says.
    fn call(&mut self, slot: usize, does: impl FnOnce(&mut Connection) -> Next) {
        if let Some(connection) = self.connections.get_mut(slot) {
            let next = guarded(connection, does);
            self.follow(slot, next);
        }
    }

    fn turn_connections(&mut self) {
        let now = Instant::now();
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.is_queued = false;
            let ticket = ticket(connection.number, slot);
            let mut turn = Turn {
                now,
                buffer: &mut self.buffer,
                pool: &self.pool,
                ticket,
                lack: Lack::default(),
            };
            let next = guarded(connection, |connection| connection.turn(&mut turn));
            let lack = turn.lack;
            self.shortage.note(lack, &self.pool, now);
            self.follow(slot, next);
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        while let Some(slot) = self.timers.due(now) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.armed = None;
            let is_due = connection.deadline().is_some_and(|deadline| deadline <= now);
            self.call(
                slot,
                |connection| {
                    if is_due { connection.time_passed(now) } else { Next::Wait }
                },
            );
        }
        if self.accepting.retry_at.is_some_and(|at| at <= now) {
            self.accepting.retry_at = None;
        }
        if self.watch_at.is_none_or(|at| at <= now) {
            self.watch_at = self.pool.watch(now);
        }
        if let Some(drain) = &mut self.drain {
            self.stops |= drain.ends_at <= now;
            if drain.tells_at.is_some_and(|at| at <= now) {
                drain.tells_at = None;
                self.close_all();
            }
        }
    }

    fn follow(&mut self, slot: usize, next: Next) {
        match next {
            Next::Gone => return self.remove(slot),
            Next::Again => self.queue(slot),
            Next::Starve => self.starve(slot),
            Next::Wait => {}
        }
        if let Some(connection) = self.connections.get_mut(slot)
            && let Some(deadline) = connection.deadline()
        {
            self.timers.arm(slot, &mut connection.armed, deadline);
        }
    }

    fn queue(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.ready.push_back(slot);
        }
    }

    fn remove(&mut self, slot: usize) {
        if let Some(connection) = self.connections.remove(slot) {
            log::debug!("disconnected s={:x}", connection.number);
            self.timers.disarm(slot, connection.armed);
            self.accepting.has_left(&connection);
        }
    }
}

// Ending and reloading.
impl EventLoop {
    /// The first time: no more clients, and those who are here end as soon as
    /// they are told of their deliveries. The second time: the end.
    fn stop(&mut self) {
        if self.drain.is_some() {
            log::warn!("told to stop again: ending at once");
            self.stops = true;
            return;
        }
        let now = Instant::now();
        log::info!(
            "shutting down: {} sessions are open, deliveries in progress have {} s",
            self.connections.len(),
            self.settings.drain_timeout.as_secs()
        );
        let time = self.settings.drain_timeout;
        let tells_at = now + time.saturating_sub(LAST_WORDS).max(time / 2);
        self.drain = Some(Drain { tells_at: Some(tells_at), ends_at: now + time });
        self.listeners.clear();
        self.accepting.stop();
        for slot in self.connections.occupied() {
            self.call(slot, |connection| {
                connection.shut_down(now);
                Next::Again
            });
        }
    }

    /// The time to drain is nearly over: who still waits is told.
    fn close_all(&mut self) {
        for slot in self.connections.occupied() {
            self.call(slot, |connection| {
                connection.end_drain();
                Next::Again
            });
        }
    }

    fn begin_reload(&mut self) {
        let Some(reload) = self.reload.clone() else { return };
        let reporter = self.reporter.clone();
        // It reads files, so it does that elsewhere.
        let thread = thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || reporter.report(Report::Reloaded(reload())));
        if let Err(error) = thread {
            log::error!("cannot reload: {error}; the old settings stay");
        }
    }
}

/// A fault in a session is that session's end, not the server's.
fn guarded(connection: &mut Connection, does: impl FnOnce(&mut Connection) -> Next) -> Next {
    catch_unwind(AssertUnwindSafe(|| does(&mut *connection))).unwrap_or_else(|_| {
        connection.fail(Instant::now());
        Next::Again
    })
}

/// A connection's name for the pool.
fn ticket(number: u32, slot: usize) -> Ticket {
    // Slots are fewer than descriptors, which are fewer than 2^32.
    u64::from(number) << 32 | (slot as u64 & u64::from(u32::MAX))
}

fn number_and_slot(ticket: Ticket) -> Option<(u32, usize)> {
    let number = u32::try_from(ticket >> 32).ok()?;
    let slot = usize::try_from(ticket & u64::from(u32::MAX)).ok()?;
    Some((number, slot))
}

/// Sessions are counted from a number that differs from run to run, so that one
/// log has each name once.
fn first_number() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random >> 32).unwrap_or_default()
}
