//! Shared subscriptions whose members lose their connections at any moment (4.8.2).

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Packet, Value, property};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Each run has a group of its own.
const RUNS: u64 = 200;
const STEPS: u64 = 40;
const MEMBERS: usize = 3;

/// A fixed sequence of numbers that look random.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A group member whose session survives its connections.
fn persistent(server: &Broker, id: &str) -> Client {
    let expiry = Value::Four(3600);
    let connect = Connect::v5(id).clean(false);
    let connect = connect.property(property::SESSION_EXPIRY, expiry);
    connect.to(server.address())
}

/// The next PUBLISH that is there, not acknowledged. PUBRELs before it are answered.
fn next_publish(client: &mut Client, patience: Duration) -> Option<Message> {
    loop {
        match client.poll(patience).ok()? {
            Packet::Publish(message) => return Some(message),
            Packet::PubRel { id, .. } => client.send(&short_packet(0x70, id)),
            other => panic!("instead of a message came {other:?}"),
        }
    }
}

/// An acknowledgement of this type.
fn short_packet(kind: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [kind, 2, high, low]
}

/// Members acknowledge some messages and lose their connections with others in flight. Some sessions end with the
/// connection. In the end all return, and receive what no member has acknowledged.
#[test]
fn no_message_is_lost_when_group_members_crash() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("sender").to(server.address());
    for run in 0..RUNS {
        let mut dice = Dice(run);
        let topic = format!("crash/{run}");
        let filter = format!("$share/g/{topic}");
        let join = |member: usize| {
            let id = format!("{run}-{member}");
            // The session of the last member ends with each of its connections.
            let mut client = if member + 1 < MEMBERS {
                persistent(&server, &id)
            } else {
                Connect::v5(&id).to(server.address())
            };
            assert_eq!(client.subscribe(&filter, 1), 1);
            client
        };
        let mut members: [Option<Client>; MEMBERS] = std::array::from_fn(|n| Some(join(n)));
        let (mut sent, mut acknowledged) = (0, BTreeSet::new());
        let number = |message: &Message| message.text().parse::<u64>().unwrap();
        for _ in 0..STEPS {
            let member = usize::try_from(dice.roll(MEMBERS as u64)).unwrap();
            match (dice.roll(6), &mut members[member]) {
                (0 | 1, _) => {
                    for _ in 0..=dice.roll(4) {
                        sender.publish(&Message::new(&topic, sent.to_string()).qos(1));
                        sent += 1;
                    }
                }
                (2..=4, Some(client)) => {
                    let answers = dice.roll(2) == 0;
                    if let Some(message) = next_publish(client, Duration::from_millis(1))
                        && answers
                    {
                        client.send(&short_packet(0x40, message.id));
                        // The server has read it: the message is nobody else's.
                        client.ping();
                        acknowledged.insert(number(&message));
                    }
                }
                (_, crashed @ Some(_)) => *crashed = None,
                (_, absent) => *absent = Some(join(member)),
            }
        }
        // All others' connections have ended when the first comes back.
        members = Default::default();
        for (n, member) in members.iter_mut().enumerate() {
            *member = Some(join(n));
        }
        let deadline = Instant::now() + roommq_tests::PATIENCE;
        while (acknowledged.len() as u64) < sent {
            for client in members.iter_mut().flatten() {
                while let Some(message) = next_publish(client, Duration::from_millis(1)) {
                    client.send(&short_packet(0x40, message.id));
                    acknowledged.insert(number(&message));
                }
            }
            let missing = (0..sent).filter(|n| !acknowledged.contains(n));
            let missing: Vec<_> = missing.collect();
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "run {run}: of {sent} these are lost: {missing:?}");
        }
        for client in members.into_iter().flatten() {
            client.disconnect(0);
        }
    }
}

/// A session's view of QoS 2: the packet ids whose PUBREL has not come, and the messages that it has taken.
#[derive(Default)]
struct Receiver {
    client: Option<Client>,
    open: BTreeMap<u16, u64>,
    taken: Vec<u64>,
}

impl Receiver {
    /// Takes one packet, if one is there. False if there was none.
    fn step(&mut self, patience: Duration, answers: bool) -> bool {
        let Some(client) = &mut self.client else {
            return false;
        };
        match client.poll(patience) {
            Ok(Packet::Publish(message)) => {
                let number = message.text().parse().unwrap();
                // A packet id that is open means the message is a repetition [MQTT-4.3.3-10].
                if self.open.insert(message.id, number).is_none() {
                    self.taken.push(number);
                }
                if answers {
                    client.send(&short_packet(0x50, message.id));
                }
            }
            Ok(Packet::PubRel { id, .. }) => {
                self.open.remove(&id);
                client.send(&short_packet(0x70, id));
            }
            Ok(other) => panic!("instead of a message came {other:?}"),
            Err(_) => return false,
        }
        true
    }
}

/// Members whose sessions survive crash at any moment of the QoS 2 exchange. Each message is taken once, by one member
/// [5.0 MQTT-4.8.2-4, MQTT-4.8.2-5].
#[test]
fn each_qos_2_message_reaches_one_group_member_once() {
    let server = Broker::with(ONE_LANE);
    let mut sender = Connect::v5("sender").to(server.address());
    for run in 0..RUNS {
        let mut dice = Dice(run);
        let topic = format!("once/{run}");
        let filter = format!("$share/g/{topic}");
        let join = |member: usize| persistent(&server, &format!("{run}-{member}"));
        let mut members: [Receiver; MEMBERS] = std::array::from_fn(|member| {
            let mut client = join(member);
            assert_eq!(client.subscribe(&filter, 2), 2);
            Receiver {
                client: Some(client),
                ..Receiver::default()
            }
        });
        let mut sent = 0;
        for _ in 0..STEPS {
            let member = usize::try_from(dice.roll(MEMBERS as u64)).unwrap();
            let receiver = &mut members[member];
            match dice.roll(6) {
                0 | 1 => {
                    for _ in 0..=dice.roll(4) {
                        sender.publish(&Message::new(&topic, sent.to_string()).qos(2));
                        sent += 1;
                    }
                }
                2..=4 => {
                    receiver.step(Duration::from_millis(1), dice.roll(3) > 0);
                }
                _ if receiver.client.is_some() => receiver.client = None,
                _ => receiver.client = Some(join(member)),
            }
        }
        // All return, since a delivery that has begun belongs to its session.
        for (n, member) in members.iter_mut().enumerate() {
            member.client = None;
            member.client = Some(join(n));
        }
        let deadline = Instant::now() + roommq_tests::PATIENCE;
        while members.iter().map(|m| m.taken.len() as u64).sum::<u64>() < sent {
            assert!(Instant::now() < deadline, "run {run}: too few messages");
            for member in &mut members {
                while member.step(Duration::from_millis(1), true) {}
            }
        }
        let mut taken: Vec<u64> = members.iter().flat_map(|m| m.taken.clone()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..sent).collect::<Vec<_>>(), "run {run}");
        for client in members.into_iter().filter_map(|m| m.client) {
            client.disconnect(0);
        }
    }
}
