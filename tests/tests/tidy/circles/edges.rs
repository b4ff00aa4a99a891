//! Which file needs which, and by which paths.

use crate::modules::{Crate, Found, Import, Module, Path, Wanted};
use std::collections::{BTreeMap, BTreeSet};

/// The paths by which one file needs another, by their places in [`Crate::files`].
#[derive(Debug, Default)]
pub struct Edges(BTreeMap<(usize, usize), BTreeSet<String>>);

impl Edges {
    /// All edges of a crate. `mod` and `pub use` lines are none: they only say what others may name.
    pub fn between_files(tree: &Crate) -> Edges {
        let mut edges = Edges::default();
        for (at, module) in tree.modules.iter().enumerate() {
            let paths = module.paths.iter();
            for path in paths.filter(|path| leads_away(tree, at, path)) {
                edges.add(tree, module, tree.find(at, path, Wanted::Item), path);
            }
            for import in module.imports.iter().filter(|import| !import.is_reexport) {
                edges.add_import(tree, at, import);
            }
        }
        edges
    }

    fn add_import(&mut self, tree: &Crate, at: usize, import: &Import) {
        let module = &tree.modules[at];
        let Some(name) = &import.name else {
            return self.add_glob(tree, at, import);
        };
        // One `use` can bring a function and a module; only what the code uses counts.
        let paths = module.paths.iter();
        let (alone, longer): (Vec<&Path>, Vec<&Path>) = paths
            .filter(|path| path[0] == *name)
            .partition(|path| path.len() == 1);
        if !longer.is_empty() {
            let found = tree.find(at, &import.path, Wanted::Module);
            self.add(tree, module, found, &import.path);
        }
        if !alone.is_empty() || longer.is_empty() {
            let found = tree.find(at, &import.path, Wanted::Item);
            self.add(tree, module, found, &import.path);
        }
    }

    /// A glob brings the names that the module's code has and the module does not define itself.
    fn add_glob(&mut self, tree: &Crate, at: usize, glob: &Import) {
        let module = &tree.modules[at];
        let from = match tree.find(at, &glob.path, Wanted::Module) {
            Found::Module(from) => from,
            found => return self.add(tree, module, found, &glob.path),
        };
        let names: BTreeSet<&String> = module.paths.iter().map(|path| &path[0]).collect();
        for name in names.into_iter().filter(|name| !module.has(name)) {
            if let Some(found) = tree.find_name(from, name, Wanted::Item) {
                let path = [&glob.path[..], std::slice::from_ref(name)].concat();
                self.add(tree, module, found, &path);
            }
        }
    }

    fn add(&mut self, tree: &Crate, module: &Module, found: Found, path: &[String]) {
        let file = match found {
            Found::Module(module) => tree.modules[module].file,
            Found::Item(file) => file,
            Found::Outside => return,
        };
        if file != module.file {
            let paths = self.0.entry((module.file, file)).or_default();
            paths.insert(path.join("::"));
        }
    }

    pub fn pairs(&self) -> Vec<(usize, usize)> {
        self.0.keys().copied().collect()
    }

    /// `file -> file: path, path` for each edge between these files.
    pub fn within(&self, tree: &Crate, files: &[usize]) -> Vec<String> {
        let edges = self.0.iter();
        let edges = edges.filter(|((from, to), _)| files.contains(from) && files.contains(to));
        let mut lines: Vec<String> = edges
            .map(|((from, to), paths)| {
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                let (from, to) = (&tree.files[*from], &tree.files[*to]);
                format!("{from} -> {to}: {}", paths.join(", "))
            })
            .collect();
        lines.sort();
        lines
    }
}

/// Whether a path in code starts at a module: `super::x`, `child::x`. For `Type::x` the `use` line of `Type` counts.
fn leads_away(tree: &Crate, at: usize, path: &[String]) -> bool {
    let first = tree.find(at, &path[..1], Wanted::Module);
    path.len() > 1 && matches!(first, Found::Module(_))
}
