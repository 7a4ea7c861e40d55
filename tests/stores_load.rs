//! The stores under load, and killed under it: the program as it is built, many
//! connections, and Python's readers of what is left.
//!
//! Each measurement prints a line on standard error, past the runner's capture.
//! They are short unless `POSTINO_LOAD=full` is in the environment, which brings
//! the whole sizes, and a slowed disk where a bound depends on it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

#[path = "stores_load/numbered.rs"]
mod numbered;
#[path = "stores_load/session.rs"]
mod session;
#[path = "stores_load/size.rs"]
mod size;

#[cfg(feature = "sqlite")]
#[path = "stores_load/commits.rs"]
mod commits;
#[path = "stores_load/kill.rs"]
mod kill;
#[path = "stores_load/locked_folders.rs"]
mod locked_folders;
#[path = "stores_load/mbox.rs"]
mod mbox;
