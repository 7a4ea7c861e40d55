//! What each recipient is answered, whatever the store does.

use super::{look_ups::check, *};

#[test]
fn each_recipient_is_answered_his_own_result() {
    let rig = rig(4, alone);
    let _progress = rig.deliver(7, &["a@d", "b@d", "c@d"]);
    for _ in 0..3 {
        let call = rig.call();
        call.finish(match call.mailboxes[0].as_str() {
            "a@d" => Ok(DeliveryId::new("17.R9c")),
            "b@d" => Err(DeliveryError::NoSuchMailbox),
            _ => Err(DeliveryError::io("write", "/x", std::io::Error::from_raw_os_error(28))),
        });
    }
    let mut answers: Vec<_> = (0..3).map(|_| rig.answer()).collect();
    answers.sort();
    let codes = ["250 2.0.0", "550 5.1.1", "452 4.3.1"];
    let expected: Vec<_> = (0..).zip(codes).map(|(at, code)| (7, at, code.to_owned())).collect();
    assert_eq!(answers, expected);
}

#[test]
fn over_quota_is_552_if_wanted_but_never_for_a_size_that_was_accepted() {
    let (sender, calls) = unbounded();
    let limits = Limits { over_quota: OverQuota::Reject, ..limits(2) };
    let (pool, answers) = pool(puppet(sender, alone), limits);
    let octets = submission(0, &[]).transaction.octets_received;
    for (declared_size, codes) in [
        (None, ["552 5.2.2", "552 5.2.3"]),
        (Some(octets), ["452 4.2.2", "452 4.2.2"]),
        (Some(octets - 1), ["552 5.2.2", "552 5.2.3"]),
    ] {
        let errors =
            [DeliveryError::OverQuota { what: "x".into() }, DeliveryError::LargerThanQuota];
        for (error, codes) in errors.into_iter().zip(codes) {
            let mut submission = submission(1, &["a@d"]);
            submission.transaction.envelope.declared_size = declared_size;
            let _progress = pool.deliver(submission);
            calls.recv_timeout(PATIENCE).unwrap().finish(Err(error));
            assert_eq!(next(&answers), (1, 0, codes.to_owned()), "{declared_size:?}");
        }
    }
}

#[test]
fn the_stored_message_is_trace_fields_and_body_octet_for_octet() {
    struct Keep(Mutex<Sender<(Vec<u8>, String)>>);
    impl MailStore for Keep {
        fn deliver(&self, delivery: &Delivery) -> Outcome {
            let mut message = delivery.header().to_vec();
            delivery.message().body().reader().read_to_end(&mut message).unwrap();
            delivery.begin_commit()?;
            self.0.lock().unwrap().send((message, delivery.recipient().to_owned())).unwrap();
            Ok(DeliveryId::new("1"))
        }
    }
    let (sender, stored) = unbounded();
    let (pool, answers) = pool(Keep(Mutex::new(sender)), limits(2));
    pool.deliver(submission(1, &["Alice+x@d"]));
    assert_eq!(next(&answers), (1, 0, "250 2.0.0".to_owned()));
    let (message, recipient) = stored.recv_timeout(PATIENCE).unwrap();
    let message = String::from_utf8(message).unwrap();
    assert_eq!(recipient, "Alice+x@d");
    let rest = message.strip_prefix("Return-Path: <>\r\nDelivered-To: Alice+x@d\r\nReceived: ");
    let (received, body) = rest.expect(&message).split_once("\r\nSubject: ").unwrap();
    assert!(received.contains("id 7f3a-2") && received.contains("for <Alice+x@d>"), "{received}");
    assert_eq!(body, "x\r\n\r\ntext\r\n");
}

#[cfg(feature = "maildir")]
#[test]
fn each_250_of_a_maildir_names_the_file_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let options = postino::stores::Options {
        hostname: "mx".to_owned(),
        require_marker: false,
        several_domains: false,
        shared_with_group: false,
        base: None,
    };
    let url = format!("maildir:{}?mode=0640", root.path().display());
    let store = postino::stores::Stores::built_in().open(&url, &options).unwrap().store;
    assert_eq!(store.notice(), None);
    store.open().unwrap();
    assert!(store.notice().unwrap().contains("new .postino marker"));
    let (sender, answers) = unbounded();
    let pool = Pool::new(store, limits(4), move |answer| sender.send(answer).unwrap());
    let recipients: Vec<_> = (0..20).map(|at| format!("user{}@d", at % 3)).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    pool.deliver(submission(1, &recipients));
    for _ in &recipients {
        let answer = answers.recv_timeout(PATIENCE).unwrap();
        let Answer::Delivered { index, reply, .. } = answer else { unreachable!() };
        let line = reply.to_string();
        let id = line.strip_prefix("250 2.0.0 ").and_then(|rest| rest.strip_suffix(" stored"));
        let id = id.expect(&line);
        let mailbox = root.path().join(recipients[usize::try_from(index.0).unwrap()]).join("new");
        let files = std::fs::read_dir(mailbox).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with(id)).count(), 1, "{id}");
    }
}

#[test]
fn a_panic_in_the_store_is_451_and_the_workers_live_on() {
    let rig = rig(1, alone);
    for ticket in 0..3 {
        rig.deliver(ticket, &["a@d"]);
        rig.call().steps.send(Step::Panic).unwrap();
        assert_eq!(rig.answer(), (ticket, 0, "451 4.3.0".to_owned()));
    }
    rig.deliver(9, &["a@d"]);
    rig.call().succeed();
    assert_eq!(rig.answer(), (9, 0, "250 2.0.0".to_owned()));
}

#[test]
fn what_a_batch_has_stored_before_a_panic_stays_250() {
    let rig = rig(1, batches);
    rig.deliver(1, &["a@d", "b@d"]);
    let call = rig.call();
    call.finish(Ok(DeliveryId::new("id")));
    call.steps.send(Step::Panic).unwrap();
    assert_eq!(rig.answer(), (1, 0, "250 2.0.0".to_owned()));
    assert_eq!(rig.answer(), (1, 1, "451 4.3.0".to_owned()));
}

#[test]
fn a_delivery_without_a_result_is_451() {
    let rig = rig(1, alone);
    rig.deliver(1, &["a@d"]);
    drop(rig.call());
    assert_eq!(rig.answer(), (1, 0, "451 4.3.0".to_owned()));
}

#[test]
fn an_error_in_the_preparation_is_every_recipients_answer() {
    struct Full(Sender<usize>);
    impl MailStore for Full {
        fn deliver(&self, _: &Delivery) -> Outcome {
            unreachable!("nothing is prepared")
        }
        fn prepare(&self, _: &Message, mailboxes: &[&Mailbox]) -> Result<Prepared, DeliveryError> {
            self.0.send(mailboxes.len()).unwrap();
            let full = std::io::Error::from_raw_os_error(28);
            Err(DeliveryError::io("write the blob", "/x", full))
        }
    }
    let (sender, prepared) = unbounded();
    let (pool, answers) = pool(Full(sender), limits(2));
    pool.deliver(submission(1, &["a@d", "b@d"]));
    for index in 0..2 {
        assert_eq!(next(&answers), (1, index, "452 4.3.1".to_owned()));
    }
    assert_eq!(prepared.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_panic_in_the_preparation_is_451_for_every_recipient() {
    struct Broken;
    impl MailStore for Broken {
        fn deliver(&self, _: &Delivery) -> Outcome {
            unreachable!("nothing is prepared")
        }
        fn prepare(&self, _: &Message, _: &[&Mailbox]) -> Result<Prepared, DeliveryError> {
            panic!("as the test wished")
        }
    }
    let (pool, answers) = pool(Broken, limits(1));
    for ticket in 0..2 {
        pool.deliver(submission(ticket, &["a@d", "b@d"]));
        for index in 0..2 {
            assert_eq!(next(&answers), (ticket, index, "451 4.3.0".to_owned()));
        }
    }
}

#[test]
fn a_pool_that_is_dropped_ends_its_threads() {
    struct Ends(Sender<()>);
    impl MailStore for Ends {
        fn deliver(&self, _: &Delivery) -> Outcome {
            Err(DeliveryError::NoSuchMailbox)
        }
    }
    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (sender, ended) = unbounded();
    let (pool, answers) = pool(Ends(sender), limits(4));
    pool.deliver(submission(1, &["a@d", "b@d", "c@d"]));
    assert_eq!(check(&pool, Source::Any, "a@d"), None);
    for _ in 0..4 {
        next(&answers);
    }
    drop(pool);
    ended.recv_timeout(PATIENCE).expect("the last thread lets the store go");
}
