//! The order of one publisher's messages on several topics.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Version};

const MESSAGES: u16 = 600;
const TOPICS: u16 = 20;

/// Publishes messages on many topics in turn, so that one read of the server brings many of them.
fn publish_all(sender: &mut Client, qos: u8) {
    let all = (0..MESSAGES).flat_map(|n| {
        let mut message = Message::new(&format!("order/{}", n % TOPICS), n.to_string()).qos(qos);
        message.id = if qos == 0 { 0 } else { n + 1 };
        message.bytes(Version::V311)
    });
    sender.send(&all.collect::<Vec<u8>>());
}

/// Receives all messages, and returns how many of them came after a later one.
fn out_of_order(receiver: &mut Client) -> usize {
    let numbers = (0..MESSAGES).map(|_| receiver.message().text().parse::<u16>().unwrap());
    let mut numbers: Vec<u16> = numbers.collect();
    let late = numbers.windows(2).filter(|two| two[0] > two[1]).count();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "each once");
    late
}

#[test]
fn messages_on_many_topics_arrive_in_the_publishers_order() {
    for config in ["", ONE_LANE] {
        let server = Broker::with(config);
        for qos in [0, 1] {
            let mut one = Connect::v5("one").to(server.address());
            one.subscribe("order/#", qos);
            let mut each = Connect::v311("each").to(server.address());
            for topic in 0..TOPICS {
                each.subscribe(&format!("order/{topic}"), qos);
            }
            let mut sender = Connect::v311("sender").to(server.address());
            publish_all(&mut sender, qos);
            assert_eq!(
                out_of_order(&mut one),
                0,
                "one filter, QoS {qos}, {config:?}"
            );
            assert_eq!(
                out_of_order(&mut each),
                0,
                "20 filters, QoS {qos}, {config:?}"
            );
        }
    }
}
