//! Compares two topic filters (4.7). A topic name is a filter that matches only itself, so both
//! functions also tell whether a filter matches a topic.
//!
//! Filters must be well formed and without `$share/<group>/`.

use std::str::Split;

/// Whether `outer`, given by its [`levels`], matches every topic that `inner` matches.
///
/// `+/#` covers `#`, because every topic has a level. `a/+/#` does not cover `a/#`, which also
/// matches `a`. A filter that starts with a wildcard covers none that starts with `$`
/// [MQTT-4.7.2-1].
pub fn covers<L: AsRef<str>>(mut outer: impl Iterator<Item = L>, inner: &str) -> bool {
    let mut levels = levels(inner);
    let mut hidden = inner.starts_with('$');
    loop {
        let level = outer.next();
        match (level.as_ref().map(L::as_ref), levels.next()) {
            (Some("#" | "+"), _) if hidden => return false,
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(level), Some(other)) if level == other => {}
            _ => return false,
        }
        hidden = false;
    }
}

/// Whether there is a topic that both filters match. `one` is given by its [`levels`].
pub fn overlaps<L: AsRef<str>>(mut one: impl Iterator<Item = L>, other: &str) -> bool {
    let mut others = levels(other);
    let mut first = true;
    loop {
        let level = one.next();
        match (level.as_ref().map(L::as_ref), others.next()) {
            (Some("+" | "#"), Some(level)) | (Some(level), Some("+" | "#"))
                if first && level.starts_with('$') =>
            {
                return false;
            }
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(level), Some(other)) if level == other => {}
            _ => return false,
        }
        first = false;
    }
}

/// Whether a filter starts with a wildcard.
pub fn starts_wild(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

/// The levels of a filter. No topic is empty, so `#` is read as `+/#` and `/#` as `/+/#`.
pub fn levels(filter: &str) -> Split<'_, char> {
    let filter = match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        filter => filter,
    };
    filter.split('/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;
    use roommq_broker::packet::TopicFilter;

    fn covers(outer: &str, inner: &str) -> bool {
        super::covers(levels(outer), inner)
    }

    fn overlaps(one: &str, other: &str) -> bool {
        super::overlaps(levels(one), other)
    }

    #[test]
    fn covers_by_table() {
        for (outer, inner, wanted) in [
            ("#", "#", true),
            ("+/#", "#", true),
            ("#", "+/#", true),
            ("#", "a/+/b", true),
            ("#", "/", true),
            ("+", "#", false),
            ("+", "+", true),
            ("+", "a", true),
            ("a", "+", false),
            ("a/#", "a", true),
            ("a/#", "a/b/+/#", true),
            ("a/+/#", "a/#", false),
            ("a/+/#", "a/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/+", "a", false),
            ("a", "a/#", false),
            ("a/+/c", "a/b/c", true),
            ("a/b/c", "a/+/c", false),
            ("+/b", "a/+", false),
            ("#", "$a/b", false),
            ("+/b", "$a/b", false),
            ("$a/#", "$a/b", true),
            ("$a/#", "$a/+", true),
            ("$a/#", "#", false),
            ("a/+", "a/$b", true),
        ] {
            assert_eq!(covers(outer, inner), wanted, "{outer} covers {inner}");
        }
    }

    #[test]
    fn overlaps_by_table() {
        for (one, other, wanted) in [
            ("#", "#", true),
            ("#", "a", true),
            ("a/#", "a", true),
            ("a/+/#", "a", false),
            ("a/+", "+/b", true),
            ("a/+/c", "+/b/#", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b/c", false),
            ("a/b/#", "a/+", true),
            ("+", "#", true),
            ("#", "$a", false),
            ("+/b", "$a/b", false),
            ("$a/+", "$a/#", true),
            ("$a/+", "$b/#", false),
            ("/", "+/+", true),
            ("/#", "+", false),
        ] {
            assert_eq!(overlaps(one, other), wanted, "{one} and {other}");
            assert_eq!(overlaps(other, one), wanted, "{other} and {one}");
        }
    }

    /// Filters of up to four levels.
    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$", "+"]);
        (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map(
            "not empty",
            |(mut levels, hash)| {
                levels.extend(hash.then_some("#"));
                Some(levels.join("/")).filter(|text| !text.is_empty())
            },
        )
    }

    /// All topics that can distinguish two such filters: up to one level more than they have, and
    /// with a word (`c`) that is in neither.
    fn topics() -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for length in 1..=5 {
            last = last
                .iter()
                .flat_map(|head| {
                    ["a", "b", "", "$", "c"].map(|level| match length {
                        1 => level.to_owned(),
                        _ => format!("{head}/{level}"),
                    })
                })
                .collect();
            all.extend(last.iter().filter(|topic| !topic.is_empty()).cloned());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn covers_and_overlaps_agree_with_matching_every_topic(one in filter(), other in filter()) {
            let parsed = |text: &str| text.parse::<TopicFilter>().unwrap();
            let (first, second) = (parsed(&one), parsed(&other));
            let (mut within, mut shared) = (true, false);
            for topic in topics() {
                let (a, b) = (first.matches(&topic), second.matches(&topic));
                within &= a || !b;
                shared |= a && b;
                prop_assert_eq!(covers(&one, &topic), a, "{} covers {}", one, topic);
                prop_assert_eq!(overlaps(&one, &topic), a, "{} and {}", one, topic);
            }
            prop_assert_eq!(covers(&one, &other), within, "{} covers {}", one, other);
            prop_assert_eq!(overlaps(&one, &other), shared, "{} and {}", one, other);
        }
    }
}
