//! Retained messages.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Subscribe, Value, property};
use std::net::SocketAddr;

/// Options of a subscription (3.8.3.1).
const RETAIN_AS_PUBLISHED: u8 = 8;
const SEND_IF_NEW: u8 = 16;
const DO_NOT_SEND: u8 = 32;

/// The retained messages that a new subscriber of `filter` receives, by topic.
fn kept(server: SocketAddr, filter: &str) -> Vec<Message> {
    let mut client = Connect::v5("looker").to(server);
    client.subscribe(filter, 1);
    client.subscribe("end", 0);
    client.publish(&Message::new("end", "end"));
    let mut found = client.messages_until("end");
    found.sort_by(|a, b| a.topic.cmp(&b.topic));
    found
}

fn sender(server: &Broker) -> Client {
    Connect::v311("sender").to(server.address())
}

#[test]
fn a_retained_message_is_stored_replaced_and_cleared() {
    let server = Broker::with(ONE_LANE);
    let mut sender = sender(&server);
    for text in ["first", "second"] {
        sender.publish(&Message::new("keep/this", text).qos(1).retained());
        let found = kept(server.address(), "keep/#");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text(), text);
        // [MQTT-3.3.1-8]
        assert!(found[0].retain);
        assert_eq!(found[0].qos, 1);
    }
    // Only a retained empty payload clears [MQTT-3.3.1-6], [MQTT-3.3.1-12].
    sender.publish(&Message::new("keep/this", "").qos(1));
    sender.publish(&Message::new("keep/this", "live").qos(1));
    let found = kept(server.address(), "keep/#");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text(), "second");
    sender.publish(&Message::new("keep/this", "").qos(1).retained());
    assert_eq!(kept(server.address(), "keep/#"), []);
}

#[test]
fn wildcards_match_retained_messages() {
    let server = Broker::with(ONE_LANE);
    let mut sender = sender(&server);
    for topic in ["keep", "keep/a", "keep/a/b", "keep/c", "other/a"] {
        sender.publish(&Message::new(topic, "x").qos(1).retained());
    }
    for (filter, expected) in [
        ("keep/#", vec!["keep", "keep/a", "keep/a/b", "keep/c"]),
        ("keep/+", vec!["keep/a", "keep/c"]),
        ("+/a", vec!["keep/a", "other/a"]),
        ("keep/a/b", vec!["keep/a/b"]),
        ("+", vec!["keep"]),
        ("none/+", vec![]),
    ] {
        let found = kept(server.address(), filter);
        let topics: Vec<&str> = found.iter().map(|m| m.topic.as_str()).collect();
        assert_eq!(topics, expected, "{filter}");
    }
}

#[test]
fn retained_messages_are_found_in_every_lane() {
    // With the default number of lanes.
    let server = Broker::start();
    let mut sender = sender(&server);
    for n in 0..50 {
        let message = Message::new(&format!("many/{n}"), "x");
        sender.publish(&message.qos(1).retained());
    }
    let mut client = Connect::v5("looker").to(server.address());
    client.subscribe("many/+", 1);
    let mut found: Vec<String> = (0..50).map(|_| client.message().topic).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 50);
}

#[test]
fn a_live_copy_has_no_retain_flag_by_default() {
    let server = Broker::with(ONE_LANE);
    for version in BOTH {
        let mut client = Connect::new(version, "live").to(server.address());
        client.subscribe("live/flag", 0);
        sender(&server).publish(&Message::new("live/flag", "x").retained());
        // [MQTT-3.3.1-9]
        assert!(
            !client
                .message_where(|m| m.payload == b"x" && !m.retain)
                .retain
        );
    }
    let mut client = Connect::v5("asked").to(server.address());
    client.subscribe("as/published", RETAIN_AS_PUBLISHED);
    let mut sender = sender(&server);
    sender.publish(&Message::new("as/published", "x").retained());
    sender.publish(&Message::new("as/published", "y"));
    // [MQTT-3.3.1-13]
    assert!(client.message().retain);
    assert!(!client.message().retain);
}

#[test]
fn retain_handling_decides_when_retained_messages_are_sent() {
    let server = Broker::with(ONE_LANE);
    sender(&server).publish(&Message::new("when/sent", "kept").qos(1).retained());
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("when/end", 0);
    let mut count = |options: u8| {
        client.subscribe_with(&Subscribe::to("when/sent", options));
        client.publish(&Message::new("when/end", "end"));
        client.messages_until("end").len()
    };
    // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
    assert_eq!(count(DO_NOT_SEND), 0);
    assert_eq!(count(SEND_IF_NEW), 0, "it is there already");
    assert_eq!(count(0), 1);
    assert_eq!(count(0), 1, "at each subscribe");
    assert_eq!(count(SEND_IF_NEW), 0);
    client.unsubscribe("when/sent");
    client.subscribe_with(&Subscribe::to("when/sent", SEND_IF_NEW));
    assert_eq!(client.message().text(), "kept", "it is new again");
}

#[test]
fn retained_messages_are_sent_level_by_level_across_lanes() {
    let server = Broker::start();
    let mut sender = sender(&server);
    let topics = [
        "1",
        "1/2",
        "1/2/3/4",
        "1/2/3/4/5/6/7",
        "1/2/3-",
        "1/20",
        "1-",
        "1-/2",
        "10/1",
        "2/1/1",
        "a",
        "a/",
        "a/b",
        "b/c",
    ];
    let mut shuffled = topics;
    shuffled.sort_by_key(|topic| topic.bytes().rev().collect::<Vec<_>>());
    for (n, topic) in shuffled.iter().enumerate() {
        let qos = u8::try_from(n % 2).unwrap();
        sender.publish(&Message::new(topic, topic).qos(qos).retained());
    }
    sender.ping();
    for version in BOTH {
        let mut client = Connect::new(version, "all").to(server.address());
        client.subscribe("end", 0);
        client.subscribe_with(&Subscribe::to("#", 2));
        client.publish(&Message::new("end", "end"));
        let found: Vec<String> = client
            .messages_until("end")
            .into_iter()
            .map(|m| m.topic)
            .collect();
        assert_eq!(found, topics);
    }
    let mut client = Connect::v5("two").to(server.address());
    client.subscribe("end", 0);
    // Overlapping filters in one packet: the order holds for each filter.
    client.subscribe_with(&Subscribe::to("1/#", 0).and("+/+", 0));
    client.publish(&Message::new("end", "end"));
    let found: Vec<String> = client
        .messages_until("end")
        .into_iter()
        .map(|m| m.topic)
        .collect();
    let expected = [
        "1",
        "1/2",
        "1/2",
        "1/2/3/4",
        "1/2/3/4/5/6/7",
        "1/2/3-",
        "1/20",
        "1/20",
        "1-/2",
        "10/1",
        "a/",
        "a/b",
        "b/c",
    ];
    assert_eq!(found, expected);
}

/// Rooms count their own messages; the lane counts the bytes.
#[test]
fn rooms_retain_no_more_bytes_than_all_other_topics() {
    let config = "[lanes]\ncount = 1\n[limits]\nroom_retained = 2\nretained_bytes = \"4KiB\"\n";
    let server = Broker::with(config);
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("inbox/me/#", 0);
    let (large, small) = ("x".repeat(3_000), "x".repeat(300));
    // The first room may retain all messages, the second none.
    for (topic, text) in [
        ("rooms/a/1", &large),
        ("rooms/b/1", &large),
        ("rooms/a/2", &small),
    ] {
        client.publish(&Message::new(topic, text).qos(1).retained());
    }
    let told = client.message_where(|m| m.topic == "inbox/me/error");
    assert!(told.text().contains("\"not-kept\"") && told.text().contains("rooms/b/1"));
    let topics = |filter| {
        let found = kept(server.address(), filter);
        found.into_iter().map(|m| m.topic).collect::<Vec<_>>()
    };
    assert_eq!(topics("rooms/b/1"), [""; 0]);
    assert_eq!(topics("rooms/a/1"), ["rooms/a/1"]);
    // A message that is not retained does not count towards its room's limit.
    client.publish(&Message::new("rooms/a/1", "").qos(1).retained());
    for topic in ["rooms/b/1", "rooms/b/2"] {
        client.publish(&Message::new(topic, &small).qos(1).retained());
        assert_eq!(topics(topic), [topic]);
    }
}

#[test]
fn above_the_limit_a_message_is_delivered_but_not_retained() {
    let config = "[lanes]\ncount = 1\n[limits]\nretained = 2\nretained_bytes = \"1KiB\"\n";
    let server = Broker::with(config);
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("inbox/me/#", 0);
    let mut watcher = Connect::v311("w").to(server.address());
    watcher.subscribe("keep/#", 0);
    let large = "x".repeat(1_020);
    // The third topic exceeds the limit, and so do the bytes that replace the second.
    for (topic, text) in [
        ("keep/1", "1"),
        ("keep/2", "2"),
        ("keep/3", "3"),
        ("keep/2", &large),
    ] {
        client.publish(&Message::new(topic, text).qos(1).retained());
        assert_eq!(watcher.message().text(), text);
    }
    let told = client.message_where(|m| m.topic == "inbox/me/error");
    assert!(told.text().contains("\"not-kept\"") && told.text().contains("keep/3"));
    let topics = |found: Vec<Message>| found.into_iter().map(|m| m.topic).collect::<Vec<_>>();
    assert_eq!(topics(kept(server.address(), "keep/#")), ["keep/1"]);
    // Rooms have another limit.
    client.publish(&Message::new("rooms/lobby/x", "x").qos(1).retained());
    client.publish(&Message::new("keep/3", "3").qos(1).retained());
    assert_eq!(
        topics(kept(server.address(), "rooms/lobby/x")),
        ["rooms/lobby/x"]
    );
    assert_eq!(
        topics(kept(server.address(), "keep/#")),
        ["keep/1", "keep/3"]
    );
    client.publish(&Message::new("keep/1", "").qos(1).retained());
    client.publish(&Message::new("keep/4", "4").qos(1).retained());
    assert_eq!(
        topics(kept(server.address(), "keep/#")),
        ["keep/3", "keep/4"]
    );
}

#[test]
fn a_room_refuses_retained_topics_above_its_limit() {
    let server = Broker::with("[lanes]\ncount = 1\n[limits]\nroom_retained = 2\n");
    let mut client = Connect::v5("a").to(server.address());
    client.subscribe("rooms/lobby/+", 0);
    client.subscribe("inbox/me/#", 0);
    for n in 0..3 {
        let message = Message::new(&format!("rooms/lobby/t{n}"), "x");
        client.publish(&message.qos(1).retained());
    }
    // The third message is delivered live, and the sender learns that it is not retained.
    client.message_where(|m| m.topic == "rooms/lobby/t2");
    client.message_where(|m| m.topic == "inbox/me/error" && m.text().contains("rooms/lobby/t2"));
    let mut other = Connect::v5("b").to(server.address());
    other.subscribe("rooms/lobby/+", 0);
    other.publish(&Message::new("rooms/lobby/end", "end"));
    let found: Vec<String> = roommq_tests::room::said_until(&mut other, "end")
        .into_iter()
        .map(|m| m.topic)
        .collect();
    assert_eq!(found, ["rooms/lobby/t0", "rooms/lobby/t1"]);
}

#[test]
fn a_room_ends_with_its_last_retained_message() {
    let server = Broker::start();
    let mut watcher = Connect::v5("w").to(server.address());
    watcher.subscribe("rooms/brief/_info", 0);
    let message = Message::new("rooms/brief/x", "x").qos(1).retained();
    watcher.publish(&message.property(property::MESSAGE_EXPIRY, Value::Four(1)));
    assert_eq!(watcher.message().json()["count"], 0);
    assert_eq!(watcher.message().text(), "", "its card is cleared");
}
