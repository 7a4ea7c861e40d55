//! The program: parse the command line, run one command, say how it ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    postino::main()
}
