//! Links from page to page lead to a file that is there, and to a heading that it has.

use crate::none;
use roommq_tests::workspace::{Source, files, has_extension};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The targets of the links in a text, `[words](target)`, code left out.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect();
        let mut rest = prose.as_str();
        while let Some((target, more)) = rest
            .split_once("](")
            .and_then(|(_, after)| after.split_once(')'))
        {
            found.push(target.to_owned());
            rest = more;
        }
    }
    found
}

/// The name by which a heading is linked to: small letters, digits, hyphens.
fn anchor(heading: &str) -> String {
    let mut name = String::new();
    for letter in heading.trim().chars() {
        match letter {
            ' ' => name.push('-'),
            '-' | '_' => name.push(letter),
            other if other.is_alphanumeric() => name.extend(other.to_lowercase()),
            _ => {}
        }
    }
    name
}

/// The anchors of a page.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with the links of these pages, if `all` files are there.
fn broken(pages: &[&Source], all: &[&str]) -> Vec<String> {
    let texts: BTreeMap<&str, &str> = pages.iter().map(|p| (&*p.path, &*p.text)).collect();
    let mut wrong = Vec::new();
    for page in pages {
        let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
        for target in targets(&page.text) {
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path = match path {
                "" => page.path.clone(),
                path => plain(&folder.join(path)).to_string_lossy().into_owned(),
            };
            let below = format!("{path}/");
            if !all.iter().any(|f| *f == path || f.starts_with(&below)) {
                wrong.push(format!("{}: no file {target}", page.path));
            } else if !heading.is_empty() {
                let text = texts.get(&*path).copied().unwrap_or_default();
                if !anchors(text).iter().any(|name| name == heading) {
                    wrong.push(format!("{}: no heading {target}", page.path));
                }
            }
        }
    }
    wrong
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let all = files();
    let pages: Vec<&Source> = all
        .iter()
        .filter(|f| has_extension(&f.path, "md"))
        .collect();
    let paths: Vec<&str> = all.iter().map(|f| &*f.path).collect();
    none("broken links", &broken(&pages, &paths));
}

#[test]
fn broken_links_are_found() {
    let page = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
        is_test: false,
    };
    let a = page(
        "a.md",
        "# `A` page, one\n[b](b/c.md#more-of-it) [here](#a-page-one) [folder](b) `[x](y)`\n",
    );
    let c = page("b/c.md", "## More of it\n[a](../a.md) [gone](d.md)\n");
    let e = page("e.md", "[a](a.md#other)\n");
    assert_eq!(
        broken(&[&a, &c, &e], &["a.md", "b/c.md", "e.md"]),
        ["b/c.md: no file d.md", "e.md: no heading a.md#other"]
    );
}
