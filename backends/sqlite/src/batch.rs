//! A batch of deliveries: one transaction, one COMMIT.
//!
//! Lives here: the transaction, each recipient's part of it within a savepoint,
//! and what a failed COMMIT leaves.
//! May not: answer anybody; a result is true only when all of this has returned.
//! Holds: a recipient's failure leaves the others' rows alone; the counters are
//! changed in the transaction that changes the messages, and a quota is compared with
//! them there, so that it is never exceeded; after a failure of the whole nobody's
//! message appears later.

use crate::{
    account::{self, Missing},
    ahead::{Ahead, Shared},
    body::{self, Stop, number},
    database::Database,
    fault::{Doing, Fault},
    id::Ids,
};
use postino_store::{Delivery, DeliveryError, DeliveryId, Flags};
use rusqlite::{Connection, params};
use std::path::Path;

/// A recipient's result; of no truth before the COMMIT.
pub(crate) type Outcome = Result<DeliveryId, DeliveryError>;

/// What a batch is made with.
pub(crate) struct Tools<'a> {
    pub(crate) ids: &'a Ids,
    /// The database, for errors.
    pub(crate) path: &'a Path,
    /// That it holds no mailbox at all.
    pub(crate) no_mailbox: &'a dyn Fn() -> Fault,
}

/// Stores the deliveries; gives each its outcome in its place. `Err` is the outcome
/// of all that have no failure of their own.
pub(crate) fn store(
    database: &mut Database,
    deliveries: &[&Delivery],
    outcomes: &mut [Option<Outcome>],
    tools: &Tools<'_>,
) -> Result<(), Fault> {
    let transaction = database.write()?;
    let mut ahead = Vec::new();
    for (delivery, outcome) in deliveries.iter().zip(&mut *outcomes) {
        *outcome = Some(match within_savepoint(&transaction, delivery, tools) {
            Ok((id, own)) => {
                ahead.extend(own);
                Ok(id)
            }
            Err(Stop::Alone(error)) => Err(error),
            Err(Stop::Fault(fault)) => return Err(fault),
        });
    }
    if !outcomes.iter().flatten().any(Result::is_ok) {
        return Ok(()); // rolled back
    }
    if let Err(fault) = transaction.commit().doing("commit to") {
        if fault.breaks_connection() {
            overwrite(database);
        }
        return Err(fault);
    }
    ahead.into_iter().for_each(Ahead::note_stored);
    Ok(())
}

/// After a COMMIT that failed while its pages were written or synced, they may
/// stand in the log, whole: a crash now would bring them back. Another commit takes
/// their place. Where that fails too there is nothing left to try.
fn overwrite(database: &mut Database) {
    let Ok(transaction) = database.write() else { return };
    if transaction.pragma_update(None, "user_version", crate::schema::VERSION).is_ok() {
        let _ = transaction.commit();
    }
}

/// Writes one delivery's rows; on failure they are as before.
fn within_savepoint<'a>(
    connection: &Connection,
    delivery: &'a Delivery,
    tools: &Tools<'_>,
) -> Result<(DeliveryId, Option<&'a Ahead>), Stop> {
    if delivery.is_withdrawn() {
        return Err(DeliveryError::Expired.into());
    }
    run(connection, "SAVEPOINT delivery")?;
    let stop = match insert(connection, delivery, tools) {
        Ok(inserted) => {
            run(connection, "RELEASE delivery")?;
            return Ok(inserted);
        }
        Err(stop) => stop,
    };
    // Some failures have rolled back the whole transaction.
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK TO delivery")?;
        run(connection, "RELEASE delivery")?;
        if let Stop::Fault(fault) = &stop
            && fault.is_one_rows()
        {
            return Err(fault.error(tools.path).into());
        }
        return Err(stop);
    }
    Err(match stop {
        Stop::Alone(error) => Fault::Sqlite {
            doing: "write to",
            meaning: crate::fault::Meaning::Damaged,
            text: format!("the transaction ended early: {error}"),
        }
        .into(),
        fault @ Stop::Fault(_) => fault,
    })
}

fn insert<'a>(
    connection: &Connection,
    delivery: &'a Delivery,
    tools: &Tools<'_>,
) -> Result<(DeliveryId, Option<&'a Ahead>), Stop> {
    let message = delivery.message();
    let octets = delivery.header().len() as u64 + message.body().len();
    let mailbox = match account::row_for(connection, delivery.mailbox())? {
        Ok(row) => row,
        Err(Missing::Mailbox) => return Err(DeliveryError::NoSuchMailbox.into()),
        Err(Missing::All) => return Err((tools.no_mailbox)().error(tools.path).into()),
    };
    let quota = delivery.mailbox().quota();
    if !quota.is_none() {
        quota.admit(account::contents(connection, delivery.mailbox().name())?, octets)?;
    }
    let shared = delivery.prepared().get::<Shared>();
    let ahead = shared.and_then(|shared| shared.ahead.as_ref());
    let known = shared.map(|shared| &shared.digest);
    let (body, is_ahead) = body::row_for(connection, message.body(), known, ahead.map(Ahead::row))?;
    let ahead = ahead.filter(|_| is_ahead);
    let id = tools.ids.next().map_err(|cause| DeliveryError::io("make an id", "", cause))?;
    let octets = number(octets);
    let received = number(message.received.since_epoch.as_secs());
    delivery.begin_commit()?; // refused where the client already has a 4yz
    connection
        .prepare_cached(
            "INSERT INTO messages
                 (id, mailbox, received, octets, reverse_path, recipient, flags, header, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                id,
                mailbox,
                received,
                octets,
                message.reverse_path,
                delivery.recipient(),
                message.flags().map_or("", Flags::as_str),
                delivery.header(),
                body
            ])
        })
        .doing("write to")?;
    // What the triggers do for others.
    connection
        .prepare_cached(
            "UPDATE mailboxes SET messages = messages + 1, octets = octets + ?2 WHERE id = ?1",
        )
        .and_then(|mut statement| statement.execute(params![mailbox, octets]))
        .doing("write to")?;
    Ok((DeliveryId::new(id), ahead))
}

fn run(connection: &Connection, statement: &'static str) -> Result<(), Fault> {
    connection
        .prepare_cached(statement)
        .and_then(|mut prepared| prepared.execute([]))
        .map(drop)
        .doing("write to")
}
