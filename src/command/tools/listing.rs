//! Listings on standard output: columns for people, JSON for programs.
//!
//! Lives here: one line after the other, until nobody reads them any more.
//! May not: know what is listed.

use crate::{
    command::{exit::Exit, printed},
    escape,
};
use serde_json::Value;
use std::{
    io::{self, BufWriter, StdoutLock, Write},
    ops::ControlFlow,
};

/// One line's columns: the key that JSON has for each, its value, and the width that
/// it is padded to where people read it, to the left of what is a number.
pub(super) type Columns<'a> = &'a [(&'a str, Value, usize)];

/// A listing that is being printed.
pub(super) struct Listing {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    result: io::Result<()>,
}

impl Listing {
    /// A listing without a line yet.
    pub(super) fn new(json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), json, result: Ok(()) }
    }

    /// Prints a line of columns; breaks off where that is not possible any more.
    pub(super) fn line(&mut self, columns: Columns<'_>) -> ControlFlow<()> {
        if self.json {
            let object = columns.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone()));
            return self.object(&Value::Object(object.collect()));
        }
        let texts: Vec<String> =
            columns.iter().map(|(_, value, width)| padded(value, *width)).collect();
        self.print(texts.join("  ").trim_end())
    }

    /// Prints a line of JSON.
    pub(super) fn object(&mut self, object: &Value) -> ControlFlow<()> {
        self.print(&object.to_string())
    }

    /// Prints a line of text.
    pub(super) fn text(&mut self, text: &str) -> ControlFlow<()> {
        self.print(&escape::visible(text.as_bytes()))
    }

    fn print(&mut self, line: &str) -> ControlFlow<()> {
        if self.result.is_ok() {
            self.result = writeln!(self.out, "{line}");
        }
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Prints what waits; `Err` is how the command ends where that is not possible.
    pub(super) fn finish(mut self) -> Result<(), Exit> {
        printed(self.result.and_then(|()| self.out.flush()))
    }
}

fn padded(value: &Value, width: usize) -> String {
    match value {
        Value::String(text) => format!("{:width$}", escape::visible(text.as_bytes())),
        Value::Null => format!("{:width$}", "-"),
        number => format!("{:>width$}", number.to_string()),
    }
}
