//! Real users of this system, made and removed again.

use crate::{
    Asking,
    client::Client,
    daemon::{Daemon, Store, folder, until},
    made::{Made, can_make},
    program::succeed,
    serve_as,
};
use std::{
    fs::{self, Metadata, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn the_systems_users_are_taken_but_for_those_below_first_uid() {
    if !can_make() {
        return;
    }
    let tag = std::process::id() % 10_000;
    let (person, service) = (format!("postino{tag}p"), format!("postino{tag}s"));
    let _made = (Made::new(&person, 40_000 + tag), Made::new(&service, 700));
    let folder = folder();
    // Whose mailbox lies in a directory of root's is given it.
    let mailbox = folder.path().join("mail").join(&person);
    fs::create_dir_all(&mailbox).unwrap();
    chown(&mailbox, Some(40_000 + tag), None).unwrap();
    let postmaster = format!("--postmaster={person}");
    let daemon = serve_as("--users=system", folder.path(), &[&postmaster]);
    until(|| daemon.log(), || daemon.log().contains(" users=system "));
    let mut asking = Asking::of(&daemon);
    let upper = person.to_uppercase();
    for (recipient, codes) in [
        (format!("{person}@localhost"), "250 2.1.5"),
        (format!("{upper}+x@MX.example.org"), "250 2.1.5"),
        (format!("{person}@elsewhere.example"), "550 5.1.2"),
        (format!("{person}x@localhost"), "550 5.1.1"),
        (format!("{service}@localhost"), "550 5.1.1"),
        ("root@localhost".to_owned(), "550 5.1.1"),
        ("0@localhost".to_owned(), "550 5.1.1"),
        ("postmaster".to_owned(), "250 2.1.5"),
        ("postmaster@localhost".to_owned(), "250 2.1.5"),
    ] {
        assert_eq!(asking.codes(&recipient), codes, "{recipient}");
    }
    let told = format!("the user {service} has uid 700");
    until(|| daemon.log(), || daemon.log().contains(&told));
    // Who comes later is known once the answer of before is forgotten.
    let late = format!("postino{tag}l");
    let address = format!("{late}@localhost");
    assert_eq!(asking.codes(&address), "550 5.1.1");
    let _late = Made::new(&late, 50_000 + tag);
    until(|| daemon.log(), || asking.codes(&address) == "250 2.1.5");

    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send(&format!("{upper}@localhost")).starts_with("250 2.0.0"));
    assert_eq!(Store::below(folder.path()).messages(&person).len(), 1);
    daemon.stop();
}

/// Three users of this system with homes, and where those are.
struct Three {
    folder: tempfile::TempDir,
    users: [Made; 3],
}

impl Three {
    fn new(tag: &str) -> Self {
        let folder = folder();
        let names = ["a", "b", "c"].map(|each| format!("pt{}{tag}{each}", std::process::id()));
        let users = names.map(|name| Made::with_home(&name, &folder.path().join(&name)));
        Self { folder, users }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(Made::name)
    }

    /// A server of theirs; it is root.
    fn serve(&self, store: &str, flags: &[&str]) -> Daemon {
        let store = format!("--store={store}");
        let postmaster = format!("--postmaster={}", self.users[0].name());
        let mut all = vec!["--listen=127.0.0.1:0", "--users=system", &store, &postmaster];
        all.extend(flags);
        Daemon::start(&all)
    }

    /// Two messages to each, the first of them a single one to all.
    fn send(&self, daemon: &Daemon) {
        let mut client = Client::connect(daemon.address());
        client.open();
        client.say("MAIL FROM:<>\r\n");
        for name in self.names() {
            client.say(format!("RCPT TO:<{name}@localhost>\r\n"));
            client.until("250 2.1.5");
        }
        client.say("DATA\r\n");
        client.until("354 ");
        client.say("Subject: to all\r\n\r\ntext\r\n.\r\n");
        for name in self.names() {
            let reply = client.line();
            assert!(reply.starts_with("250 2.0.0"), "{name} {reply}");
        }
        for name in self.names() {
            let reply = client.send(&format!("{name}@localhost"));
            assert!(reply.starts_with("250 2.0.0"), "{name} {reply}");
        }
    }
}

/// uid, gid and mode.
fn rights(path: &Path) -> (u32, u32, u32) {
    let status = fs::symlink_metadata(path).unwrap();
    (status.uid(), status.gid(), status.mode() & 0o7777)
}

/// A directory and all that lies below.
fn all_of(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut all = vec![(directory.to_owned(), fs::symlink_metadata(directory).unwrap())];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let status = fs::symlink_metadata(&path).unwrap();
        if status.is_dir() {
            all.extend(all_of(&path));
        } else {
            all.push((path, status));
        }
    }
    all
}

#[test]
fn maildirs_below_homes_are_their_users_alone() {
    if !can_make() {
        return;
    }
    let three = Three::new("m");
    let daemon = three.serve("maildir:%h/Maildir", &["--single-instance"]);
    three.send(&daemon);
    for user in &three.users {
        let (uid, gid) = user.ids();
        let all = all_of(&user.home().join("Maildir"));
        for (path, status) in &all {
            let mode = if status.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(rights(path), (uid, gid, mode), "{}", path.display());
            assert!(status.is_dir() || status.nlink() == 1, "{}", path.display());
        }
        let messages = all.iter().filter(|(path, _)| path.parent().unwrap().ends_with("new"));
        assert_eq!(messages.count(), 2, "{all:?}");
    }
    let names: Vec<_> = fs::read_dir(three.folder.path()).unwrap().collect();
    assert_eq!(names.len(), 3, "nothing is made beside the homes: {names:?}");
    daemon.stop();
}

#[test]
fn mboxes_in_a_spool_of_debians_modes_are_their_users_and_the_groups() {
    if !can_make() {
        return;
    }
    let three = Three::new("s");
    let spool = three.folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    succeed(Command::new("chgrp").arg("mail").arg(&spool));
    fs::set_permissions(&spool, Permissions::from_mode(0o2775)).unwrap();
    let (_, mail, _) = rights(&spool);
    let daemon = three.serve(&format!("mbox:{}/%n", spool.display()), &["--mail-group=mail"]);
    three.send(&daemon);
    for user in &three.users {
        let mbox = spool.join(user.name());
        assert_eq!(rights(&mbox), (user.ids().0, mail, 0o660), "{}", user.name());
        let text = fs::read_to_string(&mbox).unwrap();
        assert_eq!(text.matches("\nSubject: ").count(), 2, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("From ")).count(), 2, "{text}");
    }
    daemon.stop(); // the last reply comes before the lock file goes
    let mut names: Vec<_> =
        fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| !three.names().any(|user| user == name));
    assert_eq!(names, [".postino"], "no lock file is left");
}

#[test]
fn a_lock_file_that_another_user_planted_in_the_spool_holds_no_mail_past_its_age() {
    if !can_make() {
        return;
    }
    let three = Three::new("l");
    let spool = three.folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    succeed(Command::new("chgrp").arg("mail").arg(&spool));
    fs::set_permissions(&spool, Permissions::from_mode(0o2775)).unwrap();
    let store = format!("mbox:{}/%n", spool.display());
    let daemon = three.serve(&store, &["--mail-group=mail", "--lock-wait=1s"]);
    let [alice, bob, _] = &three.users;
    let lock = spool.join(format!("{}.lock", bob.name()));
    // Of a process that lives.
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    chown(&lock, Some(alice.ids().0), None).unwrap();
    let mut client = Client::connect(daemon.address());
    client.open();
    let address = format!("{}@localhost", bob.name());
    for when in ["now", "4 minutes ago", "tomorrow"] {
        succeed(Command::new("touch").args(["-d", when]).arg(&lock));
        let reply = client.send(&address);
        assert!(reply.starts_with("450 4.2.0 "), "{when}: {reply}");
    }
    let held = format!("the lock file of uid {}", alice.ids().0);
    until(|| daemon.log(), || daemon.log().contains(&held));
    // Nobody else's mail waits for it.
    let reply = client.send(&format!("{}@localhost", alice.name()));
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    succeed(Command::new("touch").args(["-d", "6 minutes ago"]).arg(&lock));
    let reply = client.send(&address);
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    daemon.stop();
    let text = fs::read_to_string(spool.join(bob.name())).unwrap();
    assert_eq!(text.matches("\nSubject: ").count(), 1, "{text}");
    assert!(!lock.exists());
}
