//! The lock file beside the mailbox, `FILE.lock`.
//!
//! Lives here: making it, telling a live one from a stale one, and what it says.
//! May not: wait; touch the mailbox.
//! Holds: only a file that is still the one that was made here is removed at the
//! end; a stale one is broken only if it is still the one that was judged: it gets
//! a name of its own first, where nobody else takes it, and is looked at there;
//! where the file system can do it, a new one says whose it is from its first
//! moment on.
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

use crate::lengths::Lengths;
use postino_files::{
    Dir, File, Files, Identity, Kind, Status,
    process::{self, Home},
};
use postino_store::{DeliveryError, Failure, Timestamp};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Instant,
};

/// What a lock file's name ends with.
pub(crate) const SUFFIX: &str = ".lock";

/// Others are to read who holds it.
const MODE: u32 = 0o644;

/// Older than this it is stale, whoever made it: nobody holds one for so long.
const STALE_SECONDS: i64 = 5 * 60;

/// More is not read of one: a batch that gets shorter message by message says so
/// each time.
const OCTETS_MAX: usize = 128 * 1024;

/// What the names begin with under which stale ones are looked at once more.
const ASIDE: &str = ".postino-lock-";

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
    ) -> Result<(Self, Option<Lengths>), NoDotlock> {
        let name = name_for(mailbox);
        let mut torn = None;
        for _ in 0..TRIES {
            match Self::make(files, dir, &name, home, torn.as_ref())? {
                Ok(made) => return Ok((made, torn)),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    let broken = break_if_stale(files, dir, &name, home)?;
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
) -> Result<Option<Lengths>, NoDotlock> {
    let Some(status) = look(files, dir, name)? else { return Ok(None) };
    let age = now().saturating_sub(status.written);
    let obstructed = |failure| match age {
        _ if age > STALE_SECONDS => NoDotlock::Obstructed(failure),
        _ => DeliveryError::Locked { holder: None }.into(),
    };
    let content = match status.kind {
        Kind::File => match read(files, dir, name) {
            Err(DeliveryError::Misconfigured(failure)) if status.owner != process::user() => {
                return Err(obstructed(failure));
            }
            read => read?,
        },
        Kind::Other => Content::default(),
        Kind::Directory => {
            let (path, cause) = (dir.path_to(name), io::ErrorKind::IsADirectory.into());
            return Err(obstructed(Failure { doing: "use as a lock file", path, cause }));
        }
    };
    let reason = match content.pid {
        _ if content.is_torn => "the mailbox was left torn".to_owned(),
        Some(pid) if content.is_dead(home, status.written, process::booted()) => {
            format!("pid {pid} is gone")
        }
        _ if age > STALE_SECONDS => format!("it is {age} s old"),
        _ => return Err(DeliveryError::Locked { holder: content.holder(home) }.into()),
    };
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
    Ok(content.lengths.filter(|_| status.owner == process::user()))
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
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(Content::default()),
            _ => Err(DeliveryError::io("read the lock file", dir.path_to(name), cause)),
        },
    }
}

fn now() -> i64 {
    i64::try_from(Timestamp::now_utc().since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// What a lock file says, as far as it is known.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    pid: Option<u32>,
    home: Home,
    lengths: Option<Lengths>,
    is_torn: bool,
}

impl Content {
    fn parse(octets: &[u8]) -> Self {
        let text = String::from_utf8_lossy(octets);
        let mut content = Self::default();
        // A line without an end was not written whole; of another program's only
        // line that does not matter.
        let (whole, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        let first = whole.lines().next().unwrap_or(rest).trim_start();
        let digits = first.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        content.pid = digits.parse().ok().filter(|pid| *pid > 0);
        for line in whole.lines().skip(1) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            match key {
                "host" => value.clone_into(&mut content.home.host),
                "boot" => value.clone_into(&mut content.home.boot),
                "pids" => value.clone_into(&mut content.home.namespace),
                "append" => content.lengths = Lengths::parse(value).or(content.lengths),
                "torn" => content.is_torn = true,
                _ => {}
            }
        }
        content
    }

    /// Whether its process is known to be gone: with the kernel that it ran on, or
    /// by itself. Hosts of one name can share a disk, so that the other kernel must
    /// have been the one before this.
    fn is_dead(&self, here: &Home, written: i64, booted: i64) -> bool {
        let Self { pid: Some(pid), home, .. } = self else { return false };
        if home.host.is_empty() || home.host != here.host || home.boot.is_empty() {
            return false;
        }
        match (home.boot == here.boot, home.namespace == here.namespace) {
            (false, _) => !here.boot.is_empty() && written < booted,
            (true, same_pids) => same_pids && !process::is_alive(*pid),
        }
    }

    /// Its process for the log.
    fn holder(&self, here: &Home) -> Option<String> {
        let pid = self.pid?;
        let Home { host, .. } = &self.home;
        Some(if host.is_empty() || host == &here.host {
            process::described(pid)
        } else {
            format!("pid {pid} on {host}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Content;
    use crate::lengths::{Lengths, Start};
    use postino_files::process::Home;

    fn home(host: &str, boot: &str, namespace: &str) -> Home {
        Home { host: host.to_owned(), boot: boot.to_owned(), namespace: namespace.to_owned() }
    }

    #[test]
    fn what_a_lock_file_says_is_read_as_far_as_it_is_whole() {
        let pid = |text: &[u8]| Content::parse(text).pid;
        assert_eq!(pid(b"4711\n"), Some(4711));
        assert_eq!(pid(b"   4711"), Some(4711));
        assert_eq!(pid(b"4711:host"), Some(4711));
        assert_eq!((pid(b""), pid(b"0"), pid(b"x"), pid(b"\xff")), (None, None, None, None));

        let text =
            "4711\nhost=mx\nboot=b\npids=p\nappend=10-20\nappend=10-12:0000abcd-15\nappend=99-9";
        let read = Content::parse(text.as_bytes());
        let starts = vec![Start { at: 12, line: 0xabcd }];
        let lengths = Some(Lengths { old: 10, starts, new: 15 });
        assert_eq!(lengths.as_ref().unwrap().to_string(), "10-12:0000abcd-15");
        assert_eq!(
            read,
            Content { pid: Some(4711), home: home("mx", "b", "p"), lengths, is_torn: false }
        );
        assert!(Content::parse(format!("{text}\ntorn\n").as_bytes()).is_torn);
    }

    #[test]
    fn only_who_ran_here_is_known_to_be_dead() {
        let here = home("mx", "b", "p");
        let is_dead_at = |written, pid, host: &str, boot: &str, namespace: &str| {
            let home = home(host, boot, namespace);
            Content { pid: Some(pid), home, ..Content::default() }.is_dead(&here, written, 1000)
        };
        let is_dead = |pid, host: &str, boot: &str, namespace: &str| {
            is_dead_at(1000, pid, host, boot, namespace)
        };
        let (gone, alive) = (u32::MAX, std::process::id());
        assert!(is_dead(gone, "mx", "b", "p") && is_dead_at(999, alive, "mx", "before", "p"));
        // Of another host of this name, or none can tell.
        assert!(!is_dead(alive, "mx", "before", "p") && !is_dead(gone, "mx", "before", "p"));
        assert!(!is_dead(alive, "mx", "b", "p"));
        assert!(!is_dead(gone, "mx", "b", "q") && !is_dead(gone, "other", "b", "p"));
        assert!(!is_dead(gone, "mx", "", "p") && !is_dead(gone, "", "b", "p"));
    }
}
