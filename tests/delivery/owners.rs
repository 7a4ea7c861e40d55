//! As whom the store is called. Most of it only root can try.

use super::{log_lines, look_ups, *};
use postino_store::Owner;
use rustix::process::{getegid, geteuid, getgroups};
use std::{os::unix::process::CommandExt, process::Command, sync::LazyLock};

const ALICE: u32 = 54_321;
const BOB: u32 = 54_331;
const GROUP: u32 = 54_341;
const MAIL: u32 = 54_351;

/// What a call to the store was made as: uid, gid, supplementary groups.
type As = (u32, u32, Vec<u32>);

fn as_whom() -> As {
    let groups = getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
    (geteuid().as_raw(), getegid().as_raw(), groups)
}

fn owner(uid: u32) -> Owner {
    Owner { uid, gid: uid + 1, groups: vec![GROUP] }
}

/// What calls for a mailbox of this owner are made as.
fn as_owner(uid: u32) -> As {
    (uid, uid + 1, vec![uid + 1, GROUP])
}

/// A store that notes as whom it is called; all mailboxes are in one lane.
struct Witness {
    calls: Sender<(String, As)>,
}

impl Witness {
    fn note(&self, call: &str, mailboxes: &[&Mailbox]) {
        let names: Vec<&str> = mailboxes.iter().map(|each| each.name().local_part()).collect();
        self.calls.send((format!("{call} {}", names.join(",")), as_whom())).unwrap();
    }
}

impl MailStore for Witness {
    fn deliver(&self, _: &Delivery) -> Outcome {
        unreachable!("only batches are asked for")
    }

    fn lane(&self, _: &Mailbox) -> Lane {
        Lane::of("lane", 1, 9)
    }

    fn written_as<'a>(&self, mailbox: &'a Mailbox) -> Option<&'a Owner> {
        static OWNERS: LazyLock<[Owner; 3]> =
            LazyLock::new(|| [owner(ALICE), owner(BOB), owner(0)]);
        let at = ["alice", "bob", "root"];
        let local_part = mailbox.name().local_part();
        at.iter().position(|name| local_part.starts_with(name)).map(|at| &OWNERS[at])
    }

    fn prepare(&self, _: &Message, mailboxes: &[&Mailbox]) -> Result<Prepared, DeliveryError> {
        self.note("prepare", mailboxes);
        Ok(Prepared::nothing())
    }

    fn admit(&self, mailbox: &Mailbox, _: Option<u64>) -> Result<(), DeliveryError> {
        self.note("admit", &[mailbox]);
        Ok(())
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        let mailboxes: Vec<&Mailbox> = deliveries.iter().map(Delivery::mailbox).collect();
        self.note("deliver", &mailboxes);
        assert!(mailboxes.iter().all(|each| !each.name().as_str().contains("panic")));
        for delivery in deliveries {
            delivery.finish(Ok(DeliveryId::new("id")));
        }
    }
}

type Calls = Receiver<(String, As)>;

fn witness(limits: Limits) -> (Pool, Receiver<Answer>, Calls) {
    let (sender, calls) = unbounded();
    let (pool, answers) = pool(Witness { calls: sender }, limits);
    (pool, answers, calls)
}

/// Only root can be another; where nobody looks, that is no reason to fail.
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    assert!(is_root || std::env::var_os("CI").is_none(), "these tests need root");
    is_root
}

fn answers_to(answers: &Receiver<Answer>, recipients: usize) -> Vec<String> {
    let mut answered: Vec<_> = (0..recipients).map(|_| next(answers)).collect();
    answered.sort();
    answered.into_iter().map(|(_, _, reply)| reply).collect()
}

#[test]
fn each_mailbox_is_written_as_its_owner_and_batches_are_split_by_owner() {
    if !is_root() {
        return;
    }
    let (pool, answers, calls) = witness(limits(1));
    let own = as_whom();
    pool.deliver(submission(1, &["alice@a", "alice@b", "bob@a", "carol@a", "alice@c"]));
    assert_eq!(answers_to(&answers, 5), ["250 2.0.0"; 5]);
    // Bob has one mailbox, which shares nothing.
    let expected = [
        ("prepare alice,alice,alice", as_owner(ALICE)),
        ("prepare carol", own.clone()),
        ("deliver alice,alice", as_owner(ALICE)),
        ("deliver bob", as_owner(BOB)),
        ("deliver carol", own.clone()),
        ("deliver alice", as_owner(ALICE)),
    ];
    for (call, as_whom) in expected {
        assert_eq!(calls.recv_timeout(PATIENCE).unwrap(), (call.to_owned(), as_whom));
    }
    assert!(calls.is_empty());

    pool.deliver(submission(1, &["alice@a", "alice@b"]));
    assert_eq!(answers_to(&answers, 2), ["250 2.0.0"; 2]);
    for call in ["prepare alice,alice", "deliver alice,alice"] {
        assert_eq!(calls.recv_timeout(PATIENCE).unwrap(), (call.to_owned(), as_owner(ALICE)));
    }
}

#[test]
fn a_panic_leaves_no_worker_as_somebody_else() {
    if !is_root() {
        return;
    }
    let (pool, answers, calls) = witness(limits(1));
    let own = as_whom();
    pool.deliver(submission(1, &["alice@panic", "bob@a"]));
    assert_eq!(answers_to(&answers, 2), ["451 4.3.0", "250 2.0.0"]);
    pool.deliver(submission(1, &["carol@a"]));
    assert_eq!(answers_to(&answers, 1), ["250 2.0.0"]);
    let made: Vec<_> = calls.try_iter().map(|(_, as_whom)| as_whom).collect();
    assert_eq!(made, [as_owner(ALICE), as_owner(BOB), own.clone(), own]);
}

#[test]
fn the_mail_group_stands_in_for_the_owners_own() {
    if !is_root() {
        return;
    }
    let (pool, answers, calls) = witness(Limits { mail_group: Some(MAIL), ..limits(1) });
    pool.deliver(submission(1, &["alice@a"]));
    assert_eq!(answers_to(&answers, 1), ["250 2.0.0"]);
    let (uid, _, groups) = as_owner(ALICE);
    for (_, as_whom) in calls.try_iter() {
        assert_eq!(as_whom, (uid, MAIL, groups.clone()));
    }
}

#[test]
fn a_recipient_is_looked_up_as_the_owner_and_root_is_none() {
    if !is_root() {
        return;
    }
    let (pool, answers, calls) = witness(limits(1));
    assert_eq!(look_ups::check(&pool, Source::Any, "alice@d"), None);
    assert_eq!(next(&answers).2, "alice@d");
    assert_eq!(calls.recv_timeout(PATIENCE).unwrap(), ("admit alice".into(), as_owner(ALICE)));
    assert_eq!(look_ups::check(&pool, Source::Any, "root@d"), None);
    assert_eq!(next(&answers).2, "451 4.3.5");
    pool.deliver(submission(1, &["root@d"]));
    assert_eq!(answers_to(&answers, 1), ["451 4.3.5"]);
    assert!(calls.is_empty(), "nothing is asked of the store as root for its owner");
}

#[test]
fn who_is_not_root_takes_mail_for_his_own_mailboxes_alone_and_says_why() {
    const CHILD: &str = "POSTINO_TEST_IS_ALICE";
    const NAME: &str =
        "owners::who_is_not_root_takes_mail_for_his_own_mailboxes_alone_and_says_why";
    if std::env::var_os(CHILD).is_none() {
        if is_root() {
            let program = std::env::current_exe().unwrap();
            let mut child = Command::new(program);
            child.args(["--exact", NAME]).env(CHILD, "1").uid(ALICE).gid(ALICE + 1);
            let output = child.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
        }
        return;
    }
    log_lines::keep_log();
    let (pool, answers, calls) = witness(limits(1));
    for (to, expected) in [
        ("alice@d", "alice@d"),
        ("carol@d", "carol@d"),
        ("bob@d", "451 4.3.5"),
        ("bobby@d", "451 4.3.5"),
    ] {
        assert_eq!(look_ups::check(&pool, Source::Any, to), None);
        assert_eq!(next(&answers).2, expected, "{to}");
    }
    let asked: Vec<_> = calls.try_iter().map(|(call, _)| call).collect();
    assert_eq!(asked, ["admit alice", "admit carol"]);
    let lines = log_lines::logged("act as the owner");
    let [(log::Level::Error, line)] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("bob@d, uid 54331") && line.contains("runs as uid 54321"), "{line}");
    assert!(line.contains("start it as root without --user"), "{line}");

    pool.deliver(submission(1, &["bob@d", "alice@d"]));
    assert_eq!(answers_to(&answers, 2), ["451 4.3.5", "250 2.0.0"]);
}
