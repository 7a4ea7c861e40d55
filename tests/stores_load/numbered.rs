//! Messages of which each is known by a number, and what of them is in a store.
//!
//! Lives here: a number's message, here and in Python, which reads the stores with
//! code that is not postino's; the stores' URLs.
//! May not: deliver.

use crate::program::{bounded, succeed};
use std::{fmt::Write, path::Path};

pub(crate) type Number = u64;

/// From here on there are large ones: a kill is to come in the midst of writing.
pub(crate) const FIRST_WITH_LARGE: Number = 1_000_000;

/// The message of this number, as sent.
pub(crate) fn text(number: Number) -> String {
    let mut text = format!("X-Number: {number}\r\nSubject: load\r\n\r\n");
    for line in 0..lines(number) {
        if line % 7 == 3 {
            text.push_str("From ");
        }
        let width = usize::try_from((number * 7 + line) % 60).unwrap();
        write!(text, "{number}-{line} {}\r\n", "x".repeat(width)).unwrap();
    }
    text
}

fn lines(number: Number) -> u64 {
    let factor = match number {
        ..FIRST_WITH_LARGE => 1,
        _ if number % 16 == 15 => 400,
        _ if number % 4 == 3 => 100,
        _ => 1,
    };
    (number % 40 + 1) * factor
}

/// The same, and the reading: prints the number of each message in the store, and
/// fails at one that is not octet for octet what its number says.
const READER: &str = r"
import mailbox, os, re, sqlite3, sys
kind, path = sys.argv[1:]

def lines(number):
    large = number >= 1000000
    factor = 400 if large and number % 16 == 15 else 100 if large and number % 4 == 3 else 1
    return (number % 40 + 1) * factor

def text(number):
    quote = b'>' if kind == 'mbox' else b''
    text = [b'X-Number: %d\nSubject: load\n\n' % number]
    for line in range(lines(number)):
        begin = quote + b'From ' if line % 7 == 3 else b''
        text.append(begin + b'%d-%d %s\n' % (number, line, b'x' * ((number * 7 + line) % 60)))
    text = b''.join(text)
    return text.replace(b'\n', b'\r\n') if kind == 'sqlite' else text

def mailboxes():
    return [os.path.join(path, name) for name in sorted(os.listdir(path))
            if not name.startswith('.') and not name.endswith('.lock')]

def of_mbox():
    for file in mailboxes():
        box = mailbox.mbox(file, create=False)
        for key in box.keys():
            yield box.get_bytes(key)

def of_maildir():
    for folder in mailboxes():
        for name in os.listdir(os.path.join(folder, 'new')):
            with open(os.path.join(folder, 'new', name), 'rb') as file:
                yield file.read()

def of_sqlite():
    database = sqlite3.connect(path)
    found = database.execute('PRAGMA integrity_check').fetchall()
    assert found == [('ok',)], found
    wrong = database.execute('''SELECT name FROM mailboxes b WHERE (b.messages, b.octets) IS NOT
        (SELECT count(*), coalesce(sum(m.octets), 0) FROM messages m WHERE m.mailbox = b.id)''')
    wrong = wrong.fetchall()
    assert not wrong, f'the counters are wrong: {wrong}'
    rows = database.execute('''SELECT m.header, b.id, b.content
        FROM messages m JOIN bodies b ON b.id = m.body''')
    for header, body, content in rows:
        parts = database.execute('SELECT content FROM body_parts WHERE body = ? ORDER BY part',
                                 (body,))
        yield header + (content or b'') + b''.join(part for part, in parts)

HEADER = re.compile(rb'(?:[A-Za-z-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*\Z')
for stored in {'mbox': of_mbox, 'maildir': of_maildir, 'sqlite': of_sqlite}[kind]():
    header, mark, rest = stored.partition(b'X-Number: ')
    assert mark and HEADER.match(header), f'no header of a message: {stored[:500]}'
    number = int(re.match(rb'\d+', rest).group())
    assert mark + rest == text(number), f'{number} is not whole: {stored[-500:]}'
    print(number)
";

/// Which store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Maildir,
    Mbox,
    #[cfg(feature = "sqlite")]
    Sqlite,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Mbox => "mbox",
            #[cfg(feature = "sqlite")]
            Self::Sqlite => "sqlite",
        }
    }

    /// The store at this path; a mailbox of the directories is named by the local
    /// part.
    pub(crate) fn url(self, path: &Path) -> String {
        let name = self.name();
        match self {
            Self::Maildir | Self::Mbox => format!("{name}:{}/%n", path.display()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => format!("{name}:{}", path.display()),
        }
    }

    /// The numbers of all messages in the store at this path, in order; each is
    /// whole, and the store undamaged.
    pub(crate) fn stored(self, path: &Path) -> Vec<Number> {
        let output = succeed(bounded("python3").args(["-c", READER]).arg(self.name()).arg(path));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers: Vec<_> = text.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}
