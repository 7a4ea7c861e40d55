//! The mbox store over real sockets.

use crate::{
    client::Client,
    daemon::{Daemon, until},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

fn serve(folder: &Path) -> Daemon {
    let store = format!("--store=mbox:{}/%n", folder.join("mail").display());
    let listen = "--listen=127.0.0.1:0";
    Daemon::start(&[listen, "--users=any", "--hostname=mx.example.org", "--lock-wait=1s", &store])
}

fn connect(daemon: &Daemon) -> Client<TcpStream> {
    let mut client = Client::connect(daemon.address());
    client.open();
    client
}

#[test]
fn messages_from_several_clients_stand_one_behind_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path());
    let mut clients: Vec<_> = (0..8).map(|_| connect(&daemon)).collect();
    // The domain is no part of the file's name.
    for recipient in ["alice@example.org", "alice@example.net"] {
        for client in &mut clients {
            client.open_data(recipient);
            client.say("Subject: x\r\n\r\nFrom here\r\n.\r\n");
        }
        for client in &mut clients {
            let reply = client.line();
            assert!(reply.starts_with("250 2.0.0 ") && reply.contains('-'), "{reply}");
        }
    }
    let text = fs::read_to_string(folder.path().join("mail/alice")).unwrap();
    let messages: Vec<_> = text.split_inclusive("\n>From here\n\n").collect();
    assert_eq!(messages.len(), 16, "{text}");
    for message in messages {
        assert!(message.starts_with("From MAILER-DAEMON "), "{message}");
        assert!(message.contains("\nDelivered-To: alice@example."), "{message}");
        assert_eq!(message.matches("\nSubject: x\n\n>From here\n").count(), 1, "{message}");
    }
    daemon.stop();
    assert!(!folder.path().join("mail/alice.lock").exists());
}

#[test]
fn a_mailbox_that_another_program_holds_is_450_and_the_others_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path());
    let (mut client, mut other) = (connect(&daemon), connect(&daemon));
    assert!(client.send("alice@example.org").starts_with("250 "));
    let script = "import fcntl, sys
file = open(sys.argv[1], 'r+b')
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
input()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(folder.path().join("mail/alice"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    client.open_data("alice@example.org");
    client.say("Subject: x\r\n\r\ntext\r\n.\r\n");
    assert!(other.send("bob@example.org").starts_with("250 "));
    let reply = client.line();
    assert!(reply.starts_with("450 4.2.0 "), "{reply}");
    let told = format!("pid {} (python3", holder.id());
    until(|| daemon.log(), || daemon.log().contains(&told));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(client.send("alice@example.org").starts_with("250 "));
    daemon.stop();
    let text = fs::read_to_string(folder.path().join("mail/alice")).unwrap();
    assert_eq!(text.matches("Subject: x").count(), 2);
}
