//! From a transaction to one delivery per recipient.
//!
//! Lives here: the message that all share, each recipient's own trace fields, the
//! folder that it is filed into, and the store's preparation, once.
//! May not: queue or run a delivery.
//! Holds: the body is not copied.

use super::{
    budget::Reservation,
    owners::{self, Owners},
    record::{Recipient, Record},
};
use crate::{
    sys::local_time,
    transaction::{Filing, Origin, TraceFields},
};
use postino_store::{
    Body, Class, Delivery, DeliveryError, EnhancedCode, IfNoFolder, MailStore, Mailbox, Message,
    Owner, Prepared, Timestamp,
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the deliveries are made of, beside the record.
pub(super) struct Uncomposed {
    pub(super) body: Body,
    pub(super) bare_newlines: bool,
    pub(super) client_name: Arc<str>,
    pub(super) origin: Origin,
    pub(super) hostname: Arc<str>,
    pub(super) received: SystemTime,
    pub(super) single_instance: bool,
    pub(super) filing: Arc<Filing>,
    /// What the deliveries use.
    pub(super) memory: Reservation,
}

/// Makes the deliveries with their places, one for each of the record's
/// recipients but those whose [resend](Record::answer_resends) or
/// [duplicate](Record::answer_duplicates) was answered;
/// `Err` is every recipient's result. May block.
pub(super) fn compose(
    store: &dyn MailStore,
    owners: &Owners,
    record: &Arc<Record>,
    uncomposed: Uncomposed,
) -> Result<Vec<(usize, Delivery)>, DeliveryError> {
    let received = Timestamp {
        since_epoch: uncomposed.received.duration_since(UNIX_EPOCH).unwrap_or_default(),
        offset_minutes: local_time::offset_minutes(uncomposed.received),
    };
    let date = received.rfc5322();
    let trace = |recipient: Option<&Recipient>| {
        let fields = TraceFields {
            reverse_path: &record.reverse_path,
            recipient: recipient.map(|recipient| &recipient.path),
            sole_recipient: record.recipients.len() == 1,
            client_name: &uncomposed.client_name,
            origin: uncomposed.origin,
            hostname: &uncomposed.hostname,
            id: record.id,
            date: &date,
        };
        fields.to_octets()
    };
    let mut message = Message::new(
        received,
        record.reverse_path.as_str().to_owned(),
        uncomposed.bare_newlines,
        uncomposed.body,
    );
    // A file has one owner: several share none.
    let mut all_owners = record.recipients.iter().map(|each| store.written_as(&each.mailbox));
    let owner = all_owners.next().flatten();
    let have_one_owner = all_owners.all(|other| other == owner);
    let is_shared = uncomposed.single_instance && have_one_owner && record.recipients.len() > 1;
    if is_shared {
        message = message.with_common_header(trace(None));
    }
    let own_header = |recipient| if is_shared { Vec::new() } else { trace(Some(recipient)) };
    let headers: Vec<Vec<u8>> = record.recipients.iter().map(own_header).collect();
    let message = Arc::new(message);
    let mut wanted = record.answer_resends(&message);
    file(record, &message, &uncomposed.filing)?;
    let claims = record.answer_duplicates(&message, &mut wanted);
    let mailboxes: Vec<&Mailbox> = record
        .recipients
        .iter()
        .zip(&wanted)
        .filter_map(|(recipient, wanted)| wanted.then_some(recipient.destination()))
        .collect();
    if mailboxes.is_empty() {
        return Ok(Vec::new());
    }
    let prepared = prepare(store, owners, &message, &mailboxes)?;
    // Given back with the last delivery, wherever that ends: the record may wait
    // much longer in the lane of a mailbox that hangs.
    let memory = Arc::new(uncomposed.memory);
    let deliveries =
        headers.into_iter().zip(&record.recipients).zip(claims).zip(wanted).enumerate();
    Ok(deliveries
        .filter_map(|(at, (each, wanted))| wanted.then_some((at, each)))
        .map(|(at, ((header, recipient), claims))| {
            let (record, memory) = (Arc::clone(record), Arc::clone(&memory));
            let delivery = Delivery::new(
                Arc::clone(&message),
                recipient.destination().clone(),
                recipient.path.as_str().to_owned(),
                header,
                Arc::clone(&recipient.fate),
                Box::new(move |result| {
                    let _held = &memory;
                    record.finish_claimed(at, claims.as_ref(), result.as_ref());
                }),
            )
            .with_prepared(prepared.of(store.written_as(recipient.destination())));
            (at, delivery)
        })
        .collect())
}

/// What each owner's mailboxes share.
struct ByOwner(Vec<(Option<Owner>, Prepared)>);

impl ByOwner {
    fn of(&self, owner: Option<&Owner>) -> Prepared {
        let found = self.0.iter().find(|(its, _)| its.as_ref() == owner);
        found.map_or_else(Prepared::nothing, |(_, prepared)| prepared.clone())
    }
}

/// Has the store prepare the message, as each mailbox's owner. `Err`: it cannot for
/// the only one that there is.
fn prepare(
    store: &dyn MailStore,
    owners: &Owners,
    message: &Message,
    mailboxes: &[&Mailbox],
) -> Result<ByOwner, DeliveryError> {
    let mut by_owner: Vec<(Option<&Owner>, Vec<&Mailbox>)> = Vec::new();
    for mailbox in mailboxes {
        let owner = store.written_as(mailbox);
        match by_owner.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, those)) => those.push(mailbox),
            None => by_owner.push((owner, vec![mailbox])),
        }
    }
    let prepare = |owner: Option<&Owner>, those: &[&Mailbox]| {
        let Some(first) = those.first() else { return Ok(Prepared::nothing()) };
        let assumed = owners.assume(owner);
        let _assumed = assumed.map_err(|cause| owners::error(first, owner, &cause))?;
        store.prepare(message, those)
    };
    if let [(owner, those)] = &by_owner[..] {
        return Ok(ByOwner(vec![(owner.cloned(), prepare(*owner, those)?)]));
    }
    // One mailbox of its owner's shares nothing.
    by_owner.retain(|(owner, those)| owner.is_none() || those.len() > 1);
    let prepared = by_owner.into_iter().map(|(owner, those)| {
        // What fails for one owner must not fail the others'; its deliveries will tell.
        (owner.cloned(), prepare(owner, &those).unwrap_or_default())
    });
    Ok(ByOwner(prepared.collect()))
}

/// Has the message go into the folder of the rule that its header fits. A recipient
/// whose mailbox is a folder already keeps to that. `Err`: the message cannot be
/// read.
fn file(record: &Record, message: &Message, filing: &Filing) -> Result<(), DeliveryError> {
    let is_inbox = |recipient: &&Recipient| recipient.mailbox.name().folder().is_none();
    let mut inboxes = record.recipients.iter().filter(is_inbox).peekable();
    if filing.rules().is_empty() || inboxes.peek().is_none() {
        return Ok(());
    }
    let found = filing.folder_of(&mut message.body().reader());
    let folder = found.map_err(|error| DeliveryError::Other {
        class: Class::Temporary,
        code: EnhancedCode::new(3, 0),
        cause: format!("cannot read the message to file it by its header: {error}").into(),
    })?;
    let Some(folder) = folder else { return Ok(()) };
    for recipient in inboxes {
        // A folder was checked when its rule was read.
        if let Ok(mailbox) =
            recipient.mailbox.clone().in_folder(folder.as_str(), IfNoFolder::Create)
        {
            let _ = recipient.filed.set(mailbox);
        }
    }
    Ok(())
}
