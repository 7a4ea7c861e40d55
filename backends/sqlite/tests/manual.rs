//! postino-sqlite(5) says what the schema is, and its examples work.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    HEADER, Place, assert_whole, deliver_prepared, foreign, mailbox, number, octets, spooled,
};
use postino_store::IfNoFolder;
use rusqlite::Connection;

const ID_IN_MANUAL: &str = "1795515020809269R806be9ba17adad43";

fn manual() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/postino-sqlite.5");
    std::fs::read_to_string(path).unwrap()
}

/// The literal blocks, with mdoc's escapes undone.
fn examples(manual: &str) -> Vec<String> {
    manual
        .split(".Bd -literal -offset indent\n")
        .skip(1)
        .map(|rest| rest.split_once(".Ed\n").unwrap().0.replace("\\e", "\\"))
        .collect()
}

fn texts(database: &Connection, query: &str) -> Vec<String> {
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn every_object_and_column_is_documented() {
    let place = Place::new();
    let _store = place.open();
    let database = foreign(&place.path());
    let manual = manual();
    let tables = texts(
        &database,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    );
    assert_eq!(tables.len(), 4);
    for table in tables {
        let section = manual.split_once(&format!(".Ss Table {table}\n"));
        let section = section.unwrap_or_else(|| panic!("{table} is not documented")).1;
        let section = section.split_once(".El\n").unwrap().0;
        let columns = texts(&database, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let documented: Vec<_> =
            section.lines().filter_map(|line| line.strip_prefix(".It Li ")).collect();
        assert_eq!(documented, columns, "{table}");
    }
    for name in
        texts(&database, "SELECT name FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL")
    {
        assert!(
            manual.contains(&format!(".Li {name}")) || manual.contains(&format!("\n.Li {name} "))
        );
    }
    for mark in ["application_id", "user_version"] {
        let value = number(&database, &format!("PRAGMA {mark}"));
        let (_, item) = manual.split_once(&format!(".It Li {mark}\n")).unwrap();
        assert!(item.starts_with(&value.to_string()), "{mark} is {value}");
    }
}

#[test]
fn every_example_works() {
    let place = Place::new();
    let store = place.open();
    let body = octets(1, 300_000);
    let alice = || mailbox("alice@example.org");
    let id = deliver_prepared(&store, alice(), spooled(body.clone())).unwrap();
    deliver_prepared(&store, alice(), spooled(octets(2, 100))).unwrap();
    let lists = alice().in_folder("Lists/2026", IfNoFolder::Create).unwrap();
    deliver_prepared(&store, lists, spooled(octets(3, 100))).unwrap();
    let database = foreign(&place.path());
    let mut read = Vec::new();
    let mut done = 0;
    for example in examples(&manual()) {
        if example.starts_with("import ") {
            continue; // SQL within it is that of the example before.
        }
        for statement in example.replace(ID_IN_MANUAL, id.as_str()).split_inclusive(";\n") {
            let mut prepared = database.prepare(statement).unwrap();
            let columns = prepared.column_count();
            let mut rows = prepared.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    if let rusqlite::types::ValueRef::Blob(octets) = row.get_ref(column).unwrap() {
                        read.extend_from_slice(octets);
                    }
                }
            }
            done += 1;
        }
    }
    assert_eq!(done, 12);
    assert!(read == [HEADER, &body].concat(), "the message is not as it was sent");
    assert_eq!(number(&database, "SELECT count(*) FROM messages"), 0);
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 0);
    assert_whole(&place.path());
}

#[test]
fn the_example_in_python_gives_the_message() {
    if !common::has("python3") {
        return;
    }
    let place = Place::new();
    let store = place.open();
    for count in [100, 300_000] {
        let body = octets(count, usize::try_from(count).unwrap());
        let id = deliver_prepared(&store, mailbox("a@d"), spooled(body.clone())).unwrap();
        let examples = examples(&manual());
        let script = examples.iter().find(|example| example.starts_with("import ")).unwrap();
        let script = script.replace("/var/lib/postino/mail.db", place.path().to_str().unwrap());
        let output = std::process::Command::new("python3")
            .args(["-c", &script, id.as_str()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == [HEADER, &body].concat(), "{count} octets");
    }
}
