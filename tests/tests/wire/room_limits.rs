//! Limits on what one user does in rooms: joins and leaves, cards, rooms without members, refusals.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{Client, Connect, Message, Subscribe};
use std::time::{Duration, Instant};

/// The error messages until one whose topic or filter is `last`.
fn errors_until(client: &mut Client, last: &str) -> Vec<serde_json::Value> {
    let about = |m: &Message| m.field("filter") == last || m.field("topic") == last;
    let all = client.messages_where_until(|m| m.topic == "inbox/me/error" && about(m));
    all.iter().map(Message::json).collect()
}

#[test]
fn a_user_joins_and_leaves_a_room_ten_times_in_ten_seconds() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 0);
    let mut eve = Connect::v5("eve").to(server.address());
    for _ in 0..5 {
        assert_eq!(eve.subscribe("rooms/lobby/#", 0), 0);
        assert_eq!(eve.unsubscribe("rooms/lobby/#"), [0]);
    }
    let (codes, properties) = eve.subscribe_with(&Subscribe::to("rooms/lobby/#", 0));
    assert_eq!(codes, [0x97]);
    assert!(properties.reason().starts_with("too fast: "));
    let mut old = Connect::v311("old").to(server.address());
    old.subscribe("inbox/me/#", 0);
    for _ in 0..5 {
        assert_eq!(old.subscribe("rooms/lobby", 0), 0);
        old.unsubscribe("rooms/lobby");
    }
    assert_eq!(old.subscribe("rooms/lobby", 0), 0x80);
    assert_eq!(errors_until(&mut old, "rooms/lobby")[0]["code"], 0x97);
    // Others and other rooms are as before.
    assert_eq!(eve.subscribe("rooms/other/#", 0), 0);
    let mut bob = Connect::v311("bob").to(server.address());
    assert_eq!(bob.subscribe("rooms/lobby/#", 0), 0);
    room::event(&mut watcher, "joined", "~bob");
}

#[test]
fn the_card_of_a_crowd_comes_once_a_second_and_ends_exact() {
    let server = Broker::with(ONE_LANE);
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/_info", 0);
    let start = Instant::now();
    let members: Vec<Client> = (0..30)
        .map(|n| {
            let mut member = Connect::v5(&format!("m{n}")).to(server.address());
            member.subscribe("rooms/lobby", 0);
            member
        })
        .collect();
    let cards = watcher.messages_where_until(|m| m.json()["count"] == members.len());
    let most = 2 + usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(cards.len() <= most, "{} of {most}", cards.len());
}

#[test]
fn a_stranger_who_leaves_rooms_with_retained_messages_does_not_use_up_the_rooms() {
    let config = format!("{ONE_LANE}[limits]\nrooms = 20\n[rooms]\nper_user = 15\n");
    let server = Broker::with(&config);
    for stranger in ["eve", "mallory"] {
        let mut client = Connect::v311(stranger).to(server.address());
        client.subscribe("inbox/me/#", 0);
        for n in 0..16 {
            let topic = format!("rooms/{stranger}{n}");
            client.publish(&Message::new(&topic, "x").qos(1).retained());
        }
        if stranger == "eve" {
            let errors = errors_until(&mut client, "rooms/eve15");
            assert_eq!(errors[0]["code"], 0x97);
        }
        client.disconnect(0);
    }
    let mut alice = Connect::v5("alice").to(server.address());
    for room in ["one", "two", "three"] {
        assert_eq!(alice.subscribe(&format!("rooms/{room}/#"), 0), 0);
    }
}

#[test]
fn a_room_without_members_ends() {
    let server = Broker::with("[rooms]\nempty_after = \"300ms\"\n");
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/brief/_info", 0);
    let mut eve = Connect::v5("eve").to(server.address());
    eve.publish(&Message::new("rooms/brief/x", "x").qos(1).retained());
    eve.disconnect(0);
    assert_eq!(watcher.message().json()["count"], 0);
    assert_eq!(watcher.message().text(), "", "its card is cleared");
    let mut member = Connect::v5("member").to(server.address());
    member.subscribe("rooms/brief/x", 0);
    member.publish(&Message::new("rooms/brief/x", "first"));
    assert_eq!(member.message().text(), "first", "nothing is retained");
}

#[test]
fn a_refused_publish_is_told_beside_a_refused_subscribe_and_what_was_not_is_counted() {
    let server = Broker::with(ONE_LANE);
    let mut client = Connect::v311("a").to(server.address());
    client.subscribe("inbox/me/#", 0);
    client.subscribe("rooms/lobby/_new/#", 0);
    for n in 0..4 {
        assert_eq!(client.subscribe("inbox/~bob/#", 0), 0x80, "{n}");
    }
    client.publish(&Message::new("inbox/~bob/error", "x").qos(1));
    let told = errors_until(&mut client, "inbox/~bob/error");
    assert_eq!(told.last().unwrap()["suppressed"], serde_json::Value::Null);
    // A second later the next message counts the refusals between.
    let start = Instant::now();
    let counted = loop {
        client.subscribe("inbox/~bob/#", 0);
        client.ping();
        let next = client.poll(Duration::from_millis(50));
        if let Ok(roommq_tests::wire::Packet::Publish(message)) = next
            && message.json()["suppressed"].as_u64() >= Some(3)
        {
            break message.json();
        }
        assert!(start.elapsed() < roommq_tests::PATIENCE);
    };
    assert_eq!(counted["filter"], "inbox/~bob/#");
}

#[test]
fn others_hear_of_their_refusals_while_a_stranger_is_refused_all_the_time() {
    let server = Broker::with(ONE_LANE);
    let mut stranger = Connect::v311("eve").to(server.address());
    let mut bob = Connect::v311("bob").to(server.address());
    bob.subscribe("inbox/me/#", 0);
    for round in 0..10 {
        for n in 0..2_000 {
            let topic = format!("rooms/r{round}-{n}/_events");
            stranger.start_publish(&Message::new(&topic, "x"));
        }
        stranger.ping();
        let topic = format!("rooms/bob{round}/_events");
        bob.publish(&Message::new(&topic, "x").qos(1));
        assert_eq!(errors_until(&mut bob, &topic).len(), 1, "{round}");
    }
}
