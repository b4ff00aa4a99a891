#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use globset::Glob;
use proptest::prelude::*;
use roommq_config::NamePattern;

const ALLOW: Option<Permission> = Some(Permission::Allow);
const DENY: Option<Permission> = Some(Permission::Deny);

/// A rule as the loader would make it. Empty `users`: everybody.
fn rule(
    topics: &[&str],
    users: &[&str],
    publish: Option<Permission>,
    subscribe: Option<Permission>,
) -> AccessRule {
    let pattern = |text: &&str| NamePattern {
        text: (*text).to_owned(),
        matcher: Glob::new(text).unwrap().compile_matcher(),
    };
    AccessRule {
        topics: topics.iter().map(|text| (*text).to_owned()).collect(),
        users: (!users.is_empty()).then(|| users.iter().map(pattern).collect()),
        publish,
        subscribe,
    }
}

fn access(outside: Permission, rules: Vec<AccessRule>) -> AccessRules {
    let mut settings = Settings {
        access_rules: rules,
        ..Settings::default()
    };
    settings.topics.outside_rooms = outside;
    AccessRules::new(&settings)
}

fn who(user: &str, client_id: &str) -> Principal {
    let mut who = Principal::new(user, !user.starts_with('~'));
    who.client_id = client_id.into();
    who
}

fn writes(access: &AccessRules, who: &Principal, topic: &str) -> bool {
    access.publish(who, &topic.parse().unwrap()).is_ok()
}

fn reads(access: &AccessRules, who: &Principal, filter: &str) -> bool {
    access.subscribe(who, &filter.parse().unwrap()).is_ok()
}

fn spans(access: &AccessRules, who: &Principal, filter: &str) -> bool {
    access.span(who, &filter.parse().unwrap()).is_ok()
}

#[test]
fn a_rule_does_not_apply_to_an_action_that_it_leaves_out() {
    let rules = vec![rule(&["test/nosubscribe"], &[], None, DENY)];
    let access = access(Permission::Allow, rules);
    let eve = who("~eve", "eve");
    assert!(writes(&access, &eve, "test/nosubscribe"));
    for (filter, may) in [
        ("test/nosubscribe", false),
        ("$share/g/test/nosubscribe", false),
        ("test/nosubscribe/#", false),
        ("test/+", false),
        ("test/#", false),
        ("test/other", true),
        ("test/+/x", true),
        ("other/#", true),
    ] {
        assert_eq!(reads(&access, &eve, filter), may, "{filter}");
    }
    assert!(!access.may_see("~eve", "test/nosubscribe"));
    assert!(access.may_see("~eve", "test/other"));
}

#[test]
fn the_first_rule_that_applies_decides() {
    let rules = vec![
        rule(&["site/open/#"], &[], ALLOW, ALLOW),
        rule(&["site/#"], &["admin-*"], ALLOW, ALLOW),
        rule(&["site/#"], &[], DENY, DENY),
    ];
    let access = access(Permission::Allow, rules);
    let (admin, eve) = (who("admin-1", "c"), who("eve", "c"));
    for (who, topic, may) in [
        (&admin, "site/secret", true),
        (&eve, "site/secret", false),
        (&eve, "site/open/x", true),
        (&eve, "site/open", true),
        (&eve, "site", false),
        (&eve, "other", true),
    ] {
        assert_eq!(writes(&access, who, topic), may, "{topic}");
        assert_eq!(reads(&access, who, topic), may, "{topic}");
        assert_eq!(access.may_see(&who.user, topic), may, "{topic}");
    }
    // A filter is granted if a rule that allows all of it precedes each rule that denies a part.
    assert!(reads(&access, &admin, "site/#") && !reads(&access, &eve, "site/#"));
    assert!(reads(&access, &eve, "site/open/+/x"));
}

#[test]
fn user_and_client_id_are_filled_in() {
    let rules = vec![
        rule(&["user/%u/#"], &[], ALLOW, ALLOW),
        rule(&["dev/%u-%c/+"], &[], ALLOW, ALLOW),
    ];
    let access = access(Permission::Deny, rules);
    let slash = who("a%2Fb", "c/1");
    for (who, topic, may) in [
        (&slash, "user/a%2Fb/x", true),
        (&slash, "user/a/b/x", false),
        (&slash, "user/%u/x", false),
        (&slash, "dev/a%2Fb-c%2F1/x", true),
        (&slash, "dev/a%2Fb-c%2F2/x", false),
        (&who("%2B", "#"), "user/x/y", false),
        // `%u` and `%c` in a name are not replaced.
        (&who("%25u", "%c"), "user/%25u/x", true),
        (&who("%25c", "boss"), "user/boss/x", false),
        (&who("%25c", "boss"), "dev/%25c-boss/x", true),
    ] {
        assert_eq!(writes(&access, who, topic), may, "{topic}");
    }
    assert!(reads(&access, &who("al", "x"), "user/al/+/#"));
    assert!(!reads(&access, &who("al", "x"), "user/+/#"));
    assert!(!reads(&access, &who("al", "x"), "user/#"));
}

#[test]
fn no_name_matches_a_level_that_starts_with_dollar() {
    let rules = vec![
        rule(&["%c/#", "%u/#"], &[], ALLOW, ALLOW),
        rule(&["$%u/#"], &[], ALLOW, ALLOW),
    ];
    let mut settings = Settings {
        access_rules: rules,
        ..Settings::default()
    };
    settings.topics.dollar = Permission::Deny;
    let access = AccessRules::new(&settings);
    let eve = who("$aws", "$aws");
    assert!(!writes(&access, &eve, "$aws/x") && !reads(&access, &eve, "$aws/x"));
    assert!(writes(&access, &eve, "$$aws/x"));
    assert!(writes(&access, &who("eve", "c"), "c/x"));
}

#[test]
fn a_client_id_that_is_too_long_for_a_level_matches_no_allow_rule() {
    let rules = vec![
        rule(&["a/%c"], &[], ALLOW, None),
        rule(&["b/%c"], &[], DENY, None),
        rule(&["a/#"], &[], DENY, None),
    ];
    let access = access(Permission::Allow, rules);
    let (long, slashes) = ("x".repeat(129), "/".repeat(60));
    for id in [&long, &slashes] {
        let who = who("eve", id);
        let level = topics::user_level(id);
        assert!(!writes(&access, &who, &format!("a/{level}")));
        assert!(!writes(&access, &who, "b/anything"));
        assert!(writes(&access, &who, "c"));
    }
    let most = "x".repeat(128);
    assert!(writes(&access, &who("eve", &most), &format!("a/{most}")));
}

#[test]
fn users_are_named_as_they_log_in() {
    let rules = vec![
        rule(&["t"], &["*@example.org", "a/b", "~*"], ALLOW, None),
        rule(&["t"], &[], DENY, None),
    ];
    let access = access(Permission::Allow, rules);
    for (user, may) in [
        ("x%2By@example.org", true),
        ("a%2Fb", true),
        ("~anybody", true),
        ("x@example.com", false),
        ("a", false),
    ] {
        assert_eq!(writes(&access, &who(user, "c"), "t"), may, "{user}");
    }
}

#[test]
fn spanning_filters_are_refused_only_if_all_topics_are_denied() {
    let (eve, one) = (who("~eve", "eve"), Permission::Allow);
    let some = access(one, vec![rule(&["a/#"], &[], None, DENY)]);
    assert!(spans(&some, &eve, "#") && spans(&some, &eve, "+/x"));
    let all = access(one, vec![rule(&["#"], &["~*"], None, DENY)]);
    assert!(!spans(&all, &eve, "#") && !spans(&all, &eve, "+/x"));
    assert!(spans(&all, &who("al", "c"), "#"));
    let but = vec![
        rule(&["a/%u"], &[], None, ALLOW),
        rule(&["#"], &[], None, DENY),
    ];
    let but = access(one, but);
    assert!(spans(&but, &eve, "#") && !spans(&but, &eve, "+/b/c"));
    assert!(but.may_see("~eve", "a/~eve") && !but.may_see("~eve", "a/~bob"));
    // The default alone refuses no spanning filter: it matches rooms too.
    assert!(spans(&access(Permission::Deny, vec![]), &eve, "#"));
}

#[test]
fn wildcards_of_rules_do_not_match_dollar() {
    let rules = vec![
        rule(&["$aws/things/%c/#"], &[], ALLOW, ALLOW),
        rule(&["$aws/#"], &[], DENY, DENY),
        rule(&["#"], &[], DENY, DENY),
    ];
    let access = access(Permission::Allow, rules);
    let thing = who("~thing", "thing");
    for (name, may) in [
        ("$aws/things/thing/shadow", true),
        ("$aws/things/other/shadow", false),
        ("$other/x", true),
        ("other/x", false),
        ("$SYS/x", false),
        ("$share/g/x", false),
    ] {
        assert_eq!(writes(&access, &thing, name), may, "{name}");
    }
    assert!(reads(&access, &thing, "$aws/things/thing/#"));
    assert!(!reads(&access, &thing, "$aws/things/+/shadow"));
    assert!(reads(&access, &thing, "$other/#"));
}

#[test]
fn an_unknown_client_id_matches_every_deny_rule_and_no_allow_rule() {
    let rules = vec![
        rule(&["out/%c-x/#"], &[], None, DENY),
        rule(&["in/%c/#"], &[], None, ALLOW),
        rule(&["in/#"], &[], None, DENY),
    ];
    let access = access(Permission::Allow, rules);
    assert!(!access.may_see("al", "out/whoever/1"));
    assert!(!access.may_see("al", "in/whoever/1"));
    assert!(access.may_see("al", "out"));
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "%u", "%c", "+"]);
    (prop::collection::vec(level, 0..3), any::<bool>()).prop_filter_map(
        "not empty",
        |(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            Some(levels.join("/")).filter(|text| !text.is_empty())
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<AccessRule>> {
    let permission = || prop::sample::select(vec![None, ALLOW, DENY]);
    let users = prop::sample::select(vec![&[][..], &["a"], &["b"]]);
    let one = (filter(), users, permission(), permission());
    let one = one.prop_map(|(filter, users, publish, subscribe)| {
        rule(&[filter.as_str()], users, publish, subscribe)
    });
    prop::collection::vec(one, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    /// Neither a granted filter nor `may_see` shows a topic to which the client may not subscribe
    /// alone.
    #[test]
    fn no_filter_shows_more_than_its_topics(
        rules in rules(),
        filter in filter().prop_filter("of a client", |text| !text.contains('%')),
        outside in prop::sample::select(vec![Permission::Allow, Permission::Deny]),
    ) {
        let access = access(outside, rules);
        let client = who("a", "b");
        let parsed: TopicFilter = filter.parse().unwrap();
        let granted = reads(&access, &client, &filter);
        let mut some = false;
        for topic in ["a", "b", "c", "a/a", "a/b", "b/a", "c/a", "a/c", "c/c", "a/b/c", "c/c/c", "b/b/a/c"] {
            let alone = reads(&access, &client, topic);
            if parsed.matches(topic) {
                prop_assert!(alone || !granted, "{} by {}", topic, filter);
                some |= alone;
            }
            prop_assert!(alone || !access.may_see("a", topic), "{} is seen", topic);
        }
        prop_assert!(!granted || spans(&access, &client, &filter));
        if !spans(&access, &client, &filter) {
            prop_assert!(!some, "{} is refused", filter);
        }
    }
}
