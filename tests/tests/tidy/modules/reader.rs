//! Reads one file of a crate: which modules it declares, and what each defines, imports and names.

use super::{Crate, Declared, Import, Module, Path, Sources, directory, tokens};
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Lit, Meta, Stmt, Token, TraitItem, UseTree, Visibility};

/// The files that the file declares.
pub fn read(
    tree: &mut Crate,
    sources: &Sources,
    declared: &Declared,
    syntax: &syn::File,
) -> Vec<Declared> {
    let mut reader = Reader {
        tree,
        sources,
        file: &declared.file,
        module: declared.module,
        below: declared.below.clone(),
        blocks: 0,
        declared: Vec::new(),
    };
    reader.visit_file(syntax);
    reader.declared
}

struct Reader<'a> {
    tree: &'a mut Crate,
    sources: &'a Sources,
    file: &'a str,
    /// The module that is being read, and where its child modules lie.
    module: usize,
    below: String,
    /// How many blocks deep we are: an item in a function is no item of the module.
    blocks: usize,
    declared: Vec<Declared>,
}

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn define(&mut self, item: &Item) {
        let (ident, is_type) = match item {
            Item::Enum(item) => (&item.ident, true),
            Item::Struct(item) => (&item.ident, true),
            Item::Trait(item) => (&item.ident, true),
            Item::TraitAlias(item) => (&item.ident, true),
            Item::Type(item) => (&item.ident, true),
            Item::Union(item) => (&item.ident, true),
            Item::Const(item) => (&item.ident, false),
            Item::Fn(item) => (&item.sig.ident, false),
            Item::Static(item) => (&item.ident, false),
            Item::Macro(item) => match &item.ident {
                Some(ident) => (ident, false),
                None => return,
            },
            _ => return,
        };
        let name = ident.unraw().to_string();
        if is_type {
            self.here().types.insert(name.clone());
        }
        self.here().items.insert(name);
    }

    fn module(&mut self, item: &syn::ItemMod) {
        let name = item.ident.unraw().to_string();
        let child = self.tree.add(Module {
            file: self.tree.modules[self.module].file,
            parent: Some(self.module),
            ..Module::default()
        });
        self.here().children.insert(name.clone(), child);
        let below = join(&self.below, &name);
        if let Some((_, items)) = &item.content {
            let parent = std::mem::replace(&mut self.module, child);
            let above = std::mem::replace(&mut self.below, below);
            for item in items {
                self.visit_item(item);
            }
            self.module = parent;
            self.below = above;
        } else {
            let (file, below) = self.place(item, below);
            self.declared.push(Declared {
                module: child,
                file,
                below,
            });
        }
    }

    /// The file of a declared module, and where its own child modules lie.
    fn place(&self, item: &syn::ItemMod, below: String) -> (String, String) {
        if let Some(path) = item.attrs.iter().find_map(path_attribute) {
            let file = join(directory(self.file), &path);
            let below = directory(&file).to_owned();
            return (file, below);
        }
        let places = [format!("{below}.rs"), format!("{below}/mod.rs")];
        let found = places.iter().find(|file| self.sources.contains_key(*file));
        let file = found.unwrap_or_else(|| panic!("{}: {places:?} do not exist", self.file));
        (file.clone(), below)
    }

    fn import(&mut self, item: &syn::ItemUse) {
        if item.leading_colon.is_none() {
            let mut imports = Vec::new();
            flatten(&item.tree, &[], reaches_beyond(&item.vis), &mut imports);
            self.here().imports.append(&mut imports);
        }
    }

    fn name(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            let path = segments.map(|segment| segment.ident.unraw().to_string());
            let path = path.collect();
            self.here().paths.insert(path);
        }
    }

    /// Paths in strings, as serde's attributes take them.
    fn name_quoted(&mut self, tokens: &TokenStream) {
        for token in tokens.clone() {
            match token {
                TokenTree::Group(group) => self.name_quoted(&group.stream()),
                TokenTree::Literal(literal) => {
                    let Lit::Str(text) = Lit::new(literal) else {
                        continue;
                    };
                    if let Ok(path) = text.parse::<syn::Path>() {
                        self.name(&path);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        if self.blocks == 0 {
            self.define(item);
        }
        match item {
            Item::Mod(item) => self.module(item),
            Item::Use(item) => self.import(item),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => return visit::visit_trait_item(self, item),
        };
        if !is_test_only(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_test_only(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !is_test_only(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes: &[Attribute] = match statement {
            Stmt::Local(local) => &local.attrs,
            Stmt::Macro(call) => &call.attrs,
            Stmt::Expr(syn::Expr::Block(block), _) => &block.attrs,
            _ => &[],
        };
        if !is_test_only(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path);
        visit::visit_path(self, path);
    }

    /// Code in a macro's call or definition, and what attributes are given.
    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        let paths = tokens::paths(tokens);
        self.here().paths.extend(paths);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.name_quoted(&list.tokens);
        }
        visit::visit_attribute(self, attribute);
    }

    /// `pub(in crate::above)` depends on nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn flatten(tree: &UseTree, above: &[String], is_reexport: bool, found: &mut Vec<Import>) {
    let mut path: Path = above.to_vec();
    let name = match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.unraw().to_string());
            return flatten(&tree.tree, &path, is_reexport, found);
        }
        UseTree::Group(group) => {
            let trees = group.items.iter();
            return trees.for_each(|tree| flatten(tree, above, is_reexport, found));
        }
        UseTree::Glob(_) => None,
        UseTree::Name(tree) => {
            push(&mut path, &tree.ident);
            path.last().cloned()
        }
        UseTree::Rename(tree) => {
            push(&mut path, &tree.ident);
            Some(tree.rename.unraw().to_string())
        }
    };
    found.push(Import {
        path,
        name,
        is_reexport,
    });
}

/// `self` in a group is what stands before the group.
fn push(path: &mut Path, ident: &syn::Ident) {
    if path.is_empty() || ident != "self" {
        path.push(ident.unraw().to_string());
    }
}

fn reaches_beyond(visibility: &Visibility) -> bool {
    match visibility {
        Visibility::Public(_) => true,
        Visibility::Restricted(restricted) => !restricted.path.is_ident("self"),
        Visibility::Inherited => false,
    }
}

fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is = |name: &str| attribute.path().is_ident(name);
        is("test")
            || is("cfg")
                && attribute
                    .parse_args()
                    .is_ok_and(|meta| asks_for_test(&meta))
    })
}

/// Whether the condition holds in tests only.
fn asks_for_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let mut parts = parts.iter().flatten();
    match list.path.require_ident() {
        Ok(name) if name == "all" => parts.any(asks_for_test),
        Ok(name) if name == "any" => parts.all(asks_for_test),
        _ => false,
    }
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        syn::Expr::Lit(value) if pair.path.is_ident("path") => match &value.lit {
            Lit::Str(path) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}
