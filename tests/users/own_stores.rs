//! Accounts of a users file that have a store of their own.

use crate::{
    Asking,
    client::Client,
    daemon::{Daemon, Store, folder, until},
    program::{all_here, are_root},
    serve,
};
use rustix::fs::FlockOperation;
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Users that need not be there.
const USERS: [u32; 2] = [54_321, 54_331];

fn serve_below(folder: &Path, users: &str, flags: &[&str]) -> Daemon {
    let roots = format!("--store-roots={}", folder.join("srv").display());
    let mut all = vec![&roots[..]];
    all.extend(flags);
    fs::create_dir_all(folder.join("srv")).unwrap();
    serve(folder, users, &all)
}

fn count(maildir: &Path) -> usize {
    fs::read_dir(maildir.join("new")).map_or(0, Iterator::count)
}

#[test]
fn an_account_has_its_mail_in_the_store_that_its_line_names() {
    let folder = tempfile::tempdir().unwrap();
    let srv = folder.path().join("srv");
    let at = srv.display();
    let users = format!(
        "usual@d.example:x\n\
         maildir@d.example:x::::::store=maildir:{at}/x/m quota=0,2\n\
         same@d.example:x::::::store=maildir:{at}/x//m/ quota=0,2\n\
         home@d.example:x::::{at}/home::userdb_mail=maildir:~/Maildir\n\
         two@d.example:x::::{at}/home::userdb_mail_driver=maildir userdb_mail_path=~/two\n\
         mbox@d.example:x::::::store=mbox:{at}/%n\n\
         sqlite@d.example:x::::::store=sqlite:{at}/db\n\
         other@d.example:x::::::store=sqlite:{at}/db\n"
    );
    fs::create_dir_all(srv.join("x")).unwrap();
    fs::create_dir_all(srv.join("home")).unwrap();
    let daemon = serve_below(folder.path(), &users, &["--detail=create", "--single-instance"]);
    let mut client = Client::connect(daemon.address());
    client.open();
    let recipients = [
        "usual@d.example",
        "maildir@d.example",
        "same@d.example",
        "home@d.example",
        "two@d.example",
        "mbox@d.example",
        "mbox+Lists@d.example",
        "sqlite@d.example",
        "sqlite+Lists@d.example",
        "other@d.example",
        "home+Lists@d.example",
    ];
    // One transaction to all, of a message that the database wants prepared.
    client.say("MAIL FROM:<>\r\n");
    for recipient in recipients {
        client.say(format!("RCPT TO:<{recipient}>\r\n"));
    }
    client.say("DATA\r\n");
    client.until("354 ");
    client.say(format!("Subject: large\r\n\r\n{}.\r\n", "0123456789abcdef\r\n".repeat(30_000)));
    for recipient in recipients {
        let reply = client.line();
        assert!(reply.starts_with("250 2.0.0 "), "{recipient}: {reply}\n{}", daemon.log());
    }
    let store = Store::below(folder.path());
    assert_eq!(store.mailboxes(), ["usual@d.example"]);
    assert_eq!(store.messages("usual@d.example").len(), 1);
    assert_eq!(count(&srv.join("x/m")), 2);
    for maildir in ["home/Maildir", "home/two", "home/Maildir/.Lists"] {
        assert_eq!(count(&srv.join(maildir)), 1, "{maildir}");
    }
    for mbox in ["mbox", ".mbox/Lists"] {
        let text = fs::read_to_string(srv.join(mbox)).unwrap();
        assert_eq!(text.matches("Subject: large").count(), 1, "{mbox}");
    }
    // What others have put into a place that is shared counts too.
    for recipient in ["maildir@d.example", "same@d.example"] {
        assert_eq!(Asking::of(&daemon).codes(recipient), "452 4.2.2");
    }
    daemon.stop();
    #[cfg(feature = "tools")]
    for name in ["sqlite@d.example", "sqlite@d.example/Lists", "other@d.example"] {
        let mut list = Command::new(crate::daemon::postino());
        list.args(["messages", "--store", &format!("sqlite:{at}/db"), name]);
        let output = list.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).lines().count(),
            1,
            "{name}: {output:?}"
        );
    }
}

#[test]
fn a_place_that_is_away_defers_and_is_never_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let srv = folder.path().join("srv");
    let at = srv.display();
    let users: String = ["maildir", "mbox", "sqlite"]
        .map(|kind| format!("{kind}@d.example:x::::::store={kind}:{at}/disk/{kind}\n"))
        .concat()
        + "usual@d.example:x\n";
    fs::create_dir_all(srv.join("disk")).unwrap();
    let daemon = serve_below(folder.path(), &users, &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    let all = ["maildir@d.example", "mbox@d.example", "sqlite@d.example"];
    for recipient in all {
        assert!(client.send(recipient).starts_with("250 2.0.0"), "{recipient} {}", daemon.log());
    }
    fs::rename(srv.join("disk"), srv.join("away")).unwrap();
    let mut asking = Asking::of(&daemon);
    for recipient in all {
        assert_eq!(asking.codes(recipient), "451 4.3.0", "{recipient} {}", daemon.log());
    }
    assert_eq!(asking.codes("usual@d.example"), "250 2.1.5");
    assert!(!srv.join("disk").exists());
    fs::rename(srv.join("away"), srv.join("disk")).unwrap();
    for recipient in all {
        assert!(client.send(recipient).starts_with("250 2.0.0"), "{recipient} {}", daemon.log());
    }
    assert_eq!(count(&srv.join("disk/maildir")), 2);
    daemon.stop();
}

#[test]
fn no_symbolic_link_is_followed_below_a_store_root_or_a_home() {
    let folder = tempfile::tempdir().unwrap();
    let srv = folder.path().join("srv");
    let (at, real) = (srv.display(), folder.path().join("real"));
    let mut users = String::new();
    for kind in ["maildir", "mbox", "sqlite"] {
        for place in ["way/x", "end"] {
            let name = format!("{kind}.{}", place.replace('/', ""));
            users.extend([format!("{name}@d.example:x::::::store={kind}:{at}/{place}\n")]);
        }
    }
    fs::create_dir_all(real.join("x")).unwrap();
    fs::create_dir_all(&srv).unwrap();
    symlink(&real, srv.join("way")).unwrap();
    symlink(&real, srv.join("end")).unwrap();
    let daemon = serve_below(folder.path(), &users, &[]);
    let mut asking = Asking::of(&daemon);
    for line in users.lines() {
        let recipient = line.split(':').next().unwrap();
        let codes = asking.codes(recipient);
        let codes = if codes == "250 2.1.5" {
            // A Maildir's last component is looked at by the delivery alone.
            let mut client = Client::connect(daemon.address());
            client.open();
            client.send(recipient)
        } else {
            codes
        };
        assert!(codes.starts_with("451 4.3."), "{recipient}: {codes} {}", daemon.log());
    }
    assert_eq!(fs::read_dir(&real).unwrap().count(), 1);
    assert_eq!(fs::read_dir(real.join("x")).unwrap().count(), 0);
    daemon.stop();
}

#[test]
fn a_store_of_its_own_is_written_as_the_accounts_user() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let srv = folder.path().join("srv");
    fs::create_dir(&srv).unwrap();
    let mut users = String::new();
    for uid in USERS {
        let home = srv.join(uid.to_string());
        fs::create_dir(&home).unwrap();
        chown(&home, Some(uid), Some(uid)).unwrap();
        for kind in ["maildir", "mbox", "sqlite"] {
            users.extend([format!(
                "{kind}{uid}@d.example:x:{uid}:{uid}::{}::store={kind}:~/{kind}\n",
                home.display()
            )]);
        }
    }
    // The other's home is none of his.
    let first = srv.join(USERS[0].to_string());
    let first = first.display();
    users.extend([format!("thief@d.example:x:{0}:{0}::::store=sqlite:{first}/sqlite\n", USERS[1])]);
    let daemon = serve_below(folder.path(), &users, &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    for uid in USERS {
        for kind in ["maildir", "mbox", "sqlite"] {
            let reply = client.send(&format!("{kind}{uid}@d.example"));
            assert!(reply.starts_with("250 2.0.0"), "{kind}{uid}: {reply} {}", daemon.log());
            let made = fs::metadata(srv.join(format!("{uid}/{kind}"))).unwrap();
            assert_eq!((made.uid(), made.gid()), (uid, uid), "{kind}");
            assert_eq!(made.mode() & 0o077, 0, "{kind}");
        }
        for beside in ["sqlite-wal", "sqlite-shm"] {
            let made = fs::metadata(srv.join(format!("{uid}/{beside}"))).unwrap();
            assert_eq!(made.uid(), uid, "{beside}");
        }
    }
    assert_eq!(Asking::of(&daemon).codes("thief@d.example"), "451 4.3.5");
    until(|| daemon.log(), || daemon.log().contains("belongs to another user"));
    daemon.stop();
}

/// A user's own database, in which a message is, while no server runs.
fn database(folder: &Path) -> (String, PathBuf) {
    let at = folder.join("srv");
    let users =
        format!("own@d.example:x::::::store=sqlite:{}/db\nusual@d.example:x\n", at.display());
    let daemon = serve_below(folder, &users, &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("own@d.example").starts_with("250 "), "{}", daemon.log());
    daemon.stop();
    (users, at.join("db"))
}

#[test]
fn nobody_waits_for_a_fifo_beside_an_accounts_database() {
    let folder = tempfile::tempdir().unwrap();
    let (users, _) = database(folder.path());
    for beside in ["db-journal", "db-wal", "db-shm"] {
        let fifo = folder.path().join("srv").join(beside);
        let _ = fs::remove_file(&fifo);
        let made = Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let daemon = serve_below(folder.path(), &users, &[]);
        let mut asking = Asking::of(&daemon);
        assert_eq!(asking.codes("own@d.example"), "451 4.3.5", "{beside} {}", daemon.log());
        assert_eq!(asking.codes("usual@d.example"), "250 2.1.5");
        daemon.stop();
        fs::remove_file(&fifo).unwrap();
    }
    let daemon = serve_below(folder.path(), &users, &[]);
    assert_eq!(Asking::of(&daemon).codes("own@d.example"), "250 2.1.5", "{}", daemon.log());
    daemon.stop();
}

#[test]
fn no_other_account_waits_for_one_whose_database_its_user_has_locked() {
    const SESSIONS: usize = 20;
    const RECIPIENTS: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let (users, path) = database(folder.path());
    let daemon = serve_below(folder.path(), &users, &["--lock-wait=1s"]);
    // By no connection of SQLite's, which would let readers in.
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let mut client = Client::connect(daemon.address());
            client.open();
            client.say("MAIL FROM:<>\r\n");
            client.until("250 2.1.0");
            client.say("RCPT TO:<own@d.example>\r\n".repeat(RECIPIENTS));
            client
        })
        .collect();
    let began = Instant::now();
    assert_eq!(Asking::of(&daemon).codes("usual@d.example"), "250 2.1.5", "{}", daemon.log());
    for session in &mut sessions {
        for _ in 0..RECIPIENTS {
            let reply = session.line();
            assert!(reply.starts_with("450 4.2.0 "), "{reply} {}", daemon.log());
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    rustix::fs::fcntl_lock(&file, FlockOperation::Unlock).unwrap();
    drop(file);
    until(|| daemon.log(), || Asking::of(&daemon).codes("own@d.example") == "250 2.1.5");
    daemon.stop();
}

#[test]
fn a_large_message_to_several_waits_for_no_accounts_locked_database() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (users, path) = database(folder.path());
    let daemon = serve_below(folder.path(), &users, &["--lock-wait=3s"]);
    let mut client = Client::connect(daemon.address());
    client.open();
    client.say("MAIL FROM:<>\r\nRCPT TO:<usual@d.example>\r\nRCPT TO:<own@d.example>\r\nDATA\r\n");
    client.until("354 ");
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.readline()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    client.say(format!("Subject: large\r\n\r\n{}.\r\n", "0123456789abcdef\r\n".repeat(30_000)));
    let began = Instant::now();
    assert!(client.line().starts_with("250 2.0.0 "), "{}", daemon.log());
    let took = began.elapsed();
    // The database is tried for a second before anything is written ahead.
    assert!(took < Duration::from_millis(900), "{took:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let reply = client.line();
    assert!(reply.starts_with("250 2.0.0 "), "{reply} {}", daemon.log());
    daemon.stop();
}

#[test]
fn databases_in_one_directory_are_made_at_the_same_time() {
    const ACCOUNTS: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("srv");
    let line = |n| format!("own{n}@d.example:x::::::store=sqlite:{}/{n}\n", at.display());
    let users: String = (0..ACCOUNTS).map(line).collect();
    let daemon = serve_below(folder.path(), &users, &[]);
    let mut sessions: Vec<_> = (0..ACCOUNTS).map(|_| Client::connect(daemon.address())).collect();
    for session in &mut sessions {
        session.open();
        session.say("MAIL FROM:<>\r\n");
        session.until("250 2.1.0");
    }
    for (n, session) in sessions.iter_mut().enumerate() {
        session.say(format!("RCPT TO:<own{n}@d.example>\r\n"));
    }
    for session in &mut sessions {
        let reply = session.line();
        assert!(reply.starts_with("250 2.1.5 "), "{reply} {}", daemon.log());
    }
    daemon.stop();
}
