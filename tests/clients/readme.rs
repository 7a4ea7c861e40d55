//! What README.md shows, run as it is written: the quick start's lines, and the
//! session typed by hand.

use crate::{
    daemon::{Daemon, PATIENCE, folder, postino},
    program::{all_here, bounded, run, run_with_input, succeed},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the README's server listens: the default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:2424";

#[test]
fn quick_start_ends_with_the_file_it_shows() {
    if !all_here(&["swaks"]) {
        return;
    }
    let block = block_behind("## Quick start", 0);
    assert_eq!(block, "cargo run --release -- serve\n");
    let folder = folder();
    let daemon = with_the_defaults(folder.path());
    let swaks = block_behind("## Quick start", 1).replace(DEFAULT_ADDRESS, daemon.address());
    let output = succeed(bounded("sh").current_dir(folder.path()).args(["-c", &swaks]));
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains("<-  250 2.0.0 "), "{output}");

    // The last block is a command and what it printed.
    let shown = block_behind("## Quick start", 2);
    let (command, listing) = shown.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
    let output = succeed(bounded("sh").current_dir(folder.path()).args(["-c", command]));
    assert_eq!(pattern(&String::from_utf8(output.stdout).unwrap()), pattern(listing));
    daemon.stop();
}

#[test]
fn session_by_hand_gets_the_replies_it_shows() {
    let folder = folder();
    let daemon = with_the_defaults(folder.path());
    let stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut session = stream;
    for line in typed_session().lines() {
        if is_reply(line) {
            let mut reply = String::new();
            replies.read_line(&mut reply).unwrap();
            assert_eq!(pattern(reply.trim_end()), pattern(line));
        } else {
            session.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        }
    }
    let mut rest = String::new();
    replies.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    daemon.stop();
}

#[test]
fn session_by_hand_works_with_the_command_it_shows() {
    if !all_here(&["nc"]) {
        return;
    }
    let folder = folder();
    let daemon = with_the_defaults(folder.path());
    let block = block_behind("## A session by hand", 0);
    let command = block.lines().next().unwrap().strip_prefix("$ ").unwrap();
    let (host, port) = daemon.address().split_once(':').unwrap();
    let command = command.replace("127.0.0.1 2424", &format!("{host} {port}"));
    assert!(command.contains(port), "{command}");
    let session = typed_session();
    let (replies, typed): (Vec<&str>, Vec<&str>) = session.lines().partition(|line| is_reply(line));
    let input = typed.join("\n") + "\n";
    let (output, shown) = run_with_input(bounded("sh").args(["-c", &command]), input.as_bytes());
    let printed = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    assert_eq!(pattern(&printed), pattern(&replies.join("\n")), "{shown}");
    daemon.stop();
}

#[test]
fn units_are_sound_to_systemd() {
    if !all_here(&["systemd-analyze"]) {
        return;
    }
    let folder = folder();
    let units: Vec<PathBuf> = (0..)
        .map_while(|number| block("### systemd", number))
        .filter(|block| block.contains("[Unit]"))
        .map(|unit| {
            let (path, rest) = unit.split_once('\n').unwrap();
            let path = folder.path().join(Path::new(path).file_name().unwrap());
            // The program must be there; the one under test is elsewhere.
            let rest = rest.replace("/usr/local/bin/postino", &postino().display().to_string());
            fs::write(&path, rest).unwrap();
            path
        })
        .collect();
    assert_eq!(units.len(), 3);
    for unit in units {
        let (_, shown) = run(bounded("systemd-analyze").arg("verify").arg("--man=no").arg(&unit));
        // The first line is the command; what else names postino is a complaint.
        let complaints = shown.lines().skip(1).filter(|line| line.contains("postino"));
        assert_eq!(complaints.count(), 0, "{shown}");
    }
}

/// `postino serve` as the README runs it, but for the port and the host's name.
fn with_the_defaults(folder: &Path) -> Daemon {
    let mut command = Command::new(postino());
    let flags = ["--listen", "127.0.0.1:0", "--hostname", "mx.example.org"];
    Daemon::start_by(command.current_dir(folder), &flags)
}

/// The lines under the command: what is typed, and the replies.
fn typed_session() -> String {
    let block = block_behind("## A session by hand", 0);
    block.split_once('\n').unwrap().1.to_owned()
}

fn is_reply(line: &str) -> bool {
    line.len() > 3
        && line.bytes().take(3).all(|octet| octet.is_ascii_digit())
        && matches!(line.as_bytes()[3], b' ' | b'-')
}

/// A text in which what differs from run to run is `*`: ids and sessions.
fn pattern(text: &str) -> String {
    let word = |word: &str| {
        if word.starts_with('[') && word.ends_with(']') {
            "[*]".to_owned()
        } else if let Some((mailbox, _)) = word.split_once("/new/") {
            format!("{mailbox}/new/*")
        } else if word.contains(".M") && word.contains('R') {
            "*".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn block_behind(heading: &str, number: usize) -> String {
    block(heading, number).unwrap_or_else(|| panic!("no block {number} under {heading:?}"))
}

/// The `number`th fenced block under a heading of the README.
fn block(heading: &str, number: usize) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).unwrap();
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = text[start + heading.len()..].split("\n## ").next()?;
    let block = section.split("```").skip(1).step_by(2).nth(number)?;
    Some(block.split_once('\n')?.1.to_owned())
}
