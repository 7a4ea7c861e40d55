//! Users files as Dovecot, docker-mailserver and people write them.

use super::{
    super::{
        location::Places,
        table::{Account, Standing},
    },
    Parsed, Rules, parse,
};
use postino_store::{Owner, Quota};
use proptest::prelude::*;
use std::sync::Arc;

fn rules() -> Rules {
    Rules {
        default_domain: Some("example.org".to_owned()),
        domains: Vec::new(),
        is_for_one_domain: false,
        places: Places {
            store_url: "maildir:/var/mail/%d/%n".to_owned(),
            roots: vec!["/srv/mail".into()],
            opens: Arc::new(|_| Ok(())),
        },
    }
}

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &rules()).unwrap_or_else(|broken| panic!("{text}: {broken:?}"))
}

#[track_caller]
fn broken(text: &str, line: Option<usize>, part: &str) {
    let broken = parse(text.as_bytes(), &rules()).unwrap_err();
    assert!(broken.line == line && broken.what.contains(part), "{text}: {broken:?}");
}

fn account<'a>(parsed: &'a Parsed, name: &str) -> Account<'a> {
    parsed.table.get(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn dovecots_examples_are_read() {
    let parsed = read(
        "# comment\n\nuser:{plain}password\n\
         testuser:{PLAIN}pass:1001:1002:gecos:/home/testuser:/bin/sh:\
         userdb_quota_rule=*:bytes=10M allow_nets=192.168.0.0/24\n",
    );
    let user = account(&parsed, "user@example.org");
    assert_eq!((user.home, &user.owner, user.quota), (None, &None, None));
    let test = account(&parsed, "testuser@example.org");
    assert_eq!(test.home, Some("/home/testuser"));
    assert_eq!(test.owner, Some(Owner { uid: 1001, gid: 1002, groups: Vec::new() }));
    assert_eq!(test.quota, Some(Quota { octets: Some(10 << 20), messages: None }));
    assert_eq!(parsed.warnings.len(), 1, "{:?}", parsed.warnings);
    assert!(parsed.warnings[0].1.contains("allow_nets"), "{:?}", parsed.warnings);
}

#[test]
fn docker_mailservers_form_is_read() {
    let parsed = read(
        "alice@example.org:{SHA512-CRYPT}$6$x$y:5000:5000::/var/mail/example.org/alice/home::\
         userdb_mail=maildir:/var/mail/example.org/alice userdb_quota_rule=*:bytes=1073741824\n\
         bob@example.net:{SHA512-CRYPT}$6$x$y:5000:5000::/var/mail/example.net/bob/home::\
         userdb_mail=maildir:/var/mail/example.net/bob\n",
    );
    let alice = account(&parsed, "alice@example.org");
    assert_eq!(alice.quota, Some(Quota { octets: Some(1 << 30), messages: None }));
    assert_eq!(alice.owner, Some(Owner { uid: 5000, gid: 5000, groups: Vec::new() }));
    assert_eq!((alice.location, alice.standing), (None, Standing::Active));
    assert_eq!(account(&parsed, "bob@example.net").quota, None);
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
}

#[test]
fn extra_fields_override_and_add() {
    let parsed = read(
        "a:x:1:1::/h::userdb_home=/other userdb_uid=7 userdb_gid=8 quota=10M,5\n\
         b:x::::::disabled\nc:x::::::suspended=yes\nd:x::::::disabled=no\n\
         e:x::::::store=maildir:/srv/mail/e\n\
         f:x::::/srv/mail/f::userdb_mail_driver=maildir userdb_mail_path=~/Maildir\n\
         g:x::::::userdb_quota_storage_size=1G userdb_quota_message_count=9\n\
         @example.net::::::: user=Catch@example.org\n",
    );
    let a = account(&parsed, "a@example.org");
    assert_eq!(
        (a.home, a.owner),
        (Some("/other"), Some(Owner { uid: 7, gid: 8, groups: Vec::new() }))
    );
    assert_eq!(a.quota, Some(Quota { octets: Some(10 << 20), messages: Some(5) }));
    let standing = |name: &str| account(&parsed, name).standing;
    assert_eq!(standing("b@example.org"), Standing::Disabled);
    assert_eq!(standing("c@example.org"), Standing::Suspended);
    assert_eq!(standing("d@example.org"), Standing::Active);
    let location = |name: &str| account(&parsed, name).location;
    assert_eq!(location("e@example.org"), Some("maildir:/srv/mail/./e"));
    assert_eq!(location("f@example.org"), Some("maildir:/srv/mail/f/./Maildir"));
    let g = account(&parsed, "g@example.org").quota;
    assert_eq!(g, Some(Quota { octets: Some(1 << 30), messages: Some(9) }));
    assert_eq!(account(&parsed, "@example.net").mailbox, Some("catch@example.org"));
}

#[test]
fn a_place_that_cannot_be_used_defers_the_account_and_is_put_nowhere_else() {
    for extra in [
        "store=maildir:/etc/x",
        "userdb_mail=mbox:~/mail:INBOX=/var/mail/a",
        "userdb_mail=maildir:~/Maildir",
        "userdb_mail_driver=sdbox",
    ] {
        let parsed = read(&format!("a:x::::::{extra}\n"));
        let a = account(&parsed, "a@example.org");
        assert_eq!((a.standing, a.location), (Standing::Unusable, None), "{extra}");
        assert!(parsed.warnings[0].1.contains("451 4.3.5"), "{:?}", parsed.warnings);
    }
    for ids in ["0:0", "4294967295:1", "1:4294967295"] {
        let parsed = read(&format!("a:x:{ids}\n"));
        assert_eq!(account(&parsed, "a@example.org").standing, Standing::Unusable, "{ids}");
    }
}

#[test]
fn an_unknown_field_is_warned_of_once() {
    let parsed = read("a:x::::::nologin x=1\nb:x::::::nologin\nc:x::::::nologin x=2\n");
    let fields: Vec<_> = parsed.warnings.iter().map(|(line, text)| (*line, &text[..])).collect();
    let text = |field| format!("the field {field} is not known and has no effect");
    assert_eq!(fields, [(1, &text("nologin")[..]), (1, &text("x")[..])]);
}

#[test]
fn a_broken_line_is_told_with_its_number() {
    broken("", None, "no entry");
    broken("# nobody\n\n", None, "no entry");
    broken("a:x\nali", Some(2), "no colon");
    broken(":x:1:1\n", Some(1), "no name");
    broken("\n\n.a:x\n", Some(3), "begins with a dot");
    broken("a/b:x\n", Some(1), "'/'");
    broken("a:x:5000:\n", Some(1), "without a gid");
    broken("a:x:no-such-user:5\n", Some(1), "not known to this system");
    broken("a:x:1:no-such-group\n", Some(1), "not known to this system");
    broken("a:x:1:1::home\n", Some(1), "absolute");
    broken("a:x::::::quota=x\n", Some(1), "1G,10000");
    broken("a:x::::::userdb_quota_rule=*:bytes=x\n", Some(1), "is wrong");
    broken("@:x\n", Some(1), "empty");
}

#[test]
fn bare_names_need_a_default_domain() {
    let rules = Rules { default_domain: None, ..rules() };
    let broken = parse(b"a@b:x\na:x\n", &rules).unwrap_err();
    assert!(broken.line == Some(2) && broken.what.contains("default-domain"), "{broken:?}");
}

#[test]
fn a_second_domain_needs_a_path_that_tells_them_apart() {
    let rules = Rules { is_for_one_domain: true, ..rules() };
    assert!(parse(b"a@b:x\nc@b:x\n", &rules).is_ok());
    let broken = parse(b"a@b:x\na@c:x\n", &rules).unwrap_err();
    assert!(broken.line == Some(2) && broken.what.contains("second domain"), "{broken:?}");
}

proptest! {
    #[test]
    fn no_file_panics(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&octets, &rules());
    }

    #[test]
    fn no_line_panics(line in "[a-c@:. =%~/*\\\\é\u{0}0-9]{0,60}(userdb_mail=|store=|quota=|userdb_quota_rule=)?[a-z:%~/*=0-9]{0,20}") {
        if let Ok(parsed) = parse(line.as_bytes(), &rules()) {
            prop_assert!(parsed.table.len() > 0);
        }
    }
}

#[test]
fn many_domains_and_owners_by_name_take_no_longer_than_their_lines() {
    use std::{fmt::Write as _, time::Instant};
    const LINES: u32 = 200_000;
    let mut text = String::new();
    for number in 0..LINES {
        // Each domain once, in no order.
        let domain = number.wrapping_mul(7919) % LINES;
        writeln!(text, "u@d{domain}.example.org:x:daemon:daemon").unwrap();
    }
    let begun = Instant::now();
    let parsed = read(&text);
    assert_eq!(parsed.table.domains().count(), LINES as usize);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
