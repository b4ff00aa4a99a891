//! The analysis on crates of a few lines.

use super::circles;
use crate::modules::Crate;

/// The edges of the circles of a crate with these files under its `src`.
fn edges_in_circles(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter();
    let sources = files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    let tree = Crate::read("lib.rs", &sources.collect());
    circles(&tree)
        .into_iter()
        .flat_map(|circle| circle.edges)
        .collect()
}

#[test]
fn two_files() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "pub struct B; fn f(_: &super::a::A, _: crate::a::A) {}",
        ),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b.rs: crate::b::B",
            "b.rs -> a.rs: crate::a::A, super::a::A"
        ]
    );
}

#[test]
fn three_files_and_one_beside_them() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; use crate::d::D; pub struct A;"),
        ("b.rs", "pub struct B(super::c::C);"),
        ("c.rs", "pub struct C(crate::a::A);"),
        ("d.rs", "pub struct D;"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b.rs: crate::b::B",
            "b.rs -> c.rs: super::c::C",
            "c.rs -> a.rs: crate::a::A"
        ]
    );
}

#[test]
fn one_way_is_no_circle() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; pub use a::A; fn f() { b::g() }"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::a::A; pub fn g() {}"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_reexport_is_followed_to_the_file_that_defines() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; pub use b::Renamed as B;"),
        ("a.rs", "use crate::B; pub struct A;"),
        ("b/mod.rs", "mod inner; pub(crate) use inner::*;"),
        ("b/inner.rs", "pub struct Renamed(crate::a::A);"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b/inner.rs: crate::B",
            "b/inner.rs -> a.rs: crate::a::A"
        ]
    );
}

#[test]
fn a_parent_with_items_of_its_own() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod child; pub const X: u8 = child::one();"),
        ("a/child.rs", "pub fn one() -> u8 { super::X }"),
    ]);
    assert_eq!(
        found,
        [
            "a/child.rs -> a/mod.rs: super::X",
            "a/mod.rs -> a/child.rs: child::one"
        ]
    );
}

#[test]
fn a_parent_that_only_imports() {
    // `super::B` is b's, whatever line brings it into the parent.
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a/mod.rs",
            "mod child; use crate::b::B; fn f() { child::one() }",
        ),
        ("a/child.rs", "pub fn one() { super::B::new() }"),
        ("b.rs", "pub struct B(crate::a::child::C);"),
    ]);
    assert_eq!(
        found,
        [
            "a/child.rs -> b.rs: super::B::new",
            "b.rs -> a/child.rs: crate::a::child::C"
        ]
    );
}

#[test]
fn nested_groups_are_taken_apart() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "use crate::{b::{self, inner::{X as Y, Z}}}; fn f() { b::g() } pub struct A;",
        ),
        (
            "b.rs",
            "pub mod inner { pub struct X; pub struct Z(super::super::a::A); } pub fn g() {}",
        ),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b.rs: b::g, crate::b, crate::b::inner::X, crate::b::inner::Z",
            "b.rs -> a.rs: super::super::a::A"
        ]
    );
}

#[test]
fn macros_are_looked_into() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        (
            "a.rs",
            "pub struct A; fn f() { assert!(matches!(x, Some(crate::b::B::One)), \"{}\", 1); }",
        ),
        (
            "b.rs",
            "macro_rules! m { ($x:ident) => { use $crate::{c::{C, D as E}}; ::a::b(super::$x) } }",
        ),
        (
            "c.rs",
            "#[arg(value_parser = crate::a::parse)] pub struct C;",
        ),
    ]);
    assert_eq!(
        found,
        [
            "a.rs -> b.rs: crate::b::B::One",
            "b.rs -> c.rs: crate::c::C, crate::c::D",
            "c.rs -> a.rs: crate::a::parse"
        ]
    );
}

#[test]
fn attributes_may_quote_a_path() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "struct A { #[serde(with = \"crate::b::text\")] x: u8 } ",
        ),
        ("b.rs", "use super::a::A;"),
    ]);
    assert_eq!(
        found,
        ["a.rs -> b.rs: crate::b::text", "b.rs -> a.rs: super::a::A"]
    );
}

#[test]
fn tests_are_left_out() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod not_there;"),
        (
            "a.rs",
            "pub struct A { #[cfg(test)] b: crate::b::B }
             #[cfg(test)] use crate::b::B;
             #[cfg(all(test, unix))] fn f(_: crate::b::B) {}
             impl A {
                 #[cfg(test)] fn g(_: crate::b::B) {}
                 fn h() { #[cfg(test)] let x = crate::b::B; }
             }
             #[cfg(test)] mod tests { use super::super::b::B; }",
        ),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_is_also_there_outside_tests_counts() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "#[cfg(any(test, feature = \"x\"))] use crate::b::B; pub struct A;",
        ),
        ("b.rs", "#[cfg(not(test))] use crate::a::A; pub struct B;"),
    ]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn mod_and_pub_use_lines_are_no_edges() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod one; mod two; mod three;
             pub use one::One; pub(crate) use two::Two; pub(super) use self::three::Three;
             pub struct A;",
        ),
        ("a/one.rs", "pub struct One(super::A);"),
        ("a/two.rs", "pub struct Two(super::A);"),
        (
            "a/three.rs",
            "pub(in crate::a::two) struct Three(super::A);",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_use_for_the_module_itself_is_an_edge() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod one; pub(self) use one::One; pub struct A(One);",
        ),
        ("a/one.rs", "pub struct One(super::A);"),
    ]);
    assert_eq!(
        found,
        [
            "a/mod.rs -> a/one.rs: one::One",
            "a/one.rs -> a/mod.rs: super::A"
        ]
    );
}

#[test]
fn globs_bring_what_the_code_names() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::*; struct A(B); pub struct C;"),
        ("b.rs", "pub struct B(super::a::A); pub use super::c::*;"),
        // Brought along, and not named by `a`, which has a C of its own.
        ("c.rs", "pub struct C(super::a::A);"),
    ]);
    assert_eq!(
        found,
        ["a.rs -> b.rs: crate::b::B", "b.rs -> a.rs: super::a::A"]
    );
}

#[test]
fn a_module_and_a_function_of_one_name() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod b; fn a() { b::f() }"),
        ("a.rs", "pub fn g() { super::b::f() }"),
        ("b.rs", "use super::a; pub fn f() { a::g() }"),
    ]);
    assert_eq!(
        found,
        ["a.rs -> b.rs: super::b::f", "b.rs -> a.rs: a::g, super::a"]
    );
}

#[test]
fn other_crates_are_none_of_ours() {
    let found = edges_in_circles(&[
        ("lib.rs", "mod a; mod bytes;"),
        (
            "a.rs",
            "use bytes::Bytes; use ::bytes::Buf; pub struct A(std::vec::Vec<Bytes>);",
        ),
        ("bytes.rs", "use crate::a::A; pub struct Bytes;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}
