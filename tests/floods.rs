//! What one client can do to the others: floods against the program as it is
//! built, with an honest client beside each, whose waiting is measured.
//!
//! Each flood prints a line on standard error, past the runner's capture. They
//! are short unless `POSTINO_FLOODS=full` is in the environment, which brings
//! the whole sizes and a bound for the honest client's 99th percentile.

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

#[path = "floods/flood.rs"]
mod flood;
#[path = "floods/honest.rs"]
mod honest;
#[path = "floods/usage.rs"]
mod usage;

#[path = "floods/endless_line.rs"]
mod endless_line;
#[path = "floods/full_store.rs"]
mod full_store;
#[path = "floods/half_messages.rs"]
mod half_messages;
#[path = "floods/idle.rs"]
mod idle;
#[path = "floods/large.rs"]
mod large;
#[path = "floods/mute.rs"]
mod mute;
#[path = "floods/process_limits.rs"]
mod process_limits;
#[path = "floods/recipients.rs"]
mod recipients;
#[path = "floods/resets.rs"]
mod resets;
#[path = "floods/slow.rs"]
mod slow;
#[path = "floods/too_big.rs"]
mod too_big;
