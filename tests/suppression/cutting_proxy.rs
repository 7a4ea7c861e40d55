//! A proxy that cuts the connection of its one client behind the final dot.
//!
//! Lives here: the two moments at which it cuts.
//! May not: know what is sent.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

/// When it cuts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As soon as the server was sent the dot: it may be storing, or not begun.
    AtTheDot,
    /// When the server's reply is there, which the client does not get.
    InPlaceOfTheReply,
}

/// The proxy.
pub(crate) struct CuttingProxy {
    address: String,
    thread: JoinHandle<()>,
}

impl CuttingProxy {
    /// One before the server at this address.
    pub(crate) fn before(server: &str, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = TcpStream::connect(server).unwrap();
        let thread = thread::spawn(move || {
            let client = listener.accept().unwrap().0;
            let (from_server, to_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            // What the server says before the dot is passed on.
            let replies = thread::spawn(move || pass_replies(from_server, to_client));
            pass_to_the_dot(&client, &server);
            if cut == Cut::AtTheDot {
                let _ = server.shutdown(Shutdown::Both);
            }
            replies.join().unwrap();
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        });
        Self { address, thread }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until it has cut.
    pub(crate) fn join(self) {
        self.thread.join().unwrap();
    }
}

fn pass_to_the_dot(mut client: &TcpStream, mut server: &TcpStream) {
    let mut said = Vec::new();
    let mut octets = [0; 4096];
    while !said.ends_with(b"\r\n.\r\n") {
        let count = client.read(&mut octets).unwrap();
        assert!(count > 0, "the client ends before the dot");
        said.extend_from_slice(&octets[..count]);
        server.write_all(&octets[..count]).unwrap();
    }
}

/// Passes on what the server says, up to the first reply behind the 354.
fn pass_replies(mut server: TcpStream, mut client: TcpStream) {
    let (mut said, mut octets) = (Vec::new(), [0; 4096]);
    loop {
        let count = server.read(&mut octets).unwrap_or(0);
        let is_reply = String::from_utf8_lossy(&said).contains("\r\n354 ");
        if count == 0 || is_reply {
            return;
        }
        said.extend_from_slice(&octets[..count]);
        client.write_all(&octets[..count]).unwrap();
    }
}
