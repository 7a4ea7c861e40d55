//! An account all of whose folders another program has locked: what others wait for
//! meanwhile.

use crate::{
    daemon::Daemon,
    numbered::Number,
    program::all_here,
    session::Session,
    size::{alone, is_full, say, sized},
};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

const FOLDERS: u64 = 50;
/// Deliveries that wait for each of them.
const WAITING: u64 = 2;
/// Of the other accounts, each with a connection.
const OTHERS: u64 = 8;
/// What one of their transactions takes at most, but for one in a hundred, in the full
/// form.
const P99_MAX: Duration = Duration::from_millis(250);

/// Locks files as mail programs do, a directory as postino does, until its input ends.
const LOCKER: &str = r"
import fcntl, os, sys
held = []
for path in sys.argv[1:]:
    is_directory = os.path.isdir(path)
    held.append(os.open(path, os.O_RDONLY if is_directory else os.O_RDWR))
    (fcntl.flock if is_directory else fcntl.lockf)(held[-1], fcntl.LOCK_EX)
print('ready', flush=True)
sys.stdin.read()
";

struct Locker(Child);

impl Locker {
    fn of(paths: &[PathBuf]) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", LOCKER]).args(paths);
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stored(reply: &str) {
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
}

fn folder(number: u64) -> String {
    format!("alice+f{number}@example.org")
}

/// How long each transaction of the others takes, from MAIL on, in order.
fn others(address: &str, each: u64) -> Vec<Duration> {
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..OTHERS)
            .map(|other| {
                scope.spawn(move || {
                    let mut session = Session::open(address).unwrap();
                    let recipient = format!("other{other}@example.org");
                    let deliver = |number: Number| {
                        let began = Instant::now();
                        stored(&session.deliver(number, &recipient).unwrap());
                        began.elapsed()
                    };
                    (0..each).map(deliver).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    took.sort_unstable();
    took
}

/// The time that so many in a hundred stay below.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn shown(sorted: &[Duration]) -> String {
    let [p50, p99, most] = [50, 99, 100].map(|percent| percentile(sorted, percent));
    format!("p50 {p50:.1?}, p99 {p99:.1?}, at most {most:.1?}")
}

/// `locked` are what the other program locks below the root.
fn others_do_not_wait(kind: &str, flags: &[&str], locked: &dyn Fn(&Path) -> Vec<PathBuf>) {
    let _alone = alone();
    if !all_here(&["python3"]) {
        return;
    }
    let in_memory = Path::new("/dev/shm");
    let place = if in_memory.is_dir() { in_memory } else { Path::new("/tmp") };
    let directory = tempfile::tempdir_in(place).unwrap();
    let root = directory.path().join("mail");
    let store = format!("--store={kind}:{}", root.display());
    let mut all = vec!["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", &store];
    all.extend(["--detail=create", "--lock-wait=3m"]);
    all.extend(flags);
    let daemon = Daemon::start(&all);
    let address = daemon.address();
    let mut session = Session::open(address).unwrap();
    for number in 0..FOLDERS {
        stored(&session.deliver(number, &folder(number)).unwrap());
    }
    let each = sized(20, 500);
    let alone = others(address, each);

    let other_program = Locker::of(&locked(&root));
    let begun = Barrier::new(usize::try_from(FOLDERS * WAITING).unwrap() + 1);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..FOLDERS * WAITING)
            .map(|number| {
                let begun = &begun;
                scope.spawn(move || {
                    let mut session = Session::open(address).unwrap();
                    session.begin(number, &folder(number % FOLDERS)).unwrap();
                    begun.wait();
                    session.line().unwrap()
                })
            })
            .collect();
        begun.wait();
        let beside = others(address, each);
        assert!(waiting.iter().all(|thread| !thread.is_finished()), "one did not wait");
        say(&format!(
            "{kind}, {} messages of other accounts in {}: {}; beside {} deliveries that wait \
             for {FOLDERS} folders: {}",
            beside.len(),
            place.display(),
            shown(&alone),
            FOLDERS * WAITING,
            shown(&beside)
        ));
        if is_full() {
            let p99 = percentile(&beside, 99);
            assert!(p99 < P99_MAX, "{p99:?}");
        }
        other_program.end();
        for thread in waiting {
            stored(&thread.join().unwrap());
        }
    });
    daemon.stop();
}

#[cfg(feature = "mbox")]
#[test]
fn locked_folders_of_one_account_hold_no_mbox_of_others() {
    others_do_not_wait("mbox", &[], &|root| {
        let folders = root.join(".alice@example.org");
        (0..FOLDERS).map(|number| folders.join(format!("f{number}"))).collect()
    });
}

#[cfg(feature = "maildir")]
#[test]
fn folders_of_a_locked_account_hold_no_maildir_of_others() {
    // It is the quota that takes a lock.
    others_do_not_wait("maildir", &["--quota=1G"], &|root| vec![root.join("alice@example.org")]);
}
