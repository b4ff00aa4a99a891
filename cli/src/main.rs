//! The one binary. All that it does is in the library, where tests reach it.

use std::process::ExitCode;

/// Sessions, keepers and connection tasks free what other threads allocated, all day long. glibc keeps such
/// memory in the arena of the thread that allocated it, and a server's resident size grows; mimalloc
/// hands it back to where it came from.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    roommq::run(std::env::args_os())
}
