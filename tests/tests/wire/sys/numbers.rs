//! The numbers for known traffic. Each test waits for the message that has them.

use super::{OFTEN, Watcher};
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Packet, Value, property};

/// A client with a persistent session.
fn kept(server: &Broker, id: &str) -> Client {
    let expiry = Value::Four(3600);
    let connect = Connect::v5(id).property(property::SESSION_EXPIRY, expiry);
    connect.clean(false).to(server.address())
}

#[test]
fn messages_are_counted_in_and_out() {
    let server = Broker::with(OFTEN);
    let topics = [
        "publish/messages/received",
        "publish/messages/sent",
        "publish/bytes/received",
        "load/publish/received/1min",
        "load/connections/1min",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    let mut receivers = [(0, "r0"), (1, "r1"), (2, "r2")].map(|(qos, id)| {
        let mut client = Connect::v311(id).to(server.address());
        client.subscribe("count/me", qos);
        client
    });
    let mut sender = Connect::v5("sender").to(server.address());
    for qos in [0, 1, 2] {
        for _ in 0..100 {
            sender.publish(&Message::new("count/me", "0123456789").qos(qos));
        }
    }
    for client in &mut receivers {
        for _ in 0..300 {
            client.message();
        }
    }
    watcher.all(&[
        ("publish/messages/received", 300),
        ("publish/bytes/received", 3_000),
    ]);
    let sent = "publish/messages/sent";
    // The number includes messages that the watcher itself received.
    watcher.read_until(sent, |w| (w.number(sent)? - w.before == 900).then_some(()));
    let load = |w: &Watcher, topic: &str| w.values.get(topic)?.parse::<f64>().ok();
    watcher.read_until("a load", |w| {
        let connections = load(w, "load/connections/1min")?;
        let messages = load(w, "load/publish/received/1min")?;
        (connections > 1.0 && messages > 100.0).then_some(())
    });
}

#[test]
fn all_packets_and_bytes_are_counted() {
    let server = Broker::with(OFTEN);
    let topics = [
        "messages/received",
        "messages/sent",
        "bytes/received",
        "bytes/sent",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    let first = topics.map(|topic| (topic, watcher.first(topic)));
    // A second watcher would count too. This one has all its subscriptions, so only its messages count.
    let connect = Connect::v5("a");
    let mut client = connect.to(server.address());
    client.ping();
    client.ping();
    let bytes = connect.bytes().len() + 2 * 2;
    let settled = |w: &Watcher, topic: &str, more: i64| {
        let (_, before) = first.iter().find(|(t, _)| *t == topic)?;
        (w.number(topic)? >= before + more).then_some(())
    };
    let bytes = i64::try_from(bytes).unwrap();
    watcher.read_until("received", |w| {
        settled(w, "messages/received", 3)?;
        settled(w, "bytes/received", bytes)?;
        // CONNACK, two PINGRESPs.
        settled(w, "messages/sent", 3)?;
        settled(w, "bytes/sent", 2 + 2 + 2)
    });
    // CONNECT, four SUBSCRIBEs, CONNECT, two PINGREQs: and no more, since QoS 0 is not acknowledged. On a busy machine the first
    // values may have come before all SUBSCRIBEs, so they are no sign that all is counted.
    watcher.read_until("eight packets", |w| {
        (w.number("messages/received")? >= 8).then_some(())
    });
    assert_eq!(watcher.number("messages/received"), Some(8));
}

#[test]
fn connected_offline_and_expired_clients_are_counted() {
    let server = Broker::with(&format!("{OFTEN}[limits]\nkept_sessions = 1\n"));
    let topics = [
        "clients/+",
        "connections/refused",
        "connections/socket/count",
        "errors/+",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    watcher.all(&[("clients/total", 1), ("clients/connected", 1)]);
    let (first, second) = (kept(&server, "first"), kept(&server, "second"));
    watcher.all(&[
        ("clients/total", 3),
        ("clients/connected", 3),
        ("clients/active", 3),
        ("clients/maximum", 3),
    ]);
    first.disconnect(0);
    watcher.all(&[
        ("clients/total", 3),
        ("clients/connected", 2),
        ("clients/disconnected", 1),
        ("clients/inactive", 1),
    ]);
    second.disconnect(0);
    watcher.all(&[
        ("clients/total", 2),
        ("clients/connected", 1),
        ("clients/disconnected", 1),
        ("clients/expired", 1),
        ("clients/maximum", 3),
    ]);
    Connect::v5("stranger")
        .user("nobody", "knows")
        .refused(server.address(), 0x86);
    let taken = Connect::v5("twice").to(server.address());
    let _twice = Connect::v5("twice").to(server.address());
    watcher.all(&[
        ("connections/refused", 1),
        ("connections/socket/count", 6),
        ("errors/0x86", 1),
        ("errors/0x8E", 1),
    ]);
    drop(taken);
}

#[test]
fn subscriptions_are_counted_once_each() {
    let server = Broker::with(OFTEN);
    let topics = ["subscriptions/count", "shared_subscriptions/count"];
    let mut watcher = Watcher::of(&server, &topics);
    watcher.all(&[
        ("subscriptions/count", 2),
        ("shared_subscriptions/count", 0),
    ]);
    let mut client = Connect::v5("a").to(server.address());
    // Some belong to one lane and some to all.
    let filters = [
        "a/b",
        "a/b/#",
        "a/b",
        "#",
        "+/x",
        "a/#",
        "$share/g/a/b",
        "$share/g/#",
    ];
    for filter in filters {
        client.subscribe(filter, 0);
    }
    watcher.all(&[
        ("subscriptions/count", 2 + 5),
        ("shared_subscriptions/count", 2),
    ]);
    client.unsubscribe("#");
    watcher.all(&[("subscriptions/count", 2 + 4)]);
    drop(client);
    watcher.all(&[
        ("subscriptions/count", 2),
        ("shared_subscriptions/count", 0),
    ]);
}

#[test]
fn retained_messages_are_counted_until_they_are_cleared() {
    let server = Broker::with(OFTEN);
    let topics = [
        "retained messages/+",
        "store/messages/+",
        "queue/messages/+",
        "messages/stored",
        "messages/inflight",
        "clients/disconnected",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    // The $SYS topics are retained too, and counted in the next update.
    let own = watcher.read_until("the tree", |w| {
        w.number("retained messages/count").filter(|n| *n > 60)
    });
    watcher.all(&[("messages/stored", own), ("queue/messages/count", 0)]);

    let mut sender = Connect::v5("sender").to(server.address());
    sender.publish(&Message::new("keep/1", "12345").qos(1).retained());
    sender.publish(&Message::new("keep/2", "12345").qos(1).retained());
    watcher.all(&[
        ("retained messages/count", own + 2),
        ("messages/stored", own + 2),
    ]);
    sender.publish(&Message::new("keep/1", "").qos(1).retained());
    watcher.all(&[("retained messages/count", own + 1)]);

    let mut absent = kept(&server, "absent");
    absent.subscribe("queue/me", 2);
    // Two messages in flight, and then three that wait for an offline client.
    sender.publish(&Message::new("queue/me", "1234").qos(1));
    sender.publish(&Message::new("queue/me", "1234").qos(2));
    watcher.all(&[("queue/messages/count", 2), ("messages/inflight", 2)]);
    drop(absent);
    watcher.all(&[("clients/disconnected", 1), ("queue/messages/count", 2)]);
    for _ in 0..3 {
        sender.publish(&Message::new("queue/me", "1234").qos(1));
        sender.publish(&Message::new("queue/me", "lost").qos(0));
    }
    watcher.all(&[
        ("queue/messages/count", 5),
        ("queue/messages/bytes", 20),
        ("messages/inflight", 2),
        ("store/messages/count", own + 1 + 5),
    ]);
    let mut absent = kept(&server, "absent");
    for _ in 0..5 {
        absent.message();
    }
    watcher.all(&[
        ("queue/messages/count", 0),
        ("queue/messages/bytes", 0),
        ("messages/inflight", 0),
        ("store/messages/count", own + 1),
    ]);
}

#[test]
fn a_queue_is_counted_until_its_session_ends() {
    let server = Broker::with(OFTEN);
    let mut watcher = Watcher::of(&server, &["queue/messages/+", "messages/inflight"]);
    let mut sender = Connect::v5("sender").to(server.address());
    let mut stays = kept(&server, "stays");
    let mut clean = Connect::v311("clean").to(server.address());
    for client in [&mut stays, &mut clean] {
        client.subscribe("queue/me", 1);
    }
    for _ in 0..4 {
        sender.publish(&Message::new("queue/me", "1234").qos(1));
    }
    watcher.all(&[("queue/messages/count", 8), ("messages/inflight", 8)]);
    drop(clean);
    watcher.all(&[("queue/messages/count", 4), ("messages/inflight", 4)]);
    drop(stays);
    drop(Connect::v5("stays").to(server.address()));
    watcher.all(&[
        ("queue/messages/count", 0),
        ("queue/messages/bytes", 0),
        ("messages/inflight", 0),
    ]);
}

#[test]
fn dropped_messages_are_counted_by_reason() {
    let server = Broker::with(&format!(
        "{OFTEN}[limits]\noutbox_messages = 3\nqueue_age = '1h'\n"
    ));
    let topics = [
        "publish/messages/dropped/#",
        "publish/bytes/dropped",
        "clients/disconnected",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    let mut sender = Connect::v5("sender").to(server.address());

    let mut absent = kept(&server, "absent");
    absent.subscribe("drop/me", 1);
    absent.disconnect(0);
    watcher.all(&[("clients/disconnected", 1)]);
    for _ in 0..5 {
        sender.publish(&Message::new("drop/me", "1234").qos(1));
    }
    watcher.all(&[
        ("publish/messages/dropped", 2),
        ("publish/messages/dropped/queue_full", 2),
        ("publish/bytes/dropped", 8),
    ]);

    let small = Connect::v5("small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(100));
    let mut small = small.to(server.address());
    small.subscribe("large/+", 2);
    for qos in [0, 1] {
        sender.publish(&Message::new("large/one", vec![b'x'; 100]).qos(qos));
    }
    watcher.all(&[
        ("publish/messages/dropped", 4),
        ("publish/messages/dropped/too_large", 2),
        ("publish/messages/dropped/slow_reader", 0),
        ("publish/messages/dropped/notice", 0),
        ("publish/bytes/dropped", 208),
    ]);
}

#[test]
fn offline_sessions_are_evicted_above_kept_bytes() {
    let settings = "[lanes]\ncount = 1\n[limits]\nkept_bytes = '64KiB'\n";
    let server = Broker::with(&format!("{OFTEN}{settings}"));
    let topics = [
        "clients/expired/+",
        "clients/disconnected",
        "queue/kept/bytes",
        "publish/messages/dropped",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    let mut sender = Connect::v5("sender").to(server.address());
    // The session that is offline for the longest time holds little, and stays.
    for (away, id) in (1..).zip(["small", "first", "second", "third"]) {
        let mut client = kept(&server, id);
        client.subscribe(&format!("fill/{id}"), 1);
        client.disconnect(0);
        watcher.all(&[("clients/disconnected", away)]);
    }
    let mut put = |id: &str| {
        let message = Message::new(&format!("fill/{id}"), vec![b'x'; 4_000]);
        sender.publish(&message.qos(1));
    };
    put("small");
    for id in ["third", "second", "first"] {
        (0..4).for_each(|_| put(id));
    }
    // In the lane, 13 messages of about 4,280 bytes and 4 sessions of about 660 are less than 64 KiB. 15 messages are more.
    watcher.read_until("13 messages", |w| {
        (w.number("queue/kept/bytes")? > 13 * 4_100 + 4 * 2_000).then_some(())
    });
    assert_eq!(watcher.number("clients/expired/kept_bytes"), Some(0));
    (0..2).for_each(|_| put("third"));
    watcher.all(&[
        ("clients/expired/kept_bytes", 1),
        ("clients/expired/kept_sessions", 0),
        ("clients/disconnected", 3),
        ("publish/messages/dropped", 0),
    ]);
    watcher.read_until("room", |w| {
        (w.number("queue/kept/bytes")? < 11 * 4_300 + 3 * 2_300).then_some(())
    });
    server.log().line_with("limits.kept_bytes");
    let back = [("first", 0), ("small", 1), ("second", 4), ("third", 6)].map(|(id, waits)| {
        let expiry = Value::Four(3600);
        let connect = Connect::v5(id).property(property::SESSION_EXPIRY, expiry);
        let (mut client, connack) = connect.clean(false).attempt(server.address());
        let Packet::ConnAck {
            session_present, ..
        } = connack
        else {
            panic!("{connack:?}");
        };
        assert_eq!(session_present, waits > 0, "{id}");
        (0..waits).for_each(|_| drop(client.message()));
        client
    });
    watcher.all(&[("queue/kept/bytes", 0)]);
    drop(back);
}
