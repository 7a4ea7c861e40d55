//! `postino copy`, as it is built, between real stores; what it left is read by
//! Python, with code that is not postino's.
//!
//! The loads are short unless `POSTINO_LOAD=full` is in the environment.

#![cfg(all(feature = "tools", feature = "maildir", feature = "mbox", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "stores_load/numbered.rs"]
#[allow(dead_code, reason = "shared with tests/stores_load.rs, which needs more of it")]
mod numbered;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;
#[path = "stores_load/session.rs"]
mod session;
#[path = "stores_load/size.rs"]
#[allow(dead_code, reason = "shared with tests/stores_load.rs, which needs more of it")]
mod size;

#[path = "copy/chain.rs"]
mod chain;
#[path = "copy/copying.rs"]
mod copying;
#[path = "copy/folders.rs"]
mod folders;
#[path = "copy/killed.rs"]
mod killed;
#[path = "copy/live.rs"]
mod live;
#[path = "copy/mbox_folders.rs"]
mod mbox_folders;
#[path = "copy/rates.rs"]
mod rates;
#[path = "copy/refused.rs"]
mod refused;
#[path = "copy/stored.rs"]
mod stored;
#[path = "copy/varied.rs"]
mod varied;
