//! The commands that look into a store, or at a server, as they are called.
//!
//! Lives here: what each prints and ends with, for every store that is built in, in
//! good times and bad; `tools/` has the parts.
//! May not: know how a store keeps its mail, but to damage it.

#![cfg(all(feature = "tools", feature = "maildir", feature = "mbox", feature = "sqlite"))]
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]

#[path = "tools/hostile.rs"]
mod hostile;
#[path = "tools/listings.rs"]
mod listings;
#[path = "tools/outcomes.rs"]
mod outcomes;
#[path = "tools/ping.rs"]
mod ping;
#[path = "tools/stores.rs"]
mod stores;
