//! Clients that say an octet a second.

use crate::{
    flood::{Flood, Server, sized},
    usage::clients_that_fit,
};
use std::{thread, time::Duration};

#[test]
fn clients_that_say_an_octet_a_second_hold_nobody_up() {
    let count = clients_that_fit(2 * sized(100, 1_000)) / 2;
    let seconds = sized(4, 30);
    let flood = Flood::begin(&Server { flags: &["--max-connections=11000"], ..Server::default() });
    let mut in_a_command: Vec<_> = (0..count).map(|_| flood.session()).collect();
    let mut in_data: Vec<_> = (0..count).map(|_| flood.session()).collect();
    for (at, client) in in_data.iter_mut().enumerate() {
        // One mailbox for each would be a flood of directories.
        client.open_data(&format!("slow{}@example.org", at % 10));
    }
    let command = format!("NOOP {}", "x".repeat(seconds));
    for octet in command.bytes().take(seconds) {
        for client in in_a_command.iter_mut().chain(&mut in_data) {
            client.say([octet]);
        }
        thread::sleep(Duration::from_secs(1));
    }
    for client in &mut in_a_command {
        client.say(format!("{}\r\n", &command[seconds..]));
    }
    for client in &mut in_data {
        client.say("\r\n.\r\n");
    }
    for client in &mut in_a_command {
        assert_eq!(client.line(), "250 2.0.0 Ok");
    }
    for client in &mut in_data {
        assert!(client.line().starts_with("250 2.0.0 "));
    }
    drop((in_a_command, in_data));
    flood.end();
}
