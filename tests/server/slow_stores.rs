//! Stores that hang or panic, behind the real loop.

use crate::{client::Client, daemon::PATIENCE};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use postino::{
    delivery::Limits,
    protocol::{self, BareNewlines},
    server::{EventLoop, ListenAddress, Listener, Network, Settings, SocketRights, Stopper},
    users::{Source, Users},
};
use postino_store::{Delivery, DeliveryError, DeliveryId, MailStore, MailboxName};
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Stores at once; but `hang...@` when it is told to, and `panic@` never.
struct Puppet {
    /// A mailbox whose delivery has begun to hang.
    hanging: Sender<String>,
    go_on: Receiver<()>,
    committed: Sender<String>,
}

impl MailStore for Puppet {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        let mailbox = delivery.mailbox().name().to_string();
        assert!(!mailbox.starts_with("panic@"), "a fault of the store's");
        if mailbox.starts_with("hang") {
            self.hanging.send(mailbox.clone()).unwrap();
            let _ = self.go_on.recv();
        }
        delivery.begin_commit()?;
        let _ = self.committed.send(mailbox);
        Ok(DeliveryId::new("ID"))
    }
}

struct Server {
    address: String,
    hanging: Receiver<String>,
    go_on: Sender<()>,
    committed: Receiver<String>,
    stopper: Stopper,
    thread: JoinHandle<()>,
}

fn server(delivery_timeout: Duration, drain_timeout: Duration) -> Server {
    server_of(4, delivery_timeout, drain_timeout)
}

fn server_of(workers: usize, delivery_timeout: Duration, drain_timeout: Duration) -> Server {
    let (hanging_sender, hanging) = unbounded();
    let (go_on, go_on_receiver) = bounded(100);
    let (committed_sender, committed) = unbounded();
    let store =
        Puppet { hanging: hanging_sender, go_on: go_on_receiver, committed: committed_sender };
    let settings = Settings {
        session: Arc::new(protocol::Settings {
            hostname: "mx.example.org".to_owned(),
            message_size_max: 0,
            recipients_max: 100,
            bare_newlines: BareNewlines::Reject,
        }),
        filing: Arc::default(),
        users: Arc::new(Users::new(
            Source::Any,
            MailboxName::new("postmaster@mx.example.org").unwrap(),
        )),
        allow: Network::loopback(),
        connections_max: 100,
        refusals_max: 10,
        idle_timeout: PATIENCE,
        command_timeout: PATIENCE,
        transaction_timeout: PATIENCE,
        delivery_timeout,
        drain_timeout,
    };
    let rights = SocketRights { mode: 0o600, owner: None, group: None };
    let listen: ListenAddress = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&listen, rights).unwrap();
    let limits = Limits { workers, lock_wait: PATIENCE, ..Limits::default() };
    let event_loop = EventLoop::new(vec![listener], settings, Arc::new(store), limits).unwrap();
    let address = event_loop.listeners()[0].to_string();
    let stopper = event_loop.stopper();
    let thread = thread::spawn(move || event_loop.run().unwrap());
    Server { address, hanging, go_on, committed, stopper, thread }
}

impl Server {
    fn client(&self) -> Client<std::net::TcpStream> {
        let mut client = Client::connect(&self.address);
        client.open();
        client
    }

    fn stop(self) {
        self.stopper.stop();
        self.thread.join().unwrap();
    }
}

fn transaction(recipients: &[&str]) -> String {
    let recipients: Vec<String> =
        recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}@x>\r\n")).collect();
    format!("MAIL FROM:<>\r\n{}DATA\r\nx\r\n.\r\n", recipients.concat())
}

#[test]
fn recipients_before_the_one_that_hangs_are_answered_at_once_and_the_rest_after_the_deadline() {
    let server = server(Duration::from_millis(300), PATIENCE);
    let mut client = server.client();
    client.say(transaction(&["a", "hang", "b"]));
    client.until("354 ");
    assert_eq!(client.line(), "250 2.0.0 ID stored");
    // The hung one takes a worker; others are served meanwhile.
    assert_eq!(server.client().send("c@x"), "250 2.0.0 ID stored");
    assert!(client.line().starts_with("451 4.3.0 The store did not answer in time"));
    assert_eq!(client.line(), "250 2.0.0 ID stored");
    // Awake again, it may not commit any more.
    assert_eq!(server.hanging.recv_timeout(PATIENCE).unwrap(), "hang@x");
    server.go_on.send(()).unwrap();
    assert_eq!(client.send("d@x"), "250 2.0.0 ID stored");
    let mut committed: Vec<String> = server.committed.try_iter().collect();
    committed.sort();
    assert_eq!(committed, ["a@x", "b@x", "c@x", "d@x"]);
    server.stop();
}

#[test]
fn a_store_that_panics_is_one_recipients_451() {
    let server = server(PATIENCE, PATIENCE);
    let mut client = server.client();
    client.say(transaction(&["a", "panic", "b"]));
    client.until("354 ");
    assert_eq!(client.line(), "250 2.0.0 ID stored");
    assert!(client.line().starts_with("451 4.3.0 "));
    assert_eq!(client.line(), "250 2.0.0 ID stored");
    assert_eq!(client.send("a@x"), "250 2.0.0 ID stored");
    server.stop();
}

#[test]
fn at_a_shutdown_deliveries_in_progress_are_answered_before_anything_else() {
    let server = server(PATIENCE, PATIENCE);
    let mut client = server.client();
    client.say(transaction(&["hang"]) + "QUIT\r\n");
    server.hanging.recv_timeout(PATIENCE).unwrap();
    server.stopper.stop();
    server.go_on.send(()).unwrap();
    client.until("354 ");
    assert_eq!(client.rest(), ["250 2.0.0 ID stored", "221 2.0.0 mx.example.org Bye"]);
    server.thread.join().unwrap();
}

#[test]
fn when_the_time_to_drain_ends_each_recipient_gets_451_then_421_and_nothing_appears() {
    let server = server(PATIENCE, Duration::from_millis(400));
    let mut client = server.client();
    client.say(transaction(&["hang", "hang"]));
    server.hanging.recv_timeout(PATIENCE).unwrap();
    server.stopper.stop();
    client.until("354 ");
    let lines = client.rest();
    let codes: Vec<&str> = lines.iter().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["451 4.3.2", "451 4.3.2", "421 4.3.2"], "{lines:?}");
    drop(client);
    server.thread.join().unwrap();
    server.go_on.send(()).unwrap();
    server.go_on.send(()).unwrap();
    drop(server.go_on);
    assert!(server.committed.recv_timeout(PATIENCE).is_err(), "stored after a 451");
}

#[test]
fn a_second_stop_ends_at_once() {
    let server = server(PATIENCE, PATIENCE);
    let mut client = server.client();
    client.say(transaction(&["hang"]));
    server.hanging.recv_timeout(PATIENCE).unwrap();
    server.stopper.stop();
    server.stopper.stop();
    server.thread.join().unwrap();
}

#[test]
fn a_client_that_is_gone_gets_nothing_that_had_not_begun_its_commit() {
    let server = server(PATIENCE, PATIENCE);
    let mut client = server.client();
    client.say(transaction(&["hang"]));
    client.until("354 ");
    server.hanging.recv_timeout(PATIENCE).unwrap();
    let linger = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(client.0.get_ref(), linger).unwrap();
    drop(client);
    // Once another session was served, the loop has seen the reset.
    for _ in 0..3 {
        assert_eq!(server.client().send("a@x"), "250 2.0.0 ID stored");
    }
    server.go_on.send(()).unwrap();
    server.stopper.stop();
    server.thread.join().unwrap();
    drop(server.go_on);
    let mut committed = server.committed.iter();
    assert!(committed.all(|mailbox| mailbox == "a@x"));
}

#[test]
fn forty_hung_deliveries_stop_the_others_for_two_seconds_and_no_command() {
    let server = server_of(16, PATIENCE, PATIENCE);
    let mut hanging = server.client();
    let mailboxes: Vec<String> = (0..40).map(|at| format!("hang{at}")).collect();
    let began = Instant::now();
    hanging.say(transaction(&mailboxes.iter().map(String::as_str).collect::<Vec<_>>()));
    hanging.until("354 ");
    for _ in 0..16 {
        server.hanging.recv_timeout(PATIENCE).unwrap();
    }
    // Every worker hangs: commands and look-ups go on, and the loop sleeps until
    // it has to replace them.
    let asked = Instant::now();
    let mut client = server.client();
    client.say("NOOP\r\n");
    assert!(client.line().starts_with("250 "));
    client.open_data("a@x");
    assert!(asked.elapsed() < Duration::from_secs(1), "answered at once");
    client.say("x\r\n.\r\n");
    assert_eq!(client.line(), "250 2.0.0 ID stored");
    let took = began.elapsed();
    // Far below the minute that the hung ones are waited for.
    assert!(Duration::from_secs(2) <= took && took < Duration::from_secs(20), "{took:?}");
    for _ in 0..24 {
        server.hanging.recv_timeout(PATIENCE).unwrap();
    }
    for _ in 0..40 {
        server.go_on.send(()).unwrap();
    }
    for _ in 0..40 {
        assert_eq!(hanging.line(), "250 2.0.0 ID stored");
    }
    server.stop();
}
