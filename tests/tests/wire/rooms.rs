//! Joining and leaving a room.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Subscribe, Version};
use std::collections::BTreeSet;

fn member(server: &Broker, version: Version, id: &str) -> Client {
    let mut client = Connect::new(version, id).to(server.address());
    assert_eq!(client.subscribe("rooms/lobby/#", 0), 0);
    room::presence(&mut client, &format!("~{id}"), "online", 1);
    client
}

#[test]
fn joining_gives_suback_roster_own_presence_and_then_live() {
    let server = Broker::start();
    for version in BOTH {
        let mut alice = member(&server, version, "alice");
        room::event(&mut alice, "joined", "~alice");
        alice.publish(&Message::new("rooms/lobby/topic", "kept").qos(1).retained());
        let mut bob = Connect::new(version, "bob").to(server.address());
        let id = bob.packet_id();
        bob.send(&Subscribe::to("rooms/lobby/#", 0).bytes(id, version));
        assert!(
            matches!(bob.packet(), Packet::SubAck { .. }),
            "SUBACK first"
        );
        let mut kept = Vec::new();
        let own = loop {
            let message = bob.message();
            if !message.retain {
                break message;
            }
            kept.push(message);
        };
        assert!(
            kept.iter().any(|m| room::is_presence(m, "~alice")),
            "the roster"
        );
        assert!(kept.iter().any(|m| m.payload == b"kept"));
        assert!(!kept.iter().any(|m| room::is_presence(m, "~bob")));
        assert!(
            room::is_presence(&own, "~bob"),
            "then the own presence: {own:?}"
        );
        assert_eq!(own.field("state"), "online");
        assert!(
            room::is_event(&bob.message(), "joined", "~bob"),
            "then live"
        );
        room::event(&mut alice, "joined", "~bob");
        alice.publish(&Message::new("rooms/lobby", "hello"));
        let heard = bob.message_where(|m| !room::is_reserved(m));
        assert_eq!(heard.text(), "hello");
        bob.disconnect(0);
        room::event(&mut alice, "left", "~bob");
        alice.publish(&Message::new("rooms/lobby/topic", "").qos(1).retained());
        alice.disconnect(0);
        // The room is empty before the next round.
        let mut looker = Connect::v5("looker").to(server.address());
        looker.subscribe("rooms/lobby/_presence/+", 0);
        looker.publish(&Message::new("rooms/lobby/x", "x").qos(1));
    }
}

#[test]
fn the_roster_entry_has_the_documented_fields() {
    let server = Broker::start();
    let mut alice = Connect::v311("alice").to(server.address());
    alice.subscribe("rooms/lobby/#", 0);
    let entry = room::presence(&mut alice, "~alice", "online", 1);
    assert_eq!(entry["user"], "~alice");
    assert_eq!(entry["role"], "member");
    let since = entry["since"].as_str().unwrap();
    assert!(since.ends_with('Z') && since.len() == 24, "{since}");
    assert!(entry["seq"].as_str().unwrap().contains(':'));
    assert!(entry["meta"].is_object());
    let event = room::event(&mut alice, "joined", "~alice");
    assert!(event["at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn the_first_filter_joins_and_the_last_leaves() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = member(&server, Version::V5, "watcher");
    for version in BOTH {
        let mut bob = Connect::new(version, "bob").to(server.address());
        bob.subscribe("rooms/lobby", 0);
        bob.subscribe("rooms/lobby/_events", 0);
        bob.subscribe("rooms/lobby/_presence/+", 0);
        room::event(&mut watcher, "joined", "~bob");
        bob.unsubscribe("rooms/lobby");
        watcher.publish(&Message::new("rooms/lobby/t", "between").qos(1));
        let told = watcher.messages_until("between");
        assert!(
            !told.iter().any(|m| m.topic.ends_with("_events")),
            "{told:#?}"
        );
        bob.unsubscribe("rooms/lobby/_events");
        let left = room::event(&mut watcher, "left", "~bob");
        assert_eq!(left["reason"], "left");
        // The peek still receives messages, and was no member.
        bob.disconnect(0);
    }
}

#[test]
fn a_member_receives_only_what_its_filter_matches() {
    let server = Broker::with(ONE_LANE);
    let mut main_line = Connect::v5("main").to(server.address());
    main_line.subscribe("rooms/lobby", 0);
    let mut other_room = Connect::v5("other").to(server.address());
    other_room.subscribe("rooms/kitchen/#", 0);
    room::event(&mut other_room, "joined", "~other");
    let mut sender = Connect::v311("s").to(server.address());
    sender.publish(&Message::new("rooms/lobby", "one"));
    sender.publish(&Message::new("rooms/lobby/typing", "two"));
    sender.publish(&Message::new("rooms/lobby", "three"));
    sender.publish(&Message::new("rooms/kitchen", "end"));
    assert_eq!(main_line.message().text(), "one");
    assert_eq!(main_line.message().text(), "three");
    assert_eq!(room::said_until(&mut other_room, "end"), []);
}

#[test]
fn one_subscribe_may_ask_for_several_rooms() {
    let server =
        Broker::with("[[room]]\nmatch = \"shut\"\naccess = \"list\"\nmembers = [\"~boss\"]\n");
    let mut client = Connect::v5("a").to(server.address());
    let subscribe = Subscribe::to("rooms/one/#", 1)
        .and("rooms/shut/#", 0)
        .and("rooms/two/#", 0)
        .and("rooms/three/_events", 1);
    let (codes, properties) = client.subscribe_with(&subscribe);
    assert_eq!(codes, [1, 0x87, 0, 1]);
    assert!(properties.reason().contains("shut"), "{properties:?}");
    let rooms = ["one", "two", "three"];
    happens_in(&rooms, &mut client, "joined", "~a");
}

/// Waits until `client` has received the event of `user` in each of the rooms. Rooms of different lanes have no order
/// between them.
fn happens_in(rooms: &[&str], client: &mut Client, event: &str, user: &str) {
    let mut next = || client.message_where(|m| room::is_event(m, event, user));
    let told: BTreeSet<String> = rooms.iter().map(|_| next().topic).collect();
    let expected = rooms.iter().map(|room| format!("rooms/{room}/_events"));
    assert_eq!(told, expected.collect());
}

#[test]
fn a_client_that_disconnects_leaves_every_room() {
    let server = Broker::start();
    let rooms = ["one", "two", "three"];
    let mut watcher = Connect::v5("watcher").to(server.address());
    let mut bob = Connect::v311("bob").to(server.address());
    for room in rooms {
        watcher.subscribe(&format!("rooms/{room}/#"), 0);
        bob.subscribe(&format!("rooms/{room}/#"), 0);
    }
    bob.disconnect(0);
    happens_in(&rooms, &mut watcher, "left", "~bob");
}

#[test]
fn the_room_card_counts_members_and_is_cleared_with_the_last() {
    let server = Broker::with("[[room]]\nmatch = \"duo\"\nmax_members = 2\n");
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/duo/_info", 0);
    let mut alice = Connect::v5("alice").to(server.address());
    alice.subscribe("rooms/duo/#", 0);
    let card = watcher.message().json();
    assert_eq!(
        (&card["room"], &card["access"]),
        (&"duo".into(), &"open".into())
    );
    assert_eq!((&card["count"], &card["limit"]), (&1.into(), &2.into()));
    assert!(
        card["epoch"]
            .as_str()
            .is_some_and(|epoch| !epoch.is_empty())
    );
    let mut bob = Connect::v5("bob").to(server.address());
    bob.subscribe("rooms/duo/#", 0);
    assert_eq!(watcher.message().json()["count"], 2);
    bob.disconnect(0);
    assert_eq!(watcher.message().json()["count"], 1);
    alice.disconnect(0);
    assert_eq!(watcher.message().payload, b"");
}

#[test]
fn a_peek_shows_the_roster_without_joining() {
    let server = Broker::with(ONE_LANE);
    let mut alice = member(&server, Version::V5, "alice");
    for version in BOTH {
        let mut looker = Connect::new(version, "looker").to(server.address());
        looker.subscribe("rooms/lobby/_presence/+", 0);
        room::presence(&mut looker, "~alice", "online", 1);
        looker.subscribe("rooms/lobby/_info", 0);
        assert_eq!(looker.message().json()["count"], 1);
        alice.publish(&Message::new("rooms/lobby/t", "end").qos(1));
        let told = alice.messages_until("end");
        assert!(
            !told.iter().any(|m| m.text().contains("~looker")),
            "{told:#?}"
        );
    }
}

#[test]
fn a_publisher_need_not_join_and_becomes_no_member() {
    let server = Broker::start();
    let mut alice = member(&server, Version::V311, "alice");
    room::event(&mut alice, "joined", "~alice");
    let mut sensor = Connect::v5("sensor").to(server.address());
    assert_eq!(
        sensor
            .publish(&Message::new("rooms/lobby/temperature", "21").qos(1))
            .0
            & 0x80,
        0
    );
    let heard = alice.message_where(|m| !m.topic.ends_with("/_info"));
    assert_eq!(
        (heard.topic.as_str(), heard.text()),
        ("rooms/lobby/temperature", "21")
    );
    sensor.disconnect(0);
    alice.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    let told = alice.messages_until("end");
    assert!(
        !told.iter().any(|m| m.text().contains("~sensor")),
        "{told:#?}"
    );
}

#[test]
fn room_names_are_one_level_of_plain_characters() {
    let server = Broker::start();
    let long = "x".repeat(65);
    let longest = "x".repeat(64);
    let mut client = Connect::v5("a").to(server.address());
    for good in ["a", "A-b_c.d~9", "0", &longest] {
        assert_eq!(client.subscribe(&format!("rooms/{good}"), 0), 0, "{good}");
    }
    for bad in ["_x", "a b", "ä", "a%20", "", &long, "a$"] {
        let code = client.subscribe(&format!("rooms/{bad}/#"), 0);
        assert!(code >= 0x80, "{bad:?}: {code:#x}");
        let code = client
            .publish(&Message::new(&format!("rooms/{bad}/t"), "x").qos(1))
            .0;
        assert!(code >= 0x80, "{bad:?}: {code:#x}");
    }
}
