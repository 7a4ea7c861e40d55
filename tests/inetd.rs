//! `postino inetd`: one session with whoever is on descriptors 0 and 1.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Child, Command, Stdio},
};

const SESSION: &str = "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n\
    DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n";

fn spawn(
    folder: &Path,
    input: impl Into<Stdio>,
    output: impl Into<Stdio>,
    flags: &[&str],
) -> Child {
    Command::new(env!("CARGO_BIN_EXE_postino"))
        .args(["inetd", "--hostname=mx.example.org"])
        .args(flags)
        .current_dir(folder)
        .stdin(input)
        .stdout(output)
        .spawn()
        .unwrap()
}

#[track_caller]
fn assert_whole(folder: &Path, replies: &str) {
    let codes: Vec<&str> = replies.lines().map(|line| &line[..3]).collect();
    let expected =
        ["220", "250", "250", "250", "250", "250", "250", "250", "250", "354", "250", "250", "221"];
    assert_eq!(codes, expected, "{replies}");
    for mailbox in ["a@example.org", "b@example.org"] {
        let new = folder.join("mail").join(mailbox).join("new");
        assert_eq!(std::fs::read_dir(new).unwrap().count(), 1);
    }
}

#[test]
fn a_socket_on_descriptor_0_is_served_and_its_flags_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let kept = OwnedFd::from(theirs.try_clone().unwrap());
    let output = theirs.try_clone().unwrap();
    let mut child = spawn(folder.path(), OwnedFd::from(theirs), OwnedFd::from(output), &[]);
    let mut greeting = [0; 3];
    ours.read_exact(&mut greeting).unwrap();
    // It is shared with us: had postino changed it, we would see that.
    let flags = rustix::fs::fcntl_getfl(kept.as_fd()).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
    ours.write_all(SESSION.as_bytes()).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    drop(kept);
    let mut replies = String::from_utf8(greeting.to_vec()).unwrap();
    ours.read_to_string(&mut replies).unwrap();
    assert_whole(folder.path(), &replies);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tcp_connection_has_its_peer_checked_and_named() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, expected) in [(&[][..], "220 "), (&["--allow=192.0.2.0/24"], "421 4.7.0 ")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let output = accepted.try_clone().unwrap();
        let mut child = spawn(folder.path(), OwnedFd::from(accepted), OwnedFd::from(output), flags);
        client.write_all(SESSION.as_bytes()).unwrap();
        let mut replies = String::new();
        client.read_to_string(&mut replies).unwrap();
        assert!(replies.starts_with(expected), "{replies}");
        drop(client);
        child.wait().unwrap();
    }
    let new = folder.path().join("mail/a@example.org/new");
    let stored = std::fs::read_dir(new).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read_to_string(stored).unwrap().contains("from c ([127.0.0.1])"));
}

#[test]
fn a_pair_of_pipes_is_served_to_the_last_octet() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn(folder.path(), Stdio::piped(), Stdio::piped(), &[]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(SESSION.as_bytes()).unwrap();
    // It must end though nobody closes this end.
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_whole(folder.path(), &String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn files_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(SESSION.as_bytes()).unwrap();
    input.seek(SeekFrom::Start(0)).unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let mut child = spawn(folder.path(), input, output.try_clone().unwrap(), &[]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    output.seek(SeekFrom::Start(0)).unwrap();
    let mut replies = String::new();
    output.read_to_string(&mut replies).unwrap();
    assert_whole(folder.path(), &replies);
}

#[test]
fn a_wrong_configuration_is_one_421_line() {
    let folder = tempfile::tempdir().unwrap();
    let child = spawn(folder.path(), Stdio::piped(), Stdio::piped(), &["--idle-timeout=soon"]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("421 4.3.5 ") && text.ends_with("\r\n"), "{text:?}");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_socket_without_a_client_is_a_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [OwnedFd::from(listening), OwnedFd::from(datagrams)] {
        let mut child = spawn(folder.path(), socket, File::open("/dev/null").unwrap(), &[]);
        assert_eq!(child.wait().unwrap().code(), Some(78));
    }
}

#[test]
fn a_directory_on_descriptor_0_is_one_421_line() {
    let folder = tempfile::tempdir().unwrap();
    let directory = File::open(folder.path()).unwrap();
    let output = spawn(folder.path(), directory, Stdio::piped(), &[]).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("421 4.3.5 mx.example.org ") && text.lines().count() == 1, "{text:?}");
    assert_eq!(output.status.code(), Some(78));
}
