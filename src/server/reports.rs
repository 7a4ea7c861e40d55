//! What other threads tell the loop.
//!
//! Lives here: the queue of reports, and waking the loop for the first of them.
//! May not: block whoever reports.

use super::Settings;
use crate::delivery::Answer;
use crossbeam_channel::{Receiver, Sender};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One thing that the loop is told.
pub(super) enum Report {
    /// A worker's answer.
    Answer(Answer),
    /// A reload has ended: the new settings, or none where the old ones stay.
    Reloaded(Option<Box<Settings>>),
    /// End as at SIGTERM.
    Stop,
}

/// The loop's side.
pub(super) struct Reports {
    queue: Receiver<Report>,
    notified: Arc<AtomicBool>,
}

/// The other threads' side.
#[derive(Clone)]
pub(super) struct Reporter {
    // Without a bound, so that it never blocks a worker; its length is bounded
    // by the work admitted: each recipient of each session is answered once.
    queue: Sender<Report>,
    notified: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
}

/// Both sides.
pub(super) fn reports(waker: mio::Waker) -> (Reporter, Reports) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let notified = Arc::new(AtomicBool::new(false));
    let reporter =
        Reporter { queue: sender, notified: Arc::clone(&notified), waker: Arc::new(waker) };
    (reporter, Reports { queue: receiver, notified })
}

impl Reporter {
    /// Tells the loop. Only the first report since it last looked wakes it.
    pub(super) fn report(&self, report: Report) {
        if self.queue.send(report).is_ok()
            && !self.notified.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // The loop would sleep on until its next event.
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl Reports {
    /// Begins to look: whoever reports from now on wakes the loop again. To be
    /// called before [`Reports::take`]; says whether anything may be there.
    pub(super) fn look(&self) -> bool {
        self.notified.swap(false, Ordering::AcqRel)
    }

    /// The next report.
    pub(super) fn take(&self) -> Option<Report> {
        self.queue.try_recv().ok()
    }
}
