//! Postfix, with a configuration, queue and data directory of its own: it sends
//! to postino over TCP, and over a Unix socket within its chroot.

use crate::{
    daemon::{self, Daemon, Store, folder, until},
    program::{all_here, are_root, bounded, run, run_with_input, succeed},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const SENDER: &str = "sender@example.org";
const STORED: [&str; 2] = ["alice@example.org", "bob@example.org"];
const REFUSED: &str = "nobody@example.org";

#[test]
fn over_tcp_the_one_refused_recipient_bounces() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let store = store_with_mailboxes(folder.path());
    let daemon = Daemon::start(&flags("127.0.0.1:0", &store));
    let transport = format!("lmtp:inet:[127.0.0.1]:{}", daemon.port());
    let postfix = Postfix::start(folder.path(), &transport, Chroot::No);
    two_are_stored_and_one_bounces(&postfix, &store);
    drop(postfix);
    daemon.stop();
}

/// Recipe C of the README: the socket in `private`, which only root can bind,
/// owned by Postfix's user; then postino is root no more. It starts again where
/// it could not remove its own socket.
#[test]
fn over_a_unix_socket_in_the_chroot_the_one_refused_recipient_bounces() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let store = store_with_mailboxes(folder.path());
    succeed(bounded("chown").args(["-R", UNPRIVILEGED]).arg(store.root()));
    let postfix = Postfix::start(folder.path(), "lmtp:unix:private/postino", Chroot::Yes);
    let socket = postfix.queue().join("private/postino");
    let mut flags = flags(&format!("unix:{}", socket.display()), &store);
    flags.extend(["--socket-owner", "postfix", "--socket-mode", "0600"].map(str::to_owned));
    flags.extend(["--user", UNPRIVILEGED].map(str::to_owned));
    Daemon::start(&flags).stop();
    let daemon = Daemon::start(&flags);
    assert_eq!(permissions(&socket), 0o600);
    two_are_stored_and_one_bounces(&postfix, &store);
    for message in fs::read_dir(store.mailbox(STORED[0]).join("new")).unwrap() {
        let owner = message.unwrap().metadata().unwrap().uid();
        assert_ne!(owner, 0, "written by root");
    }
    drop(postfix);
    daemon.stop();
}

/// Recipe B: postino is never root; the setgid bit of a directory within the
/// chroot gives its socket Postfix's group.
#[test]
fn over_a_unix_socket_of_an_unprivileged_postino_the_one_refused_recipient_bounces() {
    if !can_run() || !all_here(&["setpriv", "install"]) {
        return;
    }
    let folder = folder();
    let store = store_with_mailboxes(folder.path());
    succeed(bounded("chown").args(["-R", UNPRIVILEGED]).arg(store.root()));
    // The program may lie below a directory that is root's alone.
    let program = folder.path().join("postino");
    fs::copy(daemon::postino(), &program).unwrap();
    let postfix = Postfix::start(folder.path(), "lmtp:unix:postino/lmtp.sock", Chroot::Yes);
    let place = postfix.queue().join("postino");
    let owner = ["-d", "-o", UNPRIVILEGED, "-g", "postfix", "-m", "2750"];
    succeed(bounded("install").args(owner).arg(&place));
    let socket = place.join("lmtp.sock");
    let mut flags = flags(&format!("unix:{}", socket.display()), &store);
    flags.extend(["--socket-mode", "0660"].map(str::to_owned));
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED_GROUP, "--clear-groups"]);
    let daemon = Daemon::start_by(setpriv.arg(&program), &flags);
    assert_eq!(permissions(&socket), 0o660);
    two_are_stored_and_one_bounces(&postfix, &store);
    drop(postfix);
    daemon.stop();
}

#[test]
fn mail_waits_in_the_queue_while_postino_is_down_and_is_stored_once() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let store = store_with_mailboxes(folder.path());
    let postfix = Postfix::start(folder.path(), "lmtp:unix:private/postino", Chroot::Yes);
    postfix.send("Subject: waits\n\nHello\n", &STORED);
    until(
        || format!("for two deferred recipients\n{}", postfix.state()),
        || postfix.log().matches("status=deferred").count() == 2,
    );
    let socket = postfix.queue().join("private/postino");
    let mut flags = flags(&format!("unix:{}", socket.display()), &store);
    flags.extend(["--socket-owner", "postfix", "--socket-mode", "0600"].map(str::to_owned));
    let daemon = Daemon::start(&flags);
    until(
        || format!("for an empty queue\n{}", postfix.state()),
        || {
            // Again and again: the first may come before the message is deferred.
            postfix.flush();
            postfix.queue_is_empty()
        },
    );
    for recipient in STORED {
        assert_eq!(store.messages(recipient).len(), 1, "{recipient}\n{}", postfix.state());
    }
    assert_eq!(store.messages(SENDER).len(), 0, "no bounce\n{}", postfix.state());
    drop(postfix);
    daemon.stop();
}

/// As the command of a pipe: one is stored, one bounces with 5.1.1, and one waits while
/// another program holds his mailbox.
#[test]
fn by_a_pipe_each_recipient_has_his_own_outcome() {
    if !cfg!(feature = "tools") || !can_run() || !all_here(&["python3"]) {
        return;
    }
    let folder = folder();
    let store = Store::mbox_below(folder.path());
    daemon::init(&store, &[STORED[0], STORED[1], SENDER]);
    succeed(bounded("chown").args(["-R", UNPRIVILEGED]).arg(store.root()));
    let program = folder.path().join("postino");
    fs::copy(daemon::postino(), &program).unwrap();
    let mut holder = Command::new("python3")
        .args(["-c", HOLD])
        .arg(store.mailbox(STORED[1]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let master_cf = master_cf(Chroot::No) + &pipe(&program, &store);
    let postfix = Postfix::start_with(folder.path(), "postino:", &master_cf);
    postfix.one_recipient_a_call();
    let message = "Subject: by a pipe\n\n.\nFrom the test\n";
    postfix.send(message, &[STORED[0], REFUSED, STORED[1]]);
    let mailbox = |name: &str| fs::read_to_string(store.mailbox(name)).unwrap();
    until(
        || format!("for one deferred and a bounce\n{}", postfix.state()),
        || postfix.log().contains("status=deferred") && !mailbox(SENDER).is_empty(),
    );
    let log = postfix.log();
    let line = |to: &str| log.lines().find(|line| line.contains(&format!("to=<{to}>"))).unwrap();
    assert!(line(STORED[0]).contains("dsn=2.0.0, status=sent"), "{log}");
    assert!(line(REFUSED).contains("dsn=5.1.1, status=bounced"), "{log}");
    assert!(line(STORED[1]).contains("dsn=4.2.0, status=deferred"), "{log}");
    let stored = mailbox(STORED[0]);
    assert!(stored.contains("\nReturn-Path: <sender@example.org>\n"), "{stored}");
    assert!(stored.contains("\nReceived: by mx.example.org (postino deliver) id "), "{stored}");
    assert!(stored.ends_with("\n\n.\n>From the test\n\n"), "{stored}");
    let bounce = mailbox(SENDER);
    assert!(bounce.contains("\nReturn-Path: <>\n"), "{bounce}");
    assert!(bounce.contains("\nStatus: 5.1.1\n"), "{bounce}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    until(
        || format!("for an empty queue\n{}", postfix.state()),
        || {
            postfix.flush();
            postfix.queue_is_empty()
        },
    );
    for name in STORED {
        assert_eq!(mailbox(name).matches("\nSubject: by a pipe\n").count(), 1, "{name}");
    }
}

/// Holds the lock of fcntl(2) on a file.
const HOLD: &str = "
import fcntl, sys
file = open(sys.argv[1], 'r+b')
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
input()";

/// A user and a group that every system has, and that own nothing.
const UNPRIVILEGED: &str = "nobody";
const UNPRIVILEGED_GROUP: &str = "nogroup";

fn permissions(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn can_run() -> bool {
    all_here(&["postfix", "sendmail", "postqueue"]) && are_root()
}

fn store_with_mailboxes(folder: &Path) -> Store {
    let store = Store::below(folder);
    daemon::init(&store, &[STORED[0], STORED[1], SENDER]);
    store
}

fn flags(listen: &str, store: &Store) -> Vec<String> {
    ["--listen", listen, "--store", &store.url(), "--users", "store"]
        .into_iter()
        .chain(["--hostname", "mx.example.org"])
        .map(str::to_owned)
        .collect()
}

fn two_are_stored_and_one_bounces(postfix: &Postfix, store: &Store) {
    postfix.send("Subject: to three\n\n.\nfrom the test\n", &[STORED[0], REFUSED, STORED[1]]);
    // The bounce is sent by postino, too: the mail's own sender is a mailbox here.
    until(
        || format!("for an empty queue and a bounce\n{}", postfix.state()),
        || postfix.queue_is_empty() && !store.messages(SENDER).is_empty(),
    );
    for recipient in STORED {
        let messages = store.messages(recipient);
        assert_eq!(messages.len(), 1, "{recipient}\n{}", postfix.state());
        let text = String::from_utf8_lossy(&messages[0]);
        assert!(text.starts_with("Return-Path: <sender@example.org>\n"), "{text}");
        assert!(text.ends_with("\n\n.\nfrom the test\n"), "{text}");
        assert!(text.contains(&format!("\nDelivered-To: {recipient}\n")), "{text}");
    }
    assert!(!store.mailbox(REFUSED).exists());
    let bounces = store.messages(SENDER);
    assert_eq!(bounces.len(), 1, "exactly one bounce\n{}", postfix.state());
    let bounce = String::from_utf8_lossy(&bounces[0]);
    assert!(bounce.starts_with("Return-Path: <>\n"), "{bounce}");
    let field = |name: &str| {
        bounce
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start_matches(" rfc822;").trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(field("Final-Recipient:"), [REFUSED], "{bounce}");
    assert_eq!(field("Action:"), ["failed"], "{bounce}");
    assert_eq!(field("Status:"), ["5.1.1"], "{bounce}");
    let log = postfix.log();
    assert_eq!(log.matches("status=sent (250 2.0.0 ").count(), 3, "{log}");
    assert_eq!(log.matches("status=bounced").count(), 1, "{log}");
    assert_eq!(log.matches("status=deferred").count(), 0, "{log}");
}

/// Whether the lmtp client is shut into the queue directory, as Debian ships it.
#[derive(Clone, Copy)]
enum Chroot {
    Yes,
    No,
}

/// A running Postfix; stopped when dropped.
struct Postfix(PathBuf);

impl Postfix {
    fn start(folder: &Path, transport: &str, chroot: Chroot) -> Self {
        Self::start_with(folder, transport, &master_cf(chroot))
    }

    fn start_with(folder: &Path, transport: &str, master_cf: &str) -> Self {
        let postfix = Self(folder.join("postfix"));
        for part in ["", "configuration", "queue", "data"] {
            fs::create_dir(postfix.0.join(part)).unwrap();
        }
        succeed(bounded("chown").arg("postfix").arg(postfix.0.join("data")));
        fs::write(postfix.configuration().join("main.cf"), postfix.main_cf(transport)).unwrap();
        fs::write(postfix.configuration().join("master.cf"), master_cf).unwrap();
        let (output, shown) =
            run(bounded("postfix").arg("-c").arg(postfix.configuration()).arg("start"));
        assert!(output.status.success(), "{shown}\n{}", postfix.log());
        postfix
    }

    fn configuration(&self) -> PathBuf {
        self.0.join("configuration")
    }

    fn queue(&self) -> PathBuf {
        self.0.join("queue")
    }

    fn main_cf(&self, transport: &str) -> String {
        let root = self.0.display();
        format!(
            "compatibility_level = 3.6\n\
             queue_directory = {root}/queue\n\
             data_directory = {root}/data\n\
             maillog_file = {root}/log\n\
             maillog_file_prefixes = {root}\n\
             myhostname = mta.example.net\n\
             mydestination =\n\
             inet_interfaces = loopback-only\n\
             alias_maps =\n\
             alias_database =\n\
             virtual_mailbox_domains = example.org\n\
             virtual_transport = {transport}\n"
        )
    }

    /// Hands a message in, as a program on the same host does.
    fn send(&self, message: &str, recipients: &[&str]) {
        let mut sendmail = bounded("sendmail");
        // -i: a line of one dot is text.
        sendmail.arg("-i").arg("-C").arg(self.configuration()).args(["-f", SENDER]);
        let (output, shown) = run_with_input(sendmail.args(recipients), message.as_bytes());
        assert!(output.status.success(), "{shown}\n{}", self.log());
    }

    /// What the manual says of a pipe: a result of a command is each recipient's.
    fn one_recipient_a_call(&self) {
        let limit = "postino_destination_recipient_limit=1";
        succeed(bounded("postconf").arg("-c").arg(self.configuration()).arg("-e").arg(limit));
        succeed(bounded("postfix").arg("-c").arg(self.configuration()).arg("reload"));
    }

    /// Has it try again what waits.
    fn flush(&self) {
        succeed(bounded("postqueue").arg("-c").arg(self.configuration()).arg("-f"));
    }

    fn queue_is_empty(&self) -> bool {
        let listing = succeed(bounded("postqueue").arg("-c").arg(self.configuration()).arg("-p"));
        listing.stdout.starts_with(b"Mail queue is empty")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }

    fn state(&self) -> String {
        let (_, queue) = run(bounded("postqueue").arg("-c").arg(self.configuration()).arg("-p"));
        format!("{queue}\n{}", self.log())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = run(bounded("postfix").arg("-c").arg(self.configuration()).arg("stop"));
    }
}

/// The services that a message's way needs; the lmtp client's chroot is the point.
fn master_cf(chroot: Chroot) -> String {
    let lmtp = match chroot {
        Chroot::Yes => 'y',
        Chroot::No => 'n',
    };
    format!(
        "postlog   unix-dgram n - n - 1 postlogd\n\
         pickup    unix n - n 60    1 pickup\n\
         cleanup   unix n - n -     0 cleanup\n\
         qmgr      unix n - n 300   1 qmgr\n\
         rewrite   unix - - n -     - trivial-rewrite\n\
         bounce    unix - - n -     0 bounce\n\
         defer     unix - - n -     0 bounce\n\
         trace     unix - - n -     0 bounce\n\
         flush     unix n - n 1000? 0 flush\n\
         proxymap  unix - - n -     - proxymap\n\
         showq     unix n - n -     - showq\n\
         error     unix - - n -     - error\n\
         retry     unix - - n -     - error\n\
         lmtp      unix - - {lmtp} - - lmtp\n\
         anvil     unix - - n -     1 anvil\n\
         scache    unix - - n -     1 scache\n"
    )
}

/// The manual's lines of master.cf: postino as the command of a pipe.
fn pipe(program: &Path, store: &Store) -> String {
    format!(
        "postino   unix - n n -     - pipe\n  \
         flags= user={UNPRIVILEGED} null_sender=\n  \
         argv={} deliver --store {} --users store --lock-wait 1s\n  \
         --hostname mx.example.org -f ${{sender}} -- ${{recipient}}\n",
        program.display(),
        store.url()
    )
}
