//! `limits.kept_bytes` without queues.

use super::{OFTEN, Watcher};
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Packet, Value, property};

fn attempt(server: &Broker, id: &str, will: Option<Message>) -> (Client, bool) {
    let expiry = Value::Four(3600);
    let connect = Connect::v5(id).property(property::SESSION_EXPIRY, expiry);
    let mut connect = connect.clean(false);
    if let Some(will) = will {
        connect = connect.will(will);
    }
    let (client, connack) = connect.attempt(server.address());
    match connack {
        Packet::ConnAck {
            session_present, ..
        } => (client, session_present),
        other => panic!("{other:?}"),
    }
}

/// A will may be as large as a packet, and its delay may last days.
#[test]
fn wills_of_offline_sessions_count_and_the_longest_offline_session_is_evicted() {
    let server = Broker::with(&format!("{OFTEN}[limits]\nkept_bytes = '64KiB'\n"));
    let topics = [
        "clients/expired/kept_bytes",
        "clients/disconnected",
        "queue/kept/bytes",
    ];
    let mut watcher = Watcher::of(&server, &topics);
    let mut mourner = Connect::v5("mourner").to(server.address());
    mourner.subscribe("will/+", 1);
    let away = |id: &str, payload: usize| {
        let will = Message::new(&format!("will/{id}"), vec![b'x'; payload])
            .qos(1)
            .property(property::WILL_DELAY, Value::Four(3600));
        // Lost, without DISCONNECT.
        drop(attempt(&server, id, Some(will)));
    };
    for (number, id) in (1..).zip(["first", "second", "third"]) {
        away(id, 18_000);
        watcher.all(&[("clients/disconnected", number)]);
    }
    let bytes = "queue/kept/bytes";
    watcher.read_until("three wills", |w| {
        (58_000..60_000).contains(&w.number(bytes)?).then_some(())
    });
    assert_eq!(watcher.number("clients/expired/kept_bytes"), Some(0));

    // Above 15/16 the server evicts the session that is offline for the longest time. Its will is sent (3.1.3.2.2).
    away("fourth", 3_000);
    let will = mourner.message();
    assert_eq!(
        (will.topic.as_str(), will.payload.len()),
        ("will/first", 18_000)
    );
    watcher.all(&[
        ("clients/expired/kept_bytes", 1),
        ("clients/disconnected", 3),
    ]);
    watcher.read_until("two wills and a small one", |w| {
        (43_000..46_000).contains(&w.number(bytes)?).then_some(())
    });

    // A client that reconnects in time cancels its will [MQTT-3.1.3-9].
    let back = ["first", "second", "third", "fourth"].map(|id| attempt(&server, id, None));
    assert_eq!(
        back.each_ref().map(|(_, present)| *present),
        [false, true, true, true]
    );
    watcher.all(&[(bytes, 0)]);
    let mut sender = Connect::v5("sender").to(server.address());
    sender.publish(&Message::new("will/end", "end").qos(1));
    assert_eq!(mourner.messages_until("end"), []);
}
