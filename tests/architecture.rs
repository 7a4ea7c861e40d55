//! The layers of `src/lib.rs`, checked: who names whom, by reading the sources.
//!
//! Lives here: the rules, one table each; `architecture/paths.rs` finds the
//! paths that a source names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "architecture/paths.rs"]
mod paths;

use paths::{NamedPath, named_paths};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Which of the crate's modules each module may name, beside itself.
///
/// `lib` and `main` are not in it: the one declares every module, the other
/// calls `postino::main`.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "command",
        &[
            "config",
            "server",
            "protocol",
            "delivery",
            "users",
            "stores",
            "transaction",
            "reply",
            "escape",
            "log",
            "sys",
        ],
    ),
    (
        "config",
        &[
            "server",
            "protocol",
            "delivery",
            "users",
            "stores",
            "transaction",
            "reply",
            "escape",
            "log",
            "sys",
        ],
    ),
    (
        "server",
        &[
            "protocol",
            "delivery",
            "users",
            "stores",
            "transaction",
            "reply",
            "escape",
            "log",
            "sys",
        ],
    ),
    // These two never name each other: the server carries events one way and
    // replies the other.
    ("protocol", &["transaction", "reply", "escape", "log", "sys"]),
    ("delivery", &["users", "stores", "transaction", "reply", "escape", "log", "sys"]),
    ("users", &["transaction", "reply", "escape", "log", "sys"]),
    ("stores", &["transaction", "reply", "escape", "log", "sys"]),
    ("transaction", &["escape", "log", "sys"]),
    ("reply", &["escape", "log", "sys"]),
    ("log", &["escape", "sys"]),
    ("escape", &[]),
    ("sys", &["escape"]),
];

/// What belongs to some modules alone: a path outside the crate, and who may
/// name it.
const ONLY: &[(&str, &[&str])] =
    &[("mio", &["server"]), ("postino_files", &["delivery", "stores", "command"])];

/// Modules of values and rules, and the sockets, clocks and threads that they
/// must not know.
const PURE: &[&str] = &["protocol", "transaction", "reply", "escape"];
const IMPURE: &[&str] = &[
    "crossbeam_channel",
    "mio",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The one module that names stores.
const NAMES_STORES: &str = "stores";

/// The crates below `backends/` that are no stores, and what each may depend on.
const NO_STORES: &[&str] = &["store", "files"];

#[test]
fn each_layer_names_only_what_stands_lower() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stores: Vec<String> = backends(root)
        .into_iter()
        .filter(|name| !NO_STORES.contains(&name.as_str()))
        .map(|name| format!("postino_{name}"))
        .collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(&root.join("src")) {
        let shown = file.strip_prefix(root).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        seen.extend(module_of(shown).into_iter().next());
        faults.extend(faults_of(shown, &text, &stores));
    }
    for (module, _) in MAY_USE {
        assert!(seen.contains(*module), "the table names {module}, which src does not have");
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn backends_depend_on_store_and_files_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for name in backends(root) {
        let manifest = PathBuf::from("backends").join(&name).join("Cargo.toml");
        let text = fs::read_to_string(root.join(&manifest)).unwrap();
        faults.extend(faults_of_backend(&name, &manifest, &text));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_checker_sees_a_wrong_source() {
    let stores = ["postino_maildir".to_owned()];
    let check = |file: &str, text: &str| faults_of(Path::new(file), text, &stores);

    let wrong = "//! use crate::delivery;\nuse crate::{\n    reply::Reply,\n    delivery::{self, Pool},\n};\n";
    assert_eq!(
        check("src/protocol/session.rs", wrong),
        [
            "src/protocol/session.rs:4: protocol must not name delivery (crate::delivery)",
            "src/protocol/session.rs:4: protocol must not name delivery (crate::delivery::Pool)",
        ]
    );
    for (file, text) in [
        ("src/protocol/session.rs", "fn f() { crate::server::run(); }"),
        ("src/protocol/session.rs", "use super::super::delivery::Pool;"),
        ("src/protocol/mod.rs", "use super::delivery;"),
        ("src/delivery/pool.rs", "use crate::protocol::Session;"),
        ("src/transaction/trace.rs", "use std::time::{Duration, Instant};"),
        ("src/transaction/trace.rs", "fn f() { let _ = std::time::Instant::now(); }"),
        ("src/transaction/trace.rs", "use std::time; fn f() { time::Instant::now(); }"),
        ("src/protocol/session.rs", "use std::{net::{IpAddr, TcpStream}};"),
        ("src/protocol/session.rs", "use std::net::*;"),
        ("src/protocol/session.rs", "fn f() { ::std::thread::spawn(g); }"),
        ("src/delivery/pool.rs", "use mio::Poll;"),
        ("src/delivery/pool.rs", "use postino_maildir::Maildir;"),
        ("src/users/mod.rs", "mod deeper { use super::super::delivery; }"),
        ("src/log.rs", "use crate::{escape, transaction as t};"),
        ("src/new_layer.rs", "use crate::escape;"),
    ] {
        assert!(!check(file, text).is_empty(), "passed: {file}: {text}");
    }
    for (file, text) in [
        ("src/protocol/session.rs", "use super::BareNewlines; use crate::reply::{self, Reply};"),
        ("src/protocol/session.rs", "/* use crate::delivery; */ const A: &str = \"use mio::x;\";"),
        (
            "src/protocol/session.rs",
            "const A: &str = r#\"\" mio::x\"#; const B: char = '\"'; /* \" */",
        ),
        ("src/protocol/session.rs", "fn f<'a>(x: &'a str) -> std::net::IpAddr { g::<u8>(x) }"),
        (
            "src/protocol/session.rs",
            "#[cfg(test)]\nmod tests { use std::time::Instant; }\nuse crate::reply;",
        ),
        ("src/transaction/trace.rs", "use std::time::Duration;"),
        ("src/server/event_loop.rs", "use mio::Poll; use crate::{protocol, delivery};"),
        ("src/stores.rs", "use postino_maildir::Maildir;"),
        ("src/users/mod.rs", "mod deeper { use super::Users; }"),
    ] {
        assert_eq!(check(file, text), [""; 0], "{file}: {text}");
    }
}

#[test]
fn the_checker_sees_a_wrong_manifest() {
    let check = |name: &str, text: &str| faults_of_backend(name, Path::new("Cargo.toml"), text);
    assert_eq!(
        check("maildir", "[dependencies]\nserde = \"1\"\npostino-mbox = { path = \"../mbox\" }\n"),
        ["Cargo.toml:3: backend maildir must not depend on postino-mbox"]
    );
    assert_eq!(check("mbox", "[dev-dependencies.postino]\npath = \"../..\"\n").len(), 1);
    assert_eq!(check("mbox", "[dependencies]\nx = { package = \"postino-sqlite\" }\n").len(), 1);
    assert_eq!(
        check("files", "[dependencies]\npostino-store = { path = \"../store\" }\n").len(),
        1
    );
    assert_eq!(
        check("store", "[dependencies]\npostino-files = { path = \"../files\" }\n").len(),
        1
    );
    assert_eq!(
        check(
            "maildir",
            "[package]\nname = \"postino-maildir\"\n[dependencies]\npostino-store = { path = \"../store\" }\n\
             postino-files = { path = \"../files\" }\n",
        ),
        [""; 0]
    );
}

/// Every rule that a source breaks, as `file:line: rule`.
fn faults_of(file: &Path, text: &str, stores: &[String]) -> Vec<String> {
    let module = module_of(file);
    let here = layer(&module);
    let mut faults = Vec::new();
    let mut fault = |line: usize, rule: String| {
        faults.push(format!("{}:{line}: {rule}", file.display()));
    };
    let known = MAY_USE.iter().find(|(name, _)| *name == here).map(|(_, lower)| *lower);
    if known.is_none() && !matches!(here, "lib" | "main") {
        fault(1, format!("{here} has no line in the table of layers"));
        return faults;
    }
    for NamedPath { path, line } in named_paths(text, &module) {
        let shown = path.join("::");
        let (first, second) = (path[0].as_str(), path.get(1).map(String::as_str));
        if let ("crate", Some(there), Some(lower)) = (first, second, known)
            && MAY_USE.iter().any(|(name, _)| *name == there)
            && there != here
            && !lower.contains(&there)
        {
            fault(line, format!("{here} must not name {there} ({shown})"));
        }
        for (outside, allowed) in ONLY {
            if covers(outside, &path) && !allowed.contains(&here) {
                fault(line, format!("only {} may name {outside} ({shown})", allowed.join(", ")));
            }
        }
        if PURE.contains(&here) && !covers("mio", &path) {
            for outside in IMPURE {
                if covers(outside, &path) || glob_brings(outside, &path) {
                    fault(line, format!("{here} must not know {outside} ({shown})"));
                }
            }
        }
        if stores.iter().any(|store| store == first) && here != NAMES_STORES {
            fault(line, format!("only {NAMES_STORES} names a store ({shown})"));
        }
    }
    faults
}

/// Every dependency of a backend on a part of postino that it may not know.
fn faults_of_backend(name: &str, manifest: &Path, text: &str) -> Vec<String> {
    let allowed: &[&str] =
        if NO_STORES.contains(&name) { &[] } else { &["postino-store", "postino-files"] };
    let mut faults = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut named = Vec::new();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let (table, entry) = section.rsplit_once('.').unwrap_or((section, ""));
            in_dependencies = section.ends_with("dependencies") || table.ends_with("dependencies");
            if table.ends_with("dependencies") {
                named.push(entry);
            }
        } else if in_dependencies && let Some((key, value)) = line.split_once('=') {
            named.push(key.trim().trim_matches('"'));
            named.extend(value.split('"').filter(|word| word.starts_with("postino")));
            // A manifest's own name may be repeated behind `package`.
            named.dedup();
        }
        for dependency in named {
            let own = dependency == "postino" || dependency.starts_with("postino-");
            // A crate's tests may switch its own features on.
            if own && !allowed.contains(&dependency) && dependency != format!("postino-{name}") {
                faults.push(format!(
                    "{}:{}: backend {name} must not depend on {dependency}",
                    manifest.display(),
                    index + 1
                ));
            }
        }
    }
    faults
}

/// Whether `path` is `prefix` or something below it.
fn covers(prefix: &str, path: &[String]) -> bool {
    let mut parts = path.iter();
    prefix.split("::").all(|part| parts.next().is_some_and(|named| named == part))
}

/// Whether `path` is a glob, or a module by itself, that brings `outside` within
/// reach unseen: `std::net::*`, `use std::time`.
fn glob_brings(outside: &str, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    last == "*" && outside.starts_with(&format!("{}::", parents.join("::")))
}

/// `src/protocol/session.rs` is `[protocol, session]`, `src/log.rs` is `[log]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

fn layer(module: &[String]) -> &str {
    module.first().map_or("", String::as_str)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {}", folder.display());
    found
}

fn backends(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root.join("backends"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.iter().any(|name| name == "store"), "backends/store is not there: {names:?}");
    names
}
