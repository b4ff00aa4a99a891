use super::*;

const LIMITS: RetainedLimits = RetainedLimits {
    messages: 100,
    bytes: 1_000,
};

fn message(payload: &'static str, expiry: Option<u32>) -> RetainedMessage {
    RetainedMessage {
        at: 1_000,
        limit: Limit::OfLane,
        position: 0,
        payload: payload.into(),
        qos: QoS::AtMostOnce,
        properties: expiry.map(|e| {
            Box::new(PublishProperties {
                message_expiry: Some(e),
                ..PublishProperties::default()
            })
        }),
    }
}

fn topics(store: &RetainedStore, filter: &str, now: u64) -> Vec<String> {
    let filters = WalkFilters::new([filter].into_iter());
    let mut found = Vec::new();
    store.walk(
        &filters,
        &mut String::new(),
        &mut { usize::MAX },
        now,
        |key, _, _| {
            found.push(topic_of(key));
            ControlFlow::Continue(())
        },
    );
    found
}

#[test]
fn messages_are_found_by_filter_in_order() {
    let mut store = RetainedStore::new(LIMITS);
    for topic in ["a", "a/b", "a/c", "a-b", "ab", "b/c", "$s/c"] {
        store.set(topic, message("x", None));
    }
    assert_eq!(topics(&store, "a/#", 0), ["a", "a/b", "a/c"]);
    assert_eq!(topics(&store, "a/b", 0), ["a/b"]);
    assert_eq!(topics(&store, "+/c", 0), ["a/c", "b/c"]);
    assert_eq!(
        topics(&store, "#", 0),
        ["a", "a/b", "a/c", "a-b", "ab", "b/c"]
    );
    assert_eq!(topics(&store, "a/+", 0), ["a/b", "a/c"]);
    store.set("a/b", message("", None));
    assert_eq!(topics(&store, "a/+", 0), ["a/c"]);
    assert!(store.get("a/b").is_none() && store.get("a/c").is_some());
}

#[test]
fn a_topic_and_all_below_it_are_found_and_removed() {
    let mut store = RetainedStore::new(LIMITS);
    for topic in ["a", "a/b", "a/b/c", "a/c", "a-b", "ab", "b/a"] {
        store.set(topic, message("x", None));
    }
    assert_eq!(store.below("a/b"), ["a/b", "a/b/c"]);
    let below = store.below("a");
    assert_eq!(below, ["a", "a/b", "a/b/c", "a/c"]);
    for topic in below {
        store.remove(&topic);
    }
    assert_eq!(topics(&store, "#", 0), ["a-b", "ab", "b/a"]);
    assert_eq!((store.size(), store.below("c").len()), ((3, 3), 0));
}

#[test]
fn the_size_counts_messages_and_payloads() {
    let mut store = RetainedStore::new(LIMITS);
    store.set("a", message("123", None));
    store.set("b", message("12345", Some(2)));
    store.set("a", message("1", Some(1)));
    assert_eq!(store.size(), (2, 6));
    store.set("never", message("", None));
    assert!(store.take_expired(2_000).is_some());
    assert_eq!(store.size(), (1, 5));
    store.set("b", message("", None));
    assert_eq!(store.size(), (0, 0));
}

#[test]
fn expired_messages_are_not_found() {
    let mut store = RetainedStore::new(LIMITS);
    store.set("a", message("x", Some(2)));
    assert_eq!(topics(&store, "a", 2_999), ["a"]);
    assert!(topics(&store, "a", 3_000).is_empty());
    assert_eq!(message("x", Some(2)).seconds_left(2_000), Some(1));
}

#[test]
fn expired_messages_are_removed_once_in_order() {
    let mut store = RetainedStore::new(LIMITS);
    for (topic, expiry) in [("a", Some(2)), ("b", Some(1)), ("c", None), ("d", Some(1))] {
        store.set(topic, message("x", expiry));
    }
    store.set("b", message("longer", Some(3)));
    store.set("d", message("", None));
    assert_eq!(store.next_expiry(), Some(3_000));
    assert_eq!(store.take_expired(2_999), None);
    assert_eq!(store.take_expired(4_000).as_deref(), Some("a"));
    assert_eq!(store.take_expired(4_000).as_deref(), Some("b"));
    assert_eq!(store.take_expired(u64::MAX), None);
    assert!(store.get("c").is_some() && store.get("a").is_none() && store.expiring.is_empty());
}

#[test]
fn nothing_new_is_stored_past_the_limits() {
    // Two messages of one byte, and six bytes more.
    let bytes = 2 * (string_cost(1) + string_cost(1)) + 6;
    let limits = RetainedLimits { messages: 2, bytes };
    let all = RetainedLimits {
        messages: 4,
        bytes: 2 * bytes - 1,
    };
    assert_eq!(all.share(2), limits);
    let mut store = RetainedStore::new(limits);
    let free = RetainedMessage {
        limit: Limit::None,
        ..message("as long as it likes", Some(1))
    };
    assert!(store.set("free", free));
    assert!(store.set("a", message("1", None)) && store.set("b", message("1", None)));
    assert!(!store.set("c", message("1", None)), "the third");
    assert!(store.set("b", message("1234567", None)), "in its place");
    assert!(!store.set("a", message("12", None)), "too long");
    assert!(store.get("a").is_none(), "the old message is removed");
    let of_bytes = |payload| RetainedMessage {
        limit: Limit::OfBytes,
        ..message(payload, None)
    };
    // For these there are as many bytes again, and no limit on their number.
    for topic in ["x", "y"] {
        assert!(store.set(topic, of_bytes("1")));
    }
    assert!(!store.set("z", of_bytes("1")) && store.set("x", of_bytes("1234567")));
    assert!(!store.set("x", of_bytes("12345678")) && store.get("x").is_none());
    assert!(store.set("y", of_bytes("")));
    assert!(
        !store.set("d", message("1", Some(1))),
        "its topic is stored twice"
    );
    assert!(store.set("b", message("", None)) && store.set("d", message("1", Some(1))));
    while store.take_expired(9_000).is_some() {}
    assert!(store.set("d", message("", None)));
    let nothing = RetainedUsage::default();
    assert_eq!((store.used, store.used_by_hook), (nothing, nothing));
    assert_eq!(store.size(), (0, 0));
}

#[test]
fn empty_strings_count_for_their_overhead() {
    let with = |pairs: usize| RetainedMessage {
        properties: Some(Box::new(PublishProperties {
            user_properties: vec![Default::default(); pairs],
            ..PublishProperties::default()
        })),
        ..message("x", None)
    };
    let [none, thousand] = [0, 1_000].map(|pairs| with(pairs).cost(1));
    assert_eq!(thousand - none, 2_000 * string_cost(0));
    assert_eq!(none, message("x", None).cost(1));
    let expiring = message("x", Some(1)).cost(1);
    assert_eq!(expiring - none, string_cost(1), "its topic, once more");
}
