//! Messages over the limit.

use crate::{
    flood::{Flood, Server, sized},
    honest::deliver,
};
use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
};

/// Whether nothing was said to this client, as far as another client's whole
/// session is time enough.
pub(crate) fn is_silent(flood: &Flood, stream: &mut TcpStream) -> bool {
    assert!(deliver(&mut flood.session(), "other@example.org").starts_with("250 "));
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_message_over_the_limit_is_refused_once_for_each_recipient_after_its_end() {
    let (limit, flag) = sized((2 << 20, "--max-message-size=2M"), (128 << 20, "--log=stderr"));
    let sent = sized(8 << 20, 200 << 20);
    let flood = Flood::begin(&Server { flags: &[flag], ..Server::default() });
    let piece = format!("{}\r\n", "7 octets".repeat(9)).repeat(1_000);
    let mut client = flood.session();
    flood.again(|| {
        client.say("MAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\nRCPT TO:<b@x.org>\r\n");
        client.say("RCPT TO:<c@x.org>\r\nDATA\r\n");
        client.until("354 ");
        for _ in 0..=sent / piece.len() {
            client.say(&piece);
        }
        assert!(is_silent(&flood, client.0.get_mut()), "a reply before the message's end");
        client.say(".\r\nNOOP\r\n");
        for _ in 0..3 {
            let reply = client.line();
            assert!(reply.starts_with("552 5.3.4 ") && reply.ends_with(']'), "{reply}");
        }
        assert_eq!(client.line(), "250 2.0.0 Ok");
    });
    for declared in [limit + 1, usize::MAX] {
        client.say(format!("MAIL FROM:<> SIZE={declared}\r\n"));
        let reply = client.line();
        assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    }
    client.say(format!("MAIL FROM:<> SIZE={limit}\r\nRSET\r\n"));
    assert!(client.line().starts_with("250 2.1.0 "));
    client.until("250 2.0.0 ");
    assert!(deliver(&mut client, "a@x.org").starts_with("250 2.0.0 "));
    assert!(!flood.mailbox("b@x.org").exists());
    drop(client);
    flood.end();
}
