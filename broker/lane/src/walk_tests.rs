#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use roommq_mqtt::packet::TopicFilter;
use std::cmp::Ordering;

fn map<'a>(topics: impl IntoIterator<Item = &'a str>) -> BTreeMap<Box<str>, u8> {
    let key = |topic| (key_of(topic).into(), 0);
    topics.into_iter().map(key).collect()
}

/// The topics found, each with the positions of its filters, and how many topics were looked at. A
/// budget of one unit stops the walk behind each topic.
fn found(topics: &BTreeMap<Box<str>, u8>, filters: &[&str]) -> (Vec<(String, Vec<usize>)>, usize) {
    let in_steps = walked(topics, filters, 1);
    let (at_once, parts) = walked(topics, filters, usize::MAX);
    assert_eq!(parts, 1);
    assert_eq!(at_once, in_steps.0);
    in_steps
}

/// The same with any budget, and the number of parts of the walk.
fn walked(
    topics: &BTreeMap<Box<str>, u8>,
    filters: &[&str],
    budget: usize,
) -> (Vec<(String, Vec<usize>)>, usize) {
    let filters = WalkFilters::new(filters.iter().copied());
    let (mut found, mut parts, mut place) = (Vec::new(), 1, String::new());
    let mut on = |place: &mut String| {
        walk(
            &filters,
            topics,
            place,
            &mut { budget },
            |key, _, positions| {
                found.push((topic_of(key), positions.to_vec()));
                ControlFlow::Continue(())
            },
        )
    };
    while !on(&mut place) {
        parts += 1;
    }
    (found, parts)
}

fn by_levels(a: &str, b: &str) -> Ordering {
    a.split('/').cmp(b.split('/'))
}

#[test]
fn a_topic_comes_before_those_below_it_and_siblings_in_order_of_their_bytes() {
    let topics = [
        "a", "a/", "a/b", "a/b/c", "a/b-", "a-b", "a-b/c", "b", "/", "/a",
    ];
    let all = map(topics);
    let mut expected = topics;
    expected.sort_by(|a, b| by_levels(a, b));
    let (found, _) = found(&all, &["#"]);
    let found: Vec<_> = found.into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(found, expected);
    assert_eq!(expected[2..5], ["a", "a/", "a/b"]);
    assert_eq!(expected[6..8], ["a/b-", "a-b"]);
}

#[test]
fn topics_that_cannot_match_are_skipped() {
    let names: Vec<String> = (0..100)
        .flat_map(|a| (0..100).map(move |b| format!("s{a}/n{b}/x")))
        .collect();
    let topics = map(names.iter().map(String::as_str));
    let looks = |filters: &[&str]| {
        let (found, looked_at) = found(&topics, filters);
        (found.len(), looked_at)
    };
    for (filters, matches, most) in [
        (&["s7/n7/x"][..], 1, 4),
        (&["s7/+/x"], 100, 102),
        (&["s7/#"], 100, 101),
        // A search and a step for each first level.
        (&["+/n7/x"], 100, 301),
        (&["+/n7/#"], 100, 301),
        (&["+/x"], 0, 201),
        (&["+"], 0, 101),
        (&["zz/#", "s1"], 0, 2),
        (&["s3/n3/+", "s90/n90/#", "s5"], 2, 9),
    ] {
        let (found, looked_at) = looks(filters);
        assert_eq!(found, matches, "{filters:?}");
        assert!(looked_at <= most, "{filters:?}: {looked_at} looked at");
    }
    // A thousand filters in one walk.
    let many: Vec<String> = (0..1_000).map(|n| format!("+/y{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, looked_at) = found(&topics, &many);
    assert!(looked_at <= 201, "{looked_at} looked at");
}

#[test]
fn the_deepest_topics_and_filters_are_found() {
    let deep = "/".repeat(65_534);
    let deeper = format!("{deep}x");
    let topics = map([deep.as_str(), &deeper, "a"]);
    let pluses = format!("{}+", "+/".repeat(32_767));
    let below = format!("{deep}#");
    for (filters, matches) in [
        (&["#"][..], 3),
        (&[deeper.as_str(), &below], 2),
        (&[pluses.as_str(), "+/#"], 3),
    ] {
        assert_eq!(found(&topics, filters).0.len(), matches);
    }
    let levels: String = vec!["+"; 65_535].join("/");
    assert_eq!(found(&topics, &[&levels]).0.len(), 2);
}

#[test]
fn the_walk_stops_when_visit_breaks_and_goes_on_there() {
    let topics = map(["a", "b", "c"]);
    let filters = WalkFilters::new(["#"].into_iter());
    let (mut seen, mut place) = (Vec::new(), String::new());
    for _ in 0..2 {
        let at_end = walk(&filters, &topics, &mut place, &mut 10, |key, _, _| {
            seen.push(key.to_owned());
            if key == "b" {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        assert!(!at_end);
    }
    assert_eq!((seen.concat().as_str(), place.as_str()), ("abb", "b"));
    // Its topic has gone, and another has come before it.
    let topics = map(["a", "aa", "c"]);
    seen.clear();
    let at_end = walk(&filters, &topics, &mut place, &mut 10, |key, _, _| {
        seen.push(key.to_owned());
        ControlFlow::Continue(())
    });
    assert!(at_end);
    assert_eq!(seen, ["c"]);
}

/// Many filters may match the beginning of one topic, and a budget counts them.
#[test]
fn a_budget_counts_the_filters_that_are_searched() {
    let topics: Vec<String> = (0..100).map(|n| format!("a/a/a/a/a/a/{n}")).collect();
    let topics = map(topics.iter().map(String::as_str));
    let levels = |n: u32| (0..6).map(move |at| if n >> at & 1 == 0 { "a" } else { "+" });
    let filters = (0..64).map(|n| levels(n).chain(["+", "none"]).collect::<Vec<_>>().join("/"));
    let filters: Vec<String> = filters.collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let (found, parts) = walked(&topics, &filters, 1_000);
    assert!(found.is_empty());
    assert!((10..30).contains(&parts), "{parts}");
    let (_, parts) = walked(&topics, &filters[..1], 1_000);
    assert_eq!(parts, 1);
}

proptest! {
    #[test]
    fn finds_what_a_scan_of_all_topics_finds(
        topics in proptest::collection::btree_set("(\\$s|a|a-|b|)(/(a|b|\\$|-|)){0,4}", 0..40),
        filters in proptest::collection::vec("(\\$s|a|a-|b|\\+|)(/(a|b|-|\\+|)){0,4}(/#)?|#", 1..8),
    ) {
        let topics: Vec<&str> = topics.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
        let parsed: Vec<_> = filters.iter().map(|f| TopicFilter::new((*f).into()).unwrap()).collect();
        let mut expected: Vec<(String, Vec<usize>)> = Vec::new();
        for topic in &topics {
            let matching = (0..).zip(&parsed).filter(|(_, filter)| filter.matches(topic));
            let positions: Vec<usize> = matching.map(|(position, _)| position).collect();
            if !positions.is_empty() {
                expected.push(((*topic).to_owned(), positions));
            }
        }
        expected.sort_by(|(a, _), (b, _)| by_levels(a, b));
        let (found, looked_at) = found(&map(topics.iter().copied()), &filters);
        prop_assert_eq!(found, expected);
        prop_assert!(looked_at <= topics.len().max(1));
    }
}
