//! That what other programs write is sound.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, alice, listed, reading};
use postino_mbox::Mbox;
use postino_store::{Finding, Repair, Verified};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    process::Command,
};

fn verify(store: &Mbox) -> (Vec<Finding>, Verified) {
    let mut findings = Vec::new();
    let verified =
        reading(store).verify(Repair::No, &mut |finding| findings.push(finding)).unwrap();
    (findings, verified)
}

#[test]
fn a_mailbox_that_python_wrote_is_sound() {
    let place = Place::new();
    let store = place.open();
    let script = "
import mailbox, sys
box = mailbox.mbox(sys.argv[1])
for text in (b'Subject: x\\n\\nFrom me\\n\\nFrom a@b Tue Nov 24 08:47:49 2026\\n', b'Subject: y\\n\\nno end', b'\\n\\n'):
    box.add(text)
message = mailbox.mboxMessage(b'Subject: z\\n\\ntext\\n')
message.set_flags('RAF')
box.add(message)
box.flush()
";
    let python = Command::new("python3").args(["-c", script]).arg(place.alice()).status().unwrap();
    assert!(python.success());
    let (found, verified) = verify(&store);
    assert_eq!(found, []);
    assert_eq!((verified.mailboxes, verified.messages), (1, 4));
    let flags = listed(reading(&store), &alice()).pop().unwrap().flags.unwrap();
    assert_eq!(flags.as_str(), "FRS");
}

#[test]
fn a_mailbox_that_dovecot_wrote_is_sound() {
    const READER: u32 = 65_534;
    if Command::new("doveadm").arg("--version").output().is_err() {
        return; // it is not there
    }
    let place = Place::new();
    let store = place.open();
    let written = place.above().join("dovecot");
    fs::create_dir(&written).unwrap();
    // It refuses to be root.
    for path in [place.above(), &written] {
        let _ = chown(path, Some(READER), Some(READER));
    }
    let owner = fs::metadata(&written).unwrap();
    let (uid, gid) = (owner.uid(), owner.gid());
    let above = place.above().display();
    let configuration = place.above().join("dovecot.conf");
    let text = format!(
        "base_dir = {above}/run\nlog_path = /dev/stderr\nssl = no\n\
         mail_location = mbox:{above}/dovecot:INBOX={above}/dovecot/alice\n\
         mail_uid = {uid}\nmail_gid = {gid}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
         namespace inbox {{\n  inbox = yes\n}}\n",
    );
    fs::write(&configuration, text).unwrap();
    let doveadm = |arguments: &[&str], input: &str| {
        fs::write(place.above().join("input"), input).unwrap();
        let output = Command::new("doveadm")
            .arg("-c")
            .arg(&configuration)
            .args(arguments)
            .env("USER", "nobody")
            .env("HOME", place.above())
            .stdin(fs::File::open(place.above().join("input")).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let texts = [
        "Subject: x\n\nFrom the start\n\nFrom a@b Tue Nov 24 08:47:49 2026\ntext\n",
        "Subject: y\n\nplain\n",
        "\n",
    ];
    for text in texts {
        doveadm(&["save", "-m", "INBOX"], text);
    }
    let flags = ["flags", "add", "\\Seen \\Answered", "mailbox", "INBOX", "2"];
    doveadm(&flags, "");
    fs::copy(written.join("alice"), place.alice()).unwrap();
    fs::create_dir_all(place.root().join(".imap/INBOX")).unwrap();
    let (found, verified) = verify(&store);
    assert_eq!(found, []);
    assert_eq!((verified.mailboxes, verified.messages), (1, 3));
    let messages = listed(reading(&store), &alice());
    assert_eq!(messages[1].flags.as_ref().unwrap().as_str(), "RS");
    let first = String::from_utf8(common::read(reading(&store), &alice(), &messages[0])).unwrap();
    assert!(first.ends_with(texts[0].split_once("\n\n").unwrap().1), "{first}");
}
