//! Implementations for tests: one that fails, one that records.
//!
//! Lives here: [`Failing`] and [`Recording`], each around another
//! implementation, mostly [`Kernel`](crate::Kernel).
//! May not: be built into a program; the feature `testing` keeps them out.

mod failing;
mod recording;

pub use failing::{Failing, Fault};
pub use recording::Recording;

/// The calls of [`Files`](crate::Files), by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the method of the same name")]
pub enum Call {
    OpenRoot,
    OpenPath,
    OpenDir,
    MakeDir,
    Create,
    CreateUnnamed,
    LinkUnnamed,
    Open,
    OpenUpdate,
    Read,
    ReadAt,
    Write,
    SetAccess,
    Truncate,
    SetWritten,
    TryLock,
    TryLockDir,
    Unlock,
    LockHolder,
    SyncFile,
    SyncDir,
    Rename,
    RenameOver,
    Link,
    Unlink,
    RemoveDir,
    Stat,
    StatPath,
    StatFile,
    StatDir,
    ReadDir,
    VisitDir,
    Space,
}
