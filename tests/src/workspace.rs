//! The project's own files, as the tidy test reads them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the project.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the top of the workspace, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Whether all of it is test code: a file of the tests' crate, or a module that exists in tests only.
    pub is_test: bool,
}

/// The top of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above this crate")
        .to_owned()
}

/// All files that git tracks or would track, as far as they are UTF-8.
pub fn files() -> Vec<Source> {
    let listing = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(listing.status.success(), "{listing:?}");
    let files: Vec<Source> = String::from_utf8(listing.stdout)
        .expect("paths are UTF-8")
        .split_terminator('\0')
        .filter_map(|path| {
            // A file that was deleted and is still in the index is none.
            let text = std::fs::read(root().join(path)).ok()?;
            Some(Source {
                path: path.to_owned(),
                text: String::from_utf8(text).ok()?,
                is_test: path.starts_with("tests/") || path.contains("/tests/"),
            })
        })
        .collect();
    assert!(files.len() > 10, "the listing is not whole");
    files
}

/// The files of Rust code.
pub fn rust_files() -> Vec<Source> {
    let mut all = files();
    all.retain(|file| has_extension(&file.path, "rs"));
    let modules: Vec<String> = all.iter().flat_map(test_modules).collect();
    for file in &mut all {
        // A test module's own modules have these names.
        file.is_test |= file.path.ends_with("_tests.rs");
        file.is_test |= modules.iter().any(|module| {
            let rest = file.path.strip_prefix(module);
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
    all
}

/// The modules, as paths without `.rs`, that a file declares for tests only.
fn test_modules(file: &Source) -> Vec<String> {
    let path = Path::new(&file.path);
    let directory = path.parent().expect("a file is in a directory");
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let below = match stem {
        Some("mod" | "lib" | "main") | None => directory.to_owned(),
        Some(stem) => directory.join(stem),
    };
    let mut found = Vec::new();
    let mut lines = file.text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let mut place = None;
        for line in lines.by_ref() {
            if let Some(named) = line.strip_prefix("#[path = \"") {
                place = named
                    .strip_suffix(".rs\"]")
                    .map(|name| directory.join(name));
            } else if !line.starts_with('#') {
                let words: Vec<&str> = line.trim_end_matches(';').split(' ').collect();
                if let (true, [.., "mod", name]) = (line.ends_with(';'), &words[..]) {
                    let module = place.unwrap_or_else(|| below.join(name));
                    found.push(module.to_string_lossy().into_owned());
                }
                break;
            }
        }
    }
    found
}

/// Whether a file is of this kind.
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == extension)
}

impl Source {
    /// Numbered lines of code: no comments, and no test module, which by custom is the end of a file.
    pub fn code(&self) -> Vec<(usize, &str)> {
        if self.is_test {
            return Vec::new();
        }
        let lines = self.uncommented();
        let tests = lines
            .windows(2)
            .position(|pair| {
                let module = pair[1].1.trim().ends_with('{') && pair[1].1.contains("mod ");
                pair[0].1.trim() == "#[cfg(test)]" && module
            })
            .unwrap_or(lines.len());
        lines[..tests].to_vec()
    }

    /// Numbered lines without comments, test code as well.
    pub fn uncommented(&self) -> Vec<(usize, &str)> {
        (1..)
            .zip(self.text.lines())
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number, line.split(" // ").next().unwrap_or(line)))
            .collect()
    }

    /// `path:line: text` of each of `lines` that contains one of `words`.
    pub fn naming(&self, lines: &[(usize, &str)], words: &[&str]) -> Vec<String> {
        lines
            .iter()
            .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
            .map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}
