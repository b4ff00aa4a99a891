//! How `[[access]]` is read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_config::{Permission, Sources, load};

#[test]
fn access_rules_keep_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    let text = "[[access]]\ntopics = ['a/#', '$b/%u']\nusers = ['al*', '~*']\nsubscribe = 'allow'\n\
                [[access]]\ntopics = ['#']\npublish = 'deny'\nsubscribe = 'deny'\n\
                [topics]\ndollar = 'deny'\n";
    std::fs::write(&file, text).unwrap();
    let source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let loaded = load(&source).unwrap();
    let [first, second] = &loaded.settings.access_rules[..] else {
        panic!("{:?}", loaded.settings.access_rules);
    };
    assert_eq!(first.topics, ["a/#", "$b/%u"]);
    assert_eq!(
        (first.publish, first.subscribe),
        (None, Some(Permission::Allow))
    );
    let users = first.users.as_ref().unwrap();
    assert!(users[0].matcher.is_match("alice") && users[1].matcher.is_match("~x"));
    assert!(second.users.is_none());
    assert_eq!(
        (second.publish, second.subscribe),
        (Some(Permission::Deny), Some(Permission::Deny))
    );
    assert_eq!(loaded.settings.topics.dollar, Permission::Deny);
    let shown = |key: &str| {
        let origin = loaded.values.iter().find(|origin| origin.key == key);
        origin.unwrap().value.as_ref().unwrap().to_string()
    };
    assert_eq!(shown("access[0].topics"), r#"["a/#", "$b/%u"]"#);
    assert_eq!(shown("access[1].publish"), "\"deny\"");
}
