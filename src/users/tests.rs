//! The rules of each source.

use super::{
    Detail, Places, Refusal, Resolution, Resolved, Rules, Source, System, Users, UsersFile,
};
use crate::{
    reply::{self, Reply},
    transaction::{Address, ForwardPath},
};
use postino_store::{IfMissing, Mailbox, MailboxName, Quota};
use std::sync::Arc;
use tempfile::TempDir;

fn users(source: Source) -> Users {
    Users::new(source, MailboxName::new("root@mx.example.org").unwrap())
}

fn path(local_part: &str, domain: &str) -> ForwardPath {
    ForwardPath::Address(Address::unchecked(local_part, domain))
}

fn mailbox(name: &str, if_missing: IfMissing) -> Mailbox {
    Mailbox::new(MailboxName::new(name).unwrap(), if_missing)
}

fn name(users: &Users, local_part: &str, domain: &str) -> Result<String, Reply> {
    let resolution = resolve(users, &path(local_part, domain));
    resolution.map(|found| found.mailbox.name().to_string()).map_err(|refusal| refusal.reply)
}

/// To the end: whoever calls this may block.
fn resolve(users: &Users, path: &ForwardPath) -> Result<Resolved, Refusal> {
    users.resolve(path).and_then(Resolution::finish)
}

#[test]
fn a_mailbox_is_named_after_the_address_in_lower_case() {
    let users = users(Source::Any);
    assert_eq!(name(&users, "Alice", "Example.ORG"), Ok("alice@example.org".to_owned()));
    assert_eq!(name(&users, "a b", "example.org"), Ok("a b@example.org".to_owned()));
    assert_eq!(name(&users, "a", "[IPv6:::1]"), Ok("a@[ipv6:::1]".to_owned()));
}

#[test]
fn the_detail_behind_the_first_delimiter_is_ignored() {
    let mut users = users(Source::Any);
    for (given, user) in
        [("bob+x", "bob"), ("bob+", "bob"), ("bob+x+y", "bob"), ("+bob", "+bob"), ("+a+b", "+a+b")]
    {
        assert_eq!(name(&users, given, "d"), Ok(format!("{user}@d")), "{given}");
    }
    users.recipient_delimiter = None;
    assert_eq!(name(&users, "bob+x", "d"), Ok("bob+x@d".to_owned()));
}

#[test]
fn only_served_domains_are_taken_in_any_case() {
    let mut users = users(Source::Any);
    users.domains = vec!["example.org".to_owned(), "example.net".to_owned()];
    assert_eq!(name(&users, "a", "EXAMPLE.net"), Ok("a@example.net".to_owned()));
    assert_eq!(name(&users, "a", "example.com"), Err(reply::UNKNOWN_DOMAIN));
    assert_eq!(name(&users, "postmaster", "example.com"), Err(reply::UNKNOWN_DOMAIN));
}

#[test]
fn no_address_makes_a_name_that_is_unsafe_or_another_addresss() {
    let users = users(Source::Any);
    for local_part in
        ["", ".", "..", "../x", "a/b", "a@b", "a\0", "a\n", "a\x7f", ".hidden", "\u{fc}ber", "..+x"]
    {
        assert_eq!(name(&users, local_part, "d"), Err(reply::UNUSABLE_NAME), "{local_part:?}");
    }
    for domain in ["[x:/../..]", "[x:\0]", "d\u{fc}"] {
        assert_eq!(name(&users, "a", domain), Err(reply::UNUSABLE_NAME), "{domain:?}");
    }
}

#[test]
fn a_mailbox_is_made_or_refused_as_the_source_says() {
    for (source, if_missing) in
        [(Source::Any, IfMissing::Create), (Source::Store, IfMissing::Refuse)]
    {
        let resolved = resolve(&users(source), &path("a", "d")).unwrap();
        let expected = Resolved { mailbox: mailbox("a@d", if_missing), otherwise: None };
        assert_eq!(resolved, expected);
    }
}

#[test]
fn postmaster_is_known_under_every_source() {
    let own = mailbox("root@mx.example.org", IfMissing::Create);
    for source in [Source::Any, Source::Store] {
        let resolved = resolve(&users(source), &ForwardPath::Postmaster("PostMaster".into()));
        assert_eq!(resolved.unwrap(), Resolved { mailbox: own.clone(), otherwise: None });
    }
    let any = resolve(&users(Source::Any), &path("Postmaster", "d")).unwrap();
    assert_eq!(any.mailbox, mailbox("postmaster@d", IfMissing::Create));
    assert_eq!(any.otherwise, None);
    let store = resolve(&users(Source::Store), &path("Postmaster", "d")).unwrap();
    assert_eq!(store.mailbox, mailbox("postmaster@d", IfMissing::Refuse));
    assert_eq!(store.otherwise, Some(own));
}

#[test]
fn every_account_without_a_quota_has_the_default_one() {
    let quota = Quota { octets: Some(1_000), messages: Some(3) };
    for source in [Source::Any, Source::Store] {
        let users = Users { quota, ..users(source) };
        for path in [path("a", "d"), path("postmaster", "d"), ForwardPath::Postmaster("x".into())] {
            let resolved = resolve(&users, &path).unwrap();
            assert_eq!(resolved.mailbox.quota(), quota);
            assert!(resolved.otherwise.is_none_or(|other| other.quota() == quota));
        }
    }
    let (users, _folder) = in_file("a@d:x::::::quota=5\nb@d:x\nc@d:x::::::quota=0\n");
    let users = Users { quota, ..users };
    let of = |user| resolve(&users, &path(user, "d")).unwrap().mailbox.quota();
    assert_eq!(of("a"), Quota { octets: Some(5), messages: None });
    assert_eq!(of("b"), quota);
    assert!(of("c").is_none());
}

#[test]
fn without_details_the_delimiter_is_a_letter_like_others() {
    let users = Users { detail: Detail::Off, ..users(Source::Any) };
    assert_eq!(name(&users, "Bob+X", "d"), Ok("bob+x@d".to_owned()));
}

#[test]
fn a_detail_names_a_folder_in_its_own_case() {
    let users = Users { detail: Detail::Folder, ..users(Source::Store) };
    assert_eq!(name(&users, "Bob+Lists/2026", "D"), Ok("bob@d/Lists/2026".to_owned()));
    assert_eq!(name(&users, "bob+../x", "d"), Ok("bob@d".to_owned()));
    let resolved = resolve(&users, &path("postmaster+x", "d")).unwrap();
    assert_eq!(resolved.mailbox.name().as_str(), "postmaster@d/x");
    assert_eq!(resolved.otherwise.unwrap().name().as_str(), "root@mx.example.org");
}

/// The file is there as long as its folder.
fn in_file(text: &str) -> (Users, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    std::fs::write(&path, text).unwrap();
    let places = Places {
        store_url: "maildir:/v".to_owned(),
        roots: Vec::new(),
        opens: Arc::new(|_| Ok(())),
    };
    let rules =
        Rules { default_domain: None, domains: Vec::new(), is_for_one_domain: false, places };
    let (file, _) = UsersFile::load(&path, rules).unwrap();
    (users(Source::File(Arc::new(file))), folder)
}

#[test]
fn an_entry_of_the_whole_name_goes_before_its_user_and_that_before_the_catch_all() {
    let (mut users, _folder) =
        in_file("a@d:x\na+b@d:x\n@d:x:::::/all:\nx@e:x\n@f:x::::::user=all@f\n");
    users.detail = Detail::Folder;
    for (local_part, domain, expected) in [
        ("A", "D", "a@d"),
        ("a+b", "d", "a+b@d"),
        ("a+B", "d", "a+b@d"),
        ("a+c", "d", "a@d/c"),
        ("other", "d", "other@d"),
        ("other+c", "d", "other@d/c"),
        ("other", "f", "all@f"),
    ] {
        assert_eq!(name(&users, local_part, domain), Ok(expected.to_owned()), "{local_part}");
    }
    for (local_part, domain, refusal) in [
        ("y", "e", reply::UNKNOWN_RECIPIENT),
        ("y", "g", reply::UNKNOWN_DOMAIN),
        ("postmaster", "g", reply::UNKNOWN_DOMAIN),
        ("a/b", "e", reply::UNUSABLE_NAME),
        ("a/b", "d", reply::UNUSABLE_NAME),
        ("a@b", "d", reply::UNUSABLE_NAME),
    ] {
        assert_eq!(name(&users, local_part, domain), Err(refusal), "{local_part}@{domain}");
    }
}

#[test]
fn an_entry_says_what_is_known_of_its_account() {
    let (users, _folder) = in_file(
        "a@d:x:7:8::/home/a:\nb@d:x::::::disabled\nc@d:x::::::suspended\n\
         e@d:x::::::store=maildir:/etc\n",
    );
    let a = resolve(&users, &path("a", "d")).unwrap().mailbox;
    let owner = postino_store::Owner { uid: 7, gid: 8, groups: Vec::new() };
    assert_eq!((a.home(), a.owner()), (Some(std::path::Path::new("/home/a")), Some(&owner)));
    assert_eq!(a.if_missing(), IfMissing::Create);
    assert_eq!(name(&users, "b", "d"), Err(reply::MAILBOX_DISABLED));
    assert_eq!(name(&users, "c", "d"), Err(reply::MAILBOX_SUSPENDED));
    assert_eq!(name(&users, "e", "d"), Err(reply::MISCONFIGURED));
    let e = resolve(&users, &path("e", "d")).unwrap_err();
    assert!(e.cause.is_some(), "the log has to say why");
}

#[test]
fn in_a_file_postmaster_is_its_own_entry_the_configured_one_or_made() {
    let bare = ForwardPath::Postmaster("postmaster".into());
    let (users, _folder) =
        in_file("a@d:x\nroot@mx.example.org:x:7:8::/root-mail:\npostmaster@e:x\n");
    let home = Some(std::path::Path::new("/root-mail"));
    for path in [&bare, &path("Postmaster", "d")] {
        let resolved = resolve(&users, path).unwrap().mailbox;
        assert_eq!((resolved.name().as_str(), resolved.home()), ("root@mx.example.org", home));
    }
    assert_eq!(name(&users, "postmaster", "e"), Ok("postmaster@e".to_owned()));
    let (users, _folder) = in_file("a@d:x\n");
    let users = Users { domains: vec!["z".to_owned()], ..users };
    let own = Resolved::from(mailbox("root@mx.example.org", IfMissing::Create));
    for path in [bare, path("postmaster", "z")] {
        assert_eq!(resolve(&users, &path).unwrap(), own);
    }
    assert_eq!(name(&users, "a", "z"), Err(reply::UNKNOWN_RECIPIENT));
    assert_eq!(name(&users, "a", "d"), Err(reply::UNKNOWN_DOMAIN));
}

#[test]
fn a_file_that_has_changed_makes_nobody_unknown_before_it_is_read_again() {
    let (users, folder) = in_file("a@d:x\n");
    let before = [name(&users, "b", "d"), name(&users, "b", "e")];
    assert_eq!(before, [Err(reply::UNKNOWN_RECIPIENT), Err(reply::UNKNOWN_DOMAIN)]);
    std::fs::write(folder.path().join("users"), "a@d:x\nb@d:x\nb@e:x\n").unwrap();
    for (local_part, domain) in [("b", "d"), ("b", "e")] {
        assert_eq!(name(&users, local_part, domain), Err(reply::DIRECTORY_FAILED), "{domain}");
    }
    assert_eq!(name(&users, "a", "d"), Ok("a@d".to_owned()));
    std::fs::remove_file(folder.path().join("users")).unwrap();
    assert_eq!(name(&users, "b", "d"), Err(reply::DIRECTORY_FAILED));
}

#[test]
fn a_user_of_the_system_is_asked_for_by_a_thread_that_may_wait() {
    let mut users = users(Source::System(Arc::new(System::new(1))));
    users.domains = vec!["mx".to_owned(), "localhost".to_owned()];
    users.postmaster = MailboxName::new("daemon@mx").unwrap();
    users.detail = Detail::Create;
    assert!(matches!(users.resolve(&path("daemon", "mx")), Ok(Resolution::Ask(_))));
    let daemon = resolve(&users, &path("Daemon+x", "LOCALHOST")).unwrap().mailbox;
    assert_eq!(daemon.name().as_str(), "daemon/x");
    assert!(daemon.home().is_some() && daemon.owner().is_some_and(|owner| owner.uid > 0));
    for (local_part, domain, refusal) in [
        ("daemon", "elsewhere", reply::UNKNOWN_DOMAIN),
        ("no-such-user", "mx", reply::UNKNOWN_RECIPIENT),
        ("root", "mx", reply::UNKNOWN_RECIPIENT),
    ] {
        assert_eq!(name(&users, local_part, domain), Err(refusal), "{local_part}@{domain}");
    }
    for path in [ForwardPath::Postmaster("postmaster".into()), path("postmaster", "mx")] {
        assert_eq!(resolve(&users, &path).unwrap().mailbox.name().as_str(), "daemon");
    }
}
