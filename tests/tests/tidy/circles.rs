//! No file needs another file that needs it. Files in a circle can only be read, tested and moved together.

mod components;
mod edges;
mod tests;

use crate::modules::{CRATES, Crate};
use edges::Edges;
use roommq_tests::workspace::rust_files;
use std::collections::BTreeSet;

/// Files of one crate that need each other, and each edge between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Circle {
    files: Vec<String>,
    edges: Vec<String>,
}

impl Circle {
    fn report(&self) -> String {
        let files = self.files.len();
        format!("a circle of {files} files:\n  {}", self.edges.join("\n  "))
    }
}

fn circles(tree: &Crate) -> Vec<Circle> {
    let edges = Edges::between_files(tree);
    let components = components::strongly_connected(tree.files.len(), &edges.pairs());
    let circles = components.iter().map(|component| {
        let files = component.iter().map(|file| tree.files[*file].clone());
        let mut files: Vec<String> = files.collect();
        files.sort();
        Circle {
            files,
            edges: edges.within(tree, component),
        }
    });
    circles.collect()
}

fn all_circles() -> Vec<Circle> {
    CRATES.values().flatten().flat_map(circles).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found: Vec<String> = all_circles().iter().map(Circle::report).collect();
    crate::none("import circles between files", &found);
}

/// Otherwise circles through a file that no module tree reaches would be missed.
#[test]
fn every_source_file_is_a_module_or_a_test() {
    let trees = CRATES.values().flatten();
    let read: BTreeSet<&String> = trees.flat_map(|tree| &tree.files).collect();
    let is_source = |path: &str| {
        let mut members = CRATES.keys();
        members.any(|member| path.starts_with(&format!("{member}/src/")))
    };
    let lost: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| !file.is_test && is_source(&file.path) && !read.contains(&file.path))
        .map(|file| file.path)
        .collect();
    crate::none("files that no module declares", &lost);
}
