//! A quota that many connections fill at once.

use crate::{
    client::Client,
    daemon::Daemon,
    doveadm::{self, doveadm},
    program::all_here,
    store::{Kind, Place},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

const CONNECTIONS: usize = 32;
const MESSAGES: usize = 2_000;
const MESSAGE_OCTETS: usize = 1024;
const QUOTA_OCTETS: u64 = 500 << 10;

const ALICE: &str = "alice@example.org";
/// To the mailbox itself, and to its folders as well.
const INBOX: &[&str] = &[ALICE];
const FOLDERS: &[&str] = &[ALICE, "alice+a@example.org", "alice+b/c@example.org"];

/// Weighs an account again and again until its input ends, without any code of
/// postino's; then says what the most was, what there is at last, and in how many
/// messages.
const SCALES: &str = r"
import glob, mailbox, os, select, sqlite3, sys
kind, path = sys.argv[1:]

def files():
    # Of the account's mailbox and its folders.
    if kind == 'Maildir':
        return glob.glob(path + '/new/*') + glob.glob(path + '/.*/new/*')
    above, name = os.path.split(path)
    files = [path] + glob.glob(f'{above}/.{name}/**', recursive=True)
    return [file for file in files if os.path.isfile(file) and not file.endswith('.lock')]

def of_files(is_last):
    octets = messages = 0
    for file in files():
        octets += os.path.getsize(file)
        if kind == 'Maildir':
            messages += 1
        elif is_last:
            messages += len(mailbox.mbox(file, create=False))
    return octets, messages

def of_sqlite():
    # Before there is a table.
    try:
        database = sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=30)
        return database.execute('''SELECT coalesce(sum(length(m.header) + length(b.content)), 0),
            count(*) FROM messages m JOIN bodies b ON b.id = m.body''').fetchone()
    except sqlite3.OperationalError:
        return 0, 0

def weigh(is_last):
    return of_sqlite() if kind == 'Sqlite' else of_files(is_last)

most = weigh(False)[0]
print('ready', flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    most = max(most, weigh(False)[0])
octets, messages = weigh(True)
print(max(most, octets), octets, messages)
";

/// The scales at work.
struct Scales {
    child: Child,
    input: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Scales {
    fn on(kind: Kind, path: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", SCALES, &format!("{kind:?}")]).arg(path);
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, input, said }
    }

    /// The most octets there ever were, those at last, and messages at last.
    fn read(mut self) -> [u64; 3] {
        drop(self.input);
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success());
        let figures: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        figures.try_into().unwrap()
    }
}

fn message(number: usize) -> String {
    // Each another body, else a database keeps one for all.
    let mut text = format!("Subject: number {number}\r\n\r\n");
    while text.len() < MESSAGE_OCTETS - 80 {
        text.push_str(&"x".repeat(62));
        text.push_str("\r\n");
    }
    let rest = MESSAGE_OCTETS - text.len() - 2;
    text.push_str(&"y".repeat(rest));
    text + "\r\n"
}

/// Sends all, by each connection as fast as it is answered, to these servers in turns;
/// gives how many were stored.
fn send_all(addresses: [&str; 2], recipients: &[&str]) -> u64 {
    let (next, stored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for address in addresses.iter().cycle().take(CONNECTIONS) {
            scope.spawn(|| {
                let mut client = Client::<TcpStream>::connect(address);
                client.open();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MESSAGES {
                        return;
                    }
                    let recipient = recipients[number % recipients.len()];
                    let reply = send(&mut client, number, recipient);
                    if reply.starts_with("250 2.0.0 ") {
                        stored.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert!(reply.starts_with("452 4.2.2 "), "{number}: {reply}");
                    }
                }
            });
        }
    });
    u64::try_from(stored.into_inner()).unwrap()
}

/// The recipient's last reply: to RCPT where it is refused there.
fn send(client: &mut Client<TcpStream>, number: usize, recipient: &str) -> String {
    let message = message(number);
    // Half of them say beforehand how large they are.
    let is_told = number.is_multiple_of(2);
    let size = if is_told { format!(" SIZE={}", message.len()) } else { String::new() };
    client.say(format!("MAIL FROM:<>{size}\r\nRCPT TO:<{recipient}>\r\n"));
    client.until("250 2.1.0 ");
    let reply = client.line();
    if !reply.starts_with("250 ") {
        client.say("RSET\r\n");
        client.until("250 2.0.0 ");
        return reply;
    }
    client.say("DATA\r\n");
    client.until("354 ");
    client.say(message + ".\r\n");
    client.line()
}

/// Fills the account by two servers; gives the octets and messages that are stored.
fn fill(place: &Place, recipients: &[&str]) -> [u64; 2] {
    let quota = format!("--quota={QUOTA_OCTETS}");
    let daemons = [(); 2].map(|()| place.serve(&[&quota, "--detail=create"]));
    let scales = Scales::on(place.kind, &place.account(ALICE));
    let stored = send_all(daemons.each_ref().map(Daemon::address), recipients);
    daemons.into_iter().for_each(Daemon::stop);
    let [most, octets, messages] = scales.read();
    assert!(most <= QUOTA_OCTETS, "{most} octets at some time");
    assert_eq!(messages, stored, "as many as were answered 250");
    let each = octets / messages;
    // None was refused that fitted; some are a little larger than others.
    assert!(octets + each + 64 > QUOTA_OCTETS, "{octets} octets in {messages} messages");
    [octets, messages]
}

#[test]
fn an_mboxs_quota_is_never_exceeded_by_connections_that_fill_it_together() {
    if all_here(&["python3"]) {
        fill(&Place::new(Kind::Mbox), INBOX);
        fill(&Place::new(Kind::Mbox), FOLDERS);
    }
}

#[test]
fn a_databases_quota_is_never_exceeded_by_connections_that_fill_it_together() {
    if all_here(&["python3"]) {
        fill(&Place::new(Kind::Sqlite), INBOX);
        fill(&Place::new(Kind::Sqlite), FOLDERS);
    }
}

#[test]
fn a_maildirs_quota_is_never_exceeded_and_dovecot_has_the_same_figures() {
    if !all_here(&["python3"]) || !all_here(&doveadm::PROGRAMS) {
        return;
    }
    for recipients in [INBOX, FOLDERS] {
        let place = Place::new(Kind::Maildir);
        let stored = fill(&place, recipients);
        dovecot_has(&place, stored);
    }
}

/// Whether Dovecot finds these octets and messages in the sum that was written, and
/// counts them itself.
fn dovecot_has(place: &Place, stored: [u64; 2]) {
    let account = place.account(ALICE);
    let location = format!("maildir:{}", account.display());
    let ask =
        |arguments: &[&str]| doveadm(place, &location, &doveadm::quota(QUOTA_OCTETS), arguments);
    let of_dovecot = || {
        let table = ask(&["-f", "tab", "quota", "get"]);
        ["STORAGE", "MESSAGE"].map(|kind| {
            let line = table.lines().find(|line| line.contains(kind)).unwrap();
            let mut figures = line.split('\t').filter_map(|cell| cell.parse::<u64>().ok());
            figures.next().unwrap()
        })
    };
    // doveadm says KiB, rounded up.
    let expected = [stored[0].div_ceil(1024), stored[1]];
    let sum_file = account.join("maildirsize");
    let ours = fs::read_to_string(&sum_file).unwrap();
    assert_eq!(sum(&ours), stored, "{ours}");
    assert_eq!(of_dovecot(), expected);
    assert_eq!(fs::read_to_string(&sum_file).unwrap(), ours, "Dovecot has counted nothing");
    ask(&["quota", "recalc"]);
    let counted = fs::read_to_string(&sum_file).unwrap();
    assert_eq!(sum(&counted), stored, "{counted}");
    assert_eq!(of_dovecot(), expected);
}

/// Octets and messages of a `maildirsize`.
fn sum(text: &str) -> [u64; 2] {
    let mut sum = [0; 2];
    assert_eq!(text.lines().next(), Some(&*format!("{QUOTA_OCTETS}S")), "{text}");
    for line in text.lines().skip(1) {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        sum = sum.map(|sum| sum + numbers.next().unwrap());
    }
    sum
}
