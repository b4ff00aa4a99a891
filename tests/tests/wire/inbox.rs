//! `inbox/me`, and messages from user to user.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Connect, Message, Packet, Value, Version, property};

#[test]
fn inbox_me_is_the_users_own_inbox() {
    let server = Broker::start();
    for version in BOTH {
        let mut alice = Connect::new(version, "alice").to(server.address());
        let mut bob = Connect::new(version, "bob").to(server.address());
        for client in [&mut alice, &mut bob] {
            assert_eq!(client.subscribe("inbox/me/#", 1), 1);
        }
        alice.publish(&Message::new("inbox/~bob/dm/~alice", "for bob").qos(1));
        bob.publish(&Message::new("inbox/~alice/dm/~bob", "for alice").qos(1));
        let got = bob.message();
        assert_eq!(
            (got.topic.as_str(), got.text()),
            ("inbox/me/dm/~alice", "for bob")
        );
        let got = alice.message();
        assert_eq!(
            (got.topic.as_str(), got.text()),
            ("inbox/me/dm/~bob", "for alice")
        );
    }
}

/// Before, a long name became its first 100 bytes, a `-` and a hash. That text is a legal name, too.
#[test]
fn no_other_name_leads_to_the_inbox_of_a_long_one() {
    let server = Broker::start();
    for version in BOTH {
        let victim = "v".repeat(127);
        let mut owner = Connect::new(version, &victim).to(server.address());
        assert_eq!(owner.subscribe("inbox/me/#", 1), 1);
        let twin = format!("{}-8274f1fc2ce5c9a1", "v".repeat(99));
        for (id, code) in [
            (format!("{victim}v"), None),
            (format!("{victim}vv"), None),
            (twin, Some(1)),
            (victim[1..].to_owned(), Some(1)),
        ] {
            let connect = Connect::new(version, &id);
            let Some(granted) = code else {
                let code = if version == Version::V5 { 0x85 } else { 2 };
                connect.refused(server.address(), code);
                continue;
            };
            let mut other = connect.to(server.address());
            assert_eq!(other.subscribe("inbox/me/#", 1), granted);
            let own = format!("inbox/~{victim}/dm/~{victim}");
            owner.publish(&Message::new(&own, "secret").qos(1));
            assert_eq!(owner.message().text(), "secret");
            let own = format!("inbox/~{id}/dm/~{id}");
            other.publish(&Message::new(&own, "end").qos(1));
            assert_eq!(other.messages_until("end"), []);
        }
    }
}

#[test]
fn an_inbox_subscribed_by_its_full_name_keeps_that_name() {
    let server = Broker::start();
    let mut bob = Connect::v311("bob").to(server.address());
    assert_eq!(bob.subscribe("inbox/~bob/dm/+", 0), 0);
    Connect::v5("alice")
        .to(server.address())
        .publish(&Message::new("inbox/~bob/dm/~alice", "x"));
    assert_eq!(bob.message().topic, "inbox/~bob/dm/~alice");
}

#[test]
fn unsubscribe_resolves_inbox_me() {
    let server = Broker::with(crate::ONE_LANE);
    let mut bob = Connect::v5("bob").to(server.address());
    bob.subscribe("inbox/me/#", 0);
    bob.subscribe("out/side", 0);
    assert_eq!(bob.unsubscribe("inbox/me/#"), [0]);
    let mut alice = Connect::v5("alice").to(server.address());
    alice.publish(&Message::new("inbox/~bob/dm/~alice", "x").qos(1));
    alice.publish(&Message::new("out/side", "end"));
    assert_eq!(bob.messages_until("end"), []);
}

#[test]
fn every_device_of_a_user_receives_inbox_messages() {
    let config = "[auth]\nusers_file = \"@users@\"\n";
    let server = Broker::with_users(config, &[("bob", "pw")]);
    let mut devices = ["phone", "laptop"].map(|id| {
        let mut device = Connect::v5(id).user("bob", "pw").to(server.address());
        device.subscribe("inbox/me/#", 0);
        device
    });
    Connect::v5("alice")
        .to(server.address())
        .publish(&Message::new("inbox/bob/dm/~alice", "x"));
    for device in &mut devices {
        assert_eq!(device.message().topic, "inbox/me/dm/~alice");
    }
}

#[test]
fn refusals_in_the_inbox_are_rate_limited() {
    let server = Broker::with(crate::ONE_LANE);
    let mut eve = Connect::v311("eve").to(server.address());
    eve.subscribe("inbox/me/#", 0);
    for _ in 0..200 {
        eve.publish(&Message::new("rooms/lobby/_events", "forged"));
    }
    eve.message_where(|m| m.topic == "inbox/me/error");
    // One error message a second for a user, room and code, so the other 199 refusals have none.
    eve.publish(&Message::new("inbox/me/dm/~eve", "end"));
    let more = eve.messages_until("end");
    assert!(more.len() < 20, "{} notices", more.len());
}

/// 3.1.1 has no reason codes, so the inbox is the only place to learn of a refusal.
#[test]
fn a_refused_publish_is_reported_after_a_refused_subscribe_and_suppressed_ones_are_counted() {
    let config = "[[room]]\nmatch = 'staff'\naccess = 'list'\nmembers = ['alice']\n";
    let server = Broker::with(&format!("{}{config}", crate::ONE_LANE));
    let mut eve = Connect::v311("eve").to(server.address());
    eve.subscribe("inbox/me/#", 0);
    for _ in 0..3 {
        eve.subscribe("rooms/staff/#", 0);
    }
    for _ in 0..5 {
        eve.publish(&Message::new("rooms/staff", "x").qos(1));
    }
    let mut error = |field: &str| loop {
        let message = eve.message_where(|m| m.topic == "inbox/me/error");
        let error: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        if !error[field].is_null() {
            break error;
        }
    };
    assert_eq!(error("filter")["suppressed"], serde_json::Value::Null);
    assert_eq!(
        error("topic")["suppressed"],
        serde_json::Value::Null,
        "the first PUBLISH"
    );
    // A second later the next message counts those that had none.
    let started = std::time::Instant::now();
    loop {
        eve.publish(&Message::new("rooms/staff", "x").qos(1));
        if let Ok(Packet::Publish(message)) = eve.poll(std::time::Duration::from_millis(50)) {
            let error: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let suppressed = error["suppressed"].as_u64().unwrap();
            assert!(
                error["topic"] == "rooms/staff" && suppressed >= 4,
                "{error}"
            );
            break;
        }
        assert!(started.elapsed() < roommq_tests::PATIENCE);
    }
}

#[test]
fn others_answer_to_the_topic_of_the_response_information() {
    let server = Broker::start();
    let connect =
        Connect::v5("asker").property(property::REQUEST_RESPONSE_INFORMATION, Value::Byte(1));
    let (mut asker, connack) = connect.attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    let place = properties.text(property::RESPONSE_INFORMATION);
    let place = place.unwrap().to_owned();
    asker.subscribe("inbox/me/#", 1);
    for version in BOTH {
        let mut answerer = Connect::new(version, "answerer").to(server.address());
        for topic in [place.clone(), format!("{place}/7")] {
            assert_eq!(
                answerer.publish(&Message::new(&topic, "42").qos(1)).0 & 0x80,
                0
            );
            let got = asker.message();
            assert_eq!(got.text(), "42");
            assert_eq!(got.topic, topic.replace("~asker", "me"));
        }
        let retained = answerer
            .publish(&Message::new(&place, "kept").qos(1).retained())
            .0;
        assert_eq!(retained & 0x80, 0);
        asker.message();
    }
    let mut later = Connect::v5("asker").to(server.address());
    later.subscribe("inbox/me/#", 0);
    later.publish(&Message::new("inbox/me/response", "end"));
    assert_eq!(later.messages_until("end"), [], "inboxes keep nothing");
}
