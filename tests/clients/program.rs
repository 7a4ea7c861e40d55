//! Programs that are not postino's.
//!
//! Lives here: whether they are here, running one to its end within a bound.

use std::{
    env,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Seconds after which a client is ended, which fails its test.
const SECONDS_MAX: &str = "60";

/// Whether all of these are installed. Where one is missing the test is to
/// return: it says so on standard error, past the runner's capture. Under
/// `CI=true` it fails instead, so that nothing goes untested unseen.
pub(crate) fn all_here(programs: &[&str]) -> bool {
    nothing_missing(
        programs.iter().find(|name| !is_here(name)).map(|name| format!("{name} is missing")),
    )
}

/// The same for the right to start daemons of other users.
pub(crate) fn are_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    nothing_missing((!root).then(|| "it must run as root".to_owned()))
}

/// The same for anything else that a test needs; says whether nothing is missing.
pub(crate) fn nothing_missing(what: Option<String>) -> bool {
    let Some(what) = what else { return true };
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{test}: {what}");
    // Not `eprintln!`, which the test runner keeps to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {what}");
    false
}

fn is_here(name: &str) -> bool {
    // Daemons are in places that an ordinary user's PATH leaves out.
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
    name.starts_with('/') && Path::new(name).exists()
        || env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// A command that is ended, with all it started, when it takes too long.
pub(crate) fn bounded(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", SECONDS_MAX]).arg(program).env("PATH", path);
    command
}

/// Runs to the end; gives what it printed on both outputs, for messages.
pub(crate) fn run(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.clone(), shown(command, &output))
}

/// Runs to the end with `input` on standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> (Output, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The inputs of these tests fit into a pipe; a client that is gone is told
    // by its output.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (output.clone(), shown(command, &output))
}

/// Runs to the end and fails unless it exits 0.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let (output, shown) = run(command);
    assert!(output.status.success(), "{shown}");
    output
}

fn shown(command: &Command, output: &Output) -> String {
    format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
