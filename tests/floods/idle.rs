//! Sessions that are open and say nothing.

use crate::{
    flood::{Flood, Server, sized},
    honest::Sessions,
    usage::{clients_that_fit, mib},
};

/// Of the whole server, whatever the number of sessions.
const MEMORY_MAX: u64 = 16 << 20;

#[test]
fn idle_sessions_cost_little_memory_and_lock_nobody_out() {
    let count = clients_that_fit(sized(2_000, 10_000));
    let flood = Flood::begin(&Server {
        flags: &["--max-connections=11000"],
        sessions: Sessions::Each,
        ..Server::default()
    });
    let mut sessions: Vec<_> = (0..count).map(|_| flood.session()).collect();
    flood.wait_for_deliveries(50);
    let resident = flood.process().resident();
    for session in &mut sessions {
        session.say("NOOP\r\n");
    }
    for session in &mut sessions {
        assert_eq!(session.line(), "250 2.0.0 Ok");
    }
    drop(sessions);
    flood.end();
    assert!(resident < MEMORY_MAX, "{count} sessions: {:.1} MiB", mib(resident));
}
