//! The commands, where it matters whose a mailbox is: in homes, and as root.

use crate::{
    daemon::{folder, postino},
    made::{Made, can_make},
    program::{are_root, run_with_input},
};
use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

/// What a run of the program came to.
struct Told {
    code: i32,
    out: String,
    err: String,
}

fn run(line: &[&str]) -> Told {
    told(Command::new(postino()).args(line))
}

fn told(command: &mut Command) -> Told {
    let (output, _) = run_with_input(command, b"Subject: x\n\ntext\n");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Told {
        code: output.status.code().unwrap(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// Runs what must succeed; what it prints.
#[track_caller]
fn done(line: &[&str]) -> String {
    let Told { code, out, err } = run(line);
    assert_eq!(code, 0, "{line:?}: {out}{err}");
    out
}

/// A user's name by which runs of other tests do not go.
fn name(tag: &str) -> String {
    format!("pc{}{tag}", std::process::id())
}

/// Everything below a directory, itself included.
fn all_below(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            all.extend(all_below(&path));
        } else {
            all.push(path);
        }
    }
    all
}

#[track_caller]
fn assert_owned(path: &Path, ids: (u32, u32)) {
    for path in all_below(path) {
        let status = fs::symlink_metadata(&path).unwrap();
        assert_eq!((status.uid(), status.gid()), ids, "{}", path.display());
    }
}

#[test]
fn every_command_finds_the_mailboxes_in_homes_and_acts_as_their_users() {
    if !can_make() {
        return;
    }
    let folder = folder();
    let alice = Made::with_home(&name("a"), &folder.path().join("alice"));
    for (store, path) in
        [("maildir:%h/mail/Maildir", "mail/Maildir"), ("mbox:%h/mbox/inbox", "mbox")]
    {
        let of = ["--users=system", "--store", store];
        let lists = format!("{}/Lists/2026", alice.name());
        let made = done(&["init", store, "--users=system", alice.name(), &lists]);
        assert!(made.contains(&format!("{lists} is there")), "{made}");
        let address = format!("{}@localhost", alice.name());
        done(&[&["deliver"], &of[..], &["--postmaster", alice.name(), &address]].concat());
        let listed = done(&[&["mailboxes"], &of[..]].concat());
        let is_listed = |name: &str, count: &str| {
            let line = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            line.filter(|line| line[..2] == [name, count]).count() == 1
        };
        assert!(is_listed(alice.name(), "1") && is_listed(&lists, "0"), "{store}: {listed}");
        let messages = done(&[&["messages", alice.name()], &of[..]].concat());
        let id = messages.split(' ').next().unwrap();
        let message = done(&[&["cat", alice.name(), id], &of[..]].concat());
        assert!(message.ends_with("Subject: x\n\ntext\n"), "{message}");
        let upper = alice.name().to_uppercase();
        done(&[&["delete", &upper, id], &of[..]].concat());
        assert_owned(&alice.home().join(path), alice.ids());
        done(&[&["delete", alice.name()], &of[..]].concat());
        let gone = run(&[&["messages", alice.name()], &of[..]].concat());
        assert_eq!(gone.code, 1, "{}", gone.err);
        for unknown in [name("nobody"), "root".to_owned()] {
            let told = run(&[&["messages", &unknown], &of[..]].concat());
            assert_eq!(
                (told.code, told.err.contains("no such mailbox")),
                (1, true),
                "{}",
                told.err
            );
        }
    }
}

/// A users file for these homes.
fn users_file(folder: &Path, lines: &[(&str, (u32, u32), &Path)]) -> String {
    let line = |(name, (uid, gid), home): &(&str, (u32, u32), &Path)| {
        format!("{name}@d.example:x:{uid}:{gid}::{}::\n", home.display())
    };
    let path = folder.join("users");
    fs::write(&path, lines.iter().map(line).collect::<String>()).unwrap();
    format!("--users=file:{}", path.display())
}

#[test]
fn a_home_that_is_missing_is_passed_over_or_not_there() {
    let folder = folder();
    let status = fs::metadata(folder.path()).unwrap();
    let ids = (if status.uid() == 0 { 54_001 } else { status.uid() }, status.gid());
    let (here, away) = (folder.path().join("here"), folder.path().join("away"));
    fs::create_dir(&here).unwrap();
    if ids.0 != status.uid() {
        chown(&here, Some(ids.0), None).unwrap();
    }
    let users = users_file(folder.path(), &[("a", ids, &here), ("b", ids, &away)]);
    let store = "maildir:%h/Maildir";
    done(&["init", store, &users, "a@d.example"]);
    let of = ["--store", store, &users];
    for command in ["mailboxes", "verify"] {
        let told = run(&[&[command], &of[..]].concat());
        assert_eq!((told.code, &*told.err), (0, ""), "{command}");
        let expected = if command == "verify" { "1 mailboxes, 0 messages" } else { "a@d.example " };
        assert!(told.out.starts_with(expected) && told.out.lines().count() == 1, "{}", told.out);
    }
    for line in [
        &[&["messages", "b@d.example"], &of[..]].concat()[..],
        &[&["cat", "b@d.example", "x"], &of[..]].concat(),
        &[&["delete", "b@d.example"], &of[..]].concat(),
        &["init", store, &users, "b@d.example"],
    ] {
        let told = run(line);
        assert_eq!(told.code, 1, "{line:?}: {}", told.err);
        assert!(told.err.contains(&format!("the home {} is not there", away.display())));
        assert!(!away.exists());
    }
}

#[test]
fn homes_without_users_are_refused_and_what_to_do_is_said() {
    let store = "maildir:%h/Maildir";
    for line in [
        &["mailboxes", "--store", store][..],
        &["messages", "--store", store, "alice"],
        &["verify", "--store", store],
        &["init", store, "alice"],
        &["copy", store, "maildir:/nowhere"],
    ] {
        let Told { code, err, .. } = run(line);
        assert!(code == 64 && err.contains("--users system"), "{line:?}: {code} {err}");
    }
    for (line, what) in [
        (&["init", store, "--users=system"][..], "name some"),
        (&["mailboxes", "--store", store, "--users=any"], "say system or file:PATH"),
        (&["mailboxes", "--store", store, "--first-uid=1"], "--first-uid has no meaning"),
    ] {
        let Told { code, err, .. } = run(line);
        assert!((code == 64 || code == 78) && err.contains(what), "{line:?}: {code} {err}");
    }
}

#[test]
fn copies_are_their_users_and_what_nobody_owns_is_refused() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    let homes = [(54_002, "alice"), (54_003, "bob")].map(|(id, name)| {
        fs::create_dir(at(name)).unwrap();
        chown(at(name), Some(id), Some(id)).unwrap();
        ((id, id), at(name))
    });
    let [(alice, alices), (bob, bobs)] = &homes;
    let users = users_file(folder.path(), &[("alice", *alice, alices), ("bob", *bob, bobs)]);
    let source = format!("mbox:{}", at("source").display());
    for recipient in ["alice@d.example", "bob@d.example", "carol@d.example"] {
        done(&["deliver", "--users=any", "--store", &source, recipient]);
    }
    let homes_store = "maildir:%h/Maildir";
    let told = run(&["copy", &source, homes_store, &users]);
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(told.err.contains("carol@d.example: no such mailbox"), "{}", told.err);
    assert!(told.out.contains(" copied=2 "), "{}", told.out);
    for ((ids, home), name) in homes.iter().zip(["alice@d.example", "bob@d.example"]) {
        assert_owned(&home.join("Maildir"), *ids);
        let again = done(&["copy", &source, homes_store, &users, name]);
        assert!(again.contains(" copied=0 already_there=1 "), "{again}");
    }
    // Into a store of somebody whom nobody knows to own this mailbox.
    let vmail = at("vmail");
    let target = format!("maildir:{}", vmail.display());
    done(&["init", &target]);
    chown(&vmail, Some(54_009), None).unwrap();
    fs::set_permissions(&vmail, Permissions::from_mode(0o755)).unwrap();
    let told = run(&["copy", &source, &target, &users, "carol@d.example"]);
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(told.err.contains("nobody knows its owner"), "{}", told.err);
    assert!(!vmail.join("carol@d.example").exists());
}

#[test]
fn as_root_the_mailboxes_of_a_spool_are_their_users() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    chown(&spool, Some(0), Some(8)).unwrap();
    fs::set_permissions(&spool, Permissions::from_mode(0o2775)).unwrap();
    let ids = (54_004, 54_004);
    let users = users_file(folder.path(), &[("alice", ids, Path::new("/"))]);
    let store = format!("mbox:{}/%n", spool.display());
    let of = ["--store", &store, &users, "--mail-group=8"];
    done(&["init", &store, &users, "--mail-group=8", "alice@d.example"]);
    done(&[&["deliver"], &of[..], &["alice@d.example"]].concat());
    // Without the users root takes it for a stranger's.
    assert_eq!(run(&["mailboxes", "--store", &store]).code, 1);
    let listed = done(&[&["mailboxes"], &of[..]].concat());
    assert!(listed.starts_with("alice@d.example ") && listed.lines().count() == 1, "{listed}");
    let messages = done(&[&["messages", "alice@d.example"], &of[..]].concat());
    let id = messages.split(' ').next().unwrap();
    assert!(done(&[&["verify"], &of[..]].concat()).starts_with("1 mailboxes, 1 messages"));
    done(&[&["delete", "alice@d.example", id], &of[..]].concat());
    let status = fs::metadata(spool.join("alice")).unwrap();
    assert_eq!((status.uid(), status.gid(), status.mode() & 0o777), (54_004, 8, 0o660));
    // Who is not in the file is looked for as before.
    done(&["init", &store, "bob"]);
    assert_eq!(done(&[&["mailboxes"], &of[..]].concat()).lines().count(), 2);
}

#[test]
fn a_repair_of_a_spool_keeps_what_each_user_has_lost_apart_and_tells_it_once() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    chown(&spool, Some(0), Some(8)).unwrap();
    fs::set_permissions(&spool, Permissions::from_mode(0o2775)).unwrap();
    let lines = [("alice", 54_005), ("bob", 54_006)];
    let lines = lines.map(|(name, uid)| (name, (uid, uid), Path::new("/")));
    let users = users_file(folder.path(), &lines);
    let store = format!("mbox:{}/%n", spool.display());
    let of = ["--store", &store, &users, "--mail-group=8"];
    for (name, ids, _) in lines {
        let list = format!("{name}@d.example/Lists");
        done(&["init", &store, &users, "--mail-group=8", &format!("{name}@d.example"), &list]);
        let link = spool.join(format!(".{name}/link"));
        symlink("/etc/passwd", &link).unwrap();
        lchown(&link, Some(ids.0), Some(8)).unwrap();
    }
    let told = done(&[&["verify", "--repair", "--yes"], &of[..]].concat());
    assert!(told.contains("0 damaged, 2 stray, 2 mended"), "{told}");
    for (name, (uid, _), _) in lines {
        let lost = spool.join(format!(".postino-lost-{uid}"));
        let status = fs::metadata(&lost).unwrap();
        assert_eq!((status.uid(), status.mode() & 0o777), (uid, 0o700));
        let entry = fs::read_dir(&lost).unwrap().next().unwrap().unwrap().file_name();
        assert!(entry.to_string_lossy().contains(name), "{entry:?}");
    }
    let told = done(&[&["verify"], &of[..]].concat());
    assert!(told.starts_with("4 mailboxes") && told.lines().count() == 1, "{told}");
}

#[test]
fn root_puts_nothing_into_a_place_that_another_user_has_taken() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let [source, target] =
        ["source", "target"].map(|name| format!("maildir:{}", at(name).display()));
    done(&["init", &source, "carol"]);
    fs::write(at("source/carol/cur/1.a:2,"), "Subject: x\n\ntext\n").unwrap();
    done(&["init", &target]);
    fs::set_permissions(at("target"), Permissions::from_mode(0o1777)).unwrap();
    for name in ["carol", "carol/new", "carol/cur", "carol/tmp"] {
        fs::create_dir(at("target").join(name)).unwrap();
        chown(at("target").join(name), Some(54_007), None).unwrap();
    }
    let users = users_file(folder.path(), &[("alice", (54_008, 54_008), Path::new("/"))]);
    let told = run(&["copy", &source, &target, &users]);
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(told.err.contains("nobody knows its owner"), "{}", told.err);
    assert_owned(&at("target/carol"), (54_007, fs::metadata(at("target")).unwrap().gid()));
}

#[test]
fn nothing_is_put_where_a_user_with_a_store_of_his_own_has_no_mail() {
    let folder = folder();
    let (home, root) = (folder.path().join("home"), folder.path().join("mail"));
    fs::create_dir(&home).unwrap();
    let line = |own: &str| {
        let home = home.display();
        fs::write(folder.path().join("users"), format!("a@d.example:x::::{home}::{own}\n"))
            .unwrap();
    };
    let users = format!("--users=file:{}", folder.path().join("users").display());
    line("userdb_mail=maildir:~/Own");
    let told = run(&["init", "maildir:%h/Maildir", &users, "a@d.example"]);
    assert_ne!(told.code, 0, "{}", told.out);
    assert!(told.err.contains("a store of his own"), "{}", told.err);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    // One that is no other than the store that is named.
    let store = format!("maildir:{}/%d/%n", root.display());
    line(&format!("userdb_mail=maildir:{}/d.example/a", root.display()));
    done(&["init", &store, &users, "a@d.example"]);
    assert!(root.join("d.example/a/new").is_dir());
}

#[test]
fn whose_root_a_user_cannot_enter_is_told_what_he_needs() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let root = folder.path().join("mail");
    let store = format!("maildir:{}", root.display());
    done(&["init", &store]);
    let users = users_file(folder.path(), &[("a", (54_009, 54_009), Path::new("/"))]);
    for line in [
        &["init", &store, &users, "a@d.example"][..],
        &["messages", "a@d.example", "--store", &store, &users],
    ] {
        let told = run(line);
        assert_eq!(told.code, 77, "{}", told.err);
        assert!(told.err.contains("uid 54009 has to be able to search it"), "{}", told.err);
    }
}

#[test]
fn who_is_not_root_sees_his_own_and_is_told_of_others() {
    if !are_root() {
        return;
    }
    let folder = folder();
    let program = folder.path().join("postino");
    fs::copy(postino(), &program).unwrap();
    let homes = [(54_005, "alice"), (54_006, "bob")].map(|(id, name)| {
        let home = folder.path().join(name);
        fs::create_dir(&home).unwrap();
        chown(&home, Some(id), Some(id)).unwrap();
        ((id, id), home)
    });
    let [(alice, alices), (bob, bobs)] = &homes;
    let users = users_file(folder.path(), &[("alice", *alice, alices), ("bob", *bob, bobs)]);
    let as_alice =
        |line: &[&str]| told(Command::new(&program).args(line).uid(alice.0).gid(alice.1));
    let store = "maildir:%h/Maildir";
    assert_eq!(as_alice(&["init", store, &users, "alice@d.example"]).code, 0);
    let refused = as_alice(&["init", store, &users, "bob@d.example"]);
    assert!(refused.code == 77 && refused.err.contains("only root"), "{}", refused.err);
    let listed = as_alice(&["mailboxes", "--store", store, &users]);
    assert!(listed.code == 1 && listed.out.starts_with("alice@d.example "), "{}", listed.out);
    assert!(listed.err.contains("1 accounts belong to other users"), "{}", listed.err);
    assert_eq!(fs::read_dir(bobs).unwrap().count(), 0);
}

#[test]
fn the_config_file_says_who_the_users_are() {
    let folder = folder();
    let status = fs::metadata(folder.path()).unwrap();
    let uid = if status.uid() == 0 { 54_007 } else { status.uid() };
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    if uid != status.uid() {
        chown(&home, Some(uid), None).unwrap();
    }
    let users = users_file(folder.path(), &[("a", (uid, status.gid()), &home)]);
    let users = users.strip_prefix("--users=").unwrap();
    let config = folder.path().join("postino.toml");
    let text = format!(
        "store = \"maildir:%h/Maildir\"\nusers = \"{users}\"\npostmaster = \"a@d.example\"\n"
    );
    fs::write(&config, text).unwrap();
    let config = format!("--config={}", config.display());
    done(&["init", "maildir:%h/Maildir", &config, "a@d.example/Junk"]);
    let listed = done(&["mailboxes", &config]);
    assert!(listed.contains("a@d.example/Junk "), "{listed}");
    assert!(done(&["verify", &config]).starts_with("2 mailboxes"));
    let copied = done(&["copy", "maildir:%h/Maildir", "mbox:%h/mail/inbox", &config]);
    assert!(copied.starts_with("mailboxes=2 "), "{copied}");
    assert!(home.join("mail/.inbox/Junk").is_file());
}
