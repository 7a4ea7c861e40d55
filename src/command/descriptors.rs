//! How the descriptors that the system allows are shared out.
//!
//! Lives here: the limit raised, and what each use of descriptors gets of it.
//! May not: open or close any.

use crate::{
    delivery::Limits, protocol::PART_OCTETS, server::Settings, stores::Stores, sys::limits,
};

/// The loop's, the log's and the signals' own, and the one that is kept to
/// refuse clients with.
const OWN: u64 = 16;
/// The directories on the way to a mailbox, a file, and two for what a store has
/// beside, such as a file that recipients share.
const PER_WORKER: u64 = 6;
/// The directories on the way to a mailbox.
const PER_LOOK_UP: u64 = 3;
/// Clients that are told at the same time why they are not served.
const REFUSALS_MAX: u64 = 64;

/// Raises the limit of descriptors to what the system allows, and cuts the
/// settings to fit; says how many there are.
pub(super) fn fit(server: &mut Settings, limits: &mut Limits, listeners: usize) -> u64 {
    let descriptors = limits::raise_descriptors();
    let wanted = Shares {
        connections: server.connections_max as u64,
        workers: limits.workers as u64,
        look_ups: limits.look_ups as u64,
        stuck: limits.stuck as u64,
        ..Shares::default()
    };
    // Only a users file names stores of accounts.
    let of_accounts = match server.users.users_file() {
        Some(_) => Stores::descriptors_of_accounts(descriptors),
        None => 0,
    };
    let shares = wanted.cut_to(descriptors.saturating_sub(listeners as u64 + of_accounts));
    for (what, wanted, share) in [
        ("max-connections", wanted.connections, shares.connections),
        ("workers", wanted.workers, shares.workers),
    ] {
        if share < wanted {
            log::warn!(
                "{what} is {share} in place of {wanted}: {descriptors} descriptors are allowed \
                 (ulimit -Hn, LimitNOFILE)"
            );
        }
    }
    // More than fill max-spool with a part each there cannot be.
    let of_use = shares.connections.min(limits.spool_octets / PART_OCTETS as u64);
    if shares.spool_files < of_use {
        log::warn!(
            "at most {} messages over 256 KiB can be under way at the same time: {descriptors} \
             descriptors are allowed (ulimit -Hn, LimitNOFILE)",
            shares.spool_files
        );
    }
    let usize = |share: u64| usize::try_from(share).unwrap_or(usize::MAX);
    server.connections_max = usize(shares.connections);
    server.refusals_max = usize(shares.refusals);
    limits.workers = usize(shares.workers);
    limits.look_ups = usize(shares.look_ups);
    limits.stuck = usize(shares.stuck);
    limits.spool_files = shares.spool_files;
    descriptors
}

/// What each use gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shares {
    connections: u64,
    refusals: u64,
    workers: u64,
    look_ups: u64,
    /// Of workers, and of look-ups.
    stuck: u64,
    spool_files: u64,
}

impl Shares {
    /// These, or what fits of them; refusals and spool get what they may.
    fn cut_to(self, descriptors: u64) -> Self {
        let rest = descriptors.saturating_sub(OWN);
        let workers = self.workers.min(rest / 4 / PER_WORKER).max(1);
        let look_ups = self.look_ups.min(rest / 8 / PER_LOOK_UP).max(1);
        let stuck = self.stuck.min(rest / 8 / (PER_WORKER + PER_LOOK_UP));
        let rest =
            rest.saturating_sub((workers + stuck) * PER_WORKER + (look_ups + stuck) * PER_LOOK_UP);
        let refusals = (rest / 8).min(REFUSALS_MAX);
        let connections = self.connections.min((rest - refusals) / 4 * 3).max(1);
        let spool_files = rest.saturating_sub(refusals + connections);
        Self { connections, refusals, workers, look_ups, stuck, spool_files }
    }
}

#[cfg(test)]
mod tests {
    use super::{OWN, PER_LOOK_UP, PER_WORKER, Shares};

    const WANTED: Shares = Shares {
        connections: 10_000,
        refusals: 0,
        workers: 16,
        look_ups: 16,
        stuck: 64,
        spool_files: 0,
    };

    #[test]
    fn where_there_are_enough_everything_is_as_wanted() {
        let shares = WANTED.cut_to(65_536);
        assert_eq!((shares.connections, shares.workers, shares.look_ups), (10_000, 16, 16));
        assert_eq!(shares.stuck, 64);
        assert!(shares.spool_files > 10_000, "each connection may spool: {shares:?}");
    }

    #[test]
    fn the_shares_never_exceed_what_is_allowed() {
        for descriptors in [64, 100, 256, 1024, 4096, 65_536] {
            let shares = WANTED.cut_to(descriptors);
            let threads = (shares.workers + shares.stuck) * PER_WORKER
                + (shares.look_ups + shares.stuck) * PER_LOOK_UP;
            let sum = OWN + threads + shares.refusals + shares.connections + shares.spool_files;
            assert!(sum <= descriptors, "{descriptors}: {shares:?}");
            assert!(shares.connections >= 16 && shares.spool_files >= 5, "{shares:?}");
        }
    }
}
