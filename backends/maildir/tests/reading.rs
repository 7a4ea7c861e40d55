//! What readers of the store are given, and what they are kept from.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, deliver_to,
    foreign::{Foreign, alice, content, ids, visit},
    names, walk,
};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_store::{DeliveryError, MailReader, MailStore, MailboxName, ReadError};
use std::{
    fs::{self, File, FileTimes},
    io::Read,
    ops::ControlFlow,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, chown, symlink},
    },
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[test]
fn messages_come_by_their_names_time_with_the_facts_of_their_files() {
    let foreign = Foreign::new();
    foreign
        .write("cur/1700000002.M1P5.mx,S=3,W=3:2,RSa", "two")
        .write("new/1700000002.M10P5.mx", "three")
        .write("cur/999999999.12_3.mx:2,", "one")
        .write("new/notes", "last")
        .write("cur/.hidden", "hidden")
        .write("tmp/1700000003.draft", "draft");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    File::open(foreign.path("new/notes"))
        .unwrap()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();
    let (messages, strays) = visit(&foreign.store);
    assert_eq!(strays, []);
    let texts: Vec<_> = messages.iter().map(|message| content(&foreign.store, message)).collect();
    assert_eq!(texts, ["one", "two", "three", "last"]);
    let facts: Vec<_> = messages
        .iter()
        .map(|message| {
            (message.id.as_str(), message.octets, message.flags.as_ref().unwrap().as_str())
        })
        .collect();
    let expected = [
        ("999999999.12_3.mx", 3, ""),
        ("1700000002.M1P5.mx,S=3,W=3", 3, "RS"),
        ("1700000002.M10P5.mx", 5, ""),
        ("notes", 4, ""),
    ];
    assert_eq!(facts, expected);
    assert_eq!(messages[3].received.since_epoch.as_secs(), 1_234_567_890);
}

#[test]
fn every_name_has_an_id_of_visible_ascii_by_which_it_is_found() {
    let foreign = Foreign::new();
    let hostile: [&[u8]; 9] = [
        b"a b",
        b"a%20b",
        b"tab\tnewline\n",
        b"\xff\xfe",
        "grün".as_bytes(),
        b"-rf",
        b"..2,",
        b"'$(id)';",
        b":2,S",
    ];
    for name in hostile {
        let name = std::ffi::OsStr::from_bytes(name);
        let directory = if name.as_bytes() == b":2,S" { "cur" } else { "new" };
        foreign.write(Path::new(directory).join(name), &name.as_bytes().escape_ascii().to_string());
    }
    let (messages, _) = visit(&foreign.store);
    // One begins with a dot.
    assert_eq!(messages.len(), hostile.len() - 1);
    for message in &messages {
        let id = message.id.as_str();
        assert!(!id.is_empty() && id.bytes().all(|octet| octet.is_ascii_graphic()), "{id:?}");
        let found = foreign.store.find(&alice(), id).unwrap();
        assert_eq!(&found, message);
        let name = Path::new(&message.hint).file_name().unwrap().as_bytes();
        assert_eq!(content(&foreign.store, &found), name.escape_ascii().to_string());
    }
    let found = foreign.store.find(&alice(), "a%2520b").unwrap();
    assert_eq!(content(&foreign.store, &found), "a%20b");
}

#[test]
fn messages_of_one_unique_name_are_told_apart() {
    let foreign = Foreign::new();
    let unique = "17.M5P42Q3R0123456789abcdef";
    foreign
        .write(format!("new/{unique}.one"), "one")
        .write(format!("cur/{unique}.two:2,S"), "two")
        .write("new/18.same", "new")
        .write("cur/18.same:2,S", "cur");
    let expected = [unique, &format!("{unique}.two"), "18.same", "cur/18.same:2,S"];
    assert_eq!(ids(&foreign.store), expected);
    for (id, text) in expected.iter().zip(["one", "two", "new", "cur"]) {
        let found = foreign.store.find(&alice(), id).unwrap();
        assert_eq!(content(&foreign.store, &found), text);
    }
    // A second try at the same message never takes the one that has its id now.
    let first = foreign.store.find(&alice(), unique).unwrap();
    foreign.store.remove(&alice(), &first).unwrap();
    assert_eq!(ids(&foreign.store), [unique, "18.same", "cur/18.same:2,S"]);
    let again = foreign.store.remove(&alice(), &first);
    assert!(matches!(again, Err(ReadError::NoSuchMessage)), "{again:?}");
    assert_eq!(ids(&foreign.store).len(), 3);
}

#[test]
fn one_file_of_two_names_alike_is_one_message() {
    let foreign = Foreign::new();
    foreign.write("new/17.x.mx", "text");
    fs::hard_link(foreign.path("new/17.x.mx"), foreign.path("cur/17.x.mx:2,S")).unwrap();
    let (messages, _) = visit(&foreign.store);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].flags.as_ref().unwrap().as_str(), "S");
    // Several names of other bases are several messages: Dovecot copies so.
    fs::hard_link(foreign.path("new/17.x.mx"), foreign.path("cur/18.x.mx:2,S")).unwrap();
    assert_eq!(ids(&foreign.store), ["17.x.mx", "18.x.mx"]);
}

#[test]
fn a_message_that_a_reader_has_moved_is_opened_and_removed_where_it_is() {
    let foreign = Foreign::new();
    foreign.write("new/17.x.mx", "text").write("new/18.y.mx", "other");
    let (messages, _) = visit(&foreign.store);
    for name in ["cur/17.x.mx:2,", "cur/17.x.mx:2,S", "cur/17.x.mx:2,FS"] {
        let now = walk(&foreign.path("")).into_iter().find(|path| path.contains("17.x")).unwrap();
        fs::rename(foreign.path(now), foreign.path(name)).unwrap();
        let open = MailReader::open(&foreign.store, &alice(), &messages[0]).unwrap();
        assert_eq!(open.info.hint.to_str().unwrap(), name);
        assert_eq!(open.info.id, messages[0].id);
    }
    foreign.store.remove(&alice(), &messages[0]).unwrap();
    assert_eq!(ids(&foreign.store), ["18.y.mx"]);
}

/// All are moved after they were listed, before they are looked at.
#[test]
fn messages_that_move_during_a_visit_are_all_visited_once() {
    let foreign = Foreign::new();
    for n in 0..200 {
        foreign.write(format!("new/17.{n:03}.mx"), "text");
    }
    let mut seen = Vec::new();
    foreign
        .store
        .messages(&alice(), &mut |found| {
            if seen.is_empty() || seen.len() == 100 {
                for name in names(&foreign.path("new")) {
                    let to = foreign.path(format!("cur/{name}:2,"));
                    fs::rename(foreign.path("new").join(name), to).unwrap();
                }
                for name in names(&foreign.path("cur")) {
                    let flagged = foreign.path(format!("cur/{name}S"));
                    fs::rename(foreign.path("cur").join(name), flagged).unwrap();
                }
            }
            seen.push(found.unwrap().id.to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected: Vec<_> = (0..200).map(|n| format!("17.{n:03}.mx")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_reader_s_file_that_gets_shorter_is_an_error_and_one_that_is_removed_is_read_to_its_end() {
    let foreign = Foreign::new();
    let long = "x".repeat(200_000);
    foreign.write("new/17.x", &long).write("new/18.y", &long);
    let (messages, _) = visit(&foreign.store);
    let read = |at: usize, meanwhile: &dyn Fn()| {
        let open = MailReader::open(&foreign.store, &alice(), &messages[at]).unwrap();
        let (mut reader, mut text) = (open.body.reader(), String::new());
        reader.by_ref().take(100).read_to_string(&mut text).unwrap();
        meanwhile();
        reader.read_to_string(&mut text).map(|_| text)
    };
    let cut = read(0, &|| fs::write(foreign.path("new/17.x"), "short").unwrap());
    assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let removed = read(1, &|| fs::remove_file(foreign.path("new/18.y")).unwrap());
    assert!(removed.unwrap() == long);
}

/// A visit that waited for the FIFO's writer would never end.
#[test]
fn what_is_no_regular_file_is_reported_and_neither_opened_nor_removed() {
    let foreign = Foreign::new();
    let secret = foreign.place.above().join("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, foreign.path("cur/17.link:2,S")).unwrap();
    symlink("/nowhere", foreign.path("new/18.dangling")).unwrap();
    let fifo = Command::new("mkfifo").arg(foreign.path("new/19.fifo")).status().unwrap();
    assert!(fifo.success());
    fs::create_dir(foreign.path("cur/20.directory")).unwrap();
    fs::write(foreign.path("cur/20.directory/inner"), "inner").unwrap();
    foreign.write("new/21.message", "text");
    let before = walk(foreign.place.above());
    let (messages, strays) = visit(&foreign.store);
    assert_eq!(messages.len(), 1);
    let shown: Vec<_> = strays.iter().map(ToString::to_string).collect();
    for (stray, words) in shown.iter().zip(["symbolic link", "symbolic link", "FIFO", "directory"])
    {
        assert!(stray.contains(words), "{stray} is no {words}");
    }
    assert_eq!(shown.len(), 4, "{shown:?}");
    let contents = foreign.store.contents(&alice()).unwrap();
    assert_eq!((contents.messages, contents.octets), (1, 4));
    for id in ["17.link", "18.dangling", "19.fifo", "20.directory"] {
        let found = foreign.store.find(&alice(), id);
        assert!(matches!(found, Err(ReadError::Stray(_))), "{id}: {found:?}");
        for directory in ["new", "cur"] {
            for info in ["", ":2,S"] {
                let mut message = messages[0].clone();
                message.id = postino_store::DeliveryId::new(id);
                message.hint = format!("{directory}/{id}{info}").into();
                assert!(MailReader::open(&foreign.store, &alice(), &message).is_err(), "{id}");
                assert!(foreign.store.remove(&alice(), &message).is_err(), "{id}");
            }
        }
    }
    assert_eq!(walk(foreign.place.above()), before);
}

/// Whoever may make names in his mailbox may give another's file one there.
#[test]
fn another_owner_s_file_is_not_read_by_root() {
    let foreign = Foreign::new();
    if fs::metadata(foreign.path("")).unwrap().uid() != 0 {
        return;
    }
    let secret = foreign.place.above().join("secret");
    fs::write(&secret, "secret").unwrap();
    for directory in ["", "tmp", "new", "cur"] {
        chown(foreign.path(directory), Some(12_345), Some(12_345)).unwrap();
    }
    fs::hard_link(&secret, foreign.path("new/17.secret")).unwrap();
    let (messages, strays) = visit(&foreign.store);
    assert_eq!((messages.len(), strays.len()), (0, 1));
    assert!(strays[0].why.contains("belongs to user 0"), "{}", strays[0]);
    let found = foreign.store.find(&alice(), "17.secret");
    assert!(matches!(found, Err(ReadError::Stray(_))), "{found:?}");
    foreign.write("new/18.own", "text");
    chown(foreign.path("new/18.own"), Some(12_345), None).unwrap();
    let own = foreign.store.find(&alice(), "18.own").unwrap();
    assert_eq!(content(&foreign.store, &own), "text");
    // The name is given to the other file between the look and the open.
    let root = foreign.place.root();
    let files = Recording::observed(Arc::new(Kernel::new()), root.clone(), move |line| {
        if line == "open alice/new/18.own" {
            fs::remove_file(root.join("alice/new/18.own")).unwrap();
            fs::hard_link(&secret, root.join("alice/new/18.own")).unwrap();
        }
    });
    let store = foreign.place.store("", Arc::new(files));
    let raced = MailReader::open(&store, &alice(), &own);
    assert!(matches!(raced, Err(ReadError::Stray(_))), "{raced:?}");
}

#[test]
fn mailboxes_are_the_maildirs_below_the_root_and_what_only_looks_so_is_a_stray() {
    let foreign = Foreign::new();
    let root = foreign.place.root();
    fs::create_dir_all(root.join("bob@example.org/cur")).unwrap();
    for no_mailbox in ["lost+found", "empty", ".postino-lost/new", ".hidden"] {
        fs::create_dir_all(root.join(no_mailbox)).unwrap();
    }
    fs::create_dir_all(root.join("bad@/new")).unwrap();
    fs::create_dir_all(root.join(std::ffi::OsStr::from_bytes(b"b\xff/new"))).unwrap();
    fs::write(root.join("notes"), "").unwrap();
    symlink("alice", root.join("link")).unwrap();
    let (mut names, mut strays) = (Vec::new(), Vec::new());
    foreign
        .store
        .mailboxes(&mut |found| {
            match found {
                Ok(name) => names.push(name.to_string()),
                Err(stray) => strays.push(stray.path.file_name().unwrap().to_owned()),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(names, ["alice", "bob@example.org"]);
    strays.sort();
    let shown: Vec<_> = strays.iter().map(|name| name.to_string_lossy()).collect();
    assert_eq!(shown, ["bad@", "b\u{fffd}", "link", "notes"]);
    let link = foreign.store.contents(&MailboxName::new("link").unwrap());
    assert!(matches!(link, Err(ReadError::Store(DeliveryError::Misconfigured(_)))), "{link:?}");
}

#[test]
fn a_store_that_is_not_there_holds_no_unknown_mailbox() {
    let place = Place::new();
    let store = place.store("", Arc::new(Kernel::new()));
    let missing = |result: Result<postino_store::Contents, ReadError>| {
        matches!(result, Err(ReadError::Store(DeliveryError::StoreMissing { .. })))
    };
    assert!(missing(store.contents(&alice())));
    fs::create_dir(place.root()).unwrap();
    assert!(missing(store.contents(&alice())));
    assert_eq!(walk(&place.root()), [""; 0]);
}

#[test]
fn a_failed_call_is_an_error_and_not_a_message_that_is_not_there() {
    for call in
        [Call::OpenRoot, Call::OpenDir, Call::StatDir, Call::ReadDir, Call::Stat, Call::Open]
    {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store("", files.clone());
        MailStore::open(&store).unwrap();
        let id = deliver_to(&store, "alice").unwrap();
        let found = store.find(&alice(), id.as_str()).unwrap();
        // The first look is for the marker, without which the root is read.
        files.arm_only(call, if call == Call::Stat { 2 } else { 1 }, Fault::Io);
        let read = store.find(&alice(), id.as_str()).map(drop);
        let read = read.and_then(|()| MailReader::open(&store, &alice(), &found).map(drop));
        assert!(files.disarm(), "{call:?}");
        assert!(matches!(read, Err(ReadError::Store(DeliveryError::Io(_)))), "{call:?}: {read:?}");
    }
}

#[test]
fn a_mailbox_that_cannot_be_looked_into_never_is_as_if_it_were_not_there() {
    for (template, first, second) in
        [("", "alice", "bob"), ("/%d/%n", "alice@example.org", "bob@example.net")]
    {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store(template, files.clone());
        MailStore::open(&store).unwrap();
        deliver_to(&store, first).unwrap();
        deliver_to(&store, second).unwrap();
        let mut told = 0;
        for call in [Call::OpenDir, Call::ReadDir] {
            for fault in [Fault::Denied, Fault::Io, Fault::TooManyFiles] {
                for n in 1.. {
                    let (mut names, mut strays) = (Vec::new(), Vec::new());
                    files.arm_only(call, n, fault);
                    let listed = store.mailboxes(&mut |found| {
                        match found {
                            Ok(name) => names.push(name.to_string()),
                            Err(stray) => strays.push(stray.to_string()),
                        }
                        ControlFlow::Continue(())
                    });
                    if !files.disarm() {
                        break;
                    }
                    let is_whole = names.len() == 2 && strays.is_empty();
                    // What could not be looked into may be a mailbox, or its folders.
                    let is_told = !names.is_empty()
                        && strays.len() == 1
                        && fault == Fault::Denied
                        && strays[0].contains(" cannot be read: Permission denied");
                    assert!(
                        listed.is_err() || is_whole || is_told,
                        "{template} {call:?} {n} {fault:?}: {names:?} {strays:?}"
                    );
                    told += usize::from(is_told);
                }
            }
        }
        assert!(told >= 2, "{template}: {told}");
    }
}

/// What others keep for themselves beside the mailboxes is no mail that is missing.
#[test]
fn directories_in_which_no_mailbox_lies_may_be_closed() {
    for (template, name) in [("", "alice"), ("/%d/%n", "alice@example.org")] {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store(template, files.clone());
        MailStore::open(&store).unwrap();
        deliver_to(&store, name).unwrap();
        for closed in [".hidden", "lost+found"] {
            fs::create_dir(place.root().join(closed)).unwrap();
            for n in 1.. {
                files.arm_only(Call::OpenDir, n, Fault::Denied);
                let mut strays = Vec::new();
                store
                    .mailboxes(&mut |found| {
                        strays.extend(found.err().map(|stray| stray.path));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                if !files.disarm() {
                    break;
                }
                let is_it = |path: &std::path::PathBuf| path.ends_with(closed);
                assert!(!strays.iter().any(is_it), "{strays:?}");
            }
            fs::remove_dir(place.root().join(closed)).unwrap();
        }
    }
}
