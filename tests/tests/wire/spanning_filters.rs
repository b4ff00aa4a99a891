//! Filters that span rooms.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Connect, Message};

#[test]
fn spanning_filters_deliver_only_rooms_of_which_the_client_is_a_member() {
    // One client joins and leaves a room ten times.
    let server = Broker::with(&format!("{ONE_LANE}[rooms]\nchanges = 0\n"));
    for version in BOTH {
        for filter in ["#", "rooms/#", "rooms/+/t", "+/+/t", "+/lobby/#"] {
            let mut client = Connect::new(version, "a").to(server.address());
            client.subscribe(filter, 0);
            client.subscribe("out/side", 0);
            let mut sender = Connect::v5("s").to(server.address());
            let mut said = |client: &mut roommq_tests::wire::Client, text: &str| {
                sender.publish(&Message::new("rooms/lobby/t", text));
                sender.publish(&Message::new("rooms/kitchen/t", text));
                sender.publish(&Message::new("out/side", "end"));
                let all = room::said_until(client, "end");
                all.iter().map(|m| m.topic.clone()).collect::<Vec<_>>()
            };
            assert_eq!(said(&mut client, "1"), [""; 0], "{filter}");
            client.subscribe("rooms/lobby", 0);
            assert_eq!(said(&mut client, "2"), ["rooms/lobby/t"], "{filter}");
            client.unsubscribe("rooms/lobby");
            assert_eq!(said(&mut client, "3"), [""; 0], "{filter}");
        }
    }
}

#[test]
fn spanning_filters_find_retained_messages_by_membership() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("s").to(server.address());
    for room in ["lobby", "kitchen"] {
        let topic = format!("rooms/{room}/t");
        sender.publish(&Message::new(&topic, "kept").qos(1).retained());
    }
    let mut client = Connect::v311("a").to(server.address());
    client.subscribe("rooms/lobby", 0);
    client.subscribe("rooms/+/t", 0);
    client.subscribe("out/side", 0);
    sender.publish(&Message::new("out/side", "end"));
    let kept: Vec<String> = client
        .messages_until("end")
        .into_iter()
        .map(|m| m.topic)
        .collect();
    assert_eq!(kept, ["rooms/lobby/t"]);
}

#[test]
fn cards_of_open_rooms_are_public() {
    let config = "[[room]]\nmatch = \"staff\"\naccess = \"list\"\nmembers = [\"~boss\"]\n";
    let server = Broker::with(&format!("{ONE_LANE}{config}"));
    let mut boss = Connect::v5("boss").to(server.address());
    boss.subscribe("rooms/staff/#", 0);
    boss.subscribe("rooms/lobby/#", 0);
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        client.subscribe("rooms/+/_info", 0);
        client.subscribe("out/side", 0);
        client.publish(&Message::new("out/side", "end"));
        let cards: Vec<String> = client
            .messages_until("end")
            .into_iter()
            .map(|m| m.topic)
            .collect();
        assert_eq!(cards, ["rooms/lobby/_info"]);
    }
}

#[test]
fn spanning_filters_join_no_room() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 0);
    room::event(&mut watcher, "joined", "~watcher");
    let mut client = Connect::v5("a").to(server.address());
    for filter in ["#", "rooms/#", "rooms/+", "rooms/+/_events"] {
        assert_eq!(client.subscribe(filter, 0), 0);
    }
    watcher.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    let told = watcher.messages_until("end");
    assert!(!told.iter().any(|m| m.text().contains("~a\"")), "{told:#?}");
}

#[test]
fn inboxes_are_private() {
    let server = Broker::with(ONE_LANE);
    let mut bob = Connect::v5("bob").to(server.address());
    bob.subscribe("inbox/me/#", 0);
    for version in BOTH {
        let mut eve = Connect::new(version, "eve").to(server.address());
        for filter in ["#", "inbox/#", "inbox/+/dm/+", "+/+/#", "+/~bob/#"] {
            let code = eve.subscribe(filter, 0);
            assert!(code == 0 || code >= 0x80, "{filter}");
        }
        for filter in ["inbox/~bob/#", "inbox/~bob", "inbox/~bob/dm/+"] {
            assert!(eve.subscribe(filter, 0) >= 0x80, "{filter}");
        }
        eve.subscribe("out/side", 0);
        let mut alice = Connect::v5("alice").to(server.address());
        let (code, _) = alice.publish(&Message::new("inbox/~bob/dm/~alice", "for bob").qos(1));
        assert_eq!(code & 0x80, 0);
        assert_eq!(
            bob.message_where(|m| m.topic == "inbox/me/dm/~alice")
                .text(),
            "for bob"
        );
        alice.publish(&Message::new("out/side", "end").qos(1));
        let seen = eve.messages_until("end");
        assert!(!seen.iter().any(|m| m.payload == b"for bob"), "{seen:#?}");
    }
}

#[test]
fn a_member_gets_one_copy_if_several_filters_match() {
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut client = Connect::new(version, "a").to(server.address());
        for filter in [
            "#",
            "rooms/#",
            "rooms/lobby/#",
            "rooms/lobby/t",
            "rooms/+/t",
        ] {
            assert_eq!(client.subscribe(filter, 0), 0);
        }
        let mut sender = Connect::v5("s").to(server.address());
        sender.publish(&Message::new("rooms/lobby/t", "once"));
        sender.publish(&Message::new("rooms/lobby/t", "end"));
        assert_eq!(room::said_until(&mut client, "end").len(), 1);
    }
}
