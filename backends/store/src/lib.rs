//! What a store of mail is to postino: one trait, and the values it works on.
//!
//! Lives here: [`MailStore`], and beside it the types that its methods take and
//! give. A store is a crate of its own that depends on this one.
//! May not: know a protocol, a socket, a thread or a file; this crate has no
//! dependencies.
//!
//! # The way of one message
//!
//! 1. At RCPT, [`MailStore::admit`] says whether a [`Mailbox`] can take mail.
//! 2. After the data, [`MailStore::prepare`] makes, once per transaction, what
//!    its recipients can share.
//! 3. Each recipient's [`Delivery`] queues in the [`Lane`] that
//!    [`MailStore::lane`] names for his mailbox.
//! 4. A worker takes what waits there, up to the lane's batch, and calls
//!    [`MailStore::deliver_batch`], which by default calls
//!    [`MailStore::deliver`] for each.
//! 5. Right before the step that makes the message visible the store calls
//!    [`Delivery::begin_commit`]; it is refused where the client has already
//!    been told that the message was not stored.
//! 6. [`Delivery::finish`] takes the result. An `Ok` is a promise: the message
//!    is whole, visible and on stable storage, and survives a power cut.
//!
//! ```
//! use postino_store::{Delivery, DeliveryError, DeliveryId, MailStore};
//! use std::{collections::HashMap, io::Read, sync::Mutex};
//!
//! /// Keeps mail in memory: everything a store must do but last.
//! #[derive(Default)]
//! struct Heap(Mutex<HashMap<String, Vec<Vec<u8>>>>);
//!
//! impl MailStore for Heap {
//!     fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
//!         let mut message = delivery.header().to_vec();
//!         delivery
//!             .message()
//!             .body()
//!             .reader()
//!             .read_to_end(&mut message)
//!             .map_err(|cause| DeliveryError::io("read the message", "", cause))?;
//!         delivery.begin_commit()?;
//!         let mut mailboxes = self.0.lock().unwrap();
//!         let messages = mailboxes.entry(delivery.mailbox().name().to_string()).or_default();
//!         messages.push(message);
//!         Ok(DeliveryId::new(messages.len().to_string()))
//!     }
//! }
//! ```

#[cfg(feature = "contract")]
pub mod contract;
mod date;
mod delivery;
mod error;
mod flags;
mod lane;
mod line_ends;
mod mailbox;
mod message;
mod part;
mod quota;
mod reader;
mod room;
mod template;

pub use date::Timestamp;
pub use delivery::{Answer, Delivery, DeliveryId, Fate, Prepared};
pub use error::{Class, DeliveryError, EnhancedCode, Failure};
pub use flags::Flags;
pub use lane::Lane;
pub use line_ends::LineEnds;
pub use mailbox::{
    FOLDER_LEVELS_MAX, FOLDER_OCTETS_MAX, FOLDERS_MAX, IfMissing, IfNoFolder, Mailbox, MailboxName,
    NameError, Owner,
};
pub use message::{Body, BodyReader, Message, Octets};
pub use part::Part;
pub use quota::{Contents, Quota};
pub use reader::{
    Finding, FindingKind, MailReader, MessageInfo, OpenMessage, ReadError, Remedy, Repair, Stray,
    Verified, Visit,
};
pub use room::Room;
pub use template::{PathTemplate, TemplateError};

/// A store of mail.
///
/// Every method may block, and none is called on the event loop. A panic in one
/// is that recipient's `451 4.3.0` and nothing else's.
pub trait MailStore: Send + Sync {
    /// Stores one message in one mailbox: whole, visible and on stable storage
    /// when it returns `Ok`; nothing left behind when it returns `Err`.
    ///
    /// Calls [`Delivery::begin_commit`] right before the step that makes the
    /// message visible. Never waits for a lock that others hold: it returns
    /// [`DeliveryError::Locked`], and the pool tries again.
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError>;

    /// Where deliveries to this mailbox queue, how many run there at once, and
    /// how many are taken together. Pure: no I/O, the same answer every time.
    fn lane(&self, mailbox: &Mailbox) -> Lane {
        Lane::of(mailbox.name().as_str(), 4, 1)
    }

    /// Stores what was taken from one lane together. Each delivery is given its
    /// result by [`Delivery::finish`] as soon as that result is true; one that
    /// is not given any is answered `451 4.3.0`.
    fn deliver_batch(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            delivery.finish(self.deliver(delivery));
        }
    }

    /// As whom the store is to be called for this mailbox: whoever calls becomes that
    /// user before, as far as it can, for [`deliver_batch`](MailStore::deliver_batch),
    /// [`prepare`](MailStore::prepare) and [`admit`](MailStore::admit). None: as who
    /// runs the program, as it must be where all mailboxes are one file. Pure.
    fn written_as<'a>(&self, mailbox: &'a Mailbox) -> Option<&'a Owner> {
        mailbox.owner()
    }

    /// Makes what the recipients of one message can share. Called once per
    /// transaction, before its deliveries and in no lane; not where their mailboxes
    /// are [written as](MailStore::written_as) several users, who share nothing.
    fn prepare(
        &self,
        _message: &Message,
        _mailboxes: &[&Mailbox],
    ) -> Result<Prepared, DeliveryError> {
        Ok(Prepared::nothing())
    }

    /// Whether the mailbox can take a message now, asked at RCPT: is the store
    /// there, does the mailbox exist (or may be made, [`Mailbox::if_missing`]),
    /// is there room for `size` octets where the client declared them.
    fn admit(&self, _mailbox: &Mailbox, _size: Option<u64>) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// How much room there is where the store lies; none where that cannot be
    /// told, or differs between mailboxes. Asked each second.
    fn room(&self) -> Result<Option<Room>, DeliveryError> {
        Ok(None)
    }

    /// How much room there is where this mailbox lies, of a store whose
    /// [`room`](MailStore::room) is none since that differs; none where it cannot be
    /// told. Asked at RCPT, as for [`MailStore::admit`].
    fn room_of(&self, _mailbox: &Mailbox) -> Result<Option<Room>, DeliveryError> {
        Ok(None)
    }

    /// Gets the store ready to serve; called once, before any other method but
    /// [`MailStore::lane`], as who runs the program.
    fn open(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// What an administrator should be told of how [`MailStore::open`] found the
    /// store, as one line without its end; asked after it.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Whether [`MailStore::upkeep`] has something to do. Asked after each batch
    /// of deliveries, and once more after an upkeep, so it must be cheap: no I/O, no
    /// lock that others hold long.
    fn wants_upkeep(&self) -> bool {
        false
    }

    /// Does what keeps the store in shape and no delivery should wait for, such
    /// as a checkpoint of a database. It may block; it is called on a worker, in
    /// no lane, and never twice at once.
    fn upkeep(&self) {}

    /// Makes the store itself and these mailboxes, durably; leaves what is
    /// there alone. It is `postino init`, for an administrator.
    fn init(&self, _mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// The account of this mailbox alone, by what is known of it: its home, where
    /// mailboxes lie in these, and it can be looked into as its
    /// [owner](MailStore::written_as). None where all accounts are one file, or the
    /// store cannot take itself apart. Touches nothing yet.
    fn part(&self, _mailbox: &Mailbox) -> Result<Option<Part>, DeliveryError> {
        Ok(None)
    }

    /// The reading side; none where what is stored cannot be read back.
    fn reader(&self) -> Option<&dyn MailReader> {
        None
    }
}
