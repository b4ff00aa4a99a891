//! The binary. Its code is in the library, so that tests can use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    roommq::run(std::env::args_os())
}
