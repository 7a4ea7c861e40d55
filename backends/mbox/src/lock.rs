//! A mailbox's locks: which, in which order, all or none.
//!
//! Lives here: [`LockKind`], and the locks as one value that gives them back.
//! May not: wait; whoever finds a lock taken says so, and the pool tries again.

use crate::{
    dotlock::{Dotlock, NoDotlock},
    lengths::Lengths,
    strangers::Strangers,
};
use postino_files::{
    Dir, File, Files, Lock,
    process::{self, Home},
};
use postino_store::DeliveryError;
use std::{
    cell::RefCell,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A way to keep others from a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// The lock of fcntl(2) and lockf(3), taken as one that no other descriptor's
    /// close gives back.
    Fcntl,
    /// A file beside the mailbox, `FILE.lock`.
    Dotlock,
    /// The lock of flock(2).
    Flock,
}

impl LockKind {
    /// Reads a list such as `fcntl,dotlock`: at least one, none twice.
    ///
    /// ```
    /// use postino_mbox::LockKind::{self, Dotlock, Fcntl};
    /// assert_eq!(LockKind::list("dotlock,fcntl"), Some(vec![Dotlock, Fcntl]));
    /// assert_eq!(LockKind::list("fcntl,fcntl"), None);
    /// assert_eq!(LockKind::list(""), None);
    /// ```
    pub fn list(text: &str) -> Option<Vec<Self>> {
        let mut kinds = Vec::new();
        for name in text.split(',') {
            let kind = match name {
                "fcntl" => Self::Fcntl,
                "dotlock" => Self::Dotlock,
                "flock" => Self::Flock,
                _ => return None,
            };
            if kinds.contains(&kind) {
                return None;
            }
            kinds.push(kind);
        }
        Some(kinds)
    }
}

/// How a store locks.
pub(crate) struct Locking {
    kinds: Vec<LockKind>,
    /// Asked for at the first delivery: after a fork, if any.
    home: OnceLock<Home>,
    strangers: Strangers,
    /// Whether it was logged that lock files cannot be made.
    told_of_refusal: AtomicBool,
}

impl Locking {
    pub(crate) fn new(kinds: Vec<LockKind>) -> Self {
        Self {
            kinds,
            home: OnceLock::new(),
            strangers: Strangers::default(),
            told_of_refusal: AtomicBool::new(false),
        }
    }

    /// Which are taken.
    pub(crate) fn kinds(&self) -> &[LockKind] {
        &self.kinds
    }

    /// All the locks of the mailbox `name`, open as `file`, or the error that says
    /// who has one of them.
    pub(crate) fn take<'a>(
        &self,
        files: &'a dyn Files,
        dir: &'a Dir,
        name: &Path,
        file: &'a File,
    ) -> Result<Locks<'a>, DeliveryError> {
        let mut locks =
            Locks { files, file, kernel: Vec::new(), dotlock: None, torn: RefCell::new(None) };
        for kind in &self.kinds {
            match kind {
                LockKind::Fcntl => locks.take_kernel(Lock::Fcntl)?,
                LockKind::Flock => locks.take_kernel(Lock::Flock)?,
                LockKind::Dotlock => {
                    let home = self.home.get_or_init(Home::of_this_process);
                    match Dotlock::take(files, dir, name, home, &self.strangers) {
                        Ok((dotlock, torn)) => {
                            locks.dotlock = Some(dotlock);
                            locks.torn = RefCell::new(torn);
                        }
                        Err(NoDotlock::Error(error)) => return Err(error),
                        // The kernel's lock must do then, where one is taken.
                        Err(NoDotlock::Obstructed(failure)) if self.kinds.len() > 1 => {
                            let mailbox = file.path().display();
                            log::warn!("{failure}; delivering to {mailbox} without a lock file");
                        }
                        Err(NoDotlock::Refused(failure)) if self.kinds.len() > 1 => {
                            if !self.told_of_refusal.swap(true, Ordering::Relaxed) {
                                log::warn!("{failure}; going on without lock files");
                            }
                        }
                        Err(NoDotlock::Refused(failure) | NoDotlock::Obstructed(failure)) => {
                            return Err(DeliveryError::Misconfigured(failure));
                        }
                    }
                }
            }
        }
        Ok(locks)
    }
}

#[cfg(feature = "reader")]
impl Locking {
    /// Where this process lives.
    pub(crate) fn home(&self) -> &Home {
        self.home.get_or_init(Home::of_this_process)
    }

    /// Whether lock files are made.
    pub(crate) fn makes_lock_files(&self) -> bool {
        self.kinds.contains(&LockKind::Dotlock)
    }

    /// The kernel's locks alone: of a file that has no name yet by which others
    /// could find a lock file, or whose stale lock file is to stay.
    pub(crate) fn take_kernel<'a>(
        &self,
        files: &'a dyn Files,
        file: &'a File,
    ) -> Result<Locks<'a>, DeliveryError> {
        let mut locks =
            Locks { files, file, kernel: Vec::new(), dotlock: None, torn: RefCell::new(None) };
        for kind in &self.kinds {
            match kind {
                LockKind::Fcntl => locks.take_kernel(Lock::Fcntl)?,
                LockKind::Flock => locks.take_kernel(Lock::Flock)?,
                LockKind::Dotlock => {}
            }
        }
        Ok(locks)
    }
}

/// Locks that are held; given back when dropped.
pub(crate) struct Locks<'a> {
    files: &'a dyn Files,
    file: &'a File,
    kernel: Vec<Lock>,
    dotlock: Option<Dotlock<'a>>,
    torn: RefCell<Option<Lengths>>,
}

impl Locks<'_> {
    fn take_kernel(&mut self, lock: Lock) -> Result<(), DeliveryError> {
        let taken = self
            .files
            .try_lock(self.file, lock)
            .map_err(|cause| DeliveryError::io("lock the mailbox", self.file.path(), cause))?;
        if !taken {
            let pid = match lock {
                Lock::Fcntl => self.files.lock_holder(self.file).unwrap_or(None),
                Lock::Flock => None,
            };
            return Err(DeliveryError::Locked { holder: pid.map(process::described) });
        }
        self.kernel.push(lock);
        Ok(())
    }

    /// What a stale lock file said of the mailbox's lengths.
    pub(crate) fn torn(&self) -> Option<Lengths> {
        self.torn.borrow().clone()
    }

    /// Says whether the mailbox is torn: the lock file then stays.
    pub(crate) fn set_torn(&self, torn: Option<Lengths>) {
        self.torn.replace(torn);
    }

    /// Lengths between which the mailbox only is as long as it is now: whatever
    /// others append before it is mended must not be cut off.
    fn still_torn(&self) -> Option<Lengths> {
        let Lengths { old, starts, new } = self.torn()?;
        let size = self.files.stat_file(self.file).ok()?.size;
        (old < size && size < new).then_some(Lengths { old, starts, new: size + 1 })
    }

    /// Says in the lock file what is about to be appended.
    pub(crate) fn announce(&self, lengths: &Lengths) -> Result<(), DeliveryError> {
        self.dotlock.as_ref().map_or(Ok(()), |dotlock| dotlock.announce(lengths))
    }
}

impl Drop for Locks<'_> {
    fn drop(&mut self) {
        // While the kernel's locks still keep others of our kind away.
        match (self.dotlock.take(), self.still_torn()) {
            (Some(dotlock), Some(torn)) => dotlock.leave(&torn),
            (dotlock, _) => drop(dotlock),
        }
        for lock in self.kernel.drain(..).rev() {
            // Closing the file gives it back as well.
            let _ = self.files.unlock(self.file, lock);
        }
    }
}
