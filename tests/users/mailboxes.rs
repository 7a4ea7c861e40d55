//! What each recipient is answered, and where his mail is then.

use crate::{
    Asking,
    client::Client,
    daemon::{Daemon, Store, folder, postino, until},
    program::{are_root, run_with_input},
    serve,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    process::Command,
};

#[test]
fn each_kind_of_entry_has_its_reply() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(
        folder.path(),
        "# made for Dovecot\n\
         alice@example.org:{plain}x\n\
         bare:{plain}x\n\
         gone@example.org:x::::::disabled\n\
         away@example.org:x::::::suspended\n\
         far@example.org:x::::::store=maildir:/etc/mail nologin=1\n\
         near@example.org:x::::::nologin=2\n\
         @all.example:x\n",
        &["--default-domain=example.net"],
    );
    let mut asking = Asking::of(&daemon);
    for (recipient, codes) in [
        ("alice@example.org", "250 2.1.5"),
        ("Alice+Detail@Example.ORG", "250 2.1.5"),
        ("bare@example.net", "250 2.1.5"),
        ("bare@example.org", "550 5.1.1"),
        ("anyone@all.example", "250 2.1.5"),
        ("gone@example.org", "550 5.2.1"),
        ("away@example.org", "450 4.2.1"),
        ("far@example.org", "451 4.3.5"),
        ("bob@example.org", "550 5.1.1"),
        ("alice@elsewhere.example", "550 5.1.2"),
        ("postmaster", "250 2.1.5"),
        ("postmaster@example.org", "250 2.1.5"),
        ("postmaster@elsewhere.example", "550 5.1.2"),
        ("\"a/b\"@all.example", "553 5.1.3"),
    ] {
        assert_eq!(asking.codes(recipient), codes, "{recipient}");
    }
    for line in [
        "users:6: far@example.org gets 451 4.3.5 until this is mended",
        "to=<far@example.org> reply=\"451 4.3.5\" cause=",
        "the field nologin is not known",
    ] {
        until(|| daemon.log(), || daemon.log().contains(line));
    }
    assert_eq!(daemon.log().matches("the field nologin").count(), 1, "{}", daemon.log());
    daemon.stop();
}

#[test]
fn the_mail_of_a_catch_all_goes_to_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let users = "a@d.example:x\na+b@d.example:x\n@e.example:x::::::user=a@d.example\n";
    let daemon = serve(folder.path(), users, &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    for recipient in ["A+x@d.example", "a+B@d.example", "z@e.example"] {
        assert!(client.send(recipient).starts_with("250 2.0.0"), "{recipient}");
    }
    let store = Store::below(folder.path());
    assert_eq!(store.messages("a@d.example").len(), 2);
    assert_eq!(store.messages("a+b@d.example").len(), 1);
    daemon.stop();
}

#[test]
fn a_users_file_of_docker_mailservers_serves_unchanged() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let mail = folder.path().join("mail");
    fs::create_dir(&mail).unwrap();
    chown(&mail, Some(5000), Some(5000)).unwrap();
    let line = |user: &str, domain: &str| {
        let place = mail.join(domain).join(user);
        let place = place.display();
        format!(
            "{user}@{domain}:{{SHA512-CRYPT}}$6$x$y:5000:5000::{place}/home::\
             userdb_mail=maildir:{place} userdb_quota_rule=*:bytes=1073741824\n"
        )
    };
    let users = line("alice", "example.org") + &line("bob", "example.net");
    let file = folder.path().join("userdb");
    fs::write(&file, users).unwrap();
    let store = format!("--store=maildir:{}/%d/%n", mail.display());
    let users = format!("--users=file:{}", file.display());
    let daemon = Daemon::start(&["--listen=127.0.0.1:0", "--hostname=mx", &store, &users]);
    let mut asking = Asking::of(&daemon);
    for recipient in ["alice@example.org", "bob@example.net", "Alice+x@Example.org"] {
        assert_eq!(asking.codes(recipient), "250 2.1.5", "{recipient}");
    }
    assert_eq!(asking.codes("alice@example.net"), "550 5.1.1");
    assert!(!daemon.log().contains("userdb:"), "{}", daemon.log());
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("alice@example.org").starts_with("250 2.0.0"));
    let new = fs::metadata(mail.join("example.org/alice/new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (5000, 5000));
    daemon.stop();
}

#[test]
fn every_store_keeps_the_folders_and_quotas_of_the_accounts() {
    for store in ["maildir:mail", "mbox:mail", "sqlite:db"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        fs::write(&file, "a@d.example:x::::::quota=0,3\nb@d.example:x\n").unwrap();
        let (kind, name) = store.split_once(':').unwrap();
        let store = format!("{kind}:{}", folder.path().join(name).display());
        let users = format!("--users=file:{}", file.display());
        let daemon = Daemon::start(&[
            "--listen=127.0.0.1:0",
            "--hostname=mx",
            "--detail=create",
            &format!("--store={store}"),
            &users,
        ]);
        let mut client = Client::connect(daemon.address());
        client.open();
        for recipient in ["a@d.example", "a+Lists@d.example", "a+Lists@d.example", "b@d.example"] {
            assert!(client.send(recipient).starts_with("250 2.0.0"), "{store} {recipient}");
        }
        for recipient in ["a@d.example", "a+Lists@d.example", "a+new@d.example"] {
            client.say(format!("MAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\n"));
            client.until("250 2.1.0");
            let mut reply = client.line();
            // Some stores count messages at the delivery alone.
            if reply.starts_with("250 ") {
                client.say("DATA\r\n");
                client.until("354 ");
                client.say("Subject: x\r\n\r\ntext\r\n.\r\n");
                reply = client.line();
            } else {
                client.say("RSET\r\n");
                client.until("250 ");
            }
            assert!(reply.starts_with("452 4.2.2 "), "{store} {recipient}: {reply}");
        }
        daemon.stop();
        #[cfg(feature = "tools")]
        {
            let mut list = Command::new(postino());
            let list = list.args(["mailboxes", "--store", &store]).output().unwrap();
            let shown = String::from_utf8(list.stdout.clone()).unwrap();
            let listed = |name: &str| shown.split_whitespace().any(|word| word == name);
            assert!(
                listed("a@d.example/Lists") && listed("b@d.example"),
                "{store}: {shown} {list:?}"
            );
        }
    }
}

#[cfg(feature = "tools")]
#[test]
fn deliver_takes_a_name_without_a_domain_in_the_default_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    fs::write(&file, "alice:x\n").unwrap();
    let store = Store::below(folder.path());
    let mut command = Command::new(postino());
    command.args(["deliver", "--default-domain=example.org", "--users"]);
    command.arg(format!("file:{}", file.display())).args(["--store", &store.url()]);
    for (name, code) in [("alice", 0), ("bob", 67)] {
        let mut command = clone(&command);
        let (output, shown) = run_with_input(command.arg(name), b"Subject: x\n\ntext\n");
        assert_eq!(output.status.code(), Some(code), "{shown}");
    }
    assert_eq!(store.messages("alice@example.org").len(), 1);
}

#[cfg(feature = "tools")]
fn clone(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}
