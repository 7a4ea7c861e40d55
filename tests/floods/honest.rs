//! A client that does nothing wrong, and how long it waits.
//!
//! Lives here: one delivery, timed; the thread that delivers again and again.
//! May not: know what goes on beside it.

use crate::client::Client;
use std::{
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Who the honest client writes to.
pub(crate) const RECIPIENT: &str = "honest@example.org";
/// What it waits for a reply at most.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(5);
/// From a reply to the next delivery: what others can hold up is the latency,
/// not the rate, and the server's use of the processor stays the flood's.
const PACE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
pub(crate) enum Sessions {
    /// One for all deliveries.
    One,
    /// One for each, where the flood is one of connections.
    Each,
}

/// Delivers 4 KiB in a session that is open; gives the reply.
pub(crate) fn deliver(client: &mut Client<TcpStream>, recipient: &str) -> String {
    let body = format!("{}\r\n", "honest ".repeat(9)).repeat(63);
    deliver_body(client, recipient, &body)
}

/// Delivers this body; gives the reply, or the first refusal on the way there.
pub(crate) fn deliver_body(client: &mut Client<TcpStream>, recipient: &str, body: &str) -> String {
    client.say(format!("MAIL FROM:<a@client.example>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"));
    let replies = [client.line(), client.line(), client.line()];
    if replies[2].starts_with("354 ") {
        client.say(format!("Subject: x\r\n\r\n{body}.\r\n"));
        return client.line();
    }
    replies.into_iter().find(|reply| !reply.starts_with('2')).unwrap()
}

/// A session up to the reply to LHLO.
pub(crate) fn session(address: &str) -> Client<TcpStream> {
    let mut client = Client::connect(address);
    client.open();
    client
}

/// One that fails where a reply takes too long.
fn impatient_session(address: &str) -> Client<TcpStream> {
    let client = session(address);
    client.0.get_ref().set_read_timeout(Some(WAIT_MAX)).unwrap();
    client
}

/// The thread; ended by [`Honest::end`].
pub(crate) struct Honest {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the thread is told, and what it tells.
#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    pauses: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
}

impl Honest {
    /// Starts once the first message is delivered, so that what the server makes
    /// but once is made.
    pub(crate) fn start(address: &str, sessions: Sessions) -> Self {
        let mut first = impatient_session(address);
        assert_stored(&deliver(&mut first, RECIPIENT));
        let open = matches!(sessions, Sessions::One).then_some(first);
        let shared = Arc::new(Shared::default());
        let (theirs, address) = (Arc::clone(&shared), address.to_owned());
        let thread = thread::spawn(move || theirs.deliver_to_the_end(&address, open));
        Self { shared, thread }
    }

    /// How many were delivered so far.
    #[track_caller]
    pub(crate) fn deliveries(&self) -> usize {
        assert!(!self.thread.is_finished(), "the honest client has failed");
        self.shared.latencies.lock().unwrap().len()
    }

    /// Has it deliver nothing, or go on.
    pub(crate) fn pause(&self, pauses: bool) {
        self.shared.pauses.store(pauses, Ordering::Relaxed);
    }

    /// Ends it; gives how long each delivery took.
    pub(crate) fn end(self) -> Vec<Duration> {
        self.shared.ends.store(true, Ordering::Relaxed);
        assert!(self.thread.join().is_ok(), "the honest client has failed");
        std::mem::take(&mut self.shared.latencies.lock().unwrap())
    }
}

impl Shared {
    /// Delivers in the open session, or in one for each message.
    fn deliver_to_the_end(&self, address: &str, mut open: Option<Client<TcpStream>>) {
        while !self.ends.load(Ordering::Relaxed) {
            thread::sleep(PACE);
            if self.pauses.load(Ordering::Relaxed) {
                continue;
            }
            let began = Instant::now();
            match &mut open {
                Some(client) => assert_stored(&deliver(client, RECIPIENT)),
                None => assert_stored(&deliver(&mut impatient_session(address), RECIPIENT)),
            }
            self.latencies.lock().unwrap().push(began.elapsed());
        }
    }
}

/// Of durations in their order.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn assert_stored(reply: &str) {
    assert!(reply.starts_with("250 2.0.0 "), "the honest client got {reply:?}");
}
