#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use roommq_mqtt::packet::TopicFilter;
use std::cmp::Ordering;

fn map<'a>(topics: impl IntoIterator<Item = &'a str>) -> BTreeMap<Box<str>, u8> {
    let key = |topic| (key_of(topic).into(), 0);
    topics.into_iter().map(key).collect()
}

/// The topics found, each with the positions of its filters, and how many topics were looked at.
fn found(topics: &BTreeMap<Box<str>, u8>, filters: &[&str]) -> (Vec<(String, Vec<usize>)>, usize) {
    let mut found = Vec::new();
    let looked_at = Walk::new(filters.iter().copied()).over(topics, |key, _, positions| {
        found.push((topic_of(key), positions.to_vec()));
        ControlFlow::Continue(())
    });
    (found, looked_at)
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
fn the_walk_stops_when_visit_breaks() {
    let topics = map(["a", "b", "c"]);
    let mut seen = 0;
    let looked_at = Walk::new(["#"].into_iter()).over(&topics, |_, _, _| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((seen, looked_at), (1, 1));
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
        prop_assert!(looked_at <= topics.len());
    }
}
