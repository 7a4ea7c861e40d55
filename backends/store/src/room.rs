//! The room that a store has.
//!
//! Lives here: [`Room`], the numbers of its file system.
//! May not: ask for them; the store does.

/// Free and used, of the file system that a store lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets that there are.
    pub octets: u64,
    /// Octets that are free.
    pub octets_free: u64,
    /// Files that there can be; 0 where that has no limit of its own.
    pub files: u64,
    /// Files that can still be made.
    pub files_free: u64,
}
