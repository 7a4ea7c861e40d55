//! Users files and Maildirs that were made for Dovecot, which goes on to read both.

use crate::{
    daemon::{Daemon, folder},
    dovecot::{self, Dovecot, hashed},
    program::{all_here, are_root, bounded, run},
    store::READER,
};
use std::{fs, os::unix::fs::chown, path::Path};

const IMAP: &str = include_str!("imap.py");

/// How a user logs in, and where his mail is sent to.
struct User<'a> {
    login: &'a str,
    password: &'a str,
    address: &'a str,
}

fn imap(step: &str, dovecot: &Dovecot, server: &str, user: &User<'_>) {
    let mut python = bounded("python3");
    python.args(["-c", IMAP, step]).arg(dovecot.socket());
    python.args([user.login, user.password, server, user.address]);
    let (output, shown) = run(&mut python);
    let log = dovecot.log();
    assert!(output.status.success() && !log.contains("Error: "), "{shown}\n{log}");
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// Has Dovecot make the mailboxes first, then postino deliver into them while it is
/// asked for each message. Both are given the same file; Dovecot's settings are the
/// fields that users have where it says none, and where their mail lies.
fn serve_both(
    folder: &Path,
    users: &str,
    of_dovecot: [&str; 2],
    flags: &[&str],
    each: &[User<'_>],
) {
    let [fields, location] = of_dovecot;
    let file = folder.join("users");
    fs::write(&file, users).unwrap();
    let dovecot = Dovecot::start(folder, &file, fields, location);
    for user in each {
        imap("before", &dovecot, "", user);
    }
    let users_flag = format!("--users=file:{}", file.display());
    let mut all = vec!["--listen=127.0.0.1:0", "--hostname=mx", "--detail=create", &users_flag];
    all.extend(flags);
    let daemon = Daemon::start(&all);
    for user in each {
        imap("after", &dovecot, daemon.address(), user);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), users);
    // Dovecot's alone, for log-ins.
    let log = daemon.log().replace("users:5: the field allow_nets is not known", "");
    assert!(!log.contains("users:"), "{log}");
    daemon.stop();
}

fn can_run() -> bool {
    all_here(&["python3"]) && all_here(&dovecot::PROGRAMS) && are_root()
}

#[test]
fn dovecot_shows_at_once_what_comes_to_the_homes_of_its_documentations_users() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let homes = folder.path().join("home");
    fs::create_dir(&homes).unwrap();
    for (name, id) in [("user", 61_000), ("user2", 61_001), ("user3", 61_002)] {
        let home = homes.join(name);
        fs::create_dir(&home).unwrap();
        chown(&home, Some(id), Some(id)).unwrap();
    }
    let homes = homes.display();
    let users = format!(
        "user:{{plain}}pass:61000:61000::{homes}/user::userdb_quota_rule=*:bytes=100M\n\
         # The last one names what is usual here.\n\
         user2:{{plain}}pass2:61001:61001:,,,:{homes}/user2:/bin/sh:userdb_quota_rule=*:bytes=200M\n\
         \n\
         user3:{{plain}}pass3:61002:61002::{homes}/user3::userdb_mail=maildir:~/Maildir userdb_quota_rule=*:bytes=300M allow_nets=local,127.0.0.0/8\n"
    );
    let flags = [
        "--store=maildir:%h/Maildir",
        "--default-domain=example.org",
        "--postmaster=user@example.org",
    ];
    let each = [
        User { login: "user", password: "pass", address: "user@example.org" },
        User { login: "user2", password: "pass2", address: "user2@example.org" },
        User { login: "user3", password: "pass3", address: "user3@example.org" },
    ];
    serve_both(folder.path(), &users, ["", "maildir:~/Maildir"], &flags, &each);
}

#[test]
fn dovecot_shows_at_once_what_comes_to_the_users_of_docker_mailservers() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let mail = folder.path().join("mail");
    fs::create_dir(&mail).unwrap();
    chown(&mail, Some(5000), Some(5000)).unwrap();
    let place = mail.display();
    let password = hashed("secret");
    let users = format!(
        "alice@example.org:{password}:5000:5000::{place}/example.org/alice/home::\n\
         alice@example.net:{password}:5000:5000::{place}/example.net/alice/home::userdb_quota_rule=*:bytes=10M\n\
         bob@example.net:{password}:5000:5000::{place}/example.net/bob::userdb_mail=maildir:{place}/example.net/bob\n"
    );
    let store = format!("--store=maildir:{place}/%d/%n");
    let each = ["alice@example.org", "alice@example.net", "bob@example.net"];
    let each = each.map(|address| User { login: address, password: "secret", address });
    let location = format!("maildir:{place}/%d/%n");
    serve_both(folder.path(), &users, ["uid=5000 gid=5000", &location], &[&store], &each);
}

#[test]
fn dovecot_shows_at_once_what_comes_to_users_who_have_a_password_alone() {
    if !can_run() {
        return;
    }
    let folder = folder();
    let mail = folder.path().join("vmail");
    fs::create_dir(&mail).unwrap();
    chown(&mail, Some(READER.1), Some(READER.1)).unwrap();
    let place = mail.display();
    let users = "alice@example.org:{PLAIN}secret::::::\nbob@example.net:{PLAIN}secret::::::\n";
    let store = format!("--store=maildir:{place}/%d/%n/Maildir");
    let user = format!("--user={}", READER.0);
    let each = ["alice@example.org", "bob@example.net"];
    let each = each.map(|address| User { login: address, password: "secret", address });
    let fields = format!("uid={id} gid={id} home={place}/%d/%n", id = READER.1);
    let of_dovecot = [&*fields, "maildir:~/Maildir"];
    serve_both(folder.path(), users, of_dovecot, &[&store, &user], &each);
}
