//! Recipients at RCPT.

use super::*;
use postino::delivery::Question;
use std::sync::{LazyLock, Weak};

/// A store that only looks up; its deliveries hang.
struct Directory {
    admit: fn(&Mailbox, Option<u64>) -> Result<(), DeliveryError>,
    hanging: Sender<()>,
    end: Receiver<()>,
}

impl MailStore for Directory {
    fn deliver(&self, _: &Delivery) -> Outcome {
        self.hanging.send(()).unwrap();
        let _ = self.end.recv();
        Err(DeliveryError::Unanswered)
    }

    fn admit(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), DeliveryError> {
        (self.admit)(mailbox, size)
    }
}

/// The pool and its answers; all workers hang until the sender is dropped.
pub(super) fn directory(
    admit: fn(&Mailbox, Option<u64>) -> Result<(), DeliveryError>,
) -> (Pool, Receiver<Answer>, Sender<()>) {
    directory_with(limits(2), admit)
}

fn directory_with(
    limits: Limits,
    admit: fn(&Mailbox, Option<u64>) -> Result<(), DeliveryError>,
) -> (Pool, Receiver<Answer>, Sender<()>) {
    let (hanging, hang) = unbounded();
    let (keep, end) = bounded(0);
    let (pool, answers) = pool(Directory { admit, hanging, end }, limits);
    for to in ["a@d", "b@d", "c@d"] {
        pool.deliver(submission(0, &[to]));
    }
    for _ in 0..2 {
        hang.recv_timeout(PATIENCE).unwrap();
    }
    (pool, answers, keep)
}

fn users(source: Source) -> Users {
    Users { domains: vec!["d".to_owned()], ..Users::new(source, name("root@mx")) }
}

fn question(pool: &Pool, to: &str, asker: Weak<()>) -> Question {
    Question {
        ticket: 5,
        id: ID,
        index: RecipientIndex(6),
        path: path(to),
        declared_size: Some(4_096),
        memory: pool.memory().try_reserve(1_000).unwrap(),
        asker,
    }
}

/// Who asks, as long as the tests run.
static ASKER: LazyLock<Arc<()>> = LazyLock::new(Arc::default);

pub(super) fn check(pool: &Pool, source: Source, to: &str) -> Option<String> {
    let refusal = pool.check(&users(source), question(pool, to, Arc::downgrade(&ASKER)));
    refusal.map(|reply| reply.codes().to_string())
}

#[test]
fn nobody_is_looked_up_for_a_client_that_is_gone_and_its_memory_comes_back() {
    let (pool, answers, _hanging) = directory(|mailbox, _| {
        assert_eq!(mailbox.name().as_str(), "alice@d", "the client is gone");
        Ok(())
    });
    let memory = pool.memory().room();
    for _ in 0..1_000 {
        let gone = Arc::downgrade(&Arc::new(()));
        let asked = question(&pool, "gone@d", gone);
        assert!(pool.check(&users(Source::Any), asked).is_none());
    }
    assert_eq!(check(&pool, Source::Any, "alice@d"), None);
    let Answer::Checked { result, memory: held, .. } = answers.recv_timeout(PATIENCE).unwrap()
    else {
        panic!("no look-up's answer")
    };
    assert_eq!(result.unwrap().name().as_str(), "alice@d");
    drop(held);
    // Other threads may still be about to drop the last of the others.
    let start = Instant::now();
    while pool.memory().room() < memory {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn recipients_are_looked_up_while_every_worker_hangs() {
    let (pool, answers, _hanging) = directory(|mailbox, size| {
        assert_eq!(size, Some(4_096));
        match mailbox.name().as_str() {
            "full@d" => {
                let quota = std::io::Error::from_raw_os_error(122);
                Err(DeliveryError::io("ask for the quota of", "/x", quota))
            }
            "lost@d" => Err(DeliveryError::StoreMissing { what: "/x has no marker".to_owned() }),
            "panic@d" => panic!("as the test wished"),
            "new@d" if mailbox.if_missing() == IfMissing::Refuse => {
                Err(DeliveryError::NoSuchMailbox)
            }
            _ => Ok(()),
        }
    });
    let table = [
        (Source::Store, "Alice+x@D", "alice@d"),
        (Source::Any, "new@d", "new@d"),
        (Source::Store, "new@d", "550 5.1.1"),
        (Source::Store, "full@d", "452 4.2.2"),
        (Source::Store, "lost@d", "451 4.3.0"),
        (Source::Store, "panic@d", "451 4.3.0"),
        (Source::Store, "alice@d", "alice@d"),
    ];
    for (source, to, expected) in table {
        assert_eq!(check(&pool, source, to), None, "{to}");
        assert_eq!(next(&answers), (5, 6, expected.to_owned()), "{to}");
    }
}

#[test]
fn an_account_that_is_full_at_rcpt_is_told_as_configured() {
    for (over_quota, over, larger) in [
        (OverQuota::Defer, "452 4.2.2", "552 5.2.3"),
        (OverQuota::Reject, "552 5.2.2", "552 5.2.3"),
    ] {
        let limits = Limits { over_quota, ..limits(2) };
        let (pool, answers, _hanging) =
            directory_with(limits, |mailbox, _| match mailbox.name().as_str() {
                "over@d" => Err(DeliveryError::OverQuota { what: "5 of 4".to_owned() }),
                _ => Err(DeliveryError::LargerThanQuota),
            });
        for (to, expected) in [("over@d", over), ("larger@d", larger)] {
            assert_eq!(check(&pool, Source::Any, to), None);
            assert_eq!(next(&answers), (5, 6, expected.to_owned()), "{to}");
        }
    }
}

#[test]
fn a_user_of_the_system_is_asked_for_on_a_thread_and_the_store_for_his_mailbox() {
    let (pool, answers, _hanging) = directory(|mailbox, _| {
        assert!(mailbox.home().is_some() && mailbox.owner().is_some());
        Ok(())
    });
    let source = || Source::System(Arc::new(System::new(1)));
    for (to, expected) in [("daemon@d", "daemon"), ("no-such-user@d", "550 5.1.1")] {
        assert_eq!(check(&pool, source(), to), None);
        assert_eq!(next(&answers), (5, 6, expected.to_owned()), "{to}");
    }
}

#[test]
fn a_refusal_known_from_memory_is_answered_at_once() {
    let (pool, answers, _hanging) = directory(|_, _| panic!("the store is not asked"));
    assert_eq!(check(&pool, Source::Any, "a@elsewhere"), Some("550 5.1.2".to_owned()));
    assert_eq!(check(&pool, Source::Any, "a/b@d"), Some("553 5.1.3".to_owned()));
    assert!(answers.is_empty());
}

#[test]
fn postmaster_of_a_served_domain_is_taken_whatever_mailboxes_there_are() {
    let (pool, answers, _hanging) = directory(|mailbox, _| match mailbox.if_missing() {
        IfMissing::Create => Ok(()),
        IfMissing::Refuse => Err(DeliveryError::NoSuchMailbox),
    });
    assert_eq!(check(&pool, Source::Store, "Postmaster@d"), None);
    assert_eq!(next(&answers).2, "root@mx");
}
