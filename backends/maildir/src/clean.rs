//! Cleaning: what crashed deliveries, ours and others', left in `tmp`.
//!
//! Lives here: the rule of maildir(5): a file in `tmp` that nobody has used for
//! 36 hours may go, since every delivery gives up after 24.
//! May not: touch anything but plain files, nor Dovecot's own; stand in a
//! delivery's way.

use postino_files::{Dir, Files, Kind};
use postino_store::Timestamp;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Unused for so long, in seconds.
const UNUSED_SECONDS: i64 = 36 * 60 * 60;

/// Entries looked at in one cleaning.
const ENTRIES_MAX: usize = 1_000;

/// The most time one cleaning takes.
const TIME_MAX: Duration = Duration::from_secs(1);

/// What Dovecot's files begin with.
const DOVECOT: &[u8] = b"dovecot";

/// Removes old files from a `tmp`. A file that cannot be looked at or removed
/// stays.
pub(crate) fn clean(files: &dyn Files, tmp: &Dir) {
    let began = Instant::now();
    let oldest = oldest_in_use();
    for name in files.read_dir(tmp, ENTRIES_MAX).unwrap_or_default() {
        if began.elapsed() >= TIME_MAX {
            break;
        }
        let name = Path::new(&name);
        if !is_dovecots(name)
            && let Ok(status) = files.stat(tmp, name)
            && status.kind == Kind::File
            && status.used < oldest
        {
            let _ = files.unlink(tmp, name);
        }
    }
}

/// A file that nobody has used since this second may go.
pub(crate) fn oldest_in_use() -> i64 {
    let now = Timestamp::now_utc().since_epoch.as_secs();
    i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(UNUSED_SECONDS)
}

/// Whether a file is Dovecot's own.
pub(crate) fn is_dovecots(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().starts_with(DOVECOT)
}
