//! Shared subscriptions (4.8.2).

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Packet, Subscribe, Value, Version, property};
use std::time::Duration;

fn member(server: &Broker, version: Version, id: &str, filter: &str, qos: u8) -> Client {
    let mut client = Connect::new(version, id).to(server.address());
    assert_eq!(client.subscribe(filter, qos), qos);
    client
}

#[test]
fn group_members_receive_messages_in_turn() {
    let server = Broker::start();
    for qos in 0..=2 {
        let mut members = [Version::V5, Version::V311, Version::V5].map(|version| {
            let id = format!("{version:?}{qos}{}", std::process::id());
            let id = format!("{id}{:?}", std::time::Instant::now());
            member(&server, version, &id, "$share/g/jobs/#", qos)
        });
        let mut all = member(&server, Version::V5, "all", "jobs/#", 2);
        let mut sender = Connect::v5("sender").to(server.address());
        for n in 0..30 {
            sender.publish(&Message::new("jobs/x", n.to_string()).qos(2));
        }
        for _ in 0..30 {
            all.message();
        }
        let mut seen = Vec::new();
        for client in &mut members {
            let own: Vec<u32> = (0..10)
                .map(|_| client.message().text().parse().unwrap())
                .collect();
            assert!(own.is_sorted(), "{own:?}");
            seen.extend(own);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..30).collect::<Vec<_>>());
        // Otherwise the clients of the next round would share with these.
        for client in members {
            client.disconnect(0);
        }
    }
}

#[test]
fn groups_differ_by_name_and_filter() {
    let server = Broker::start();
    let mut one = member(&server, Version::V5, "one", "$share/g/a/#", 0);
    let mut two = member(&server, Version::V5, "two", "$share/h/a/#", 0);
    let mut three = member(&server, Version::V5, "three", "$share/g/+/b", 0);
    // A subscription that is not shared is independent.
    assert_eq!(three.subscribe("a/b", 0), 0);
    let mut sender = Connect::v311("sender").to(server.address());
    sender.publish(&Message::new("a/b", "x"));
    for client in [&mut one, &mut two, &mut three] {
        assert_eq!(client.message().text(), "x");
    }
    assert_eq!(three.message().text(), "x");
    assert_eq!(one.unsubscribe("$share/g/a/#"), [0]);
    assert_eq!(one.unsubscribe("$share/g/a/#"), [0x11]);
}

#[test]
fn unacknowledged_messages_of_a_lost_group_member_go_to_another() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("sender").to(server.address());
    let mut first = member(&server, Version::V5, "first", "$share/g/work", 2);
    for n in 0..5 {
        sender.publish(&Message::new("work", n.to_string()).qos(1).user("k", "v"));
    }
    let held: Vec<_> = (0..5).map(|_| first.packet()).collect();
    assert!(held.iter().all(|p| matches!(p, Packet::Publish(_))));
    let mut second = member(&server, Version::V311, "second", "$share/g/work", 1);
    drop(first);
    let got: Vec<_> = (0..5).map(|_| second.message()).collect();
    let texts: Vec<_> = got.iter().map(Message::text).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
    assert!(got.iter().all(|m| !m.dup), "new to its receiver");
}

#[test]
fn an_offline_group_member_receives_nothing_while_another_is_connected() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("sender").to(server.address());
    let keeps = |id: &str| {
        Connect::v5(id)
            .clean(false)
            .property(property::SESSION_EXPIRY, Value::Four(100))
    };
    let mut first = keeps("first").to(server.address());
    first.subscribe("$share/g/work", 1);
    let mut second = keeps("second").to(server.address());
    second.subscribe("$share/g/work", 1);
    let mut witness = Connect::v5("witness")
        .will(Message::new("gone", "x"))
        .to(server.address());
    witness.ping();
    drop(first);
    // Messages that were sent to the first before its loss was detected go to the second as well.
    for n in 0..10 {
        sender.publish(&Message::new("work", n.to_string()).qos(1));
    }
    let mut got: Vec<_> = (0..10)
        .map(|_| second.message().text().to_owned())
        .collect();
    got.sort();
    assert_eq!(got, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    second.disconnect(0);
    // No group member is connected, so an offline one holds the message.
    for n in 0..4 {
        sender.publish(&Message::new("work", format!("late{n}")).qos(1));
    }
    let mut late = Vec::new();
    for id in ["first", "second"] {
        let mut client = keeps(id).to(server.address());
        client.publish(&Message::new("$none", "x"));
        assert_eq!(client.subscribe("end", 1), 1);
        client.publish(&Message::new("end", "end").qos(1));
        late.extend(
            client
                .messages_until("end")
                .iter()
                .map(|m| m.text().to_owned()),
        );
    }
    late.sort();
    assert_eq!(late, ["late0", "late1", "late2", "late3"]);
}

#[test]
fn shared_subscriptions_get_no_retained_messages_and_allow_no_no_local() {
    let server = Broker::start();
    let mut sender = Connect::v5("sender").to(server.address());
    sender.publish(&Message::new("kept/x", "kept").qos(1).retained());
    let mut client = member(&server, Version::V5, "c", "$share/g/kept/x", 1);
    sender.publish(&Message::new("kept/x", "live").qos(1));
    assert_eq!(client.message().text(), "live");
    // [MQTT-3.8.3-4]
    let bytes = Subscribe::to("$share/g/x", 4).bytes(9, Version::V5);
    client.send(&bytes);
    assert_eq!(client.closed(), Some(0x82));
}

/// A group member with this maximum packet size.
fn small(server: &Broker, id: &str, largest: u32, filter: &str) -> Client {
    let connect = Connect::v5(id).property(property::MAXIMUM_PACKET_SIZE, Value::Four(largest));
    let mut client = connect.to(server.address());
    assert_eq!(client.subscribe(filter, 2), 2);
    client
}

/// The next packet, which must be a PUBLISH; not acknowledged.
fn publish(client: &mut Client) -> Message {
    match client.packet() {
        Packet::Publish(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Asserts that no packet comes before PINGRESP.
fn quiet(client: &mut Client) {
    client.ping();
    let next = client.poll(Duration::ZERO);
    assert!(next.is_err(), "{next:?}");
}

#[test]
fn a_message_too_large_for_a_group_member_goes_to_another() {
    let server = Broker::start();
    for qos in 0..=2 {
        let topic = format!("sizes/{qos}");
        let filter = format!("$share/g/{topic}");
        let mut one = small(&server, "one", 60, &filter);
        let mut two = member(&server, Version::V5, "two", &filter, 2);
        let mut sender = Connect::v5("sender").to(server.address());
        for n in 0..6 {
            let payload = format!("{n}{}", "x".repeat(100));
            sender.publish(&Message::new(topic.as_str(), payload).qos(qos));
        }
        let got: Vec<_> = (0..6)
            .map(|_| two.message().text()[..1].to_owned())
            .collect();
        assert_eq!(got.concat(), "012345");
        sender.publish(&Message::new(topic.as_str(), "small").qos(qos));
        sender.publish(&Message::new(topic.as_str(), "small").qos(qos));
        assert_eq!([one.message().text(), two.message().text()], ["small"; 2]);
        quiet(&mut one);
        quiet(&mut two);
    }
}

/// Also for messages that were sent to the session that ends.
#[test]
fn pending_messages_of_a_group_member_go_to_one_that_accepts_their_size() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("sender").to(server.address());
    let mut first = member(&server, Version::V5, "first", "$share/g/left", 1);
    for n in 0..4 {
        let payload = format!("{n}{}", "x".repeat(100));
        sender.publish(&Message::new("left", payload).qos(1));
    }
    (0..4).for_each(|_| drop(publish(&mut first)));
    let mut little = small(&server, "little", 60, "$share/g/left");
    let mut last = member(&server, Version::V5, "last", "$share/g/left", 1);
    drop(first);
    let got: Vec<_> = (0..4)
        .map(|_| last.message().text()[..1].to_owned())
        .collect();
    assert_eq!(got.concat(), "0123");
    quiet(&mut little);
}

#[test]
fn unsubscribe_passes_on_unsent_messages_and_the_session_end_sent_ones() {
    let server = Broker::with(ONE_LANE);
    let connect = Connect::v5("first").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut first = connect.to(server.address());
    assert_eq!(first.subscribe("$share/g/rx", 1), 1);
    let mut second = member(&server, Version::V5, "second", "$share/g/rx", 1);
    let mut sender = Connect::v5("sender").to(server.address());
    for n in 0..8 {
        sender.publish(&Message::new("rx", n.to_string()).qos(1));
    }
    let on_its_way = publish(&mut first).text().to_owned();
    let mut got: Vec<_> = (0..4).map(|_| second.message().text().to_owned()).collect();
    assert_eq!(first.unsubscribe("$share/g/rx"), [0]);
    let waited: Vec<_> = (0..3).map(|_| second.message().text().to_owned()).collect();
    assert!(waited.is_sorted(), "{waited:?}");
    quiet(&mut second);
    first.disconnect(0);
    assert_eq!(second.message().text(), on_its_way);
    got.extend(waited);
    got.push(on_its_way);
    got.sort();
    assert_eq!(got.concat(), "01234567");
    quiet(&mut second);
}

#[test]
fn group_members_get_equal_shares_of_few_messages_on_many_topics() {
    let server = Broker::start();
    let mut sender = Connect::v5("sender").to(server.address());
    for group in ["g", "h", "jobs"] {
        let filter = format!("$share/{group}/b/#");
        let mut members =
            ["one", "two", "three"].map(|id| member(&server, Version::V5, id, &filter, 1));
        for n in 0..30 {
            sender.publish(&Message::new(&format!("b/{n}"), "x").qos(1));
        }
        let counts = members.each_mut().map(|client| {
            // Every lane has answered, so all earlier messages are delivered.
            client.subscribe("+/of/all/lanes", 0);
            std::iter::from_fn(|| client.poll(Duration::ZERO).ok()).count()
        });
        assert_eq!(counts.iter().sum::<usize>(), 30);
        assert!(counts.iter().all(|n| (6..=14).contains(n)), "{counts:?}");
    }
}
