//! What a reader has marked a message with.
//!
//! Lives here: the flags that stores have in common, as Maildir's letters.
//! May not: know how a store keeps them.

use std::fmt;

/// Flags of a message: some of the letters `D` draft, `F` flagged, `P` passed, `R`
/// replied, `S` seen, `T` trashed, in the order of the alphabet, as a Maildir's
/// file names have them (maildir(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(String);

/// All letters.
const LETTERS: [char; 6] = ['D', 'F', 'P', 'R', 'S', 'T'];

impl Flags {
    /// The flags among these letters; what is none is left out.
    ///
    /// ```
    /// assert_eq!(postino_store::Flags::from_letters("SaFS").as_str(), "FS");
    /// ```
    pub fn from_letters(letters: &str) -> Self {
        Self(LETTERS.into_iter().filter(|letter| letters.contains(*letter)).collect())
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
