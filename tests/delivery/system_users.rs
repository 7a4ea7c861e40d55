//! Users of the system, their homes and what they may have put there. Only root can
//! try it.

use super::{log_lines, *};
use postino::stores::{Options, Stores};
use postino_store::{IfNoFolder, Owner, Quota};
use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

/// The longest that a worker may be held by what a user has put in the way.
const AT_MOST: Duration = Duration::from_secs(1);

/// Whoever adds or removes a user locks the files; one at a time.
static USERS: Mutex<()> = Mutex::new(());

/// Three users with homes, removed afterwards.
struct Users {
    directory: tempfile::TempDir,
    names: Vec<String>,
}

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

impl Users {
    /// None where that is not for us to make.
    fn made() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "these tests need root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), mode).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let names: Vec<_> = "abc".chars().map(|name| format!("pt{pid}-{number}{name}")).collect();
        let users = Self { directory, names };
        let _alone = USERS.lock().unwrap();
        for (at, name) in users.names.iter().enumerate() {
            let home = users.home(at);
            let mut useradd = Command::new("useradd");
            useradd.args(["--create-home", "--user-group", "--home-dir"]).arg(home).arg(name);
            let output = useradd.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        Some(users)
    }

    fn home(&self, at: usize) -> PathBuf {
        self.directory.path().join(["alice", "bob", "carol"][at])
    }

    fn owner(&self, at: usize) -> Owner {
        let status = fs::metadata(self.home(at)).unwrap();
        Owner { uid: status.uid(), gid: status.gid(), groups: vec![status.gid()] }
    }

    fn mailbox(&self, at: usize) -> Mailbox {
        let name = MailboxName::new(["alice", "bob", "carol"][at]).unwrap();
        Mailbox::new(name, IfMissing::Create).with_home(self.home(at)).with_owner(self.owner(at))
    }

    /// A message to these users.
    fn submission(&self, users: &[usize]) -> Submission {
        let addresses: Vec<_> = users.iter().map(|at| format!("user{at}@d")).collect();
        let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mailboxes = users.iter().map(|at| self.mailbox(*at)).collect();
        Submission { mailboxes, ..submission(1, &recipients) }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _alone = USERS.lock();
        for name in &self.names {
            let _ = Command::new("userdel").arg(name).output();
        }
    }
}

fn store(url: &str, limits: Limits) -> (Pool, Receiver<Answer>) {
    let options = Options {
        hostname: "mx.example.org".to_owned(),
        require_marker: false,
        several_domains: false,
        shared_with_group: limits.mail_group.is_some(),
        base: None,
    };
    let store = Stores::built_in().open(url, &options).unwrap().store;
    store.open().unwrap();
    let (sender, answers) = unbounded();
    let pool = Pool::new(store, limits, move |answer| {
        let _ = sender.send(answer);
    });
    (pool, answers)
}

/// Delivers to these users; the replies in their order.
fn deliver((pool, answers): &(Pool, Receiver<Answer>), users: &Users, to: &[usize]) -> Vec<String> {
    pool.deliver(users.submission(to));
    let mut answered: Vec<_> = to.iter().map(|_| next(answers)).collect();
    answered.sort();
    answered.into_iter().map(|(_, _, reply)| reply).collect()
}

/// All that lies below, with mode.
fn below(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            below(&path, all);
        }
        all.push(path);
    }
}

#[test]
fn what_lies_in_a_home_is_its_users_and_nobody_elses_to_read() {
    let Some(users) = Users::made() else { return };
    for url in ["maildir:%h/Maildir", "mbox:%h/mail/inbox"] {
        let pool = store(url, Limits { single_instance: true, ..limits(4) });
        assert_eq!(deliver(&pool, &users, &[ALICE, BOB, CAROL]), ["250 2.0.0"; 3]);
        assert_eq!(deliver(&pool, &users, &[ALICE]), ["250 2.0.0"]);
    }
    for user in [ALICE, BOB, CAROL] {
        let owner = users.owner(user);
        let mut all = Vec::new();
        for made in ["Maildir", "mail"] {
            let directory = users.home(user).join(made);
            below(&directory, &mut all);
            all.push(directory);
        }
        let files = all.iter().filter(|path| path.is_file()).count();
        assert_eq!(files, if user == ALICE { 3 } else { 2 }, "{all:?}");
        for path in all {
            let status = path.symlink_metadata().unwrap();
            assert_eq!((status.uid(), status.gid()), (owner.uid, owner.gid), "{path:?}");
            let mode = if status.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(status.mode() & 0o7777, mode, "{path:?}");
            assert_eq!(status.nlink() == 1, status.is_file(), "{path:?}");
        }
    }
}

#[test]
fn a_home_that_is_missing_or_open_to_others_is_deferred_and_never_made() {
    let Some(users) = Users::made() else { return };
    log_lines::keep_log();
    fs::rename(users.home(ALICE), users.home(ALICE).with_extension("away")).unwrap();
    fs::create_dir(users.home(ALICE)).unwrap();
    let alice = users.submission(&[ALICE]);
    fs::remove_dir(users.home(ALICE)).unwrap();
    fs::set_permissions(users.home(BOB), Permissions::from_mode(0o777)).unwrap();
    for url in ["maildir:%h/Maildir", "mbox:%h/mail/inbox"] {
        let pool = store(url, limits(2));
        assert_eq!(deliver(&pool, &users, &[BOB, CAROL]), ["451 4.3.5", "250 2.0.0"]);
        pool.0
            .deliver(Submission { mailboxes: alice.mailboxes.clone(), ..submission(1, &["a@d"]) });
        // As root, whom that empty directory belonged to.
        assert_eq!(next(&pool.1).2, "451 4.3.5");
    }
    fs::rename(users.home(ALICE).with_extension("away"), users.home(ALICE)).unwrap();
    let alice = users.submission(&[ALICE]).mailboxes;
    fs::rename(users.home(ALICE), users.home(ALICE).with_extension("away")).unwrap();
    for url in ["maildir:%h/Maildir", "mbox:%h/mail/inbox"] {
        let pool = store(url, limits(2));
        pool.0.deliver(Submission { mailboxes: alice.clone(), ..submission(1, &["a@d"]) });
        assert_eq!(next(&pool.1).2, "451 4.3.0");
    }
    assert!(!users.home(ALICE).exists());
    let home = users.home(ALICE).display().to_string();
    assert!(!log_lines::logged(&format!("the home {home} is not there")).is_empty());
}

#[test]
fn what_a_user_puts_in_the_way_is_refused_and_nothing_behind_it_touched() {
    let Some(users) = Users::made() else { return };
    log_lines::keep_log();
    let home = users.home(ALICE);
    let outside = users.directory.path().join("outside");
    let secret = outside.join("secret");
    fs::create_dir(&outside).unwrap();
    // Even where anybody might write there.
    fs::set_permissions(&outside, Permissions::from_mode(0o777)).unwrap();
    fs::write(&secret, "From nobody\n\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o666)).unwrap();
    for name in ["tmp", "new", "cur"] {
        fs::create_dir_all(outside.join("Maildir").join(name)).unwrap();
    }

    let (maildir, mail) = (home.join("Maildir"), home.join("mail"));
    let link = |target: &Path, path: PathBuf| symlink(target, path).unwrap();
    let maildir_with = |name: &str, target: &str| {
        for own in ["tmp", "new", "cur"].into_iter().filter(|own| *own != name) {
            fs::create_dir_all(maildir.join(own)).unwrap();
        }
        link(Path::new(target), maildir.join(name));
    };
    let in_mail = |make: &dyn Fn(PathBuf)| {
        fs::create_dir_all(&mail).unwrap();
        make(mail.join("inbox"));
    };
    let fifo = |path: PathBuf| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let hostile: [(&str, &dyn Fn()); 10] = [
        ("new is a link", &|| maildir_with("new", "/etc")),
        ("tmp is a link", &|| maildir_with("tmp", outside.to_str().unwrap())),
        ("the Maildir is a link", &|| link(&outside.join("Maildir"), maildir.clone())),
        ("the Maildir is a file", &|| fs::write(&maildir, "").unwrap()),
        ("the mbox is a link", &|| in_mail(&|inbox| link(Path::new("/etc/passwd"), inbox))),
        ("the mbox is a link to what he may write", &|| in_mail(&|inbox| link(&secret, inbox))),
        ("the mbox is a hard link", &|| {
            in_mail(&|inbox| fs::hard_link(&secret, inbox).unwrap());
        }),
        ("the mbox is a FIFO", &|| in_mail(&|inbox| fifo(inbox))),
        ("the mbox is a device", &|| in_mail(&|inbox| link(Path::new("/dev/zero"), inbox))),
        ("the mbox's directory is a link", &|| link(&outside, mail.clone())),
    ];
    let pools =
        ["maildir:%h/Maildir", "mbox:%h/mail/inbox"].map(|url| (url, store(url, limits(1))));
    for (what, plant) in hostile {
        plant();
        let owner = users.owner(ALICE);
        let mut planted = Vec::new();
        below(&home, &mut planted);
        for path in planted.iter().filter(|path| !path.is_file() || path.is_symlink()) {
            rustix::fs::chownat(
                rustix::fs::CWD,
                path,
                Some(rustix::fs::Uid::from_raw(owner.uid)),
                Some(rustix::fs::Gid::from_raw(owner.gid)),
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .unwrap();
        }
        let scheme = if maildir.symlink_metadata().is_ok() { "maildir:" } else { "mbox:" };
        let (_, pool) = pools.iter().find(|(url, _)| url.starts_with(scheme)).unwrap();
        let began = Instant::now();
        assert_eq!(deliver(pool, &users, &[ALICE]), ["451 4.3.5"], "{what}");
        // With the one worker.
        assert_eq!(deliver(pool, &users, &[BOB]), ["250 2.0.0"], "{what}");
        assert!(began.elapsed() < AT_MOST, "{what}");
        for path in [&maildir, &mail] {
            if path.is_symlink() || path.is_file() {
                fs::remove_file(path).unwrap();
            } else if path.exists() {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
    // Other tests make users meanwhile, but none of these.
    assert!(!fs::read_to_string("/etc/passwd").unwrap().contains("Subject"));
    let mut names = fs::read_dir("/etc").unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_str().is_some_and(|name| name.contains(",S="))));
    assert_eq!(fs::read(&secret).unwrap(), b"From nobody\n\n");
    let mut all = Vec::new();
    below(&outside, &mut all);
    assert_eq!(all.len(), 5, "{all:?}");
    let lines = log_lines::logged(&home.display().to_string());
    assert!(lines.len() >= 10 && lines.iter().all(|(_, line)| line.contains("451 4.3.5")));
}

#[test]
fn mail_in_a_groups_directory_is_the_users_and_the_groups() {
    let Some(users) = Users::made() else { return };
    let mail = users.directory.path().join("mail");
    let mail_group = fs::metadata(users.home(CAROL)).unwrap().gid();
    fs::create_dir(&mail).unwrap();
    chown(&mail, Some(0), Some(mail_group)).unwrap();
    for mode in [0o2775, 0o775, 0o3777] {
        fs::set_permissions(&mail, Permissions::from_mode(mode)).unwrap();
        let limits =
            Limits { mail_group: Some(mail_group), lock_wait: Duration::ZERO, ..limits(2) };
        let pool = store(&format!("mbox:{}/%n", mail.display()), limits);
        assert_eq!(deliver(&pool, &users, &[ALICE, BOB]), ["250 2.0.0"; 2]);
        for (user, name) in [(ALICE, "alice"), (BOB, "bob")] {
            let status = fs::metadata(mail.join(name)).unwrap();
            assert_eq!((status.uid(), status.gid()), (users.owner(user).uid, mail_group));
            assert_eq!(status.mode() & 0o7777, 0o660);
            // It goes right after the answer.
            until(|| !mail.join(name).with_extension("lock").exists());
        }
        // Alice's, of a process that lives.
        let lock = mail.join("bob.lock");
        fs::write(&lock, "1\n").unwrap();
        chown(&lock, Some(users.owner(ALICE).uid), Some(mail_group)).unwrap();
        assert_eq!(deliver(&pool, &users, &[BOB]), ["450 4.2.0"], "{mode:o}");
        let touch = Command::new("touch").args(["-d", "6 minutes ago"]).arg(&lock).status();
        assert!(touch.unwrap().success());
        assert_eq!(deliver(&pool, &users, &[BOB]), ["250 2.0.0"], "{mode:o}");
        // In a directory of that kind it cannot be removed by bob.
        let is_sticky = mode == 0o3777;
        until(|| lock.exists() == is_sticky);
        for entry in fs::read_dir(&mail).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn a_delivery_that_hangs_is_out_of_its_users_reach() {
    const TRIES: &str = include_str!("../../src/sys/thread_identity/tries.py");
    let Some(users) = Users::made() else { return };
    let rig = rig(2, alone);
    rig.pool.deliver(users.submission(&[ALICE]));
    let call = rig.call();
    let alice = users.owner(ALICE);
    let acts_as_alice = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.and_then(|ids| ids.split_whitespace().nth(1)) == Some(&alice.uid.to_string())
    };
    let threads: Vec<String> = fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|thread| {
            let status = fs::read_to_string(format!("/proc/self/task/{thread}/status"));
            status.is_ok_and(|status| acts_as_alice(&status))
        })
        .collect();
    let [thread] = &threads[..] else { panic!("{threads:?}") };
    let calls = [libc::SYS_tgkill, libc::SYS_prlimit64].map(|number| number.to_string());
    let tries = Command::new("python3")
        .args(["-c", TRIES, &std::process::id().to_string(), thread])
        .args(calls)
        .uid(alice.uid)
        .gid(alice.gid)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&tries.stdout);
    assert!(tries.status.success() && output.is_empty(), "{output}{tries:?}");
    // Others go on.
    rig.pool.deliver(users.submission(&[BOB]));
    rig.call().succeed();
    assert_eq!(rig.answer().2, "250 2.0.0");
    call.succeed();
    assert_eq!(rig.answer().2, "250 2.0.0");
}

#[test]
fn a_mailbox_that_another_user_made_first_is_refused() {
    let Some(users) = Users::made() else { return };
    // Where everybody may make his own.
    let root = users.directory.path().join("shared");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o1777)).unwrap();
    let bob = users.owner(BOB);
    let open_to_all = |path: &Path| {
        fs::create_dir(path).unwrap();
        chown(path, Some(bob.uid), Some(bob.gid)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    };
    let mailbox = root.join("alice");
    open_to_all(&mailbox);
    let pool = store(&format!("maildir:{}", root.display()), limits(1));
    assert_eq!(deliver(&pool, &users, &[ALICE, CAROL]), ["451 4.3.5", "250 2.0.0"]);
    assert_eq!(fs::read_dir(&mailbox).unwrap().count(), 0, "nothing is made in it");
    // Nor is it enough that the mailbox is hers.
    let alice = users.owner(ALICE);
    chown(&mailbox, Some(alice.uid), Some(alice.gid)).unwrap();
    for name in ["tmp", "new", "cur"] {
        open_to_all(&mailbox.join(name));
    }
    assert_eq!(deliver(&pool, &users, &[ALICE]), ["451 4.3.5"]);
    for name in ["tmp", "new", "cur"] {
        assert_eq!(fs::read_dir(mailbox.join(name)).unwrap().count(), 0, "{name}");
        chown(mailbox.join(name), Some(alice.uid), Some(alice.gid)).unwrap();
    }
    assert_eq!(deliver(&pool, &users, &[ALICE]), ["250 2.0.0"]);
}

#[test]
fn what_a_stranger_puts_where_folders_are_to_be_keeps_no_mail_away() {
    let Some(users) = Users::made() else { return };
    let root = users.directory.path().join("shared");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o1777)).unwrap();
    let bob = users.owner(BOB);
    let (pool, answers) = store(&format!("mbox:{}/%u", root.display()), limits(1));
    let alice = users.mailbox(ALICE).with_quota(Quota { octets: Some(1 << 20), messages: None });
    let folder = alice.clone().in_folder("lists", IfNoFolder::Create).unwrap();
    let planted = root.join(".alice");
    let plant: [(&str, &dyn Fn()); 4] = [
        ("nothing in the way", &|| ()),
        ("a directory for all", &|| {
            fs::create_dir(&planted).unwrap();
            fs::set_permissions(&planted, Permissions::from_mode(0o777)).unwrap();
        }),
        ("a directory for bob", &|| fs::create_dir(&planted).unwrap()),
        ("a link", &|| symlink("/etc", &planted).unwrap()),
    ];
    for (what, plant) in plant {
        plant();
        if let Ok(status) = planted.symlink_metadata() {
            if status.is_dir() && what.ends_with("bob") {
                fs::set_permissions(&planted, Permissions::from_mode(0o700)).unwrap();
            }
            lchown(&planted, Some(bob.uid), Some(bob.gid)).unwrap();
        }
        for mailbox in [&alice, &folder] {
            let mailboxes = vec![mailbox.clone()];
            pool.deliver(Submission { mailboxes, ..submission(1, &["alice@d"]) });
            assert_eq!(next(&answers).2, "250 2.0.0", "{what}");
        }
        // Of a link it would remove nothing but that.
        let _ = fs::remove_dir_all(&planted);
        assert!(planted.symlink_metadata().is_err());
    }
    let text = fs::read_to_string(root.join("alice")).unwrap();
    assert_eq!(text.matches("Subject").count(), 7, "all but the first folder's");
}
