//! What a lock file says of whoever made it.
//!
//! Lives here: reading it, as this store writes it and as other
//! programs do, and whether its process is known to be gone.
//! May not: touch a file.

use crate::lengths::Lengths;
use postino_files::process::{self, Home};

/// What a lock file says, as far as it is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Where that lives.
    pub(crate) home: Home,
    /// What was announced of the mailbox.
    pub(crate) lengths: Option<Lengths>,
    /// Whether it was left behind on purpose.
    pub(crate) is_torn: bool,
    /// Whether it is not for us to read.
    pub(crate) is_unreadable: bool,
}

impl Content {
    /// Reads what a lock file says, whoever made it.
    pub(crate) fn parse(octets: &[u8]) -> Self {
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
    pub(crate) fn is_dead(&self, here: &Home, written: i64, booted: i64) -> bool {
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
    pub(crate) fn holder(&self, here: &Home) -> Option<String> {
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
            Content { pid: Some(4711), home: home("mx", "b", "p"), lengths, ..Content::default() }
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
