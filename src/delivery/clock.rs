//! The one thread that wakes lanes whose lock others hold.
//!
//! Lives here: a heap of moments, and a thread that sleeps until the first.
//! May not: deliver; it only gives turns out.

use super::lane::Turn;
use crossbeam_channel::{Receiver, RecvTimeoutError, SendError, Sender, unbounded};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

const STACK_OCTETS: usize = 64 * 1024;

type Wake = (Instant, Turn);

/// Ends a lane's sleep; says whether there is anybody left to wake.
pub(super) type Waker = Box<dyn Fn(&Turn) -> bool + Send>;

/// The thread's queue, once it runs. It ends when this is dropped. Each lane
/// that sleeps stands in the queue once.
#[derive(Default)]
pub(super) struct Clock {
    queue: Mutex<Option<Sender<Wake>>>,
}

impl Clock {
    /// Has the lane woken after `sleep`, by such a waker as this makes.
    pub(super) fn wake_after(&self, sleep: Duration, lane: Turn, waker: impl Fn() -> Waker) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_none() {
            match start(waker()) {
                Ok(sender) => *queue = Some(sender),
                Err(error) => log::error!("cannot start the thread that waits for locks: {error}"),
            }
        }
        let wake = (Instant::now() + sleep, lane);
        let unsent = match &*queue {
            Some(sender) => sender.send(wake).err().map(SendError::into_inner),
            None => Some(wake),
        };
        drop(queue);
        if let Some((_, lane)) = unsent {
            // Without the thread the worker waits itself: slow, but no lane
            // sleeps for ever, and none is tried in a busy loop.
            thread::sleep(sleep);
            waker()(&lane);
        }
    }
}

fn start(waker: Waker) -> io::Result<Sender<Wake>> {
    let (sender, receiver) = unbounded();
    thread::Builder::new()
        .name("clock".to_owned())
        .stack_size(STACK_OCTETS)
        .spawn(move || run(&receiver, &waker))?;
    Ok(sender)
}

fn run(queue: &Receiver<Wake>, waker: &Waker) {
    let mut sleeping: BinaryHeap<Reverse<Wake>> = BinaryHeap::new();
    loop {
        let received = match sleeping.peek() {
            Some(Reverse((at, _))) => queue.recv_deadline(*at),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(wake) => sleeping.push(Reverse(wake)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        while sleeping.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, lane))) = sleeping.pop()
                && !waker(&lane)
            {
                return;
            }
        }
    }
}
