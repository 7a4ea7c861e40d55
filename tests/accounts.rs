//! What accounts hold and where their mail goes, from end to end: quotas under load,
//! folders that hostile details name, users files made for Dovecot. The stores are read
//! by programs that others wrote.
//!
//! One that is not installed skips its test with a line on standard error; under
//! `CI=true` that is a failure.

#![cfg(all(feature = "maildir", feature = "mbox", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;

#[path = "accounts/details.rs"]
mod details;
#[path = "accounts/doveadm.rs"]
mod doveadm;
#[path = "accounts/dovecot.rs"]
mod dovecot;
#[path = "accounts/quotas.rs"]
mod quotas;
#[path = "accounts/store.rs"]
mod store;
#[path = "accounts/users_files.rs"]
mod users_files;
