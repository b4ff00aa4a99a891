//! Finds what a path means: the module that it leads to, or the file that defines the item.

use super::{Crate, Import};

/// The meaning of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A module, by its place in [`Crate::modules`].
    Module(usize),
    /// An item of this file, by its place in [`Crate::files`]; associated items belong to their type.
    Item(usize),
    /// Another crate's, or a local name.
    Outside,
}

/// Which of two meanings a name has: only a module has items below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Item,
    Module,
}

/// The names whose imports are being followed: an import may bring a name that is its own first segment.
type Followed<'a> = Vec<(usize, &'a str)>;

impl Crate {
    /// What `path` means in the module `from`. Imports on the way are followed to the file that defines the item.
    pub fn find(&self, from: usize, path: &[String], wanted: Wanted) -> Found {
        self.walk(from, path, wanted, &mut Vec::new())
    }

    /// What the single name means in the module `of`, if it is there.
    pub fn find_name(&self, of: usize, name: &str, wanted: Wanted) -> Option<Found> {
        self.name(of, name, wanted, &mut Vec::new())
    }

    fn walk<'a>(
        &'a self,
        from: usize,
        path: &'a [String],
        wanted: Wanted,
        followed: &mut Followed<'a>,
    ) -> Found {
        let mut at = Found::Module(from);
        for (place, name) in path.iter().enumerate() {
            let Found::Module(module) = at else {
                break; // an associated item
            };
            let is_last = place + 1 == path.len();
            let wanted = if is_last { wanted } else { Wanted::Module };
            at = match name.as_str() {
                "crate" => Found::Module(0),
                "self" => at,
                "super" => Found::Module(self.modules[module].parent.unwrap_or(0)),
                name => match self.name(module, name, wanted, followed) {
                    Some(found) => found,
                    None if place == 0 => Found::Outside,
                    // A macro that is called there made it.
                    None => Found::Item(self.modules[module].file),
                },
            };
        }
        at
    }

    fn name<'a>(
        &'a self,
        of: usize,
        name: &'a str,
        wanted: Wanted,
        followed: &mut Followed<'a>,
    ) -> Option<Found> {
        let module = &self.modules[of];
        let item = module.items.contains(name);
        let item = item.then_some(Found::Item(module.file));
        let child = module.children.get(name).copied().map(Found::Module);
        let declared = match wanted {
            Wanted::Item => item.or(child),
            Wanted::Module => child.or(item),
        };
        if declared.is_some() || followed.contains(&(of, name)) {
            return declared;
        }
        followed.push((of, name));
        let imported = self.imported(of, name, wanted, followed);
        followed.pop();
        imported
    }

    fn imported<'a>(
        &'a self,
        of: usize,
        name: &'a str,
        wanted: Wanted,
        followed: &mut Followed<'a>,
    ) -> Option<Found> {
        let imports = &self.modules[of].imports;
        let named = |import: &&Import| import.name.as_deref() == Some(name);
        if let Some(import) = imports.iter().find(named) {
            return Some(self.walk(of, &import.path, wanted, followed));
        }
        let globs = imports.iter().filter(|import| import.name.is_none());
        globs.into_iter().find_map(|glob| {
            match self.walk(of, &glob.path, Wanted::Module, followed) {
                Found::Module(module) => self.name(module, name, wanted, followed),
                _ => None,
            }
        })
    }
}
