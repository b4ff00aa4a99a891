//! The modules of a crate as its `mod` lines declare them: what each defines, imports and names.
//! Code that exists in tests only is left out.

mod lookup;
mod reader;
mod tokens;

use roommq_tests::workspace::{root, rust_files};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

pub use lookup::{Found, Wanted};

/// The segments of a path, without generic arguments.
pub type Path = Vec<String>;

/// The text of each Rust file, by its path from the top of the workspace.
pub type Sources = BTreeMap<String, String>;

/// A crate's files and modules. The first module is the crate's root.
#[derive(Debug, Default)]
pub struct Crate {
    pub files: Vec<String>,
    pub modules: Vec<Module>,
}

/// A module: a file of its own, or a part of one.
#[derive(Debug, Default)]
pub struct Module {
    /// Its place in [`Crate::files`].
    pub file: usize,
    /// Structs, enums, unions, traits and type aliases that it defines.
    pub types: BTreeSet<String>,
    /// `use` lines, one for each name that they bring.
    pub imports: Vec<Import>,
    /// Paths in its code, `use` lines aside. Most are local names of one segment.
    pub paths: BTreeSet<Path>,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
}

/// One name, or one glob, of a `use` line.
#[derive(Debug)]
pub struct Import {
    pub path: Path,
    /// The name that it has here; none for a glob.
    pub name: Option<String>,
    /// `pub use`, or with a visibility that reaches beyond the module.
    pub is_reexport: bool,
}

/// A file that a `mod` line declares, and that is still to be read.
#[derive(Debug)]
struct Declared {
    module: usize,
    file: String,
    /// Its child modules lie here.
    below: String,
}

impl Crate {
    /// Reads the crate whose root (`lib.rs`, `main.rs`) is the file `root`.
    ///
    /// # Panics
    ///
    /// If a file does not parse, or if a declared module has no file.
    pub fn read(root: &str, sources: &Sources) -> Crate {
        let mut tree = Crate::default();
        let mut waiting = vec![Declared {
            module: tree.add(Module::default()),
            file: root.to_owned(),
            below: directory(root).to_owned(),
        }];
        while let Some(declared) = waiting.pop() {
            let text = &sources[&declared.file];
            let syntax = syn::parse_file(text);
            let syntax = syntax.unwrap_or_else(|e| panic!("{}: {e}", declared.file));
            tree.modules[declared.module].file = tree.files.len();
            tree.files.push(declared.file.clone());
            waiting.extend(reader::read(&mut tree, sources, &declared, &syntax));
        }
        tree
    }

    fn add(&mut self, module: Module) -> usize {
        self.modules.push(module);
        self.modules.len() - 1
    }
}

/// The crates of each member of the workspace, by its directory: the library, and the programs in `main.rs` and `bin`.
pub static CRATES: LazyLock<BTreeMap<String, Vec<Crate>>> = LazyLock::new(|| {
    let sources: Sources = rust_files()
        .into_iter()
        .map(|file| (file.path, file.text))
        .collect();
    members()
        .into_iter()
        .map(|member| {
            let bins = format!("{member}/src/bin/");
            let roots = ["lib", "main"].map(|root| format!("{member}/src/{root}.rs"));
            let roots = sources
                .keys()
                .filter(|path| roots.contains(path) || path.starts_with(&bins))
                .map(|path| Crate::read(path, &sources));
            let trees: Vec<Crate> = roots.collect();
            assert!(!trees.is_empty(), "{member} has no crate");
            (member, trees)
        })
        .collect()
});

/// The directories of the workspace's packages.
pub fn members() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let members = members.iter().map(|member| member.as_str().unwrap());
    members.map(str::to_owned).collect()
}

fn directory(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Module {
    /// Whether the module itself defines, declares or imports the name.
    pub fn has(&self, name: &str) -> bool {
        let imported = self
            .imports
            .iter()
            .any(|import| import.name.as_deref() == Some(name));
        imported || self.items.contains(name) || self.children.contains_key(name)
    }
}
