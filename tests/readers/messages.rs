//! Messages on which stores and readers disagree most easily.
//!
//! Lives here: the messages, and what of them is to be in each store.
//! May not: know a program.

/// Larger than what postino keeps in memory.
const LARGE: usize = 300 << 10;

pub(crate) struct Message {
    /// Its subject, unless it has none.
    pub(crate) name: &'static str,
    /// To everybody, not to the first recipient alone.
    pub(crate) to_all: bool,
    text: Vec<u8>,
}

impl Message {
    /// As a client says it behind DATA: with doubled dots, and the final one.
    pub(crate) fn said(&self) -> Vec<u8> {
        let mut said = Vec::with_capacity(self.text.len() + 8);
        let mut at_line = true;
        for (at, octet) in self.text.iter().enumerate() {
            if at_line && *octet == b'.' {
                said.push(b'.');
            }
            said.push(*octet);
            at_line = self.text[..=at].ends_with(b"\r\n");
        }
        said.extend(b".\r\n");
        said
    }

    /// LF for CRLF, but where bare ones are among them: then nothing is changed.
    pub(crate) fn in_maildir(&self) -> Vec<u8> {
        let with_lf = with_lf(&self.text);
        let crlfs = self.text.len() - with_lf.len();
        let either = self.text.iter().filter(|octet| b"\r\n".contains(octet)).count();
        if either == 2 * crlfs { with_lf } else { self.text.clone() }
    }

    /// LF for every CRLF, and `>` before what could be taken for a From line.
    pub(crate) fn in_mbox(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(self.text.len());
        for line in with_lf(&self.text).split_inclusive(|octet| *octet == b'\n') {
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            if line[quotes..].starts_with(b"From ") {
                stored.push(b'>');
            }
            stored.extend(line);
        }
        stored
    }

    pub(crate) fn subject(&self) -> &str {
        if self.text.starts_with(b"Subject: ") || self.text.starts_with(b"From ") {
            self.name
        } else {
            ""
        }
    }
}

fn with_lf(text: &[u8]) -> Vec<u8> {
    let mut found = Vec::with_capacity(text.len());
    for (at, octet) in text.iter().enumerate() {
        if *octet != b'\r' || text.get(at + 1) != Some(&b'\n') {
            found.push(*octet);
        }
    }
    found
}

pub(crate) fn messages() -> Vec<Message> {
    let every_octet: Vec<u8> = (0..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    let repeated = |line: &str| line.repeat(LARGE / line.len() + 1).into_bytes();
    let from = "From sender@example.net Tue Nov 24 13:40:38 2026\r\n";
    let bodies: Vec<(&'static str, Vec<u8>)> = vec![
        ("plain", b"Hello\r\n".to_vec()),
        ("from-behind-an-empty-line", format!("a\r\n\r\n{from}b\r\n").into()),
        ("from-behind-a-line", format!("a\r\n{from}From b\r\n").into()),
        ("from-first", format!("{from}a\r\n").into()),
        ("from-last", format!("a\r\n\r\n{from}").into()),
        ("from-and-a-header", format!("a\r\n\r\n{from}Subject: forged\r\n\r\nforged\r\n").into()),
        (
            "from-quoted",
            b">From a\r\n>>>From b\r\n> From c\r\n From d\r\nFROM e\r\nFrom\r\n".into(),
        ),
        ("nul", b"\0\r\na\0\0b\r\n\0".repeat(20).into_iter().chain(*b"\r\n").collect()),
        ("every-octet", [&every_octet[..], b"\r\n"].concat()),
        ("utf-8", "Ünïcödé ✉\r\n".into()),
        ("latin-1", b"caf\xe9\r\n\xff\xfe\r\n".into()),
        ("long-line", [&[b'x'; 100_000][..], b"\r\n"].concat()),
        ("998-octets", [&[b'y'; 998][..], b"\r\n"].concat()),
        ("dots", b".\r\n..\r\n.a\r\n...\r\n".into()),
        ("empty-lines", b"\r\n\r\na\r\n\r\n\r\n\r\n".into()),
        ("no-line", b"".into()),
        ("form-feed", b"a\x0c\r\n\x0c\r\ntext:\r\n".into()),
        ("bare-lf", b"a\nb\n\nc\r\n".into()),
        ("bare-lf-and-from", format!("a\n\nFrom b\n{from}\nFrom c\r\n").into()),
        ("bare-cr", b"a\rb\r\rc\r\n".into()),
        ("bare-cr-and-from", b"a\r\rFrom b\r\n\rFrom c\r\n".into()),
        ("bare-cr-last", b"a\r\r\n".into()),
        ("bare-lf-last", b"a\n\r\n".into()),
        ("large", repeated("0123456789abcdef\r\n")),
        ("large-and-from", repeated("From x\r\n\r\n")),
        ("large-and-bare", repeated("a\nFrom b\rc\r\n")),
    ];
    let mut messages: Vec<Message> = bodies
        .into_iter()
        .zip((0..).map(|number| number % 5 == 1))
        .map(|((name, body), to_all)| Message {
            name,
            to_all,
            text: [format!("Subject: {name}\r\n\r\n").as_bytes(), &body].concat(),
        })
        .collect();
    let folded = format!("Subject: folded\r\n{}\r\na\r\n", "X-A: b\r\n\t c\r\n".repeat(300));
    let long = format!("Subject: long-field\r\nX-A: {}\r\n\r\na\r\n", "b".repeat(20_000));
    let whole: [(&str, &str); 8] = [
        (
            "length-too-small",
            "Subject: length-too-small\r\nContent-Length: 3\r\n\r\nabc\r\ndef\r\n",
        ),
        ("length-too-large", "Subject: length-too-large\r\nContent-Length: 999\r\n\r\nabc\r\n"),
        ("state", "Subject: state\r\nStatus: RO\r\nX-UID: 7\r\n\r\nabc\r\n"),
        ("folded", &folded),
        ("long-field", &long),
        ("header-alone", "Subject: header-alone\r\n"),
        ("no-header", "no header\r\n\r\nmore\r\n"),
        ("nothing", ""),
    ];
    messages.extend(whole.map(|(name, text)| Message { name, to_all: true, text: text.into() }));
    let text = format!("{from}Subject: from-at-the-start\r\n\r\na\r\n").into();
    messages.push(Message { name: "from-at-the-start", to_all: true, text });
    messages
}
