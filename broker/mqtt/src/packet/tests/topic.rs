#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Result<TopicName, NameError> {
    text.parse()
}

fn filter(text: &str) -> Result<TopicFilter, NameError> {
    text.parse()
}

#[test]
fn names() {
    for good in [
        "a", "/", "a/b", "a//b", "/a", "a/", "$SYS/x", "é", " ", "a b",
    ] {
        assert_eq!(name(good).unwrap().as_str(), good);
    }
    assert_eq!(name(""), Err(NameError::Empty));
    assert_eq!(name("a\0"), Err(NameError::Null(1)));
    assert_eq!(
        name("a/+"),
        Err(NameError::WildcardInName {
            wildcard: '+',
            at: 2
        })
    );
    assert_eq!(
        name("#"),
        Err(NameError::WildcardInName {
            wildcard: '#',
            at: 0
        })
    );
    assert!(name(&"a".repeat(65_535)).is_ok());
    assert_eq!(name(&"a".repeat(65_536)), Err(NameError::TooLong(65_536)));
}

/// 1.5.4: C0 has one byte, C1 two that other letters have too.
#[test]
fn control_characters() {
    for c in (0..=0x3000).filter_map(char::from_u32) {
        let text = format!("a/{c}");
        let expected = match c {
            '\0' => Some(NameError::Null(2)),
            '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some(NameError::Control(2)),
            _ => None,
        };
        if !matches!(c, '+' | '#') {
            assert_eq!(name(&text).err(), expected, "{text:?}");
        }
        assert_eq!(filter(&text).err(), expected, "{text:?}");
    }
    assert_eq!(name("é\u{80}+"), Err(NameError::Control(2)));
    assert_eq!(filter("+\n"), Err(NameError::Control(1)));
    let wildcard = '+';
    assert_eq!(
        name("+\n"),
        Err(NameError::WildcardInName { wildcard, at: 0 })
    );
}

#[test]
fn filters() {
    for good in [
        "a",
        "#",
        "+",
        "+/+",
        "a/#",
        "/#",
        "+/a/#",
        "a/+/b",
        "/",
        "$share",
        "$shared/g/a",
        "$SYS/#",
    ] {
        let filter = filter(good).unwrap();
        assert_eq!((filter.as_str(), filter.inner()), (good, good));
        assert_eq!(filter.share_group(), None, "{good}");
    }
    assert_eq!(filter(""), Err(NameError::Empty));
    assert_eq!(filter("a\0/#"), Err(NameError::Null(1)));
    assert_eq!(filter("a/#/b"), Err(NameError::MultiLevel(2)));
    assert_eq!(filter("a#"), Err(NameError::MultiLevel(1)));
    assert_eq!(filter("a/##"), Err(NameError::MultiLevel(2)));
    assert_eq!(filter("a+"), Err(NameError::SingleLevel(1)));
    assert_eq!(filter("+a"), Err(NameError::SingleLevel(0)));
    assert_eq!(filter("a/+b/c"), Err(NameError::SingleLevel(2)));
    assert_eq!(
        filter("a/#/b").unwrap_err().to_string(),
        "`#` at byte 2; `#` must be the last level and stand alone in it"
    );
}

#[test]
fn shared_filters() {
    let shared = filter("$share/g/a/+").unwrap();
    assert_eq!(
        (shared.share_group(), shared.inner(), shared.as_str()),
        (Some("g"), "a/+", "$share/g/a/+")
    );
    assert!(shared.matches("a/b") && !shared.matches("$share/g/a/b"));
    assert_eq!(filter("$share/g//").unwrap().inner(), "/");
    assert_eq!(filter("$share/"), Err(NameError::ShareNameEmpty));
    assert_eq!(filter("$share//a"), Err(NameError::ShareNameEmpty));
    assert_eq!(filter("$share/g"), Err(NameError::ShareFilterMissing));
    assert_eq!(filter("$share/g/"), Err(NameError::ShareFilterMissing));
    assert_eq!(filter("$share/g/a/#/b"), Err(NameError::MultiLevel(11)));
    assert_eq!(filter("$share/g+/a"), Err(NameError::SingleLevel(8)));
    // What 3.1.1 would take is wrong as a shared one only.
    for plain in [
        "$share/",
        "$share//a",
        "$share/g",
        "$share/g/",
        "$share/+/a",
    ] {
        assert!(filter(plain).unwrap_err().is_of_sharing(), "{plain}");
    }
    for neither in ["$share/#/a", "$share/g/a#", "$share//a+", "$share/g#"] {
        assert!(!filter(neither).unwrap_err().is_of_sharing(), "{neither}");
    }
    assert_eq!(
        filter("$share/+/a"),
        Err(NameError::ShareNameWildcard {
            wildcard: '+',
            at: 7
        })
    );
}

/// [MQTT-4.7.2-1], 4.7.1.2, 4.7.1.3
#[test]
fn matching() {
    let cases = [
        ("a/#", "a", true),
        ("a/#", "a/", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("#", "a/b", true),
        ("#", "/", true),
        ("#", "$SYS/a", false),
        ("+/a", "$SYS/a", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/+", "$SYS/a", true),
        ("+", "a", true),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("/+", "/a", true),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("a/+/b", "a//b", true),
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a/b/", false),
        ("+/#", "a", true),
    ];
    for (text, topic, expected) in cases {
        assert_eq!(
            filter(text).unwrap().matches(topic),
            expected,
            "{text} {topic}"
        );
    }
}

#[test]
fn literal_heads() {
    let head = |text| {
        let filter = filter(text).unwrap();
        filter
            .literal_head()
            .map(|(first, second)| (first.to_owned(), second.map(str::to_owned)))
    };
    let two = |first: &str, second: &str| Some((first.to_owned(), Some(second.to_owned())));
    assert_eq!(head("a/b"), two("a", "b"));
    assert_eq!(head("a/b/#"), two("a", "b"));
    assert_eq!(head("a/b/+/c"), two("a", "b"));
    assert_eq!(head("/b"), two("", "b"));
    assert_eq!(head("a/"), two("a", ""));
    assert_eq!(head("$share/g/a/b/#"), two("a", "b"));
    assert_eq!(head("a"), Some(("a".to_owned(), None)));
    for open in ["a/#", "a/+", "+/b", "#", "+", "$share/g/#", "a/+/b"] {
        assert_eq!(head(open), None, "{open}");
    }
}

/// What 4.7 says, one level at a time.
fn reference(filter: &[&str], topic: &[&str], first: bool) -> bool {
    let hidden = first && topic[0].starts_with('$');
    match (filter, topic) {
        ([], []) => true,
        (["#"], _) => !hidden,
        (["+", rest @ ..], [_, more @ ..]) => !hidden && reference(rest, more, false),
        ([level, rest @ ..], [name, more @ ..]) => level == name && reference(rest, more, false),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matches_as_the_reference_does(
        filter in "(\\$|[ab]|\\+|)(/([ab]|\\+|)){0,3}(/#)?",
        topic in "(\\$|[ab]|)(/[ab]|/){0,4}",
    ) {
        if let Ok(parsed) = TopicFilter::new(filter.as_str().into()) {
            let levels_of = |text| levels(text).collect::<Vec<_>>();
            prop_assert_eq!(
                parsed.matches(&topic),
                reference(&levels_of(parsed.inner()), &levels_of(&topic), true)
            );
        }
    }

    #[test]
    fn a_literal_filter_matches_itself_only(text in "[a-c/$]{1,6}", topic in "[a-c/$]{1,6}") {
        if let Ok(filter) = TopicFilter::new(text.as_str().into())
            && filter.share_group().is_none()
        {
            prop_assert!(filter.is_literal());
            prop_assert!(filter.matches(&text));
            prop_assert_eq!(filter.matches(&topic), text == topic);
        }
    }

    #[test]
    fn what_matches_shares_the_literal_head(
        filter in "([ab]|\\+)(/([ab]|\\+)){0,2}(/#)?",
        topic in "[ab](/[ab]){0,3}",
    ) {
        let filter = TopicFilter::new(filter.as_str().into()).unwrap();
        if let Some(head) = filter.literal_head()
            && filter.matches(&topic)
        {
            let mut levels = levels(&topic);
            prop_assert_eq!(head, (levels.next().unwrap(), levels.next()));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), topic in any::<String>()) {
        let _ = name(&text);
        if let Ok(filter) = TopicFilter::new(text.as_str().into()) {
            let _ = (filter.matches(&topic), filter.literal_head());
        }
    }
}

#[test]
fn a_detached_name_holds_on_to_nothing_else() {
    let read = ByteString::from("t and all that was read with it");
    let name = TopicName::new(read.slice_ref(&read[..1])).unwrap();
    let own = name.detached();
    assert_eq!(own, name);
    assert_ne!(own.as_str().as_ptr(), read.as_ptr());
}
