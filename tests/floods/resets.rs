//! Clients that reset their connections.

use crate::{
    client::Client,
    flood::{Flood, Server, sized},
    honest::Sessions,
};
use std::{net::TcpStream, time::Duration};

/// Each state of a session in which it can be reset.
#[derive(Clone, Copy, Debug)]
enum State {
    Connected,
    Greeted,
    HalfACommand,
    AfterMail,
    AfterRcpt,
    InData,
    AfterTheDot,
    RepliesDue,
    LargeBody,
}

const STATES: [State; 9] = [
    State::Connected,
    State::Greeted,
    State::HalfACommand,
    State::AfterMail,
    State::AfterRcpt,
    State::InData,
    State::AfterTheDot,
    State::RepliesDue,
    State::LargeBody,
];

/// A session in that state, which is reset when dropped.
fn session(flood: &Flood, state: State, large: &str) -> Client<TcpStream> {
    let mut client = Client::connect(flood.address());
    let linger = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(client.0.get_ref(), linger).unwrap();
    if !matches!(state, State::Connected) {
        client.until("220 ");
    }
    match state {
        State::Connected | State::Greeted => {}
        State::HalfACommand => client.say("LHLO client.exam"),
        State::AfterMail => {
            client.say("LHLO c\r\nMAIL FROM:<>\r\n");
            client.until("250 2.1.0 ");
        }
        State::AfterRcpt => {
            client.say("LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<reset@x.org>\r\n");
            client.until("250 2.1.5 ");
        }
        State::InData | State::AfterTheDot | State::LargeBody => {
            client.say("LHLO c\r\n");
            client.open_data("reset@x.org");
            client.say("Subject: x\r\n\r\nhalf\r\n");
        }
        State::RepliesDue => {
            client.say("LHLO c\r\n");
            client.say("NOOP\r\n".repeat(5_000));
        }
    }
    match state {
        State::AfterTheDot => client.say(".\r\n"),
        State::LargeBody => client.say(large),
        _ => {}
    }
    client
}

#[test]
fn resets_in_every_state_leave_no_descriptor_behind() {
    let rounds = sized(100, 300);
    let flood = Flood::begin(&Server {
        sessions: Sessions::Each,
        stores: rounds * (1 << 20),
        ..Server::default()
    });
    let large = format!("{}\r\n", "7 octets".repeat(9)).repeat(14_000);
    for round in 0..rounds {
        for state in STATES {
            // Alone, or several at once.
            let sessions = if round % 2 == 0 { 1 } else { 3 };
            let sessions: Vec<_> = (0..sessions).map(|_| session(&flood, state, &large)).collect();
            drop(sessions);
        }
    }
    // The rest is what holds after each flood.
    flood.end();
}
