//! The server over real sockets: the program as it is built, and the loop in
//! this process where a store has to misbehave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "../clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

mod bad_clients;
mod budgets;
mod client;
mod ending;
mod limits;
mod mbox;
mod pipelining;
mod single_instance;
mod slow_stores;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store_locks;
mod unix_sockets;
