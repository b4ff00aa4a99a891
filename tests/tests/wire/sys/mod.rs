//! The server's numbers under `$SYS`, compared with known traffic.

mod kept_bytes;
mod numbers;

use crate::ONE_LANE;
use roommq_tests::PATIENCE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Packet, Subscribe};
use roommq_tests::workspace::root;
use std::collections::BTreeMap;
use std::time::Instant;

const OFTEN: &str = "[sys]\ninterval = '30ms'\n";
const SELDOM: &str = "[sys]\ninterval = '1h'\n";

/// A subscriber of some topics.
struct Watcher {
    client: Client,
    values: BTreeMap<String, String>,
    /// Messages that it received before the last one.
    before: i64,
}

impl Watcher {
    /// The values by their topics below `$SYS/broker/`.
    fn of(server: &Broker, topics: &[&str]) -> Watcher {
        let mut client = Connect::v311("watcher").to(server.address());
        for topic in topics {
            client.subscribe(&format!("$SYS/broker/{topic}"), 0);
        }
        Watcher {
            client,
            values: BTreeMap::new(),
            before: -1,
        }
    }

    fn number(&self, topic: &str) -> Option<i64> {
        self.values.get(topic)?.parse().ok()
    }

    /// Reads until `holds`.
    fn read_until<T>(&mut self, what: &str, holds: impl Fn(&Watcher) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(answer) = holds(self) {
                return answer;
            }
            let message = self.client.message();
            self.before += 1;
            let topic = message.topic.strip_prefix("$SYS/broker/").unwrap();
            self.values
                .insert(topic.to_owned(), message.text().to_owned());
        }
        panic!("{what} did not come; {:?}", self.values);
    }

    /// The value of a topic, once it has one.
    fn first(&mut self, topic: &str) -> i64 {
        self.read_until(topic, |w| w.number(topic))
    }

    /// Waits until all topics have these values.
    fn all(&mut self, expected: &[(&str, i64)]) {
        let holds = |w: &Watcher| {
            let mut all = expected.iter();
            all.all(|(topic, value)| w.number(topic) == Some(*value))
                .then_some(())
        };
        self.read_until(&format!("{expected:?}"), holds);
    }
}

fn tree(server: &Broker, filter: &str) -> Vec<Message> {
    let mut client = Connect::v5("reader").to(server.address());
    client.subscribe(filter, 2);
    client.subscribe("end", 1);
    client.start_publish(&Message::new("end", "end").qos(1));
    let mut tree = Vec::new();
    loop {
        match client.packet() {
            Packet::Publish(message) if message.topic == "end" => return tree,
            Packet::Publish(message) => tree.push(message),
            Packet::PubAck { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_subscriber_gets_all_sys_topics_and_the_manual_lists_them() {
    let server = Broker::with(&[ONE_LANE, SELDOM].concat());
    let tree = tree(&server, "$SYS/#");
    let manual = std::fs::read_to_string(root().join("docs/reference/sys.md")).unwrap();
    for message in &tree {
        assert_eq!((message.qos, message.retain), (2, true), "as mosquitto's");
        let topic = message.topic.strip_prefix("$SYS/broker/").unwrap();
        let spans = ["/1min", "/5min", "/15min"];
        let name = spans
            .iter()
            .find_map(|span| topic.strip_suffix(span))
            .unwrap_or(topic);
        let told = manual.lines().any(|line| {
            line.starts_with('|')
                && (line.contains(&format!("`{name}`")) || line.contains(&format!("`{name}/+`")))
        });
        assert!(told, "{topic} is not in docs/reference/sys.md");
    }
    let value = |topic: &str| {
        let found = tree
            .iter()
            .find(|m| m.topic == format!("$SYS/broker/{topic}"));
        found.map(|message| message.text().to_owned())
    };
    assert!(value("version").unwrap().starts_with("RoomMQ version "));
    assert_eq!(value("uptime").as_deref(), Some("0 seconds"));
    assert_eq!(
        value("load/publish/received/15min").as_deref(),
        Some("0.00")
    );
    assert_eq!(value("clients/total").as_deref(), Some("0"));
    assert_eq!(value("retained messages/count").as_deref(), Some("0"));
    assert!(tree.len() > 60, "{}", tree.len());
}

#[test]
fn sys_topics_do_not_match_filters_that_start_with_a_wildcard() {
    let server = Broker::with(&[ONE_LANE, OFTEN].concat());
    let mut clients = BOTH.map(|version| {
        let mut client = Connect::new(version, &format!("{version:?}")).to(server.address());
        for filter in ["#", "+/#", "+/broker/#", "+/broker/uptime"] {
            client.subscribe(filter, 2);
        }
        client
    });
    let mut watcher = Watcher::of(&server, &["bytes/sent"]);
    for _ in 0..3 {
        let before = watcher.first("bytes/sent");
        watcher.read_until("a change", |w| {
            (w.number("bytes/sent")? > before).then_some(())
        });
    }
    let mut sender = Connect::v5("sender").to(server.address());
    sender.publish(&Message::new("a/b", "end").qos(1));
    for client in &mut clients {
        // [MQTT-4.7.2-1]
        assert_eq!(client.messages_until("end"), []);
    }
}

#[test]
fn clients_cannot_publish_to_sys() {
    let server = Broker::with(&[ONE_LANE, SELDOM].concat());
    let mut client = Connect::v5("a").to(server.address());
    for topic in ["$SYS/broker/version", "$SYS", "$SYS/mine"] {
        let (code, _) = client.publish(&Message::new(topic, "x").qos(1).retained());
        assert_eq!(code, 0x87, "{topic}");
    }
    let will = Message::new("$SYS/broker/version", "x").retained();
    Connect::v5("b").will(will).refused(server.address(), 0x87);
    let version = tree(&server, "$SYS/broker/version");
    assert!(version[0].text().starts_with("RoomMQ version "));
    assert!(tree(&server, "$SYS/mine").is_empty());
}

#[test]
fn sys_readers_are_a_setting() {
    let filters = [
        "$SYS/#",
        "$SYS/broker/uptime",
        "$share/g/$SYS/#",
        "$SYS/+/uptime",
    ];
    let cases = [
        ("anyone", true, true),
        ("authenticated", false, true),
        ("nobody", false, false),
    ];
    for (read, stranger, user) in cases {
        let config =
            format!("[sys]\nread = '{read}'\n[auth]\nusers_file = '@users@'\nanonymous = true\n");
        let server = Broker::with_users(&config, &[("alice", "secret")]);
        let connects = [
            (Connect::v5("a"), stranger),
            (Connect::v5("b").user("alice", "secret"), user),
        ];
        for (connect, may) in connects {
            let mut client = connect.to(server.address());
            for filter in filters {
                let (codes, _) = client.subscribe_with(&Subscribe::to(filter, 0));
                assert_eq!(codes, [if may { 0 } else { 0x87 }], "{read} {filter}");
            }
        }
    }
}

#[test]
fn sys_can_be_turned_off() {
    let server = Broker::with(&format!("{ONE_LANE}[sys]\ninterval = '0s'\n"));
    assert!(tree(&server, "$SYS/#").is_empty());
}
