//! `postino ping` against servers that are well, unwell, silent and mad.

use crate::stores::{Told, program, run};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    process::{Child, Stdio},
    thread,
};

/// A running `postino serve`, ended when dropped.
struct Server {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = program()
            .args(["serve", "--listen=127.0.0.1:0", "--hostname=mx.example.org"])
            .args(flags)
            .current_dir(&directory)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            if let Some(address) = line.trim_end().strip_prefix("listening on ") {
                break address.to_owned();
            }
        };
        thread::spawn(move || log.lines().count());
        Self { child, address, _directory: directory }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_is_well_is_ok_and_takes_a_recipient_or_not() {
    let server = Server::start(&["--domains=example.org"]);
    let told = run(&["ping", &server.address]);
    assert_eq!(told.code, 0, "{told:?}");
    let expected = format!("ok {} mx.example.org ", server.address);
    assert!(told.text().starts_with(&expected) && told.text().ends_with(" ms\n"), "{told:?}");
    for rcpt in ["alice@example.org", "<alice@example.org>"] {
        assert_eq!(run(&["ping", &server.address, "--rcpt", rcpt]).code, 0);
    }
    let told = run(&["ping", &server.address, "--rcpt", "alice@example.net"]);
    assert_eq!(told.code, 1, "{told:?}");
    let expected = format!("refused {} 550 5.1.2 ", server.address);
    assert!(told.text().starts_with(&expected), "{told:?}");
    assert!(told.text().ends_with("in reply to RCPT TO:<alice@example.net>\n"), "{told:?}");
}

#[test]
fn a_unix_socket_is_pinged_too() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("lmtp.sock").display());
    let _server = Server::start(&["--listen", &address]);
    assert_eq!(run(&["ping", &address]).code, 0);
    let told = run(&["ping", "unix:/no/such.sock"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.text().starts_with("no answer unix:/no/such.sock No such file"), "{told:?}");
}

/// A server that hangs takes no connection any more, once its queue is full.
#[test]
fn a_unix_socket_whose_queue_is_full_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(error) => break assert_eq!(error, rustix::io::Errno::AGAIN),
        }
    }
    let address = format!("unix:{}", path.display());
    let told = run(&["ping", &address, "--timeout", "1s"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert_eq!(told.text(), format!("no answer {address} the time is over\n"));
}

#[test]
fn a_server_that_says_no_at_once_has_refused() {
    let server = Server::start(&["--allow=192.0.2.0/24"]);
    let told = run(&["ping", &server.address]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.text().contains(" 421 4.7.0 "), "{told:?}");
}

/// Accepts one connection and says this to it.
fn mad_server(says: impl Fn(&mut dyn Write) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        says(&mut stream);
        // Stays until the other side has gone.
        let _ = BufReader::new(stream).lines().count();
    });
    address
}

#[test]
fn silence_nonsense_and_a_line_without_end_are_no_answer() {
    type Says = fn(&mut dyn Write);
    let table: [(Says, &str); 6] = [
        (|_| {}, "the time is over"),
        (|out| drop(out.write_all(b"HTTP/1.1 400 Bad Request\r\n")), "does not speak LMTP"),
        (|out| drop(out.write_all(&b"x".repeat(1 << 20))), "a line without end"),
        (|out| drop(out.write_all(&b"220-x\r\n".repeat(1_000))), "a reply without end"),
        (|out| drop(out.write_all(b"220 mx\r\n250 \x1b[31m\xff")), "the time is over"),
        (|out| drop(out.write_all(b"220 mx\r\n999 x\r\n")), "does not speak LMTP"),
    ];
    for (says, expected) in table {
        let address = mad_server(says);
        let told = run(&["ping", &address, "--timeout", "1s"]);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.text().starts_with(&format!("no answer {address} ")), "{told:?}");
        assert!(told.text().contains(expected), "{told:?}");
        assert_eq!(told.text().lines().count(), 1);
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = run(&["ping", &closed]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.text().contains("refused"), "{told:?}");
}

#[test]
fn what_a_server_says_is_escaped() {
    let address = mad_server(|out| drop(out.write_all(b"421 \x1b[31mgo\xff away\r\n")));
    let told = run(&["ping", &address]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.text().contains(r"421 \x1b[31mgo"), "{told:?}");
}

#[test]
fn an_address_that_is_none_is_a_wrong_command_line() {
    for arguments in [
        &["ping", "localhost"][..],
        &["ping", "127.0.0.1:25"],
        &["ping", "--rcpt", "a\r\nDATA"],
        &["ping", "--rcpt", "<>"],
        &["ping", "--timeout", "never"],
        &["ping", "127.0.0.1:1", "x"],
    ] {
        let told: Told = run(arguments);
        assert_eq!((told.code, told.text()), (64, ""), "{arguments:?}: {told:?}");
        assert!(!told.err.is_empty());
    }
}
