//! CONNECT and CONNACK.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Subscribe, Value, Version, frame, property, put_string,
};

const USERS: &str = "[auth]\nusers_file = \"@users@\"\n";

#[test]
fn every_version_is_served_on_one_port() {
    let server = Broker::start();
    for version in [Version::V31, Version::V311, Version::V5] {
        let (mut client, connack) = Connect::new(version, "a").attempt(server.address());
        let Packet::ConnAck {
            session_present,
            code,
            ..
        } = connack
        else {
            panic!("{version:?}: {connack:?}");
        };
        assert_eq!((session_present, code), (false, 0), "{version:?}");
        client.ping();
        client.disconnect(0);
    }
}

#[test]
fn an_unknown_protocol_level_is_refused_by_connack() {
    let server = Broker::start();
    for level in [0, 6, 99] {
        let mut body = Vec::new();
        put_string(&mut body, "MQTT");
        body.extend([level, 2, 0, 0, 0, 1, b'a']);
        let mut client = Client::open(server.address(), Version::V311);
        client.send(&frame(0x10, &body));
        // [MQTT-3.1.2-2]: 0x01 in the form of 3.1.1, or 0x84 in the form of 5.0.
        let answer = client.raw_until_closed();
        let told = answer == [0x20, 2, 0, 1] || (answer[0] == 0x20 && answer[2..4] == [0, 0x84]);
        assert!(told, "level {level}: {answer:02x?}");
    }
}

#[test]
fn another_protocol_is_not_answered() {
    let server = Broker::start();
    let mut client = Client::open(server.address(), Version::V311);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.raw_until_closed(), b"");
}

#[test]
fn the_first_packet_must_be_a_connect() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = Client::open(server.address(), version);
        client.send(&Message::new("a", "x").bytes(version));
        // [MQTT-3.1.0-1]
        assert_eq!(client.raw_until_closed(), b"");
    }
}

#[test]
fn a_second_connect_is_an_error() {
    let server = Broker::start();
    for (version, code) in [(Version::V311, None), (Version::V5, Some(0x82))] {
        let connect = Connect::new(version, "twice");
        let mut client = connect.to(server.address());
        client.send(&connect.bytes());
        // [MQTT-3.1.0-2]
        assert_eq!(client.closed(), code, "{version:?}");
    }
}

#[test]
fn an_empty_client_id_gets_one_assigned() {
    let server = Broker::start();
    let mut given = Vec::new();
    for _ in 0..2 {
        let (_client, connack) = Connect::v5("").attempt(server.address());
        let Packet::ConnAck {
            code: 0,
            properties,
            ..
        } = connack
        else {
            panic!("{connack:?}");
        };
        // [MQTT-3.2.2-16]
        let id = properties.text(property::ASSIGNED_CLIENT_ID);
        given.push(id.expect("an assigned client id").to_owned());
    }
    assert_ne!(given[0], given[1]);
    Connect::v311("").to(server.address()).ping();
    let (_client, connack) = Connect::v5("mine").attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    assert_eq!(properties.text(property::ASSIGNED_CLIENT_ID), None);
}

#[test]
fn an_empty_client_id_requires_a_clean_session() {
    let server = Broker::start();
    // [MQTT-3.1.3-8]
    Connect::v311("").clean(false).refused(server.address(), 2);
}

#[test]
fn wrong_credentials_are_refused_and_never_anonymous() {
    let server = Broker::with_users(USERS, &[("alice", "correct horse")]);
    for (user, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", "correct horse"),
        ("", "correct horse"),
    ] {
        let connect = |version| Connect::new(version, "a").user(user, password);
        connect(Version::V5).refused(server.address(), 0x86);
        connect(Version::V311).refused(server.address(), 4);
    }
    for version in BOTH {
        let connect = Connect::new(version, "a").user("alice", "correct horse");
        connect.to(server.address()).ping();
        // Without credentials it is still anonymous.
        Connect::new(version, "b").to(server.address()).ping();
    }
}

#[test]
fn without_a_users_file_all_credentials_are_refused() {
    let server = Broker::start();
    let connect = |version| Connect::new(version, "a").user("alice", "pw");
    connect(Version::V5).refused(server.address(), 0x86);
    connect(Version::V311).refused(server.address(), 4);
}

#[test]
fn anonymous_clients_can_be_refused() {
    let config = "[auth]\nanonymous = false\nusers_file = \"@users@\"\n";
    let server = Broker::with_users(config, &[("alice", "pw")]);
    Connect::v5("a").refused(server.address(), 0x87);
    Connect::v311("a").refused(server.address(), 5);
    Connect::v5("a")
        .user("alice", "pw")
        .to(server.address())
        .ping();
}

#[test]
fn a_malformed_connect_is_closed() {
    let server = Broker::start();
    let good = Connect::v311("abc").bytes();
    // The flags are the tenth byte.
    for (what, flags) in [
        ("[MQTT-3.1.2-3] the reserved flag", 0x03),
        ("[MQTT-3.1.2-14] a will of QoS 3", 0x1E),
        ("[MQTT-3.1.2-13] a QoS without a will", 0x0A),
        ("[MQTT-3.1.2-15] retain without a will", 0x22),
        ("[MQTT-3.1.2-22] a password without a name", 0x42),
    ] {
        let mut bad = good.clone();
        bad[9] = flags;
        let mut client = Client::open(server.address(), Version::V311);
        client.send(&bad);
        let answer = client.raw_until_closed();
        assert!(
            answer.first() != Some(&0x20) || answer[3] != 0,
            "{what}: {answer:02x?}"
        );
    }
    Connect::v311("abc").to(server.address()).ping();
}

#[test]
fn names_that_are_too_long_for_a_topic_are_refused() {
    let server = Broker::with_users(USERS, &[("alice", "pw")]);
    for (id, fits) in [
        ("x".repeat(127), true),
        ("x".repeat(128), false),
        ("é".repeat(63), true),
        ("é".repeat(64), false),
        ("/".repeat(42), true),
        ("/".repeat(43), false),
        ("x".repeat(65_535), false),
    ] {
        for (version, code, user_code) in [(Version::V311, 2, 4), (Version::V5, 0x85, 0x86)] {
            let connect = Connect::new(version, &id);
            if fits {
                connect.to(server.address()).ping();
            } else {
                connect.refused(server.address(), code);
            }
            // With a user name the client id is no topic level, but the user name is.
            let named = Connect::new(version, &id).user("alice", "pw");
            named.to(server.address()).ping();
            let name = format!("x{id}");
            let connect = Connect::new(version, "c").user(&name[..name.len().min(65_535)], "pw");
            let reason = connect.refused(server.address(), user_code);
            if version == Version::V5 {
                assert_eq!(reason.reason().contains("at most 128 bytes"), !fits);
            }
        }
    }
}

#[test]
fn client_ids_of_any_form_are_accepted_repeatedly() {
    let server = Broker::start();
    let long = "x".repeat(127);
    for id in [
        "a/b", "+", "#", "$share/x", "ä", "日本", "a b", "%2F", &long,
    ] {
        for version in BOTH {
            for _ in 0..2 {
                let mut client = Connect::new(version, id).to(server.address());
                client.ping();
            }
        }
    }
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let server = Broker::start();
    for (version, code) in [(Version::V311, None), (Version::V5, Some(0x8D))] {
        let connect = Connect::new(version, "quiet").keep_alive(1);
        let mut client = connect.to(server.address());
        // [MQTT-3.1.2-24], [MQTT-3.1.2-22]
        assert_eq!(client.closed(), code, "{version:?}");
    }
    server.log().line_with("keep-alive");
}

#[test]
fn connack_has_the_servers_limits() {
    let server = Broker::with("[limits]\npacket_bytes = 5000\nkeep_alive = \"60s\"\n");
    let (_client, connack) = Connect::v5("a").attempt(server.address());
    let Packet::ConnAck { properties, .. } = connack else {
        panic!("{connack:?}");
    };
    assert_eq!(properties.number(property::MAXIMUM_PACKET_SIZE), Some(5000));
    // The answer to a keep-alive of 0 is the server's limit [MQTT-3.1.2-21].
    assert_eq!(properties.number(property::SERVER_KEEP_ALIVE), Some(60));
}

#[test]
fn a_packet_over_the_limit_ends_the_connection() {
    let server = Broker::with("[limits]\npacket_bytes = 5000\n");
    for (version, code) in [(Version::V311, None), (Version::V5, Some(0x95))] {
        let mut client = Connect::new(version, "a").to(server.address());
        let fits = Message::new("a", vec![0; 4_900]).qos(1);
        assert_eq!(client.publish(&fits).0 & 0x80, 0);
        client.send(&Message::new("a", vec![0; 5_000]).bytes(version));
        // [MQTT-3.2.2-15]
        assert_eq!(client.closed(), code, "{version:?}");
    }
}

#[test]
fn response_information_is_sent_on_request() {
    let server = Broker::start();
    for (asked, wanted) in [
        (None, None),
        (Some(0), None),
        (Some(1), Some("inbox/~a/response")),
    ] {
        let mut connect = Connect::v5("a");
        if let Some(asked) = asked {
            let asked = Value::Byte(asked);
            connect = connect.property(property::REQUEST_RESPONSE_INFORMATION, asked);
        }
        let (_client, connack) = connect.attempt(server.address());
        let Packet::ConnAck { properties, .. } = connack else {
            panic!("{connack:?}");
        };
        // [MQTT-3.1.2-28]
        let told = properties.text(property::RESPONSE_INFORMATION);
        assert_eq!(told, wanted, "{asked:?}");
    }
}

#[test]
fn a_refusal_fits_the_maximum_packet_size() {
    let server = Broker::start();
    let connect = Connect::v5("a").user("alice", "pw");
    for (most, told) in [(20, false), (1_000, true)] {
        let most = Value::Four(most);
        let connect = connect
            .clone()
            .property(property::MAXIMUM_PACKET_SIZE, most);
        // [MQTT-3.2.2-19]
        let properties = connect.refused(server.address(), 0x86);
        assert_eq!(!properties.reason().is_empty(), told);
    }
}

#[test]
fn connections_above_the_limit_are_refused_by_connack() {
    let server = Broker::with("[limits]\nconnections = 2\n");
    let first = Connect::v5("a").to(server.address());
    let _second = Connect::v5("b").to(server.address());
    // [MQTT-3.2.2-7 (5.0), MQTT-3.2.2-5 (3.1.1)]: server busy, for which 3.1.1 has "unavailable".
    Connect::v5("c").refused(server.address(), 0x89);
    Connect::v311("c").refused(server.address(), 3);
    server.log().line_with("2 connections are open");
    first.disconnect(0);
    // The server accepts another client when it has seen the end of the first.
    let deadline = std::time::Instant::now() + roommq_tests::PATIENCE;
    loop {
        let mut client = Client::open(server.address(), Version::V5);
        let _ = client.try_send(&Connect::v5("d").bytes());
        match client.poll(roommq_tests::PATIENCE) {
            Ok(Packet::ConnAck { code: 0, .. }) => break,
            other => assert!(std::time::Instant::now() < deadline, "{other:?}"),
        }
    }
}

#[test]
fn packets_may_follow_a_connect_at_once() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = Client::open(server.address(), version);
        let mut all = Connect::new(version, "hasty").bytes();
        all.extend(Subscribe::to("hasty/t", 0).bytes(1, version));
        all.extend(Message::new("hasty/t", "hello").bytes(version));
        client.send(&all);
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
        assert!(matches!(client.packet(), Packet::SubAck { .. }));
        assert_eq!(client.message().text(), "hello");
    }
}

#[test]
fn packets_may_arrive_byte_by_byte() {
    let server = Broker::start();
    for version in BOTH {
        let mut client = Client::open(server.address(), version);
        let mut all = Connect::new(version, "slow").bytes();
        all.extend(Subscribe::to("slow/t", 0).bytes(1, version));
        all.extend(Message::new("slow/t", vec![b'x'; 300]).bytes(version));
        for byte in all {
            client.send(&[byte]);
        }
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
        assert!(matches!(client.packet(), Packet::SubAck { .. }));
        assert_eq!(client.message().payload.len(), 300);
    }
}

#[test]
fn packets_sent_before_a_lost_connection_are_processed() {
    let server = Broker::start();
    let mut receiver = Connect::v5("r").to(server.address());
    receiver.subscribe("last/words", 0);
    for version in BOTH {
        let mut client = Client::open(server.address(), version);
        let mut all = Connect::new(version, "brief").bytes();
        all.extend(Message::new("last/words", "x").bytes(version));
        client.send(&all);
        drop(client);
        assert_eq!(receiver.message().text(), "x");
    }
}
