//! The access rules of the config, for topics outside rooms and inboxes.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Subscribe, Value, Version, property,
};

/// A topic that denies subscriptions, one that denies messages, and a branch for each client.
const RULES: &str = "
[lanes]
count = 1
[[access]]
topics = ['test/nosubscribe']
subscribe = 'deny'
[[access]]
topics = ['test/fixed']
publish = 'deny'
[[access]]
topics = ['own/%u/#', 'dev/%c/#']
publish = 'allow'
subscribe = 'allow'
[[access]]
topics = ['own/#', 'dev/#', '$aws/#']
publish = 'deny'
subscribe = 'deny'
";

fn codes(version: Version, of_5: u8) -> u8 {
    if version == Version::V5 { of_5 } else { 0x80 }
}

/// The error message about a filter or a topic, from the client's inbox.
fn told(client: &mut Client, about: &str) -> serde_json::Value {
    let message = client.message_where(|m| {
        m.topic == "inbox/me/error" && (m.field("filter") == about || m.field("topic") == about)
    });
    message.json()
}

#[test]
fn a_denied_subscription_is_reported_in_both_versions() {
    let server = Broker::with(RULES);
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        eve.subscribe("inbox/me/#", 1);
        for filter in [
            "test/nosubscribe",
            "test/+",
            "test/#",
            "$share/g/test/nosubscribe",
            "$share/g/#",
            "own/#",
            "own/+/x",
            "own/~bob/x",
            "dev/other/#",
            "$aws/#",
        ] {
            let (codes_got, properties) = eve.subscribe_with(&Subscribe::to(filter, 2));
            assert_eq!(codes_got, [codes(version, 0x87)], "{version:?} {filter}");
            match version {
                Version::V5 => assert!(properties.reason().contains("access rules")),
                _ if filter == "test/nosubscribe" => {
                    assert_eq!(told(&mut eve, filter)["code"], 0x87);
                }
                _ => {}
            }
        }
        for filter in ["test/other", "own/~eve/#", "dev/eve/+", "$other/#", "#"] {
            assert_eq!(eve.subscribe(filter, 2), 2, "{version:?} {filter}");
        }
    }
}

#[test]
fn a_denied_message_is_reported_in_both_versions_and_not_delivered() {
    let server = Broker::with(RULES);
    for version in BOTH {
        let mut watcher = Connect::v5("watcher").to(server.address());
        assert_eq!(watcher.subscribe("test/fixed", 2), 2);
        assert_eq!(watcher.subscribe("test/end", 2), 2);
        let mut eve = Connect::new(version, "eve").to(server.address());
        eve.subscribe("inbox/me/#", 1);
        for (topic, may) in [
            ("test/fixed", false),
            ("test/nosubscribe", true),
            ("own/~eve/x", true),
            ("own/~bob/x", false),
            ("dev/eve", true),
            ("dev/bob", false),
            ("$aws/x", false),
            ("$other/x", true),
        ] {
            for qos in [1, 2] {
                let (code, _) = eve.publish(&Message::new(topic, "x").qos(qos));
                let refused = version == Version::V5 && !may;
                assert_eq!(code >= 0x80, refused, "{version:?} {topic}");
                assert!(!refused || code == 0x87);
            }
        }
        if version == Version::V311 {
            assert_eq!(told(&mut eve, "test/fixed")["code"], 0x87);
        }
        eve.publish(&Message::new("test/end", "end").qos(1));
        assert_eq!(watcher.messages_until("end"), []);
    }
}

#[test]
fn a_denied_qos_0_message_is_reported_in_the_inbox() {
    let server = Broker::with(RULES);
    for (version, id) in [(Version::V311, "old"), (Version::V5, "new")] {
        let mut client = Connect::new(version, id).to(server.address());
        client.subscribe("inbox/me/#", 1);
        client.publish(&Message::new("test/fixed", "x"));
        let text = told(&mut client, "test/fixed");
        assert_eq!(text["code"], 0x87);
        assert!(text["reason"].as_str().unwrap().contains("access rules"));
    }
}

#[test]
fn access_rules_apply_to_wills() {
    let server = Broker::with(RULES);
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("will/of", 0);
    for version in BOTH {
        let with = |topic: &str| {
            let will = Message::new(topic, "gone").retained();
            Connect::new(version, "eve").will(will)
        };
        let refused = if version == Version::V5 { 0x87 } else { 5 };
        for topic in ["test/fixed", "own/~bob/x", "dev/x"] {
            let _ = with(topic).refused(server.address(), refused);
        }
        drop(with("dev/eve").to(server.address()));
        drop(with("will/of").to(server.address()));
        assert_eq!(watcher.message().text(), "gone");
    }
}

#[test]
fn a_filter_that_starts_with_a_wildcard_delivers_only_allowed_topics() {
    let server = Broker::with(RULES);
    let mut sender = Connect::v5("sender").to(server.address());
    let mut all = |kept: bool, text: &str| {
        for topic in [
            "test/nosubscribe",
            "own/~sender/x",
            "test/open",
            "dev/sender",
        ] {
            let message = Message::new(topic, text).qos(1);
            let (code, _) = sender.publish(&if kept { message.retained() } else { message });
            assert!(code < 0x80, "{topic}");
        }
        sender.publish(&Message::new("out/side", "end").qos(1));
    };
    all(true, "kept");
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        for filter in ["#", "+/#", "+/+", "+/nosubscribe", "+/+/x"] {
            assert_eq!(eve.subscribe(filter, 1), 1, "{filter}");
        }
        all(false, "live");
        let seen = eve.messages_until("end");
        assert!(seen.iter().any(|m| m.retain) && seen.iter().any(|m| m.text() == "live"));
        assert!(seen.iter().all(|m| m.topic == "test/open"), "{seen:#?}");
    }
    // A client sees its own branch.
    let mut second = Connect::v5("second").to(server.address());
    second.subscribe("#", 0);
    second.publish(&Message::new("own/~second/x", "mine"));
    assert_eq!(
        second.message_where(|m| m.text() == "mine").topic,
        "own/~second/x"
    );
}

#[test]
fn rules_can_deny_the_filter_for_all_topics() {
    let rule = "[[access]]\ntopics = ['#']\nusers = ['~*']\nsubscribe = 'deny'\n";
    let config = format!("{rule}[auth]\nusers_file = '@users@'\nanonymous = true\n");
    let server = Broker::with_users(&config, &[("alice", "secret")]);
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        for filter in ["#", "+/x", "$share/g/#", "a"] {
            assert_eq!(eve.subscribe(filter, 0), codes(version, 0x87), "{filter}");
        }
        assert_eq!(
            eve.subscribe("rooms/#", 0),
            0,
            "the rules do not apply to rooms"
        );
        assert_eq!(eve.subscribe("rooms/lobby/#", 0), 0);
        let connect = Connect::new(version, "c").user("alice", "secret");
        assert_eq!(connect.to(server.address()).subscribe("#", 0), 0);
    }
}

#[test]
fn with_a_default_of_deny_only_allowed_topics_work() {
    let rules = "[topics]\noutside_rooms = 'deny'\n[[access]]\ntopics = ['site/%u/#']\n\
                 publish = 'allow'\nsubscribe = 'allow'\n";
    let server = Broker::with(&[ONE_LANE, rules].concat());
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        let no = codes(version, 0x87);
        for filter in [
            "site/#",
            "site/+/x",
            "other",
            "$share/g/#",
            "$share/g/+/~eve",
        ] {
            assert_eq!(eve.subscribe(filter, 1), no, "{filter}");
        }
        for filter in ["site/~eve", "site/~eve/+", "$share/g/site/~eve/#", "#"] {
            assert_eq!(eve.subscribe(filter, 1), 1, "{filter}");
        }
        let mut bob = Connect::v5("bob").to(server.address());
        assert_eq!(bob.publish(&Message::new("other", "x").qos(1)).0, 0x87);
        assert_eq!(bob.publish(&Message::new("site/~eve", "x").qos(1)).0, 0x87);
        assert!(bob.publish(&Message::new("site/~bob", "x").qos(1)).0 < 0x80);
        eve.publish(&Message::new("site/~eve", "end"));
        assert_eq!(eve.messages_until("end"), []);
    }
}

#[test]
fn a_resumed_session_is_checked_against_the_rules() {
    let server = Broker::with(RULES);
    for version in BOTH {
        let connect = Connect::new(version, "kept").clean(false);
        let connect = match version {
            Version::V5 => connect.property(property::SESSION_EXPIRY, Value::Four(3600)),
            _ => connect,
        };
        let mut client = connect.to(server.address());
        assert_eq!(
            client.subscribe("test/nosubscribe", 1),
            codes(version, 0x87)
        );
        for filter in ["#", "dev/kept/#", "own/~kept/+"] {
            assert_eq!(client.subscribe(filter, 1), 1, "{filter}");
        }
        client.disconnect(0);
        let mut sender = Connect::v5("sender").to(server.address());
        for topic in ["test/nosubscribe", "test/open", "own/~sender/x"] {
            sender.publish(&Message::new(topic, "away").qos(1));
        }
        let (mut client, answer) = connect.clone().attempt(server.address());
        let Packet::ConnAck {
            session_present,
            code: 0,
            ..
        } = answer
        else {
            panic!("{answer:?}");
        };
        assert!(session_present);
        // The granted filters are granted again, and deliver no more than before.
        for topic in ["test/nosubscribe", "own/~sender/x", "test/open"] {
            sender.publish(&Message::new(topic, "back").qos(1));
        }
        client.publish(&Message::new("dev/kept/x", "own"));
        client.publish(&Message::new("test/open", "end"));
        let seen: Vec<_> = client
            .messages_until("end")
            .iter()
            .map(|m| format!("{} {}", m.topic, m.text()))
            .collect();
        assert_eq!(seen, ["test/open away", "test/open back", "dev/kept/x own"]);
        drop(Connect::new(version, "kept").to(server.address()));
    }
}

#[test]
fn rules_can_deny_topics_that_start_with_dollar() {
    let server = Broker::with("[topics]\ndollar = 'deny'\n");
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        assert_eq!(eve.subscribe("$aws/#", 1), codes(version, 0x87));
        assert_eq!(eve.subscribe("$SYS/#", 1), 1);
        let (code, _) = eve.publish(&Message::new("$aws/x", "x").qos(1));
        assert_eq!(code, if version == Version::V5 { 0x87 } else { 0 });
    }
}
