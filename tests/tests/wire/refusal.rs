//! Refusals: how the client learns of them, and that they leak nothing.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Version};

const STAFF: &str = "
[lanes]
count = 1
[auth]
users_file = \"@users@\"
[[room]]
match = \"staff-*\"
access = \"list\"
members = [\"alice\", \"bob\"]
";
const USERS: [(&str, &str); 3] = [("alice", "a"), ("bob", "b"), ("eve", "e")];

fn user(server: &Broker, version: Version, name: &str) -> Client {
    let (_, password) = USERS.iter().find(|(n, _)| *n == name).unwrap();
    let connect = Connect::new(version, name).user(name, password);
    connect.to(server.address())
}

/// The error message in the client's inbox, to which it must have subscribed.
fn told(client: &mut Client, about: &str) -> serde_json::Value {
    let message = client.message_where(|m| {
        m.topic == "inbox/me/error" && (m.field("filter") == about || m.field("topic") == about)
    });
    let text = message.json();
    assert!(!text["reason"].as_str().unwrap().is_empty(), "{text}");
    text
}

#[test]
fn a_refused_join_is_reported_in_both_versions() {
    let server = Broker::with_users(STAFF, &USERS);
    for name in ["alice", "bob"] {
        assert_eq!(
            user(&server, Version::V311, name).subscribe("rooms/staff-1/#", 1),
            1
        );
    }
    let mut eve = user(&server, Version::V5, "eve");
    let (codes, properties) =
        eve.subscribe_with(&roommq_tests::wire::Subscribe::to("rooms/staff-1/#", 1));
    assert_eq!(codes, [0x87]);
    assert_eq!(
        properties.reason(),
        "staff-1 is for its members; ask the server's operator to add you"
    );
    let mut eve = user(&server, Version::V311, "eve");
    eve.subscribe("inbox/me/#", 0);
    assert_eq!(eve.subscribe("rooms/staff-1/#", 1), 0x80);
    let text = told(&mut eve, "rooms/staff-1/#");
    assert_eq!(text["code"], 0x87);
    assert!(text["reason"].as_str().unwrap().contains("staff-1"));
    let mut stranger = Connect::v5("alice").to(server.address());
    assert_eq!(
        stranger.subscribe("rooms/staff-1", 0),
        0x87,
        "~alice is not alice"
    );
}

#[test]
fn a_refused_join_leaks_nothing() {
    let server = Broker::with_users(STAFF, &USERS);
    let mut alice = user(&server, Version::V5, "alice");
    alice.subscribe("rooms/staff-1/#", 0);
    alice.publish(
        &Message::new("rooms/staff-1/kept", "secret kept")
            .qos(1)
            .retained(),
    );
    for version in BOTH {
        let mut eve = user(&server, version, "eve");
        // A filter that spans rooms is granted, and delivers only rooms that the client may see.
        for filter in [
            "#",
            "rooms/#",
            "rooms/+",
            "rooms/+/#",
            "+/+/_presence/+",
            "+/staff-1/#",
        ] {
            let code = eve.subscribe(filter, 0);
            assert!(code == 0 || code >= 0x80, "{filter}");
        }
        for filter in [
            "rooms/staff-1",
            "rooms/staff-1/#",
            "rooms/staff-1/+",
            "rooms/staff-1/kept",
            "rooms/staff-1/_presence/+",
            "rooms/staff-1/_info",
            "rooms/staff-1/_events",
            "rooms/staff-1/_log",
        ] {
            assert!(eve.subscribe(filter, 0) >= 0x80, "{filter}");
        }
        eve.subscribe("out/side", 0);
        // A live message, a retained one, a join and a leave, all in one lane and before the end.
        alice.publish(&Message::new("rooms/staff-1", "secret live").qos(1));
        alice.publish(
            &Message::new("rooms/staff-1/kept", "secret kept")
                .qos(1)
                .retained(),
        );
        let mut bob = user(&server, version, "bob");
        bob.subscribe("rooms/staff-1/#", 0);
        room::event(&mut alice, "joined", "bob");
        bob.disconnect(0);
        room::event(&mut alice, "left", "bob");
        alice.publish(&Message::new("out/side", "end").qos(1));
        let seen = eve.messages_until("end");
        let leaked: Vec<_> = seen
            .iter()
            .filter(|m| !m.topic.starts_with("inbox/"))
            .collect();
        assert!(leaked.is_empty(), "{version:?}: {leaked:#?}");
        // The client did not become a member.
        let mut looker = user(&server, Version::V5, "bob");
        looker.subscribe("rooms/staff-1/_presence/+", 0);
        looker.subscribe("out/side", 0);
        looker.publish(&Message::new("out/side", "end"));
        let roster = looker.messages_until("end");
        let users: Vec<String> = roster.iter().map(|m| m.field("user")).collect();
        assert_eq!(users, ["alice"]);
    }
}

#[test]
fn a_refused_publish_is_reported_and_not_delivered() {
    let server = Broker::with_users(STAFF, &USERS);
    let mut alice = user(&server, Version::V5, "alice");
    alice.subscribe("rooms/staff-1/#", 0);
    room::event(&mut alice, "joined", "alice");
    for (version, qos) in [
        (Version::V5, 0),
        (Version::V5, 1),
        (Version::V5, 2),
        (Version::V311, 0),
        (Version::V311, 1),
        (Version::V311, 2),
    ] {
        let mut eve = user(&server, version, "eve");
        eve.subscribe("inbox/me/#", 0);
        // Each in a room of its own, since a user has one error message a second for a room and code.
        let topic = format!("rooms/staff-{qos}{version:?}");
        let message = Message::new(&topic, "forged").qos(qos);
        let (code, properties) = eve.publish(&message);
        if version == Version::V5 && qos > 0 {
            assert_eq!(code, 0x87);
            assert!(properties.reason().contains("staff-"));
        } else {
            assert_eq!(code, 0);
            assert_eq!(told(&mut eve, &topic)["code"], 0x87);
        }
        eve.publish(&Message::new("rooms/staff-1", "forged").qos(qos));
        eve.publish(
            &Message::new("rooms/staff-1/t", "forged")
                .qos(qos)
                .retained(),
        );
    }
    alice.publish(&Message::new("rooms/staff-1/t", "end").qos(1));
    assert_eq!(room::said_until(&mut alice, "end"), []);
}

#[test]
fn the_refusal_of_a_full_room_names_its_limit() {
    let config = "[auth]\nusers_file = \"@users@\"\n[presence]\ngrace = \"100ms\"\n\
                  [[room]]\nmatch = \"duo\"\nmax_members = 2\n";
    let server = Broker::with_users(config, &USERS);
    let mut alice = user(&server, Version::V5, "alice");
    alice.subscribe("rooms/duo/#", 0);
    let bob = {
        let mut bob = user(&server, Version::V311, "bob");
        assert_eq!(bob.subscribe("rooms/duo/#", 0), 0);
        bob
    };
    // A second device of a member is no second member.
    let mut tablet = Connect::v5("tablet")
        .user("alice", "a")
        .to(server.address());
    assert_eq!(tablet.subscribe("rooms/duo/#", 0), 0);
    let mut eve = user(&server, Version::V5, "eve");
    let (codes, properties) =
        eve.subscribe_with(&roommq_tests::wire::Subscribe::to("rooms/duo/#", 0));
    assert_eq!(codes, [0x97]);
    assert_eq!(properties.reason(), "full, 2 of 2");
    let mut old_eve = user(&server, Version::V311, "eve");
    old_eve.subscribe("inbox/me/#", 0);
    assert_eq!(old_eve.subscribe("rooms/duo/#", 0), 0x80);
    assert_eq!(told(&mut old_eve, "rooms/duo/#")["code"], 0x97);
    // A lost member counts until the grace period ends.
    drop(bob);
    room::event(&mut alice, "left", "bob");
    assert_eq!(old_eve.subscribe("rooms/duo/#", 0), 0);
}

#[test]
fn with_create_nobody_no_room_is_created() {
    let config = "[rooms]\ncreate = \"nobody\"\n[[room]]\nmatch = \"lobby\"\n";
    let server = Broker::with(config);
    let mut client = Connect::v5("a").to(server.address());
    assert_eq!(client.subscribe("rooms/lobby/#", 0), 0);
    let (codes, properties) =
        client.subscribe_with(&roommq_tests::wire::Subscribe::to("rooms/new/#", 0));
    assert_eq!(codes, [0x87]);
    assert!(properties.reason().contains("new"), "{properties:?}");
    assert_eq!(
        client.publish(&Message::new("rooms/new", "x").qos(1)).0,
        0x87
    );
}

#[test]
fn anonymous_clients_can_be_denied_to_create_rooms() {
    let config = "[auth]\nusers_file = \"@users@\"\n[rooms]\ncreate = \"authenticated\"\n";
    let server = Broker::with_users(config, &USERS);
    let mut stranger = Connect::v5("a").to(server.address());
    assert_eq!(stranger.subscribe("rooms/new/#", 0), 0x87);
    let mut old = Connect::v311("b").to(server.address());
    old.subscribe("inbox/me/#", 0);
    assert_eq!(old.subscribe("rooms/new/#", 0), 0x80);
    told(&mut old, "rooms/new/#");
    let mut alice = user(&server, Version::V5, "alice");
    assert_eq!(alice.subscribe("rooms/new/#", 0), 0);
    assert_eq!(stranger.subscribe("rooms/new/#", 0), 0, "it is there now");
}

#[test]
fn a_room_may_require_membership_to_publish() {
    let config = "[[room]]\nmatch = \"club\"\npublish = \"members\"\n";
    let server = Broker::with(config);
    let mut alice = Connect::v5("alice").to(server.address());
    alice.subscribe("rooms/club/#", 0);
    for version in BOTH {
        let mut eve = Connect::new(version, &format!("eve-{version:?}")).to(server.address());
        eve.subscribe("inbox/me/#", 0);
        let (code, _) = eve.publish(&Message::new("rooms/club", "from outside").qos(1));
        if code == 0 {
            told(&mut eve, "rooms/club");
        }
        assert_eq!(eve.subscribe("rooms/club", 0), 0);
        eve.publish(&Message::new("rooms/club", "from inside").qos(1));
        let heard = alice.message_where(|m| !room::is_reserved(m));
        assert_eq!(heard.text(), "from inside");
        eve.disconnect(0);
    }
}

#[test]
fn only_the_server_publishes_to_reserved_levels() {
    let server = Broker::with(ONE_LANE);
    let mut alice = Connect::v5("alice").to(server.address());
    alice.subscribe("rooms/lobby/#", 0);
    room::event(&mut alice, "joined", "~alice");
    let topics = [
        "rooms/lobby/_presence/~alice",
        "rooms/lobby/_events",
        "rooms/lobby/_info",
        "rooms/lobby/_log",
        "rooms/lobby/_new",
        "rooms/lobby/app/_x/y",
        "rooms/_all",
        "rooms",
        "inbox",
        "inbox/~alice/error",
        "inbox/~alice/reply",
        "inbox/me/error",
        "inbox/~alice/dm/~somebody",
    ];
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        for topic in topics {
            for message in [
                Message::new(topic, "forged").qos(1),
                Message::new(topic, "forged").qos(1).retained(),
                Message::new(topic, "").qos(1).retained(),
            ] {
                let (code, _) = eve.publish(&message);
                let refused = code == 0x87 || code == 0x90;
                assert!(refused || version == Version::V311, "{topic}: {code:#x}");
            }
        }
    }
    alice.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    let heard = alice.messages_until("end");
    assert!(!heard.iter().any(|m| m.payload == b"forged"), "{heard:#?}");
    // The roster is still complete.
    let mut looker = Connect::v5("looker").to(server.address());
    looker.subscribe("rooms/lobby/_presence/+", 0);
    room::presence(&mut looker, "~alice", "online", 1);
}
