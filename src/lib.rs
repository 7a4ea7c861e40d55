//! postino, an LMTP server (RFC 2033).
//!
//! ```text
//! socket -> server (mio) -> protocol (sans-I/O) -> transaction -> delivery (lanes, workers) -> MailStore
//!              ^                                                        |
//!              +---------- replies in RCPT order <------ results <------+
//! ```
//!
//! Each layer uses only what stands lower:
//!
//! ```text
//! command > config > server > protocol | delivery > users, stores > transaction, reply > escape, log, sys
//! ```
//!
//! `protocol` and `delivery` never name each other: `server` carries events one
//! way and replies the other. Only `delivery` and the backends block; the loop
//! in `server` never does.

pub mod command;
pub mod config;
pub mod delivery;
pub mod escape;
pub mod log;
pub mod protocol;
pub mod reply;
pub mod server;
pub mod stores;
pub mod sys;
pub mod transaction;
pub mod users;

pub use command::{main, main_with};
