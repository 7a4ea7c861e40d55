//! Transactions of a great many recipients.

use crate::{
    client::Client,
    flood::{Flood, Server, sized},
    honest::WAIT_MAX,
    usage::folder,
};
use std::{
    io::{BufRead, Write},
    net::TcpStream,
    thread,
};

const LITTLE_MEMORY: [&str; 2] = ["--max-recipients=1000000", "--memory-budget=8M"];
const LINE: &str = "A line of a message that somebody sends, of sixty-four octets.\r\n";

/// Without a flag.
const RECIPIENTS_MAX: usize = 1_000;
/// Mailboxes of them all, so that it is not a flood of directories.
const MAILBOXES: usize = 10;

/// Says so many RCPTs at once, reads their replies meanwhile.
fn replies(
    client: &mut Client<TcpStream>,
    count: usize,
    command: impl Fn(usize) -> String + Send + 'static,
) -> Vec<String> {
    let mut stream = client.0.get_ref().try_clone().unwrap();
    let writer = thread::spawn(move || {
        for first in (0..count).step_by(1_000) {
            let commands: String = (first..count.min(first + 1_000)).map(&command).collect();
            stream.write_all(commands.as_bytes()).unwrap();
        }
    });
    // The codes alone: a million whole replies would be this process's flood.
    let codes = (0..count).map(|_| client.line()[..10].to_owned()).collect();
    writer.join().unwrap();
    codes
}

#[test]
fn recipients_beyond_the_limit_are_refused_and_the_session_ends_well() {
    let count = sized(50_000, 1_000_000);
    let flood = Flood::begin(&Server::default());
    let mut rounds = 0;
    flood.again(|| {
        rounds += 1;
        refuse_beyond_the_limit(&mut flood.session(), count);
    });
    for n in 0..MAILBOXES {
        let new = flood.mailbox(&format!("user{n}@x.org")).join("new");
        assert_eq!(std::fs::read_dir(new).unwrap().count(), rounds * RECIPIENTS_MAX / MAILBOXES);
    }
    flood.end();
}

fn refuse_beyond_the_limit(client: &mut Client<TcpStream>, count: usize) {
    client.say("MAIL FROM:<>\r\n");
    assert!(client.line().starts_with("250 2.1.0 "));
    let replies = replies(client, count, |n| format!("RCPT TO:<user{}@x.org>\r\n", n % MAILBOXES));
    let (within, beyond) = replies.split_at(RECIPIENTS_MAX);
    assert!(within.iter().all(|reply| reply == "250 2.1.5 "));
    assert!(beyond.iter().all(|reply| reply == "452 4.5.3 "));
    client.say("DATA\r\n");
    assert!(client.line().starts_with("354 "));
    client.say("Subject: x\r\n\r\nx\r\n.\r\n");
    for _ in 0..RECIPIENTS_MAX {
        let reply = client.line();
        assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    }
    client.say("QUIT\r\n");
    let rest = client.rest();
    assert!(rest.len() == 1 && rest[0].starts_with("221 2.0.0 "), "{rest:?}");
}

/// Says RCPTs until the memory is full of them, and is.
fn fill_memory(client: &mut Client<TcpStream>) {
    client.say("MAIL FROM:<>\r\n");
    assert!(client.line().starts_with("250 2.1.0 "));
    let count = sized(50_000, 1_000_000);
    let domain = format!("{0}.{0}.{0}.org", "d".repeat(60));
    let replies = replies(client, count, move |n| format!("RCPT TO:<{n:060}@{domain}>\r\n"));
    let accepted = replies.iter().filter(|reply| *reply == "250 2.1.5 ").count();
    let refused = replies.iter().filter(|reply| *reply == "452 4.3.1 ").count();
    assert_eq!(accepted + refused, count, "{:?}", replies.last());
    assert!(accepted >= RECIPIENTS_MAX, "only {accepted} recipients fit");
    // Others come and go, so the bound is no sharp one; but it is reached.
    assert_eq!(replies[count - 1], "452 4.3.1 ", "{accepted} recipients fit");
}

#[test]
fn recipients_beyond_the_memory_are_refused_and_others_are_served() {
    let flood = Flood::begin(&Server { flags: &LITTLE_MEMORY, ..Server::default() });
    let mut client = flood.session();
    fill_memory(&mut client);
    // While these are held.
    flood.wait_for_deliveries(20);
    client.say("RSET\r\n");
    client.until("250 2.0.0 ");
    assert!(client.send("a@x.org").starts_with("250 2.0.0 "));
    drop(client);
    flood.end();
}

#[test]
fn a_message_that_has_begun_goes_on_while_recipients_fill_the_memory() {
    let server = Server { flags: &LITTLE_MEMORY, ..Server::default() };
    let flood = Flood::begin_in(folder(0), &server);
    let mut begun: Vec<_> = (0..10).map(|_| flood.session()).collect();
    for client in &mut begun {
        client.open_data("begun@x.org");
    }
    let mut full = flood.session();
    fill_memory(&mut full);
    // Some that are kept in what they have been admitted with, and larger ones.
    for (n, client) in begun.iter_mut().enumerate() {
        client.0.get_ref().set_read_timeout(Some(WAIT_MAX)).unwrap();
        client.say(format!("Subject: x\r\n\r\n{}.\r\n", LINE.repeat(n * n * 16)));
        let mut reply = String::new();
        let read = client.0.read_line(&mut reply);
        let octets = n * n * 16 * LINE.len();
        assert!(read.is_ok(), "{octets} octets: no reply in {WAIT_MAX:?}");
        assert!(reply.starts_with("250 2.0.0 "), "{octets} octets got {reply}");
    }
    drop((begun, full));
    flood.end();
}
