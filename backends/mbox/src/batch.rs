//! Deliveries to one file that are written together.
//!
//! Lives here: which deliveries that follow each other are one batch.
//! May not: store them.

use postino_store::Delivery;
use std::path::{Path, PathBuf};

/// Octets of messages after which a batch is written and answered before the rest
/// is begun, so that nobody waits long for another's large message.
const OCTETS_MAX: u64 = 8 * 1024 * 1024;

/// Deliveries to one file, in their order.
pub(crate) struct Batch<'a> {
    pub(crate) path: PathBuf,
    pub(crate) deliveries: Vec<&'a Delivery>,
    octets: u64,
}

impl<'a> Batch<'a> {
    pub(crate) fn of(path: PathBuf, delivery: &'a Delivery) -> Self {
        Self { path, octets: octets(delivery), deliveries: vec![delivery] }
    }

    pub(crate) fn takes(&self, path: &Path, delivery: &'a Delivery) -> bool {
        let file = |delivery: &'a Delivery| {
            let mailbox = delivery.mailbox();
            (mailbox.home(), mailbox.if_missing(), mailbox.if_no_folder())
        };
        self.path == path
            && self.octets.saturating_add(octets(delivery)) <= OCTETS_MAX
            && self.deliveries.iter().all(|other| file(other) == file(delivery))
    }

    pub(crate) fn add(&mut self, delivery: &'a Delivery) {
        self.octets += octets(delivery);
        self.deliveries.push(delivery);
    }
}

/// About how many octets a delivery writes.
fn octets(delivery: &Delivery) -> u64 {
    delivery.header().len() as u64 + delivery.message().body().len()
}
