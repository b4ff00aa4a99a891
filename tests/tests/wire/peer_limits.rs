//! Limits on what one peer may send and hold, in both versions: the answer, and the counter in `$SYS`.

use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Version};

/// Waits until `$SYS` says that a limit has acted so often.
fn counted(server: &Broker, limit: &str, times: u64) {
    let mut watcher = Connect::v5("watcher").to(server.address());
    let topic = format!("$SYS/broker/limits/{limit}");
    watcher.subscribe(&topic, 0);
    let enough = |m: &Message| m.text().parse::<u64>().unwrap() >= times;
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
