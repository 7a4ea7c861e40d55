//! What an administrator reads.

use super::{
    look_ups::{check, directory},
    *,
};

/// The lines of all tests; each test finds its own by the transaction's name.
static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// From here on log lines are kept.
pub(super) fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The lines with this in them, milliseconds as `ms=_`.
pub(super) fn logged(part: &str) -> Vec<(log::Level, String)> {
    let lines = LINES.lock().unwrap();
    let own = lines.iter().filter(|(_, line)| line.contains(part));
    own.map(|(level, line)| {
        let words = line.split(' ').map(|word| if word.starts_with("ms=") { "ms=_" } else { word });
        (*level, words.collect::<Vec<_>>().join(" "))
    })
    .collect()
}

fn named(session: u32, recipients: &[&str]) -> Submission {
    let mut submission = submission(1, recipients);
    submission.transaction.id = TransactionId { session, transaction: 1 };
    submission
}

#[test]
fn a_delivery_is_logged_with_all_that_finds_it_again() {
    keep_log();
    let rig = rig(1, alone);
    let mut submission = named(0xa1, &["alice@d"]);
    let ForwardPath::Address(sender) = path("x@y") else { unreachable!() };
    submission.transaction.envelope.reverse_path = ReversePath::Address(sender);
    submission.transaction.header.queue_id = Some(b"4XyZ1".to_vec());
    submission.transaction.header.message_id = Some(b"<a@b\x1b[2J>".to_vec());
    rig.pool.deliver(submission);
    rig.call().finish(Ok(DeliveryId::new("17.R9c")));
    rig.answer();
    let line = r#"delivered s=a1-1 qid=4XyZ1 mid=<a@b\x1b[2J> from=<x@y> to=<alice@d> mailbox=alice@d id=17.R9c size=20 rcpts=1 ms=_ reply="250 2.0.0""#;
    assert_eq!(logged("s=a1-1"), [(log::Level::Info, line.to_owned())]);
}

#[test]
fn a_failure_is_logged_with_its_cause() {
    keep_log();
    let rig = rig(1, alone);
    rig.pool.deliver(named(0xa2, &["alice@d"]));
    let full = std::io::Error::from_raw_os_error(28);
    rig.call().finish(Err(DeliveryError::io("sync the file", "/v/x\n", full)));
    rig.answer();
    let line = r#"not delivered s=a2-1 from=<> to=<alice@d> mailbox=alice@d size=20 ms=_ reply="452 4.3.1" cause="cannot sync the file /v/x\x0a: No space left on device (os error 28)""#;
    assert_eq!(logged("s=a2-1"), [(log::Level::Warn, line.to_owned())]);
}

#[test]
fn a_full_account_is_logged_with_how_many_messages_that_stopped_since_when() {
    keep_log();
    let rig = rig(1, alone);
    for (session, result) in [
        (0xa20, Err(DeliveryError::OverQuota { what: "9 of 9 octets".into() })),
        (0xa21, Err(DeliveryError::OverQuota { what: "9 of 9 octets".into() })),
        (0xa22, Ok(DeliveryId::new("17.R9c"))),
    ] {
        rig.pool.deliver(named(session, &["full@quota"]));
        rig.call().finish(result);
        rig.answer();
    }
    let [(_, first), (_, second), (_, again), _] = &logged("mailbox=full@quota")[..] else {
        panic!("{:?}", logged("mailbox=full@quota"))
    };
    let cause = r#"cause="over quota: 9 of 9 octets; "#;
    let since = |line: &str, count| {
        let (_, since) = line.split_once(&format!("{count} deferred or refused since ")).unwrap();
        since.trim_end_matches('"').to_owned()
    };
    assert!(first.contains(cause) && second.contains(cause), "{first}");
    assert_eq!(since(second, 2), since(first, 1));
    assert_eq!(since(again, 2), since(first, 1));
    assert!(again.starts_with("has room again: "), "{again}");
}

#[test]
fn a_lock_past_the_lock_wait_is_logged_with_its_holder() {
    struct Locked;
    impl MailStore for Locked {
        fn deliver(&self, _: &Delivery) -> Outcome {
            Err(DeliveryError::Locked { holder: Some("pid 4711 (imapd), fcntl".to_owned()) })
        }
    }
    keep_log();
    let lock_wait = Duration::ZERO;
    let (pool, answers) = pool(Locked, Limits { lock_wait, ..limits(1) });
    pool.deliver(named(0xa3, &["bob@d"]));
    next(&answers);
    let line = "locked: bob@d held 0 s by pid 4711 (imapd), fcntl; 450 4.2.0 s=a3-1";
    assert_eq!(logged("s=a3-1"), [(log::Level::Warn, line.to_owned())]);
}

#[test]
fn an_open_outcome_and_its_late_result_are_logged() {
    keep_log();
    let rig = rig(1, alone);
    let progress = rig.pool.deliver(named(0xa4, &["a@d"]));
    let call = rig.call();
    assert!(call.begin_commit());
    progress.leave_open();
    call.succeed();
    rig.deliver(2, &["b@d"]);
    rig.call().succeed();
    rig.answer();
    let lines = [
        "outcome open s=a4-1 to=<a@d> mailbox=a@d: the store was asked to commit and has not \
         answered; a resend will not make a second copy while this process runs",
        "late outcome: stored after all s=a4-1 to=<a@d> mailbox=a@d id=id ms=_",
    ];
    let logged: Vec<_> = logged("s=a4-1").into_iter().map(|(_, line)| line).collect();
    assert_eq!(logged, lines);
}

#[test]
fn a_store_that_is_not_there_is_not_logged_for_each_recipient() {
    keep_log();
    let (pool, answers, _hanging) = directory(|_, _| {
        let what = "/vmail has no .postino marker (not mounted?)".to_owned();
        Err(DeliveryError::StoreMissing { what })
    });
    for _ in 0..5 {
        assert_eq!(check(&pool, Source::Any, "a@d"), None);
        assert_eq!(next(&answers).2, "451 4.3.0");
    }
    let line = "store not there: /vmail has no .postino marker (not mounted?)";
    assert_eq!(logged("/vmail"), [(log::Level::Error, line.to_owned())]);
}

#[test]
fn the_first_stuck_worker_is_logged_at_once_and_those_after_it_once_a_minute() {
    keep_log();
    let rig = rig(1, alone);
    let mut hanging = Vec::new();
    let mut hang = |session, watched: Instant| {
        rig.pool.deliver(named(session, &[&format!("{session:x}@d")]));
        hanging.push(rig.call());
        rig.pool.watch(watched);
    };
    let first = Instant::now() + Duration::from_secs(2);
    hang(0xa5, first);
    hang(0xa6, first + Duration::from_secs(2));
    hang(0xa7, first + Duration::from_secs(4));
    hang(0xa8, first + Duration::from_secs(60));
    let text = "over 1 s in the store; others take its place; is the disk or network of the \
                store slow, or gone?";
    let line = |line: String| vec![(log::Level::Warn, line)];
    assert_eq!(logged("s=a5-1"), line(format!("stuck thread=worker-1 s=a5-1 stuck=1/64: {text}")));
    assert_eq!([logged("s=a6-1"), logged("s=a7-1")], [vec![], vec![]]);
    let second = format!("stuck thread=worker-4 s=a8-1 more=2 stuck=4/64: {text}");
    assert_eq!(logged("s=a8-1"), line(second));
}

#[test]
fn that_none_is_stuck_any_more_is_logged_once_it_was_told_that_some_were() {
    keep_log();
    let rig = rig(1, alone);
    for session in [0xb1, 0xb2] {
        rig.pool.deliver(named(session, &["a@d"]));
        let call = rig.call();
        rig.pool.watch(Instant::now() + Duration::from_secs(2));
        call.succeed();
        rig.answer();
        until(|| rig.pool.watch(Instant::now()).is_none());
    }
    let lines = |session: &str| {
        let lines = logged(session).into_iter().map(|(_, line)| line);
        lines.filter(|line| line.contains("stuck")).collect::<Vec<_>>()
    };
    let [first, last] = lines("s=b1-1").try_into().unwrap();
    assert!(first.starts_with("stuck thread=worker-1 s=b1-1 stuck=1/64: "), "{first}");
    assert_eq!(last, "no worker is stuck any more thread=worker-1 s=b1-1: the last has returned");
    assert_eq!(lines("s=b2-1"), [""; 0], "within a minute of the first");
}

#[test]
fn a_resend_is_logged_with_the_transaction_in_which_it_came_first() {
    keep_log();
    let rig = rig(1, alone);
    let progress = rig.pool.deliver(named(0xc1, &["a@d"]));
    let call = rig.call();
    assert!(call.begin_commit());
    progress.leave_open();
    rig.pool.watch(Instant::now() + Duration::from_secs(2));
    rig.pool.deliver(named(0xc2, &["a@d"]));
    rig.answer();
    call.succeed();
    // Behind the first in its lane, so that all is known of that.
    let mut behind = named(0xc4, &["a@d"]);
    behind.transaction.octets_received += 1;
    rig.pool.deliver(behind);
    rig.call().succeed();
    rig.answer();
    rig.pool.deliver(named(0xc3, &["a@d", "b@d"]));
    rig.call().succeed();
    (0..2).for_each(|_| drop(rig.answer()));
    let line = |session: &str| {
        let lines = logged(session).into_iter();
        lines.filter(|(_, line)| line.contains("to=<a@d>")).collect::<Vec<_>>()
    };
    let open = r#"not delivered s=c2-1 from=<> to=<a@d> mailbox=a@d size=20 first=c1-1 reply="451 4.3.0" cause="a resend whose first outcome is still open""#;
    assert_eq!(line("s=c2-1"), [(log::Level::Warn, open.to_owned())]);
    let known = r#"resend s=c3-1 from=<> to=<a@d> mailbox=a@d id=id first=c1-1 reply="250 2.0.0": it was stored late; no second copy"#;
    assert_eq!(line("s=c3-1"), [(log::Level::Info, known.to_owned())]);
}
