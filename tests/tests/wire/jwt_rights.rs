//! What a token lets its user do, and for how long.

use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::token::{keys, seconds_from_now, token, token_of};
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Version, auth};
use serde_json::{Value as Json, json};
use std::time::Duration;

const SETTINGS: &str = "\
[[listener]]
bind = \"127.0.0.1:0\"
[auth]
anonymous = false
[jwt]
keys = \"keys.json\"
[[room]]
match = \"staff\"
access = \"list\"
members = [\"carol\"]
[[access]]
topics = [\"plans/#\"]
publish = \"deny\"
subscribe = \"deny\"
";

const HOUR: Duration = Duration::from_hours(1);
const METHOD: &str = "JWT";
const AGAIN: u8 = 0x19;

fn server() -> Broker {
    Broker::listening(SETTINGS, &[("keys.json", &keys())])
}

fn claims(user: &str, more: &Json) -> String {
    let mut all = json!({"sub": user, "exp": seconds_from_now(HOUR)});
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    token(&all)
}

fn publish(client: &mut Client, topic: &str) -> u8 {
    client.publish(&Message::new(topic, "x").qos(1)).0
}

#[test]
fn a_token_grants_rooms_and_topics() {
    let server = server();
    let more = json!({
        "rooms": {"staff": "member", "ops-*": {"publish": false}},
        "acl": [
            {"permission": "deny", "action": "publish", "topic": "plans/secret"},
            {"permission": "allow", "action": "all", "topic": "plans/#"},
            {"permission": "deny", "action": "subscribe", "topic": "logs/#"},
        ],
    });
    let mut plain = Connect::v5("p")
        .user("alice", &token_of("alice", HOUR))
        .to(server.address());
    let mut alice = Connect::v5("a")
        .user("alice", &claims("alice", &more))
        .to(server.address());
    for (filter, without, with) in [
        ("rooms/staff/#", 0x87, 0),
        ("rooms/ops-1/#", 0, 0),
        ("rooms/lobby/#", 0, 0),
        ("plans/a/#", 0x87, 0),
        ("logs/1", 0, 0x87),
        ("#", 0, 0x87),
        ("inbox/me/#", 0, 0),
    ] {
        assert_eq!(plain.subscribe(filter, 0), without, "{filter}");
        assert_eq!(alice.subscribe(filter, 0), with, "{filter}");
    }
    let mut alice = Connect::v5("a2")
        .user(
            "alice",
            &claims(
                "alice",
                &json!({
                    "rooms": {"staff": "member", "ops-*": {"role": "member", "publish": false}},
                    "acl": [
                        {"permission": "deny", "action": "publish", "topic": "plans/secret"},
                        {"permission": "allow", "action": "all", "topic": "plans/#"},
                    ],
                }),
            ),
        )
        .to(server.address());
    for (topic, without, with) in [
        ("rooms/staff", 0x87, 0),
        ("rooms/ops-1", 0, 0x87),
        ("plans/a", 0x87, 0),
        ("plans/secret", 0x87, 0x87),
    ] {
        assert_eq!(
            publish(&mut plain, topic) >= 0x80,
            without >= 0x80,
            "{topic}"
        );
        assert_eq!(publish(&mut alice, topic) >= 0x80, with >= 0x80, "{topic}");
    }
}

#[test]
fn a_token_may_grant_all_that_its_user_may_do() {
    let server = server();
    let more = json!({
        "only": true,
        "rooms": {"lobby": "member"},
        "acl": [{"permission": "allow", "action": "publish", "topic": "sensors/alice/#"}],
    });
    for version in BOTH {
        let id = format!("{version:?}");
        let connect = Connect::new(version, &id).user("alice", &claims("alice", &more));
        let mut alice = connect.to(server.address());
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        for (filter, code) in [
            ("rooms/lobby/#", 0),
            ("inbox/me/#", 0),
            ("rooms/other/#", refused),
            ("rooms/+/_info", refused),
            ("rooms/#", refused),
            ("#", refused),
            ("sensors/alice/#", refused),
            ("$SYS/#", refused),
        ] {
            assert_eq!(alice.subscribe(filter, 0), code, "{version:?} {filter}");
        }
    }
    let connect = Connect::v5("p").user("alice", &claims("alice", &more));
    let mut alice = connect.to(server.address());
    for (topic, may) in [
        ("rooms/lobby", true),
        ("sensors/alice/1", true),
        ("rooms/other", false),
        ("sensors/bob/1", false),
        ("anything", false),
    ] {
        assert_eq!(publish(&mut alice, topic) < 0x80, may, "{topic}");
    }
    let will = connect.clone().will(Message::new("anything", "x"));
    will.refused(server.address(), 0x87);
}

#[test]
fn a_restriction_that_is_not_known_makes_a_token_invalid() {
    let server = server();
    for more in [
        json!({"rooms": {"a": {"publish": false, "until": 3}}}),
        json!({"rooms": {"a": "king"}}),
        json!({"rooms": {"[": "member"}}),
        json!({"rooms": ["a"]}),
        json!({"only": "yes"}),
        json!({"acl": [{"permission": "allow", "action": "publish", "topic": "a/#/b"}]}),
        json!({"acl": [{"permission": "allow", "action": "publish", "topic": "${clientid}"}]}),
        json!({"acl": [{"permission": "allow", "action": "publish", "topic": "a", "qos": [0]}]}),
        json!({"acl": {"pub": ["a"]}}),
    ] {
        let connect = Connect::v5("a").user("alice", &claims("alice", &more));
        connect.refused(server.address(), 0x86);
    }
}

/// A client whose token ends `after` now, and which may renew it.
fn renewing(server: &Broker, user: &str, id: &str, after: Duration) -> Client {
    let token = token_of(user, after);
    Connect::v5(id)
        .method(METHOD, Some(&token))
        .to(server.address())
}

fn renew(client: &mut Client, token: &str) {
    client.send(&auth(AGAIN, METHOD, Some(token)));
}

#[test]
fn expiry() {
    let server = server();
    let mut watcher = Connect::v5("w")
        .user("carol", &token_of("carol", HOUR))
        .to(server.address());
    assert_eq!(watcher.subscribe("rooms/lobby/_events", 0), 0);
    assert_eq!(watcher.subscribe("rooms/lobby/will", 0), 0);
    room::event(&mut watcher, "joined", "carol");

    let soon = Duration::from_secs(3);
    let mut renewed = renewing(&server, "dave", "d", soon);
    renew(&mut renewed, &token_of("dave", HOUR));
    assert!(matches!(renewed.packet(), Packet::Auth { code: 0, .. }));

    for (version, user, code) in [
        (Version::V5, "alice", Some(0xA0)),
        (Version::V311, "bob", None),
    ] {
        let connect = Connect::new(version, user).user(user, &token_of(user, soon));
        let connect = connect.will(Message::new("rooms/lobby/will", user));
        let mut client = connect.to(server.address());
        assert_eq!(client.subscribe("rooms/lobby/typing", 0), 0);
        room::event(&mut watcher, "joined", user);
        assert_eq!(client.closed(), code, "{version:?}");
        let will = watcher.message();
        assert_eq!((&*will.topic, will.text()), ("rooms/lobby/will", user));
        room::event(&mut watcher, "lost", user);
    }
    server
        .log()
        .line_with("credentials of the client have expired");
    // Its first token had ended before those.
    renewed.ping();
}

#[test]
fn a_token_is_renewed_by_its_user_and_only_by_the_method_of_connect() {
    let server = server();
    let hour = |user| token_of(user, HOUR);
    for (data, code) in [
        (hour("bob"), 0x87),
        ("x".to_owned(), 0x87),
        (token(&json!({"sub": "alice", "exp": 1})), 0x87),
    ] {
        let mut client = renewing(&server, "alice", "a", HOUR);
        renew(&mut client, &data);
        assert_eq!(client.closed(), Some(code), "{data}");
    }
    // [MQTT-4.12.0-7]
    let mut client = Connect::v5("a")
        .user("alice", &hour("alice"))
        .to(server.address());
    renew(&mut client, &hour("alice"));
    assert_eq!(client.closed(), Some(0x82));
    // The server asks for a token that CONNECT left out.
    let mut client = Client::open(server.address(), Version::V5);
    client.send(&Connect::v5("b").method(METHOD, None).bytes());
    assert!(matches!(client.packet(), Packet::Auth { code: 0x18, .. }));
    client.send(&auth(0x18, METHOD, Some(&hour("alice"))));
    assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
    // What the new token does not grant is refused at once.
    let read_only = claims("alice", &json!({"rooms": {"lobby": {"publish": false}}}));
    assert!(publish(&mut client, "rooms/lobby") < 0x80);
    renew(&mut client, &read_only);
    assert!(matches!(client.packet(), Packet::Auth { code: 0, .. }));
    assert_eq!(publish(&mut client, "rooms/lobby"), 0x87);
    // And what it does not grant is revoked.
    assert_eq!(client.subscribe("rooms/other/typing", 0), 0);
    assert_eq!(client.subscribe("inbox/me/error", 0), 0);
    renew(
        &mut client,
        &claims(
            "alice",
            &json!({"only": true, "rooms": {"lobby": "member"}}),
        ),
    );
    assert!(matches!(client.packet(), Packet::Auth { code: 0, .. }));
    assert_eq!(
        client
            .message_where(|message| message.topic == "inbox/me/error")
            .field("filter"),
        "rooms/other/typing"
    );
    client.ping();
}
