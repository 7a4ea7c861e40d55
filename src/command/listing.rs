//! Listings on standard output: columns for people, JSON for programs.
//!
//! Lives here: one line after the other, until nobody reads them any more.
//! May not: know what is listed.

use super::{exit::Exit, printed};
use crate::escape;
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

    /// Prints a line; breaks off where that is not possible any more.
    pub(super) fn line(&mut self, columns: Columns<'_>) -> ControlFlow<()> {
        let written = if self.json {
            let object = columns.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone()));
            writeln!(self.out, "{}", Value::Object(object.collect()))
        } else {
            let texts: Vec<String> =
                columns.iter().map(|(_, value, width)| text(value, *width)).collect();
            writeln!(self.out, "{}", texts.join("  ").trim_end())
        };
        self.result = written;
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Prints what waits; says how the command ends.
    pub(super) fn finish(mut self) -> Exit {
        printed(self.result.and_then(|()| self.out.flush()))
    }
}

fn text(value: &Value, width: usize) -> String {
    match value {
        Value::String(text) => format!("{:width$}", escape::visible(text.as_bytes())),
        Value::Null => format!("{:width$}", "-"),
        number => format!("{number:>width$}"),
    }
}
