use super::*;
use roommq_mqtt::packet::{QoS, SubscribeOptions, TopicFilter};

/// A tree of these filters. Each has one subscription, whose slot is the filter's position.
fn tree<'a>(filters: impl IntoIterator<Item = &'a str>) -> Tree {
    let mut tree = Tree::default();
    for (slot, filter) in (0..).zip(filters) {
        tree.list_mut(filter).push(Subscription {
            slot,
            options: SubscribeOptions::of(QoS::AtMostOnce),
            identifier: None,
            guarded: false,
            keeps: false,
            mount: None,
        });
    }
    tree
}

/// How many filters match a topic, and how many nodes are visited to find them.
fn reached(tree: &Tree, topic: &str) -> (usize, usize) {
    let mut found = 0;
    let visited = tree.matches(topic, |_| found += 1);
    (found, visited)
}

#[test]
fn nodes_exist_only_where_filters_end_or_diverge() {
    let filters = [
        "a/b/+/d",
        "a/b/+/c/#",
        "a/b/+/c/+",
        "a/x/#",
        "#",
        "+",
        "/+",
        "//+/",
    ];
    let mut all = tree(filters);
    for (filter, topic) in filters.iter().zip([
        "a/b/x/d",
        "a/b/x/c/y/z",
        "a/b/x/c/y",
        "a/x",
        "q/q/q",
        "q",
        "/q",
        "//q/",
    ]) {
        assert!(all.list(filter).is_some_and(|list| list.len() == 1));
        assert!(reached(&all, topic).0 >= 1, "{topic}");
    }
    // The root, a, a/b/+, d and c below it, + below c, a/x, +, the empty level, and two nodes below
    // that.
    assert_eq!(all.nodes.len(), 11);
    for filter in ["a", "a/b", "a/b/+", "a/b/+/d/#", "a/b/+/c", "//+", "q/+"] {
        assert!(all.list(filter).is_none_or(<[_]>::is_empty), "{filter}");
    }
    for (slot, filter) in (0..).zip(filters) {
        assert!(
            !all.remove(filter, 99) && all.remove(filter, slot),
            "{filter}"
        );
        assert!(all.nodes.len() - all.free.len() <= 2 * (filters.len() - slot as usize));
    }
    assert!(all.is_empty());
}

#[test]
fn many_filters_with_plus_cost_one_visit_a_node() {
    // All 4,096 filters without `#` that match a topic of twelve levels. No node is visited twice.
    let filters: Vec<String> = (0_u32..1 << 12)
        .map(|bits| {
            let levels = (0..12).map(|at| if bits >> at & 1 == 0 { "a" } else { "+" });
            levels.collect::<Vec<_>>().join("/")
        })
        .collect();
    let all = tree(filters.iter().map(String::as_str));
    let (found, visited) = reached(&all, ["a"; 12].join("/").as_str());
    assert_eq!(found, filters.len());
    assert!(visited <= all.nodes.len() && all.nodes.len() <= 2 * filters.len());
    // Half of the filters match all levels but the last. The walk skips them where they diverge,
    // not one by one.
    let (found, visited) = reached(&all, &format!("{}/b", ["a"; 11].join("/")));
    assert_eq!(found, filters.len() / 2);
    assert!(visited <= all.nodes.len());
}

#[test]
fn deep_filters_cost_neither_memory_nor_stack() {
    let deep = "+/".repeat(32_767);
    let nested = (0..256).map(|n| "+/".repeat(n * 128) + "#");
    let filters: Vec<String> = nested
        .chain([deep.clone() + "+", deep.clone() + "x"])
        .collect();
    let mut all = tree(filters.iter().map(String::as_str));
    assert!(all.nodes.len() <= filters.len() + 2, "{}", all.nodes.len());
    let topic = "/".repeat(32_767);
    let (found, visited) = reached(&all, &topic);
    assert_eq!((found, visited <= all.nodes.len()), (257, true));
    // A chain of thousands of nodes, one at each level.
    let chain: Vec<String> = (1..4_000).map(|n| "/".repeat(n) + "+").collect();
    let chained = tree(chain.iter().map(String::as_str));
    assert_eq!(reached(&chained, &"/".repeat(3_999)).0, 1);
    drop(chained);
    for (slot, filter) in (0..).zip(&filters) {
        assert!(all.remove(filter, slot));
    }
    assert!(all.is_empty());
}

/// Levels of more than `LONG` bytes at the front, in the middle and at the end, and empty levels.
#[test]
fn long_topics_match_like_short_ones() {
    let long = "x".repeat(LONG);
    let filters = [
        "#", "+/#", "+/b", "+/b/+", "a/+", "a/+/c", "a/b/+", "a/b/+/#", "a//+/c", "+/+/+", "a/b",
        "x/b",
    ];
    let mut filters: Vec<String> = filters.map(String::from).to_vec();
    filters.extend([
        format!("a/{long}/c"),
        format!("a/{long}"),
        format!("{long}/#"),
    ]);
    let mut tree = tree(filters.iter().map(String::as_str));
    let topics = [
        format!("{long}/b"),
        format!("{long}/b/c"),
        format!("a/{long}"),
        format!("a/{long}/c"),
        format!("a/{long}y/c"),
        format!("a//{long}/c"),
        format!("a/b/{long}"),
        format!("a/b/{long}/"),
        long.clone(),
    ];
    for topic in &topics {
        let matching = |filter: &&String| {
            let filter = TopicFilter::new(filter.as_str().into());
            filter.is_ok_and(|filter| filter.matches(topic))
        };
        let expected = filters.iter().filter(matching).count();
        let (found, _) = reached(&tree, topic);
        assert_eq!(found, expected, "{topic}");
    }
    for (slot, filter) in (0..).zip(&filters) {
        assert!(tree.remove(filter, slot), "{filter}");
    }
    assert!(tree.is_empty(), "no long level is left");
}
