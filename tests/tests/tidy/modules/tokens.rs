//! Paths in the tokens of a macro, which no parser understands.

use super::Path;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::ext::IdentExt;

/// All paths, single names as well. `$crate::x` is `crate::x`; `::x` belongs to another crate and is none.
pub fn paths(tokens: &TokenStream) -> Vec<Path> {
    let mut found = Vec::new();
    scan(tokens, &[], &mut found);
    found
}

/// `above` is what a group in a `use` line continues.
fn scan(tokens: &TokenStream, above: &[String], found: &mut Vec<Path>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let is_foreign = are_colons(&tokens, at);
        if is_foreign {
            at += 2;
        }
        match (tokens.get(at), token) {
            (Some(TokenTree::Ident(_)), _) => {
                let (path, group, end) = follow(&tokens, at, above);
                at = end;
                if is_foreign {
                    continue;
                }
                match group {
                    Some(group) => scan(&group, &path, found),
                    None => found.push(path),
                }
            }
            (_, TokenTree::Group(group)) => {
                scan(&group.stream(), &[], found);
                at += 1;
            }
            _ if is_foreign => {}
            _ => at += 1,
        }
    }
}

/// The path that starts at a name, the group that continues it, and the first token behind.
fn follow(
    tokens: &[TokenTree],
    mut at: usize,
    above: &[String],
) -> (Path, Option<TokenStream>, usize) {
    let mut path = above.to_vec();
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        if path.is_empty() || ident != "self" {
            path.push(ident.unraw().to_string());
        }
        at += 1;
        if !are_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    match tokens.get(at) {
        Some(TokenTree::Group(group))
            if group.delimiter() == Delimiter::Brace && at > 1 && are_colons(tokens, at - 2) =>
        {
            (path, Some(group.stream()), at + 1)
        }
        Some(TokenTree::Ident(renamed)) if !above.is_empty() && renamed == "as" => {
            (path, None, at + 2)
        }
        _ => (path, None, at),
    }
}

fn are_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => Some(punct.spacing()),
        _ => None,
    };
    is_colon(at) == Some(Spacing::Joint) && is_colon(at + 1).is_some()
}
