//! What holds when a call to the system fails, whichever it is.

use super::{Fault, Harness, Rule, assert_no_residue, assert_stored, deliver, delivery, name};
use crate::{Class, DeliveryError, IfMissing, IfNoFolder, Mailbox};
use std::sync::Arc;

pub(super) const RULES: &[Rule] = &[
    ("whichever call fails, a first delivery is stored or leaves nothing", first_delivery),
    ("whichever call fails, a later delivery is stored or leaves nothing", later_delivery),
    (
        "whichever call fails, a folder's first delivery is stored or leaves nothing",
        first_in_folder,
    ),
    ("whichever call fails, no mailbox that exists is unknown at RCPT", admission),
];

/// More calls than any delivery needs: the suite would not end otherwise.
const CALLS_MAX: usize = 1_000;

const FAULTS: [Fault; 6] = [
    Fault::Io,
    Fault::NoSpace,
    Fault::Quota,
    Fault::TooManyFiles,
    Fault::Interrupted,
    Fault::ShortWrite,
];

const BODY: &[u8] = b"Subject: fault\r\n\r\ntext\r\n";
const BEFORE: &[u8] = b"Subject: before\r\n\r\ntext\r\n";
const NEXT: &[u8] = b"Subject: next\r\n\r\ntext\r\n";

/// Runs `check` with the first call failing, then the second, until a run needs
/// fewer calls; `check` disarms and says whether the call came.
fn each_call(harness: &dyn Harness, check: impl Fn(usize, Fault) -> bool) {
    if !harness.faults() {
        return;
    }
    for fault in FAULTS {
        let calls = (1..CALLS_MAX).take_while(|n| check(*n, fault)).count();
        assert!(calls > 0, "{fault:?}: not even the first call came, so nothing was checked");
        assert!(calls < CALLS_MAX - 1, "{fault:?}: no end after {calls} calls");
    }
}

fn first_delivery(harness: &dyn Harness) {
    each_call(harness, |n, fault| {
        let mailbox = format!("first-{n}-{fault:?}@example.org").to_lowercase();
        let mailbox = Mailbox::new(name(&mailbox), IfMissing::Create);
        delivery_with_fault(harness, &mailbox, &[], n, fault)
    });
}

fn later_delivery(harness: &dyn Harness) {
    each_call(harness, |n, fault| {
        let mailbox = name(&format!("later-{n}-{fault:?}@example.org").to_lowercase());
        deliver(&*harness.store(), &mailbox, BEFORE)
            .unwrap_or_else(|error| panic!("{mailbox}: the delivery before: {error}"));
        let mailbox = Mailbox::new(mailbox, IfMissing::Refuse);
        delivery_with_fault(harness, &mailbox, &[BEFORE], n, fault)
    });
}

fn first_in_folder(harness: &dyn Harness) {
    if !harness.keeps_folders() {
        return;
    }
    each_call(harness, |n, fault| {
        let mailbox = name(&format!("folder-{n}-{fault:?}@example.org").to_lowercase());
        let mailbox = Mailbox::new(mailbox, IfMissing::Create).in_folder("a/b", IfNoFolder::Create);
        let mailbox = mailbox.unwrap_or_else(|error| panic!("{error}"));
        delivery_with_fault(harness, &mailbox, &[], n, fault)
    });
}

/// Delivers with the `n`th call failing, then with none; says whether the call
/// came.
fn delivery_with_fault(
    harness: &dyn Harness,
    mailbox: &Mailbox,
    before: &[&[u8]],
    n: usize,
    fault: Fault,
) -> bool {
    let store = harness.store();
    let mut there = before.to_vec();
    harness.arm(n, fault);
    let result = store.deliver(&delivery(mailbox.clone(), BODY, Arc::default()));
    let came = harness.disarm();

    let when = format!("call {n} failed ({fault:?}), result {result:?}");
    match &result {
        Ok(_) => there.push(BODY),
        Err(error) => {
            assert!(came, "no call failed, and yet: {error}");
            check_error(error, fault, &when);
        }
    }
    assert_stored(harness, mailbox.name(), &there, &when);
    assert_no_residue(harness, &when);

    let when = format!("{when}; next delivery");
    store
        .deliver(&delivery(mailbox.clone(), NEXT, Arc::default()))
        .unwrap_or_else(|error| panic!("{when}: {error}"));
    there.push(NEXT);
    assert_stored(harness, mailbox.name(), &there, &when);
    assert_no_residue(harness, &when);
    came
}

/// A fault of the system never returns a message to its sender, and the error
/// says which it was where the reply can tell.
fn check_error(error: &DeliveryError, fault: Fault, when: &str) {
    assert_eq!(error.class(), Class::Temporary, "{when}");
    let right = match fault {
        Fault::NoSpace => matches!(error, DeliveryError::StorageFull(_)),
        Fault::Quota => matches!(error, DeliveryError::MailboxFull(_)),
        // Not the mailbox's fault.
        Fault::Io | Fault::TooManyFiles | Fault::Interrupted => error.code().subject == 3,
        // The rest could have been written.
        Fault::ShortWrite => false,
    };
    assert!(right, "{when}: not the error for this fault");
}

fn admission(harness: &dyn Harness) {
    let store = harness.store();
    let mailbox = name("there@example.org");
    deliver(&*store, &mailbox, b"text\r\n").unwrap_or_else(|error| panic!("{error}"));
    let mailbox = Mailbox::new(mailbox, IfMissing::Refuse);
    if !harness.faults() {
        return;
    }
    for fault in FAULTS {
        for n in 1..CALLS_MAX {
            harness.arm(n, fault);
            let result = store.admit(&mailbox, Some(1));
            if !harness.disarm() {
                break;
            }
            if let Err(error) = result {
                assert_eq!(
                    error.class(),
                    Class::Temporary,
                    "call {n} failed: {fault:?}: {error:?}"
                );
            }
        }
    }
}
