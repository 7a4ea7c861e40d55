//! Processes, for locks that name their holder, and what this one may do.
//!
//! Lives here: what a lock file says of whoever made it, and whether that one
//! still lives; this process's user and rights.
//! May not: open a file on the disk: what is read lies in `/proc`.

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
    process::{Pid, geteuid, test_kill_process},
    system::{sysinfo, uname},
};
use std::{
    fs::File,
    io::Read,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where a process lives, so that its number means something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// The host's name, as its kernel knows it.
    pub host: String,
    /// The random number of this run of the kernel; empty where it is unknown.
    pub boot: String,
    /// The namespace that its number belongs to; empty where it is unknown.
    pub namespace: String,
}

impl Home {
    /// Of this process.
    pub fn of_this_process() -> Self {
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: uname().nodename().to_string_lossy().into_owned(),
            boot: first_line(Path::new("/proc/sys/kernel/random/boot_id")),
            namespace: namespace.to_string_lossy().into_owned(),
        }
    }
}

/// Whether a process of this number is there, whosever it is.
pub fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw) else {
        return false;
    };
    // Anything but "no such process" says that there is one.
    test_kill_process(pid) != Err(Errno::SRCH)
}

/// `pid 4711 (imapd)`; without the name where the kernel does not tell it.
pub fn described(pid: u32) -> String {
    match first_line(Path::new(&format!("/proc/{pid}/comm"))) {
        name if name.is_empty() => format!("pid {pid}"),
        name => format!("pid {pid} ({name})"),
    }
}

/// When this run of the kernel began, in seconds since 1970.
pub fn booted() -> i64 {
    let up = Duration::from_secs(sysinfo().uptime.try_into().unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(up).as_secs()).unwrap_or(0)
}

/// The user whom this process acts as.
pub fn user() -> u32 {
    geteuid().as_raw()
}

/// Whether this process may read and write a file, without opening it.
pub fn may_update(path: &Path) -> std::io::Result<()> {
    Ok(accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// Empty where it cannot be read.
fn first_line(path: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut text));
    let text = String::from_utf8_lossy(if read.is_ok() { &text } else { b"" });
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Home, booted, described, is_alive};
    use std::process::{Command, id};

    #[test]
    fn a_process_is_alive_until_it_has_been_waited_for() {
        let mut child = Command::new("true").spawn().unwrap();
        assert!(is_alive(child.id()) && is_alive(id()) && is_alive(1));
        child.wait().unwrap();
        assert!(!is_alive(child.id()) && !is_alive(0) && !is_alive(u32::MAX));
        assert_eq!(described(u32::MAX), format!("pid {}", u32::MAX));
        assert!(described(id()).starts_with(&format!("pid {} (", id())));
    }

    #[test]
    fn the_kernel_began_when_it_says_so() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let line = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        assert!(booted().abs_diff(line.parse().unwrap()) <= 2, "{line} {}", booted());
    }

    #[test]
    fn a_home_is_known() {
        let home = Home::of_this_process();
        assert_eq!(home, Home::of_this_process());
        assert!(!home.host.is_empty() && home.boot.len() == 36, "{home:?}");
        assert!(home.namespace.starts_with("pid:["), "{home:?}");
    }
}
