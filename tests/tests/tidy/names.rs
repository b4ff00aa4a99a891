//! One name, one meaning: no two types of the product share a name, unless their modules tell them apart.

use crate::modules::CRATES;
use std::collections::{BTreeMap, BTreeSet};

/// Names that several types may have, and how a reader tells them apart.
const TOLD_APART: [(&str, &[&str]); 2] = [
    (
        "a section of the settings, and what it configures",
        &["Tls"],
    ),
    (
        "private to one file or its folder, which says of what",
        &["Level", "State"],
    ),
];

/// Structs, enums, traits and type aliases with the files that define them, for each name that several files define.
fn shared_names() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // Fuzz models are no product.
    let product = CRATES
        .iter()
        .filter(|(member, _)| *member != "tests" && !member.starts_with("fuzz"));
    for tree in product.flat_map(|(_, trees)| trees) {
        for module in &tree.modules {
            let file = tree.files[module.file].as_str();
            for name in &module.types {
                homes.entry(name).or_default().insert(file);
            }
        }
    }
    homes.retain(|_, files| files.len() > 1);
    homes
}

fn told_apart() -> BTreeSet<&'static str> {
    let names = TOLD_APART.iter().flat_map(|(_, names)| names.iter());
    names.copied().collect()
}

#[test]
fn no_two_types_of_the_product_share_a_name() {
    let allowed = told_apart();
    let found: Vec<String> = shared_names()
        .into_iter()
        .filter(|(name, _)| !allowed.contains(name))
        .map(|(name, files)| {
            let files: Vec<&str> = files.into_iter().collect();
            format!("{name}: {}", files.join(", "))
        })
        .collect();
    crate::none("types that share a name", &found);
}

#[test]
fn the_names_that_types_may_share_are_shared() {
    let shared = shared_names();
    let stale: Vec<String> = told_apart()
        .into_iter()
        .filter(|name| !shared.contains_key(name))
        .map(str::to_owned)
        .collect();
    crate::none("names that need no exception", &stale);
}
