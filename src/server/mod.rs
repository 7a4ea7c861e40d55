//! The sockets: all that knows mio.
//!
//! Lives here: the event loop, listeners, connections, timers, signals.
//! May not: touch a file, a database or a name service once it runs.

mod address;
mod allow;
mod bind_error;
mod connection;
mod event_loop;
mod listener;
mod reports;
mod signal;
mod slab;
mod timer;
mod transport;
mod unix_socket;

pub use address::{ListenAddress, ListenAddressError};
pub use allow::{Network, NetworkError};
pub use bind_error::BindError;
pub use event_loop::{EventLoop, Reload, Stopper};
pub use listener::Listener;

use crate::{protocol, transaction::Filing, users::Users};
use std::{sync::Arc, time::Duration};

/// What the server is told, and told anew at a reload; sessions keep what they
/// began with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For each session.
    pub session: Arc<protocol::Settings>,
    /// Who may receive.
    pub users: Arc<Users>,
    /// Which folders messages go into by their header.
    pub filing: Arc<Filing>,
    /// Peers that may connect over TCP.
    pub allow: Vec<Network>,
    /// Sessions at the same time.
    pub connections_max: usize,
    /// Clients beyond that who are told so at the same time; others are closed.
    pub refusals_max: usize,
    /// No octet from the client.
    pub idle_timeout: Duration,
    /// From a command line's first octet to its last.
    pub command_timeout: Duration,
    /// From MAIL to the end of the data.
    pub transaction_timeout: Duration,
    /// From the last octet of the data to the answer.
    pub delivery_timeout: Duration,
    /// What a shutdown waits for deliveries in progress.
    pub drain_timeout: Duration,
}

/// Rights of the Unix sockets that are bound.
#[derive(Clone, Copy, Debug)]
pub struct SocketRights {
    /// Permission bits.
    pub mode: u32,
    /// Owner's uid; none: the process's.
    pub owner: Option<u32>,
    /// Group's gid; none: the process's, or the directory's where that has the setgid bit.
    pub group: Option<u32>,
}
