//! The output of `strace -f -y`, as calls with a beginning and an end.
//!
//! Lives here: lines, the calls that others interrupt in the output, arguments,
//! the paths that calls name.
//! May not: know what a delivery is.

use std::path::{Component, Path, PathBuf};

/// One system call that returned.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    arguments: Vec<String>,
    succeeded: bool,
    /// The line on which it began; what ended on an earlier line ended before.
    pub(crate) began: usize,
    /// The line on which it returned.
    pub(crate) ended: usize,
}

impl Call {
    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        self.succeeded && names.contains(&self.name.as_str())
    }

    /// The path behind a descriptor: `7</tmp/x>` is `/tmp/x`.
    pub(crate) fn descriptor_path(&self, index: usize) -> Option<PathBuf> {
        let (_, rest) = self.arguments.get(index)?.split_once('<')?;
        Some(PathBuf::from(rest.rsplit_once('>')?.0))
    }

    /// Whether an argument is a descriptor of a socket.
    pub(crate) fn is_to_socket(&self) -> bool {
        self.descriptor_path(0).is_some_and(|path| {
            let path = path.to_string_lossy().into_owned();
            ["socket:", "TCP", "UNIX"].iter().any(|kind| path.starts_with(kind))
        })
    }

    /// The text of an argument, as strace escapes it.
    pub(crate) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// A path that is an argument by itself.
    fn path(&self, index: usize) -> Option<PathBuf> {
        Some(self.argument(index).strip_prefix('"')?.strip_suffix('"')?.into())
    }

    /// A path behind the directory it is relative to.
    fn path_at(&self, index: usize) -> Option<PathBuf> {
        let path = self.path(index + 1)?;
        let start = if path.is_absolute() { PathBuf::new() } else { self.descriptor_path(index)? };
        Some(path.components().fold(start, |path, component| match component {
            Component::ParentDir => parent(&path),
            component => path.join(component),
        }))
    }

    /// What a call of the mkdir family made.
    pub(crate) fn made_directory(&self) -> Option<PathBuf> {
        match self.name.as_str() {
            _ if !self.succeeded => None,
            "mkdir" => self.path(0),
            "mkdirat" => self.path_at(0),
            _ => None,
        }
    }

    /// From where to where a call of the rename and link families put a name.
    pub(crate) fn renamed(&self) -> Option<(PathBuf, PathBuf)> {
        match self.name.as_str() {
            _ if !self.succeeded => None,
            "rename" | "link" => Some((self.path(0)?, self.path(1)?)),
            "renameat" | "renameat2" | "linkat" => Some((self.path_at(0)?, self.path_at(2)?)),
            _ => None,
        }
    }

    /// The file or directory that a call put on stable storage.
    pub(crate) fn synced(&self) -> Option<PathBuf> {
        self.is_one_of(&["fsync", "fdatasync"]).then(|| self.descriptor_path(0)).flatten()
    }

    /// The file that a call wrote to.
    pub(crate) fn written(&self) -> Option<PathBuf> {
        let writes =
            ["write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"];
        if self.is_one_of(&writes) {
            return self.descriptor_path(0);
        }
        if self.is_one_of(&["copy_file_range", "sendfile", "splice"]) {
            return self.descriptor_path(if self.name == "sendfile" { 0 } else { 2 });
        }
        None
    }
}

/// What `-e trace=` must name for the questions that [`Call`] answers.
pub(crate) const CALLS: &str = "openat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,\
    copy_file_range,sendfile,splice,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2,link,\
    linkat,mkdir,mkdirat";

/// Every call of a trace in which all have returned, by the line of its end.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(&str, usize, String)> = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            unfinished.push((pid, number, head.trim_end().to_owned()));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(place) = unfinished.iter().position(|(who, _, _)| *who == pid) else {
                continue;
            };
            let (_, began, head) = unfinished.remove(place);
            let tail = resumed.split_once(" resumed>").map_or("", |(_, tail)| tail);
            calls.extend(call(&format!("{head}{tail}"), began, number));
        } else {
            calls.extend(call(rest, number, number));
        }
    }
    calls
}

/// `name(arguments) = result`; none for signals and exits.
fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    if !name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_') {
        return None;
    }
    let (arguments, rest) = arguments(rest)?;
    let result = rest.trim_start().strip_prefix("= ")?;
    let succeeded = result.starts_with(|first: char| first.is_ascii_digit());
    Some(Call { name: name.to_owned(), arguments, succeeded, began, ended })
}

/// Splits at the commas that stand in no string, bracket or descriptor's path;
/// gives what is behind the closing parenthesis too.
fn arguments(text: &str) -> Option<(Vec<String>, &str)> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_string, mut in_path, mut escaped) = (0, false, false, false);
    for (index, c) in text.char_indices() {
        let current = arguments.last_mut()?;
        if in_string {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
        } else if in_path {
            // Not the arrow of a connection: `TCP:[a->b]`.
            in_path = c != '>' || current.ends_with('-');
        } else {
            match c {
                '"' => in_string = true,
                // A descriptor's path, not the `<<` of a flag's shift.
                '<' if !current.ends_with(['<', ' ']) => in_path = true,
                '[' | '{' | '(' => depth += 1,
                ')' if depth == 0 => return Some((arguments, &text[index + 1..])),
                ']' | '}' | ')' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                ' ' if current.is_empty() => continue,
                _ => {}
            }
        }
        current.push(c);
    }
    None
}

/// The directory that a path's last name stands in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}
