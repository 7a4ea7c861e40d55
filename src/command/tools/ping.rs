//! `postino ping`: asks a server whether it is well.
//!
//! Lives here: a short LMTP conversation from the client's side, each step of it
//! within one deadline and bounded lines (RFC 2033 section 4, RFC 5321 section 4.2).
//! May not: send a message.

use super::{arguments::Ping, open_store::duration};
use crate::{
    command::{exit::Exit, printed},
    escape,
    server::ListenAddress,
    sys::names,
    transaction::address::is_domain,
};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Octets that a reply's line may have; RFC 5321 section 4.5.3.1.5 has 512.
const LINE_OCTETS_MAX: usize = 4_096;

/// Between two tries to get into a server's queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// Lines that a reply may have.
const LINES_MAX: usize = 100;

/// Asks; prints one line.
pub(super) fn run(arguments: &Ping) -> Result<Exit, Exit> {
    let address: ListenAddress = arguments.address.parse().map_err(|error| {
        complain!("{:?}: {error}", arguments.address);
        Exit::Usage
    })?;
    let timeout = duration("timeout", &arguments.timeout)?;
    let rcpt = arguments.rcpt.as_deref().map(|text| text.trim_matches(['<', '>']));
    if rcpt.is_some_and(|text| {
        text.is_empty() || text.contains(['<', '>']) || text.chars().any(char::is_control)
    }) {
        complain!("--rcpt: {:?} is no address", arguments.rcpt.as_deref().unwrap_or_default());
        return Err(Exit::Usage);
    }
    let began = Instant::now();
    let asked = Client::connect(&address, began + timeout).and_then(|mut client| client.ask(rcpt));
    let (word, rest, exit) = match asked {
        Ok(host) => ("ok", format!("{host} {} ms", began.elapsed().as_millis()), Exit::Ok),
        Err(Failed::Refused { command, reply }) => {
            ("refused", format!("{reply} in reply to {command}"), Exit::Failure)
        }
        Err(Failed::NoAnswer(why)) => ("no answer", why.to_string(), Exit::NoAnswer),
    };
    let line = escape::visible(format!("{word} {address} {rest}").as_bytes());
    printed(writeln!(io::stdout().lock(), "{line}")).map(|()| exit)
}

/// Why a server is not well.
enum Failed {
    /// It says so.
    Refused { command: String, reply: String },
    /// It does not speak, or speaks no LMTP.
    NoAnswer(Silence),
}

enum Silence {
    System(io::Error),
    TimeOut,
    Closed,
    Nonsense(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::TimeOut => f.write_str("the time is over"),
            Self::Closed => f.write_str("it closed the connection"),
            Self::Nonsense(text) => write!(f, "it does not speak LMTP: {text}"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::NoAnswer(match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Silence::TimeOut,
            _ => Silence::System(error),
        })
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Client {
    stream: Stream,
    until: Instant,
    /// What came behind the last line.
    input: Vec<u8>,
}

/// A reply: its code, and the text of its last line.
struct Reply {
    code: u16,
    text: String,
}

impl Client {
    fn connect(address: &ListenAddress, until: Instant) -> Result<Self, Failed> {
        let stream = match address {
            ListenAddress::Tcp(address) => {
                Stream::Tcp(TcpStream::connect_timeout(address, rest(until)?)?)
            }
            ListenAddress::Unix(path) => Stream::Unix(connect_unix(path, until)?),
        };
        Ok(Self { stream, until, input: Vec::new() })
    }

    /// The whole conversation; the server's name.
    fn ask(&mut self, rcpt: Option<&str>) -> Result<String, Failed> {
        let greeting = self.expect("the connection", 220)?;
        let own = names::host_name();
        let own = if is_domain(&own) { &own } else { "localhost" };
        self.command(&format!("LHLO {own}"), 250)?;
        self.command("NOOP", 250)?;
        if let Some(rcpt) = rcpt {
            self.command("MAIL FROM:<>", 250)?;
            self.command(&format!("RCPT TO:<{rcpt}>"), 250)?;
            self.command("RSET", 250)?;
        }
        // Whatever it says to that: the question is answered.
        let _ = self.command("QUIT", 221);
        Ok(greeting.text.split(' ').next().unwrap_or_default().to_owned())
    }

    fn command(&mut self, command: &str, code: u16) -> Result<Reply, Failed> {
        let line = format!("{command}\r\n");
        self.set_timeout()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(line.as_bytes()),
            Stream::Unix(stream) => stream.write_all(line.as_bytes()),
        }?;
        self.expect(command, code)
    }

    fn expect(&mut self, command: &str, code: u16) -> Result<Reply, Failed> {
        let reply = self.reply()?;
        match reply.code {
            found if found == code => Ok(reply),
            400..=599 => Err(Failed::Refused {
                command: command.to_owned(),
                reply: format!("{} {}", reply.code, reply.text),
            }),
            found => Err(nonsense(&format!("{found} {}", reply.text))),
        }
    }

    fn reply(&mut self) -> Result<Reply, Failed> {
        for _ in 0..LINES_MAX {
            let line = self.line()?;
            let code = line.get(..3).filter(|code| code.bytes().all(|c| c.is_ascii_digit()));
            let code = code.and_then(|code| code.parse().ok());
            match (code, line.as_bytes().get(3)) {
                (Some(_), Some(b'-')) => {}
                (Some(code), None | Some(b' ')) => {
                    let text = line.get(4..).unwrap_or_default().to_owned();
                    return Ok(Reply { code, text });
                }
                _ => return Err(nonsense(&line)),
            }
        }
        Err(nonsense("a reply without end"))
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut buffer = [0; 1_024];
        loop {
            if let Some(end) = self.input.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.input.len() > LINE_OCTETS_MAX {
                return Err(nonsense("a line without end"));
            }
            self.set_timeout()?;
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut buffer),
                Stream::Unix(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => return Err(Failed::NoAnswer(Silence::Closed)),
                Ok(count) => self.input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is left of the time is all that the next call has.
    fn set_timeout(&self) -> Result<(), Failed> {
        let rest = Some(rest(self.until)?);
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(rest).and_then(|()| stream.set_write_timeout(rest))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(rest).and_then(|()| stream.set_write_timeout(rest))
            }
        }?;
        Ok(())
    }
}

/// Connects, if the server takes the connection in time: where it hangs, those that
/// wait before this one fill its queue.
fn connect_unix(path: &Path, until: Instant) -> Result<UnixStream, Failed> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(io::Error::from)?;
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    loop {
        match net::connect(&socket, &address) {
            Err(Errno::AGAIN) => thread::sleep(rest(until)?.min(QUEUE_PAUSE)),
            connected => {
                connected.map_err(io::Error::from)?;
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
        }
    }
}

/// The time until then.
fn rest(until: Instant) -> Result<Duration, Failed> {
    let rest = until.saturating_duration_since(Instant::now());
    if rest.is_zero() { Err(Failed::NoAnswer(Silence::TimeOut)) } else { Ok(rest) }
}

fn nonsense(text: &str) -> Failed {
    let shown: String = text.chars().take(60).collect();
    Failed::NoAnswer(Silence::Nonsense(format!("{shown:?}")))
}
