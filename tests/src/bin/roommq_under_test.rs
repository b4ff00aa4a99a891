//! The binary that the tests start: cargo gives a test only its own package's.

use std::process::ExitCode;

fn main() -> ExitCode {
    roommq::run(std::env::args_os())
}
