//! The corpora in the repository, through the same functions as when they were found.

use std::path::{Path, PathBuf};

/// Files under `fuzz/<kind>/<target>`.
fn files(kind: &str, target: &str) -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Ok(entries) = std::fs::read_dir(top.join(kind).join(target)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn replay(target: &str, run: impl Fn(&[u8])) {
    let mut all = files("corpus", target);
    assert!(!all.is_empty(), "fuzz/corpus/{target} is empty");
    all.extend(files("regressions", target));
    for file in all {
        // Shown where one fails.
        println!("{}", file.display());
        let bytes = std::fs::read(&file);
        run(&bytes.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
}

#[test]
fn packets() {
    replay("packets", super::packets);
}

#[test]
fn filters() {
    replay("filters", super::filters);
}

#[test]
fn session() {
    replay("session", super::session);
}
