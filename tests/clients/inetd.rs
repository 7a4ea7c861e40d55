//! `postino inetd` under the programs that start such servers.

use crate::{
    conversation::Conversation,
    daemon::{Store, folder, postino, until},
    program::{all_here, are_root},
};
use std::{
    fs,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

#[test]
fn socat_gives_inetd_the_socket_itself() {
    under_socat(",nofork");
}

#[test]
fn socat_gives_inetd_a_socket_pair() {
    under_socat("");
}

#[test]
fn socat_gives_inetd_two_pipes() {
    under_socat(",pipes");
}

fn under_socat(how: &str) {
    if !all_here(&["socat"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let socket = folder.path().join("lmtp.sock");
    let socat = Command::new("socat")
        .arg(format!("UNIX-LISTEN:{},fork", socket.display()))
        // socat's own syntax takes a colon for the end of a word.
        .arg(format!("EXEC:{}{how}", inetd_command(&store).join(" ").replace(':', "\\:")))
        .spawn();
    let _running = Running(socat.unwrap());
    two_sessions_deliver(&socket, &store);
}

#[test]
fn systemd_socket_activate_starts_one_inetd_a_connection() {
    if !all_here(&["systemd-socket-activate"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let socket = folder.path().join("lmtp.sock");
    let activate = Command::new("systemd-socket-activate")
        .args(["--accept", "--inetd", "--listen"])
        .arg(&socket)
        .args(inetd_command(&store))
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(activate.unwrap());
    two_sessions_deliver(&socket, &store);
}

#[test]
fn inetd_itself_starts_one_inetd_a_connection() {
    if !all_here(&["inetd"]) || !are_root() {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let socket = folder.path().join("lmtp.sock");
    let configuration = folder.path().join("inetd.conf");
    let command = inetd_command(&store);
    let line = format!(
        "{} stream unix nowait root {} {}\n",
        socket.display(),
        command[0],
        command.join(" ")
    );
    fs::write(&configuration, line).unwrap();
    let inetd = Command::new("/usr/sbin/inetd").arg("-i").arg(&configuration).spawn();
    let _running = Running(inetd.unwrap());
    two_sessions_deliver(&socket, &store);
}

fn inetd_command(store: &Store) -> Vec<String> {
    let program = postino().display().to_string();
    let url = store.url();
    [&program, "inetd", "--store", &url, "--users", "any", "--hostname", "mx.example.org"]
        .map(str::to_owned)
        .to_vec()
}

/// A session that quits, and one whose client is gone after the reply: both
/// messages are there, and the first server has closed.
fn two_sessions_deliver(socket: &Path, store: &Store) {
    let connect = || {
        let mut stream = None;
        until(
            || format!("for a listener on {}", socket.display()),
            || {
                stream = UnixStream::connect(socket).ok();
                stream.is_some()
            },
        );
        Conversation::over(stream.unwrap())
    };
    let message = "Subject: test\r\n\r\nHello\r\n";
    let mut client = connect();
    client.open();
    client.send(&["alice@example.org"], message);
    client.quit();
    assert_eq!(store.messages("alice@example.org").len(), 1);

    let mut client = connect();
    client.open();
    client.send(&["alice@example.org"], message);
    drop(client);
    assert_eq!(store.messages("alice@example.org").len(), 2);
    store.assert_nothing_but_new("alice@example.org");
}

/// A program that is ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
