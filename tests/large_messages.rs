//! Large messages at once, into each store: whole, in little memory, and in
//! nobody's way.
//!
//! Each test prints a line on standard error, past the runner's capture. They
//! are short unless `POSTINO_LOAD=full` is in the environment, which brings the
//! whole sizes and a bound for the 99th percentile of small messages beside
//! large ones in a SQLite database.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "server/client.rs"]
#[allow(dead_code, reason = "shared with tests/server, which needs more of it")]
mod client;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod daemon;
#[path = "floods/honest.rs"]
#[allow(dead_code, reason = "shared with tests/floods.rs, which needs more of it")]
mod honest;
#[path = "clients/program.rs"]
#[allow(dead_code, reason = "shared with tests/clients.rs, which needs more of it")]
mod program;
#[path = "floods/usage.rs"]
#[allow(dead_code, reason = "shared with tests/floods.rs, which needs more of it")]
mod usage;

#[path = "large_messages/lines.rs"]
mod lines;

use daemon::{Daemon, until};
use honest::{Honest, Sessions, ms, percentile, session};
use lines::{Form, write_lines};
use program::{all_here, bounded, succeed};
use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, PoisonError, mpsc::channel},
    thread,
    time::{Duration, Instant},
};
use usage::{Process, folder, mib, say};

/// Of the whole server.
const MEMORY_MAX: u64 = 40 << 20;
/// What a small message waits for a 250 at most, but for one in a hundred, in
/// the full form.
const P99_MAX: Duration = Duration::from_millis(250);
/// Small messages while the large ones are stored, so that there is something to
/// measure, in the full form.
const SMALL_MIN: usize = 20;

/// The tests are not to be each other's load.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_maildir_store_takes_large_messages_at_once_in_little_memory() {
    messages_are_stored_whole("maildir", Form::Lf, |store, recipient, _| {
        let entries = fs::read_dir(store.join(recipient).join("new")).unwrap();
        let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{recipient}");
        fs::read(&files[0]).unwrap()
    });
}

#[test]
fn an_mbox_store_takes_large_messages_at_once_in_little_memory() {
    messages_are_stored_whole("mbox", Form::Mbox, |store, recipient, _| {
        let mut file = fs::read(store.join(recipient)).unwrap();
        assert_eq!(file.pop(), Some(b'\n'), "the empty line behind a message");
        file
    });
}

#[test]
fn a_sqlite_store_takes_large_messages_at_once_in_little_memory_and_small_ones_meanwhile() {
    if !all_here(&["python3"]) {
        return;
    }
    let script = script_of_the_manual();
    let waited = messages_are_stored_whole("sqlite", Form::Crlf, |store, _, id| {
        let script = script.replace("/var/lib/postino/mail.db", &store.display().to_string());
        succeed(bounded("python3").args(["-c", &script, id])).stdout
    });
    if is_full() {
        assert!(waited.len() >= SMALL_MIN, "{} small messages are too few", waited.len());
        let p99 = percentile(&waited, 99);
        assert!(p99 < P99_MAX, "a small message waits {p99:?}");
    }
}

fn is_full() -> bool {
    std::env::var_os("POSTINO_LOAD").is_some_and(|form| form == "full")
}

/// Sends large messages to a mailbox each, all at once, and small ones to another
/// meanwhile. `read` gives what is stored: of the store's path, the recipient and
/// the id in the reply. Gives how long the small messages waited while the large
/// ones were stored, in order of length.
fn messages_are_stored_whole(
    kind: &str,
    form: Form,
    read: impl Fn(&Path, &str, &str) -> Vec<u8>,
) -> Vec<Duration> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (clients, octets) = if is_full() { (8, 50 << 20) } else { (4, 6 << 20) };
    // Each is in the spool, in the store, and in a database's log.
    let folder = folder(4 * (clients * octets) as u64);
    let path = folder.path().join("mail");
    let store = format!("--store={kind}:{}", path.display());
    let flags = ["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org"];
    let daemon = Daemon::start(&[&flags[..], &["--memory-budget=8M", &store]].concat());
    until(|| daemon.log(), || daemon.log().contains("ready postino"));
    let honest = Honest::start(daemon.address(), Sessions::One);

    let began = Instant::now();
    // Nothing is ever sent in these: each ends with its other side, also where
    // that one fails.
    let (ready, are_ready) = channel::<()>();
    let senders: Vec<_> = (0..clients)
        .map(|number| {
            let mut client = session(daemon.address());
            let ready = ready.clone();
            let (go, goes) = channel::<()>();
            let sender = thread::spawn(move || {
                client.open_data(&recipient(number));
                let mut socket = BufWriter::with_capacity(1 << 16, client.0.get_ref());
                write_lines(number, octets, Form::Said, &mut socket);
                socket.flush().unwrap();
                drop(socket);
                drop(ready);
                assert!(goes.recv().is_err());
                client.say(".\r\n");
                client.line()
            });
            (sender, go)
        })
        .collect();
    drop(ready);
    assert!(are_ready.recv().is_err());
    let (received, before) = (Instant::now(), honest.deliveries());
    let (senders, goes): (Vec<_>, Vec<_>) = senders.into_iter().unzip();
    drop(goes);
    let replies: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let stored = Instant::now();
    let mut while_received = honest.end();
    let peak = Process(daemon.pid()).peak();
    let mut while_stored = while_received.split_off(before);
    while_received.sort_unstable();
    while_stored.sort_unstable();
    say(&format!(
        "LARGE {kind}: {clients} of {:.0} MiB; received in {:.1} s, {}; stored in {:.1} s, {}; \
         RSS at most {:.1} MiB",
        mib(octets as u64),
        received.duration_since(began).as_secs_f64(),
        shown(&while_received),
        stored.duration_since(received).as_secs_f64(),
        shown(&while_stored),
        mib(peak),
    ));

    for (number, reply) in replies.iter().enumerate() {
        assert!(reply.starts_with("250 2.0.0 "), "message {number} got {reply:?}");
        let id = reply.split(' ').nth(2).unwrap();
        let mut wanted = Vec::with_capacity(octets + octets / 16);
        write_lines(number, octets, form, &mut wanted);
        let found = read(&path, &recipient(number), id);
        // Not `assert_eq`, which would print it.
        assert!(found.ends_with(&wanted), "message {number} is stored otherwise than sent");
        let header = String::from_utf8_lossy(&found[..found.len() - wanted.len()]).into_owned();
        assert!(header.contains(&format!("\nDelivered-To: {}", recipient(number))), "{header}");
        assert!(header.len() < 500, "{header}");
    }
    assert!(peak < MEMORY_MAX, "{:.1} MiB at the most", mib(peak));
    daemon.stop();
    while_stored
}

/// Of durations in their order.
fn shown(waited: &[Duration]) -> String {
    let worst = waited.last().copied().unwrap_or_default();
    format!(
        "{} small ones p50 {:.1} p99 {:.1} worst {:.1} ms",
        waited.len(),
        ms(percentile(waited, 50)),
        ms(percentile(waited, 99)),
        ms(worst),
    )
}

fn recipient(number: usize) -> String {
    format!("large{number}@example.org")
}

/// How to read a message, as man/postino-sqlite.5 shows it.
fn script_of_the_manual() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/postino-sqlite.5");
    let page = fs::read_to_string(page).unwrap();
    let block = page.split_once("The same in Python:\n.Bd -literal -offset indent\n").unwrap().1;
    block.split_once(".Ed\n").unwrap().0.to_owned()
}
