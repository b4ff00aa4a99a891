//! The one binary. All that it does is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    roommq::run(std::env::args_os())
}
