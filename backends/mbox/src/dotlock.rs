//! The lock file beside the mailbox, `FILE.lock`.
//!
//! Lives here: making it, telling a live one from a stale one, and what it says.
//! May not: wait; touch the mailbox.
//! Holds: only a file that is still the one that was made here is removed at the
//! end; a stale one is broken only if it is still the one that was judged: it gets
//! a name of its own first, where nobody else takes it, and is looked at there;
//! where the file system can do it, a new one says whose it is from its first
//! moment on; a stranger's, which is neither the mailbox's owner's nor root's, is
//! believed nothing of the mailbox, and is in nobody's way for longer than 5 minutes,
//! however young he keeps it.
//!
//! # What it says
//!
//! ```text
//! 4711                                         the pid, as other programs write it
//! host=mx.example.org                          where that is a pid
//! boot=0b0f0a4e-…                              /proc/sys/kernel/random/boot_id
//! pids=pid:[4026531836]                        the namespace of pids
//! append=8192-8193:9a0c1b2e-12288              the mailbox's length before and after, between
//!                                              them where messages begin, and the first
//!                                              octets of the SHA-256 of their From_ lines
//! torn                                         left behind on purpose, see below
//! ```
//!
//! `append` comes before the first octet is written to the mailbox, and anew when
//! the delivery gets shorter; the last whole line counts. Where a delivery was
//! killed, whoever breaks the lock file so knows what is torn. Where the mailbox
//! could not be cut back, the lock file stays, and its last line lets the next
//! delivery break it at once.

use crate::{content::Content, lengths::Lengths, strangers::Strangers};
use postino_files::{
    Dir, File, Files, Identity, Kind, Status,
    process::{self, Home},
};
use postino_store::{DeliveryError, Failure, Timestamp};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// What a lock file's name ends with.
pub(crate) const SUFFIX: &str = ".lock";

/// Others are to read who holds it.
const MODE: u32 = 0o644;

/// Older than this it is stale, whoever made it: nobody holds one for so long.
const STALE_SECONDS: i64 = 5 * 60;

/// Who may lock any mailbox.
const ROOT_USER: u32 = 0;

/// More is not read of one: a batch that gets shorter message by message says so
/// each time.
const OCTETS_MAX: usize = 128 * 1024;

/// What the names begin with under which stale ones are looked at once more.
pub(crate) const ASIDE: &str = ".postino-lock-";

/// Tries to make it where others' come and go.
const TRIES: usize = 3;

/// A lock file of ours; removed when dropped.
pub(crate) struct Dotlock<'a> {
    files: &'a dyn Files,
    dir: &'a Dir,
    name: PathBuf,
    file: File,
    /// None until it is known.
    identity: Option<Identity>,
    made: Instant,
    keep: bool,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NoDotlock {
    /// The directory lets us make no file.
    Refused(Failure),
    /// What is there has long been, and can be no lock file: whoever may write to
    /// the directory must not stop a mailbox for ever.
    Obstructed(Failure),
    /// Somebody else's is there, or a call failed.
    Error(DeliveryError),
}

impl From<DeliveryError> for NoDotlock {
    fn from(error: DeliveryError) -> Self {
        Self::Error(error)
    }
}

/// The lock file's name for a mailbox's.
pub(crate) fn name_for(mailbox: &Path) -> PathBuf {
    let mut name = OsString::from(mailbox);
    name.push(SUFFIX);
    name.into()
}

/// Whether a mailbox has a lock file, whosever it is.
pub(crate) fn is_there(
    files: &dyn Files,
    dir: &Dir,
    mailbox: &Path,
) -> Result<bool, DeliveryError> {
    Ok(look(files, dir, &name_for(mailbox))?.is_some())
}

impl<'a> Dotlock<'a> {
    /// Makes the lock file of a mailbox; also gives what a stale one that was
    /// broken said of the mailbox's lengths.
    pub(crate) fn take(
        files: &'a dyn Files,
        dir: &'a Dir,
        mailbox: &Path,
        home: &Home,
        strangers: &Strangers,
    ) -> Result<(Self, Option<Lengths>), NoDotlock> {
        let name = name_for(mailbox);
        let mut torn = None;
        for _ in 0..TRIES {
            match Self::make(files, dir, &name, home, torn.as_ref())? {
                Ok(made) => {
                    strangers.gone(&made.path());
                    return Ok((made, torn));
                }
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    let broken = break_if_stale(files, dir, &name, home, strangers)?;
                    torn = broken.or(torn);
                }
                Err(cause) => {
                    return Err(refused("create the lock file", dir.path_to(&name), cause));
                }
            }
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    /// Makes the lock file with what it says; the inner error is that of giving it
    /// its name. It gets that last, so that a kill leaves none that does not say
    /// whose it is; but first where the file system cannot do it otherwise.
    fn make(
        files: &'a dyn Files,
        dir: &'a Dir,
        name: &Path,
        home: &Home,
        torn: Option<&Lengths>,
    ) -> Result<io::Result<Self>, DeliveryError> {
        let made = |file, keep| {
            let (name, identity, made) = (name.into(), None, Instant::now());
            Self { files, dir, name, file, identity, made, keep }
        };
        let file = match files.create_unnamed(dir, MODE) {
            Ok(file) => file,
            Err(cause) => return Ok(Err(cause)),
        };
        let mut whole = made(file, true);
        whole.introduce(home, torn)?;
        match files.link_unnamed(&whole.file, dir, name) {
            Ok(()) => {
                whole.keep = false;
                return Ok(Ok(whole));
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => return Ok(Err(cause)),
            Err(_) => drop(whole),
        }
        let mut named = match files.create(dir, name, MODE) {
            Ok(file) => made(file, false),
            Err(cause) => return Ok(Err(cause)),
        };
        named.introduce(home, torn)?;
        Ok(Ok(named))
    }

    /// Says who holds it; what the one before said stays true until the mailbox
    /// has been seen to.
    fn introduce(&mut self, home: &Home, torn: Option<&Lengths>) -> Result<(), DeliveryError> {
        let status = self
            .files
            .stat_file(&self.file)
            .map_err(|cause| DeliveryError::io("look at the lock file", self.path(), cause))?;
        self.identity = Some(status.identity);
        let Home { host, boot, namespace } = home;
        let pid = std::process::id();
        self.write(&format!("{pid}\nhost={host}\nboot={boot}\npids={namespace}\n"))?;
        torn.map_or(Ok(()), |lengths| self.announce(lengths))
    }

    fn path(&self) -> PathBuf {
        self.dir.path_to(&self.name)
    }

    /// Says what is about to be appended to the mailbox.
    pub(crate) fn announce(&self, lengths: &Lengths) -> Result<(), DeliveryError> {
        self.write(&format!("append={lengths}\n"))
    }

    fn write(&self, text: &str) -> Result<(), DeliveryError> {
        self.files
            .write_all(&self.file, text.as_bytes())
            .map_err(|cause| DeliveryError::io("write the lock file", self.path(), cause))
    }

    /// Leaves it for the next delivery: the mailbox is torn.
    pub(crate) fn leave(mut self, torn: &Lengths) {
        self.keep = true;
        let written = self.announce(torn).and_then(|()| self.write("torn\n"));
        if let Err(error) = written {
            log::warn!("{error}");
        }
    }

    fn remove(&self) -> io::Result<()> {
        let Self { files, dir, name, .. } = self;
        if let Some(identity) = self.identity {
            if files.stat(dir, name)?.identity != identity {
                return Ok(());
            }
            // Others may be about to break it by now, and to make theirs.
            if self.made.elapsed().as_secs() >= STALE_SECONDS.unsigned_abs() {
                let is_ours = |found: &Status| found.identity == identity;
                return remove_if(*files, dir, name, is_ours).map(drop);
            }
        }
        files.unlink(dir, name)
    }
}

impl Drop for Dotlock<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // A lock file that stays stops everybody for five minutes, so it is worth
        // a second call.
        match self.remove().or_else(|_| self.remove()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => log::warn!(
                "cannot remove the lock file {}: {error}; it counts for {} min",
                self.path().display(),
                STALE_SECONDS / 60,
            ),
            _ => {}
        }
    }
}

/// Removes somebody's lock file if it is stale, and gives the lengths that it
/// names where they can be trusted; [`DeliveryError::Locked`] if it is not.
fn break_if_stale(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
    home: &Home,
    strangers: &Strangers,
) -> Result<Option<Lengths>, NoDotlock> {
    let Some(status) = look(files, dir, name)? else { return Ok(None) };
    let Verdict { reason, lengths } = judge(files, dir, name, home, strangers, &status)?;
    // Others too may be about to break it, and one may have made its own.
    let is_same = |found: &Status| {
        found.identity == status.identity
            && found.written == status.written
            && found.size == status.size
    };
    if !look(files, dir, name)?.is_some_and(|found| is_same(&found)) {
        return Ok(None);
    }
    match remove_if(files, dir, name, is_same) {
        Ok(true) => {
            log::warn!("broke the stale lock file {}: {reason}", dir.path_to(name).display());
        }
        Ok(false) => return Err(DeliveryError::Locked { holder: None }.into()),
        // Whoever was faster knows what it said.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(refused("remove the stale lock file", dir.path_to(name), cause)),
    }
    Ok(lengths)
}

/// Why a lock file is stale, and the lengths that it names where they can be
/// trusted.
struct Verdict {
    reason: String,
    lengths: Option<Lengths>,
}

/// Judges a lock file; [`DeliveryError::Locked`] if it is not stale.
fn judge(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
    home: &Home,
    strangers: &Strangers,
    status: &Status,
) -> Result<Verdict, NoDotlock> {
    let mut age = now().saturating_sub(status.written);
    let is_strangers = status.owner != process::user() && status.owner != ROOT_USER;
    if is_strangers {
        let met = strangers.met(&dir.path_to(name)).as_secs();
        age = age.max(i64::try_from(met).unwrap_or(i64::MAX));
    }
    let obstructed = |failure| match age {
        _ if age > STALE_SECONDS => NoDotlock::Obstructed(failure),
        _ => DeliveryError::Locked { holder: None }.into(),
    };
    let content = match status.kind {
        Kind::File => match read(files, dir, name) {
            Err(DeliveryError::Misconfigured(failure)) if status.owner != process::user() => {
                return Err(obstructed(failure));
            }
            // Its owner can keep others from opening it, by a lease, or put something
            // else there each time.
            Err(DeliveryError::Io(failure)) if is_strangers => return Err(obstructed(failure)),
            read => read?,
        },
        Kind::Other => Content::default(),
        Kind::Directory => {
            let (path, cause) = (dir.path_to(name), io::ErrorKind::IsADirectory.into());
            return Err(obstructed(Failure { doing: "use as a lock file", path, cause }));
        }
    };
    if is_strangers && content.is_unreadable {
        // It may be what somebody keeps there, and wants to find again.
        let (path, cause) = (dir.path_to(name), io::ErrorKind::PermissionDenied.into());
        return Err(obstructed(Failure { doing: "read the lock file", path, cause }));
    }
    let reason = match content.pid {
        _ if content.is_torn => "the mailbox was left torn".to_owned(),
        Some(pid) if content.is_dead(home, status.written, process::booted()) => {
            format!("pid {pid} is gone")
        }
        _ if age > STALE_SECONDS && is_strangers => {
            format!("uid {} has had one there for {age} s", status.owner)
        }
        _ if age > STALE_SECONDS => format!("it is {age} s old"),
        _ if is_strangers => {
            let holder = Some(format!("the lock file of uid {}", status.owner));
            return Err(DeliveryError::Locked { holder }.into());
        }
        _ => return Err(DeliveryError::Locked { holder: content.holder(home) }.into()),
    };
    let lengths = content.lengths.filter(|_| is_believed(files, dir, name, status));
    Ok(Verdict { reason, lengths })
}

/// Whether a lock file is believed what it says of the mailbox: ours is, and by root
/// also one of the mailbox's owner.
fn is_believed(files: &dyn Files, dir: &Dir, name: &Path, status: &Status) -> bool {
    let is_owners = || {
        let name = name.as_os_str().as_bytes().strip_suffix(SUFFIX.as_bytes());
        let mailbox = name.map(|name| files.stat(dir, Path::new(OsStr::from_bytes(name))));
        mailbox.is_some_and(|found| found.is_ok_and(|found| found.owner == status.owner))
    };
    status.owner == process::user() || (process::user() == 0 && is_owners())
}

/// A lock file as it is found where none is needed.
#[cfg(feature = "reader")]
#[derive(Debug)]
pub(crate) enum Standing {
    /// There is none.
    Absent,
    /// Somebody holds it.
    Held,
    /// The next delivery will break it, for this reason; what it says of the
    /// mailbox's lengths.
    Stale(String, Option<Lengths>),
    /// It is none, and in the way.
    Obstructing(Failure),
}

/// Looks at the lock file of this name and leaves it as it is.
#[cfg(feature = "reader")]
pub(crate) fn standing(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
    home: &Home,
) -> Result<Standing, DeliveryError> {
    let Some(status) = look(files, dir, name)? else { return Ok(Standing::Absent) };
    // Whoever only looks has met nobody before.
    match judge(files, dir, name, home, &Strangers::default(), &status) {
        Ok(Verdict { reason, lengths }) => Ok(Standing::Stale(reason, lengths)),
        Err(NoDotlock::Error(DeliveryError::Locked { .. })) => Ok(Standing::Held),
        Err(
            NoDotlock::Obstructed(failure)
            | NoDotlock::Refused(failure)
            | NoDotlock::Error(DeliveryError::Misconfigured(failure)),
        ) => Ok(Standing::Obstructing(failure)),
        Err(NoDotlock::Error(error)) => Err(error),
    }
}

/// Removes a lock file if it is the right one, and says whether it was. Between a
/// look at a name and its removal others can put their file under it.
fn remove_if(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
    is_right: impl Fn(&Status) -> bool,
) -> io::Result<bool> {
    let aside = PathBuf::from(format!("{ASIDE}{:016x}", postino_files::random()?));
    files.rename(dir, name, dir, &aside)?;
    let is_right = match files.stat(dir, &aside) {
        Ok(found) => is_right(&found),
        Err(_) => false,
    };
    // Never over one that was made meanwhile.
    if !is_right && files.rename(dir, &aside, dir, name).is_ok() {
        return Ok(false);
    }
    match files.unlink(dir, &aside) {
        Err(cause) if is_right => {
            log::warn!("cannot remove {}: {cause}", dir.path_to(&aside).display());
        }
        _ => {}
    }
    Ok(is_right)
}

fn refused(doing: &'static str, path: PathBuf, cause: io::Error) -> NoDotlock {
    match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            NoDotlock::Refused(Failure { doing, path, cause })
        }
        _ => DeliveryError::io(doing, path, cause).into(),
    }
}

fn look(files: &dyn Files, dir: &Dir, name: &Path) -> Result<Option<Status>, DeliveryError> {
    match files.stat(dir, name) {
        Ok(status) => Ok(Some(status)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(DeliveryError::io("look at the lock file", dir.path_to(name), cause)),
    }
}

/// Empty where it has gone, or is not for us to read.
fn read(files: &dyn Files, dir: &Dir, name: &Path) -> Result<Content, DeliveryError> {
    let read = || {
        let file = files.open(dir, name)?;
        crate::tail::read(files, &file, 0, OCTETS_MAX as u64)
    };
    match read() {
        Ok(octets) if octets.starts_with(crate::render::FROM) => {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "it is a mailbox");
            let path = dir.path_to(name);
            Err(DeliveryError::Misconfigured(Failure { doing: "use as a lock file", path, cause }))
        }
        Ok(octets) => Ok(Content::parse(&octets)),
        Err(cause) => match cause.kind() {
            io::ErrorKind::NotFound => Ok(Content::default()),
            io::ErrorKind::PermissionDenied => {
                Ok(Content { is_unreadable: true, ..Content::default() })
            }
            _ => Err(DeliveryError::io("read the lock file", dir.path_to(name), cause)),
        },
    }
}

fn now() -> i64 {
    i64::try_from(Timestamp::now_utc().since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
