//! Limits on what one peer may send and hold, in both versions: the answer, and the counter in `$SYS`.

use crate::hostile::resident_bytes;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Subscribe, Value, Version, property,
};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Waits until `$SYS` says that a limit has acted so often.
fn counted(server: &Broker, limit: &str, times: u64) {
    let mut watcher = Connect::v5("watcher").to(server.address());
    counted_by(&mut watcher, limit, times);
}

/// The same, by a client that is connected.
fn counted_by(watcher: &mut Client, limit: &str, times: u64) {
    let topic = format!("$SYS/broker/limits/{limit}");
    watcher.subscribe(&topic, 0);
    let enough = |m: &Message| m.topic == topic && m.text().parse::<u64>().unwrap() >= times;
    let last = watcher.message_where(enough);
    assert_eq!(last.text(), times.to_string(), "{limit}");
}

/// The answer to a refused SUBSCRIBE.
fn refused(version: Version, code: u8) -> u8 {
    match version {
        Version::V5 => code,
        _ => 0x80,
    }
}

/// A server that publishes its counters often.
fn server(limits: &str) -> Broker {
    Broker::with(&format!("[sys]\ninterval = \"50ms\"\n[limits]\n{limits}"))
}

/// Subscribes `client` to its own error messages.
fn hearing_errors(mut client: Client) -> Client {
    client.subscribe("inbox/me/error", 0);
    client
}

#[test]
fn a_topic_or_filter_has_128_levels_at_most() {
    let server = server("");
    let deep = |levels: usize| vec!["l"; levels].join("/");
    for version in BOTH {
        let connect = Connect::new(version, "deep");
        let mut client = hearing_errors(connect.to(server.address()));
        assert_eq!(client.subscribe(&deep(128), 1), 1);
        assert_eq!(client.subscribe(&deep(129), 1), refused(version, 0x8F));
        let filter = format!("{}/#", deep(128));
        assert_eq!(client.subscribe(&filter, 1), refused(version, 0x8F));
        if version == Version::V311 {
            assert_eq!(client.message().field("error"), "invalid");
        }
        client.publish(&Message::new(&deep(128), "x").qos(1));
        let message = client.message_where(|m| m.topic == deep(128));
        client.acknowledge(&message);
        client.start_publish(&Message::new(&deep(129), "x").qos(1));
        match version {
            Version::V5 => {
                assert!(matches!(client.packet(), Packet::PubAck { code: 0x90, .. }));
                client.start_publish(&Message::new(&deep(129), "x"));
                assert_eq!(client.message().json()["code"], 0x90);
            }
            _ => assert_eq!(client.closed(), None),
        }
        let will = Message::new(&deep(129), "x");
        let code = if version == Version::V5 { 0x90 } else { 3 };
        Connect::new(version, "w")
            .will(will)
            .refused(server.address(), code);
    }
    counted(&server, "topic_levels", 9);
}

#[test]
fn a_will_has_128_kib_at_most() {
    let server = server("");
    for version in BOTH {
        let connect = Connect::new(version, "willing");
        let will = Message::new("t", vec![b'x'; 65_535]);
        connect.will(will).to(server.address()).disconnect(0);
        let code = if version == Version::V5 { 0x97 } else { 3 };
        let will = Message::new(&"t".repeat(65_535), vec![b'x'; 65_535]);
        let connect = Connect::new(version, "willing").will(will);
        connect.refused(server.address(), code);
    }
    counted(&server, "will_bytes", 2);
}

#[test]
fn a_packet_or_will_has_100_user_properties_at_most() {
    let server = server("");
    let pair = || Value::Pair(String::new(), String::new());
    let will = |pairs| (0..pairs).fold(Message::new("w", "x"), |m, _| m.user("", ""));
    let connect = |pairs| {
        let connect = Connect::v5("many");
        (0..pairs).fold(connect, |c, _| c.property(property::USER, pair()))
    };
    let mut client = connect(100).will(will(100)).to(server.address());
    assert_eq!(client.publish(&will(100).qos(1)).0, 0x10);
    client.start_publish(&will(101).qos(1));
    assert_eq!(client.closed(), Some(0x97));
    // 1 MiB of CONNECT.
    connect(0)
        .will(will(209_000))
        .refused(server.address(), 0x97);
    connect(101).refused(server.address(), 0x97);
    let mut subscriber = Connect::v5("subscriber").to(server.address());
    let subscribe = Subscribe::to("w", 0);
    let subscribe = (0..101).fold(subscribe, |s, _| s.property(property::USER, pair()));
    let id = subscriber.packet_id();
    subscriber.send(&subscribe.bytes(id, Version::V5));
    assert_eq!(subscriber.closed(), Some(0x97));
    counted(&server, "user_properties", 4);
    // 3.1.1 has no properties. It receives the message without them.
    let mut old = Connect::v311("old").to(server.address());
    old.subscribe("w", 0);
    Connect::v5("sender")
        .to(server.address())
        .publish(&will(100).qos(1));
    assert_eq!(old.message().text(), "x");
}

#[test]
fn a_session_holds_1000_filters_100_spanning_and_100_shared_ones() {
    let server = server("");
    for version in BOTH {
        let connect = Connect::new(version, "holder");
        let mut client = hearing_errors(connect.to(server.address()));
        let mut told = false;
        let mut taken = |of: &dyn Fn(u32) -> String, filters: u32| {
            let mut all = Subscribe::default();
            for n in 0..filters {
                all = all.and(&of(n), 0);
            }
            let (codes, properties) = client.subscribe_with(&all);
            let (mut more, all) = (codes.clone(), codes.len());
            more.retain(|code| *code != 0);
            assert!(more.iter().all(|c| *c == refused(version, 0x97)));
            if version == Version::V5 {
                assert!(properties.reason().starts_with("a session may hold"));
            } else if !told {
                // Once a second.
                assert_eq!(client.message().field("error"), "full");
                told = true;
            }
            all - more.len()
        };
        assert_eq!(taken(&|n| format!("+/{n}"), 110), 100);
        assert_eq!(taken(&|n| format!("$share/g{n}/a/b"), 110), 100);
        // One filter is that of the inbox.
        assert_eq!(taken(&|n| format!("a/b/{n}/#"), 810), 799);
        // A filter that the session holds counts once.
        assert_eq!(client.subscribe("a/b/1/#", 1), 1);
        client.unsubscribe("+/1");
        assert_eq!(client.subscribe("a/+", 0), 0);
    }
    counted(&server, "spanning_subscriptions", 20);
    counted(&server, "shared_subscriptions", 20);
    counted(&server, "subscriptions", 22);
}

/// It reads 64 KiB four times a second: its socket takes bytes again and again.
#[test]
fn a_reader_below_the_write_pace_is_closed() {
    let server = server("write_pace = 1000000\nwrite_stall = \"1s\"\n");
    for version in BOTH {
        let name = format!("slow {version:?}");
        let mut slow = Connect::new(version, &name).to(server.address());
        slow.subscribe("t", 0);
        let mut fast = Connect::new(version, "fast").to(server.address());
        fast.subscribe("t", 0);
        let mut speaker = Connect::v5("speaker").to(server.address());
        let (closed, is_closed) = mpsc::sync_channel(1);
        let reading = thread::spawn(move || {
            let mut scrap = vec![0; 64 << 10];
            let pause = Duration::from_millis(250);
            while is_closed.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let read = slow.stream().read(&mut scrap);
                assert!(read.unwrap() > 0, "it is closed later");
            }
        });
        // More than the sockets of both ends hold.
        for n in 0..1_000 {
            speaker.publish(&Message::new("t", vec![7; 16_000]).qos(1));
            assert_eq!(fast.message().payload.len(), 16_000, "{n}");
        }
        server
            .log()
            .line(|line| line.contains(&name) && line.contains("reads too slowly"));
        closed.send(()).unwrap();
        reading.join().unwrap();
        fast.ping();
    }
    counted(&server, "write_pace", 2);
}

#[test]
fn the_server_reads_no_faster_than_the_message_rate_and_drops_nothing() {
    let server = server("message_rate = 10\n");
    for (version, throttled) in BOTH.into_iter().zip([10, 20]) {
        let mut hearer = Connect::v5("hearer").to(server.address());
        hearer.subscribe("t", 0);
        // The keep-alive of one second is shorter than the server's pause.
        let mut fast = Connect::new(version, "fast")
            .keep_alive(1)
            .to(server.address());
        let all = (0..20).flat_map(|n: u8| Message::new("t", [n]).bytes(version));
        let start = Instant::now();
        fast.send(&all.chain([0xC0, 0]).collect::<Vec<u8>>());
        for n in 0..20 {
            assert_eq!(hearer.message().payload, [n]);
        }
        assert!(start.elapsed() >= Duration::from_millis(900));
        assert!(matches!(fast.packet(), Packet::PingResp));
        counted(&server, "message_rate", throttled);
    }
}

#[test]
fn the_server_reads_no_faster_than_the_byte_rate() {
    let server = server("byte_rate = 50000\n");
    for version in BOTH {
        let mut hearer = Connect::v5("hearer").to(server.address());
        hearer.subscribe("t", 0);
        let mut fast = Connect::new(version, "fast").to(server.address());
        let start = Instant::now();
        for n in 0..10 {
            fast.start_publish(&Message::new("t", vec![n; 10_000]));
        }
        for n in 0..10 {
            assert_eq!(hearer.message().payload[0], n);
        }
        fast.ping();
        assert!(start.elapsed() >= Duration::from_millis(900));
    }
}

#[test]
fn a_client_without_a_keep_alive_gets_the_default_one() {
    let server = server("keep_alive_default = \"1s\"\n");
    for version in BOTH {
        let connect = Connect::new(version, "silent").keep_alive(0);
        let (mut silent, connack) = connect.attempt(server.address());
        let talking = Connect::new(version, "talking").keep_alive(60);
        let mut talking = talking.to(server.address());
        if version == Version::V5 {
            let Packet::ConnAck { properties, .. } = connack else {
                panic!("{connack:?}");
            };
            assert_eq!(properties.number(property::SERVER_KEEP_ALIVE), Some(1));
        }
        let code = (version == Version::V5).then_some(0x8D);
        assert_eq!(silent.closed(), code);
        talking.ping();
    }
}

/// The code of a CONNACK that refuses.
fn connack(version: Version, code: u8) -> u8 {
    if version == Version::V5 { code } else { 3 }
}

#[test]
fn an_address_and_a_user_have_so_many_connections() {
    let limits = "connections_per_address = 5\nconnections_per_user = 2\n";
    let config =
        format!("[auth]\nusers_file = \"@users@\"\n[sys]\ninterval = \"50ms\"\n[limits]\n{limits}");
    let users = [("al", "secret"), ("bo", "secret")];
    let user = |version, id: &str, name| Connect::new(version, id).user(name, "secret");
    for version in BOTH {
        let server = Broker::with_users(&config, &users);
        let code = connack(version, 0x97);
        let [_phone, mut desk] =
            ["phone", "desk"].map(|id| user(version, id, "al").to(server.address()));
        user(version, "third", "al").refused(server.address(), code);
        let mut sys = user(version, "sys", "bo").to(server.address());
        counted_by(&mut sys, "connections_per_user", 1);
        // A takeover is no further connection of the user.
        let _taken = user(version, "desk", "al").to(server.address());
        desk.closed();
        let mut others = Vec::new();
        loop {
            let connect = Connect::new(version, &format!("other {}", others.len()));
            match connect.attempt(server.address()) {
                (other, Packet::ConnAck { code: 0, .. }) => others.push(other),
                (_, Packet::ConnAck { code: refused, .. }) => {
                    assert_eq!(refused, code);
                    break;
                }
                (_, other) => panic!("{other:?}"),
            }
        }
        // With three others. A refused one may not have ended yet.
        assert!(others.len() <= 2, "{}", others.len());
        counted_by(&mut sys, "connections_per_address", 1);
    }
}

#[test]
fn an_address_and_a_user_connect_so_often_a_second() {
    for (limit, code) in [("connects_per_address", 0x9F), ("connects_per_user", 0x9F)] {
        let server = server(&format!("{limit} = 2\n"));
        for version in BOTH {
            let connect = Connect::new(version, "often");
            let start = Instant::now();
            let mut codes = Vec::new();
            while !codes.contains(&connack(version, code)) {
                let (_, packet) = connect.attempt(server.address());
                let Packet::ConnAck { code, .. } = packet else {
                    panic!("{packet:?}");
                };
                codes.push(code);
            }
            let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
            let accepted = codes.len() - 1;
            assert!(accepted <= 2 * (seconds + 2), "{codes:?}");
            assert!(codes[..accepted].iter().all(|code| *code == 0), "{codes:?}");
        }
    }
}

#[test]
fn a_client_that_flaps_is_refused() {
    let server = server("flapping = 3\n");
    for version in BOTH {
        let connect = Connect::new(version, &format!("flaps {version:?}"));
        for _ in 0..3 {
            connect.to(server.address()).disconnect(0);
        }
        for _ in 0..2 {
            connect.refused(server.address(), connack(version, 0x97));
        }
        Connect::new(version, &format!("calm {version:?}"))
            .to(server.address())
            .ping();
    }
    counted(&server, "flapping", 4);
}

/// 1 MiB of filters that are stored in each of 16 lanes.
#[test]
fn long_spanning_filters_of_one_session_take_little_memory() {
    let server = server("");
    let before = resident_bytes(server.id());
    for version in BOTH {
        let mut client = Connect::new(version, "greedy").to(server.address());
        let mut all = Subscribe::default();
        for n in 0..100 {
            all = all.and(&format!("+/{}/{n}", "x".repeat(10_000)), 0);
        }
        let (codes, _) = client.subscribe_with(&all);
        let granted = codes
            .iter()
            .position(|code| *code == refused(version, 0x97));
        assert_eq!(granted, Some(6), "64 KiB");
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}
