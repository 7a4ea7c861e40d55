//! Many connections into one mbox, which another program locks in between.

use crate::{
    daemon::Daemon,
    numbered::Kind,
    program::all_here,
    session::deliver_all,
    size::{alone, per_second, say, sized},
};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Instant,
};

/// Takes each kind of lock in turn, holds it for 20 ms and pauses as long, until
/// it is told to end; then says how often it had each. While it has one the file
/// does not change and ends where a message does.
const LOCKER: &str = r"
import fcntl, mailbox, os, select, sys, time
path = sys.argv[1]

def hold():
    def end():
        with open(path, 'rb') as file:
            file.seek(-2, os.SEEK_END)
            return file.tell(), file.read()
    before = end()
    time.sleep(0.02)
    after = end()
    assert before == after and after[1] == b'\n\n', f'{before}, then {after}'

def with_fcntl():
    with open(path, 'r+b') as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        # Any close of the file would give the lock back.
        size = os.path.getsize(path)
        time.sleep(0.02)
        assert size == os.path.getsize(path)
        file.seek(-2, os.SEEK_END)
        assert file.read() == b'\n\n'

def with_dotlock():
    while True:
        try:
            os.close(os.open(path + '.lock', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            time.sleep(0.001)
    try:
        hold()
    finally:
        os.unlink(path + '.lock')

def with_both():
    box = mailbox.mbox(path, create=False)
    while True:
        try:
            box.lock()
            break
        except mailbox.ExternalClashError:
            time.sleep(0.001)
    try:
        hold()
    finally:
        box.close()

kinds, turns = [with_fcntl, with_dotlock, with_both], 0
print('ready', flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    kinds[turns % 3]()
    turns += 1
print(turns)
";

/// The other program; killed when dropped.
struct Locker {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Locker {
    fn start(path: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", LOCKER])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut locker = Self { child, said };
        assert_eq!(locker.line(), "ready");
        locker
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// How often it had a lock.
    fn end(mut self) -> u32 {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let turns = self.line();
        assert!(self.child.wait().unwrap().success(), "it met an mbox that changed");
        turns.parse().unwrap()
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_mbox_that_another_program_locks_in_between_has_every_message_whole() {
    let _alone = alone();
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    let store = format!("--store={}", Kind::Mbox.url(&mail));
    let hostname = "--hostname=mx.example.org";
    let daemon = Daemon::start(&["--listen=127.0.0.1:0", "--users=any", hostname, &store]);
    let recipient = |_| "hot@example.org".to_owned();
    deliver_all(daemon.address(), 0, 1, 1, recipient);

    let locker = Locker::start(&mail.join("hot"));
    let (connections, each) = sized((8, 60), (16, 500));
    let began = Instant::now();
    deliver_all(daemon.address(), 1, connections, each, recipient);
    let took = began.elapsed();
    let turns = locker.end();
    daemon.stop();
    let count = connections * each;
    say(&format!(
        "mbox, {connections} connections × {each} messages, locked {turns} times by another \
         program: {:.0} a second",
        per_second(usize::try_from(count).unwrap(), took)
    ));
    assert!(turns >= 3, "it had a lock only {turns} times");
    let stored = Kind::Mbox.stored(&mail);
    assert!(stored.iter().copied().eq(0..=count), "{} are", stored.len());
    assert!(!mail.join("hot.lock").exists());
}
