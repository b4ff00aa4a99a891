//! Scenarios of a device with little memory.

use crate::small_device::{Device, Memory, PACKET};
use roommq_tests::everywhere::Everywhere;
use roommq_tests::room;
use roommq_tests::wire::{Connect, Message};
use rust_mqtt::client::MqttError;
use rust_mqtt::client::event::Event;
use rust_mqtt::types::{QoS, ReasonCode};

const STAFF: &str = "[presence]\ngrace = '300ms'\n\
                     [[room]]\nmatch = 'staff'\naccess = 'list'\nmembers = ['~boss']\n";

#[tokio::test]
async fn a_device_works_in_a_room() {
    let server = Everywhere::start(STAFF);
    for transport in ["tcp", "tls"] {
        let id = format!("device-{transport}");
        let user = format!("~{id}");
        let mut watcher = Connect::v5("watcher").to(server.address("tcp"));
        watcher.subscribe("rooms/lobby/#", 2);
        watcher.publish(&Message::new("rooms/lobby/sign", "kept").qos(1).retained());
        let mut memory = Memory;
        let mut device = Device::connect(&server, transport, &id, None, &mut memory).await;
        assert!(!device.present);
        let granted = device.subscribe("rooms/lobby/#", QoS::ExactlyOnce).await;
        assert_eq!(granted, ReasonCode::GrantedQoS2);
        let own = format!("rooms/lobby/_presence/{user}");
        device
            .message(|topic, text| topic == own && text.contains("online"))
            .await;
        device.subscribe("rooms/lobby/sign", QoS::AtLeastOnce).await;
        device
            .message(|topic, text| topic.ends_with("/sign") && text == "kept")
            .await;
        room::event(&mut watcher, "joined", &user);
        for (number, qos) in [
            (0, QoS::AtMostOnce),
            (1, QoS::AtLeastOnce),
            (2, QoS::ExactlyOnce),
        ] {
            let text = format!("21 °C at {number}");
            device.publish("rooms/lobby", &text, qos, false).await;
            let seen = watcher.message_where(|m| m.topic == "rooms/lobby" && m.text() == text);
            assert_eq!(
                (seen.qos, seen.properties.user("from")),
                (number, Some(&*user))
            );
            let (_, _, back) = device.message(|_, heard| heard == text).await;
            assert_eq!(back, number);
        }
        // The device does not receive a message above its maximum packet size [MQTT-3.1.2-24] [MQTT-3.1.2-25].
        watcher.publish(&Message::new("rooms/lobby", "x".repeat(PACKET)).qos(1));
        watcher.publish(&Message::new("rooms/lobby", "small").qos(1));
        device
            .message(|topic, text| {
                assert!(!text.starts_with("xx"));
                topic == "rooms/lobby" && text == "small"
            })
            .await;
        assert_eq!(
            device.subscribe("rooms/staff/#", QoS::AtLeastOnce).await,
            ReasonCode::NotAuthorized
        );
        // Its pings keep the connection open for more than one and a half keep-alives.
        while device.pings < 4 {
            device
                .until(|event| matches!(event, Event::Pingresp).then_some(()))
                .await;
        }
        device.vanish();
        watcher.message_where(|m| m.topic == "rooms/lobby/will" && m.text() == "out of power");
        // Its connection was lost as well; then its membership ends.
        room::presence_cleared(&mut watcher, &user);
        watcher.disconnect(0);
    }
}

#[tokio::test]
async fn a_frozen_device_is_lost_after_its_keep_alive() {
    let server = Everywhere::start(STAFF);
    let mut watcher = Connect::v5("watcher").to(server.address("tcp"));
    watcher.subscribe("rooms/lobby/#", 1);
    let mut memory = Memory;
    let mut device = Device::connect(&server, "tcp", "frozen", None, &mut memory).await;
    device.subscribe("rooms/lobby", QoS::AtLeastOnce).await;
    let lost = room::event(&mut watcher, "lost", "~frozen");
    assert!(
        lost["reason"].as_str().unwrap().contains("keep-alive"),
        "{lost}"
    );
    let error = device.library.poll().await.unwrap_err();
    let timed_out = ReasonCode::KeepAliveTimeout;
    assert!(
        matches!(error, MqttError::Disconnect { reason, .. } if reason == timed_out),
        "{error:?}"
    );
}

#[tokio::test]
async fn messages_wait_for_an_offline_device() {
    let server = Everywhere::start(STAFF);
    for transport in ["tcp", "tls"] {
        let id = format!("device-{transport}");
        let name = format!("rooms/lobby/{transport}");
        let mut sender = Connect::v5("sender").to(server.address("tcp"));
        let mut send = |start: u8| {
            for n in start..start + 20 {
                sender.publish(&Message::new(&name, n.to_string()).qos(1 + n % 2));
            }
        };
        let texts = |range: std::ops::Range<u8>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        let mut memory = Memory;
        let mut device = Device::connect(&server, transport, &id, None, &mut memory).await;
        device.subscribe(&name, QoS::ExactlyOnce).await;
        let kept = device.leave().await;
        send(0);
        let mut memory = Memory;
        let mut device = Device::connect(&server, transport, &id, Some(kept), &mut memory).await;
        assert!(device.present);
        // The device loses its connection again and again.
        let mut got = device.texts(7, &name).await;
        let kept = device.vanish();
        let mut memory = Memory;
        let mut device = Device::connect(&server, transport, &id, Some(kept), &mut memory).await;
        got.extend(device.texts(6, &name).await);
        let kept = device.vanish();
        send(20);
        let mut memory = Memory;
        let mut device = Device::connect(&server, transport, &id, Some(kept), &mut memory).await;
        assert!(device.present);
        send(40);
        while got.last().is_none_or(|last| last != "59") {
            got.extend(device.texts(1, &name).await);
        }
        // Each loss may repeat one unacknowledged QoS 1 message, and no QoS 2 message.
        let (mut once, mut doubled) = (Vec::new(), Vec::new());
        for text in got {
            if once.contains(&text) {
                doubled.push(text);
            } else {
                once.push(text);
            }
        }
        assert_eq!(once, texts(0..60));
        assert!(doubled.len() <= 2, "{doubled:?}");
        assert!(
            doubled.iter().all(|n| n.parse::<u8>().unwrap() % 2 == 0),
            "{doubled:?}"
        );
        device.leave().await;
        sender.disconnect(0);
    }
}

#[tokio::test]
async fn devices_share_a_subscription() {
    let server = Everywhere::start("");
    let mut sender = Connect::v5("sender").to(server.address("tcp"));
    let (mut memory, mut more) = (Memory, Memory);
    let one = Device::connect(&server, "tcp", "one", None, &mut memory).await;
    let two = Device::connect(&server, "tls", "two", None, &mut more).await;
    let mut devices = [one, two];
    for device in &mut devices {
        device
            .subscribe("$share/team/jobs/x/work", QoS::ExactlyOnce)
            .await;
        device.subscribe("jobs/x/end", QoS::ExactlyOnce).await;
    }
    for n in 0..20 {
        sender.publish(&Message::new("jobs/x/work", n.to_string()).qos(2));
    }
    // One lane: the end comes after all earlier messages.
    sender.publish(&Message::new("jobs/x/end", "end").qos(2));
    let [one, two] = &mut devices;
    let (mut got, more) = tokio::join!(work(one), work(two));
    assert!(!got.is_empty() && !more.is_empty());
    got.extend(more);
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

/// All texts that the device received before the end.
async fn work(device: &mut Device<'_>) -> Vec<u32> {
    let mut got = Vec::new();
    loop {
        let (_, text, _) = device.message(|_, _| true).await;
        if text == "end" {
            return got;
        }
        got.push(text.parse().unwrap());
    }
}
