//! What the disk can do: the system calls of a delivery, made by plain threads.
//!
//! Lives here: files that are written, synced and renamed, or linked, and
//! directories that are synced; each directory is open all the time.
//! May not: use anything of postino's.

use crate::{Row, THREADS_MAX};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

pub(crate) struct Floor {
    row: Row,
    directory: PathBuf,
    mailboxes: Vec<Place>,
    message: Vec<u8>,
    /// The number of the next file, which is its name and says whose it is.
    next: AtomicUsize,
}

/// A mailbox.
struct Place {
    tmp: PathBuf,
    new: PathBuf,
    open_new: File,
}

impl Floor {
    pub(crate) fn new(directory: &Path, row: Row, message: &[u8]) -> Self {
        let mailboxes = (0..row.mailboxes).map(|number| Place::new(directory, number)).collect();
        Self {
            row,
            directory: directory.to_owned(),
            mailboxes,
            message: message.to_owned(),
            next: AtomicUsize::new(0),
        }
    }

    /// Files that came to be durably in `new`, a second.
    pub(crate) fn measure(&self, time: Duration) -> f64 {
        let began = Instant::now();
        let first = self.next.load(Relaxed);
        if self.row.single_instance {
            self.link_all(began, time);
        } else {
            self.write_all(began, time);
        }
        let files = self.next.load(Relaxed) - first;
        files as f64 / began.elapsed().as_secs_f64()
    }

    fn threads(&self) -> usize {
        THREADS_MAX.min(self.row.in_flight * self.row.recipients)
    }

    /// Each thread writes one file after the other.
    fn write_all(&self, began: Instant, time: Duration) {
        let work = || {
            while began.elapsed() < time {
                self.write(self.next.fetch_add(1, Relaxed));
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads() {
                scope.spawn(work);
            }
        });
    }

    /// One thread writes one file, then all share out its links; then the next.
    fn link_all(&self, began: Instant, time: Duration) {
        let (recipients, threads) = (self.row.recipients, self.threads());
        let shared = self.directory.join("shared");
        let goes_on = AtomicBool::new(true);
        let barrier = Barrier::new(threads);
        let work = |number: usize| {
            loop {
                let first = self.next.load(Relaxed);
                if number == 0 {
                    goes_on.store(began.elapsed() < time, Relaxed);
                    let _ = fs::remove_file(&shared);
                    self.write_to(&shared);
                }
                barrier.wait();
                if !goes_on.load(Relaxed) {
                    return;
                }
                for at in (number..recipients).step_by(threads) {
                    self.link(&shared, first + at);
                }
                if barrier.wait().is_leader() {
                    self.next.fetch_add(recipients, Relaxed);
                }
                barrier.wait();
            }
        };
        thread::scope(|scope| {
            for number in 0..threads {
                scope.spawn(move || work(number));
            }
        });
    }

    fn write(&self, number: usize) {
        let place = &self.mailboxes[number % self.mailboxes.len()];
        let name = number.to_string();
        let draft = place.tmp.join(&name);
        self.write_to(&draft);
        fs::rename(&draft, place.new.join(&name)).unwrap();
        place.open_new.sync_all().unwrap();
    }

    fn write_to(&self, path: &Path) {
        let mut file = File::create_new(path).unwrap();
        file.write_all(&self.message).unwrap();
        file.sync_all().unwrap();
    }

    fn link(&self, shared: &Path, number: usize) {
        let place = &self.mailboxes[number % self.mailboxes.len()];
        fs::hard_link(shared, place.new.join(number.to_string())).unwrap();
        place.open_new.sync_all().unwrap();
    }
}

impl Place {
    fn new(directory: &Path, number: usize) -> Self {
        let mailbox = directory.join(number.to_string());
        let (tmp, new) = (mailbox.join("tmp"), mailbox.join("new"));
        fs::create_dir_all(&tmp).unwrap();
        fs::create_dir_all(&new).unwrap();
        for made in [&tmp, &mailbox] {
            File::open(made).unwrap().sync_all().unwrap();
        }
        let open_new = File::open(&new).unwrap();
        open_new.sync_all().unwrap();
        Self { tmp, new, open_new }
    }
}
