//! The messages that wait for sessions and groups, each stored once however many wait for it.

use bytes::Bytes;
use roommq_mqtt::cost::MESSAGE_COST;
use roommq_mqtt::packet::{PublishProperties, string_cost};
use roommq_mqtt::session::MessageNo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

mod snapshot;

/// About as many bytes of a PUBLISH are neither topic nor properties nor payload.
const HEADER: usize = 9;

/// A message as the lane has accepted it, on memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// When the lane accepted it, in milliseconds of lane time. Its age and its expiry count from
    /// here.
    pub at: u64,
    /// As the sender sees it.
    pub topic: Box<str>,
    /// Any bytes.
    pub payload: Bytes,
    /// When it expires; [`NEVER`](roommq_mqtt::session::NEVER): never.
    pub expires: u64,
    /// Stamps of the lane's hook included; none if no property is set.
    pub properties: Option<Box<PublishProperties>>,
}

impl StoredMessage {
    /// The bytes that it counts for in a queue, as `limits.outbox_bytes` counts them: about those of
    /// a PUBLISH to a 5.0 client.
    pub(super) fn len(&self) -> u64 {
        let properties = self.properties.as_deref().map_or(0, properties_len);
        (HEADER + self.topic.len() + self.payload.len() + properties) as u64
    }

    /// The bytes of memory that it takes, once, while offline sessions wait for it.
    fn cost(&self) -> u64 {
        let properties = self.properties.as_deref();
        let properties = properties.map_or(0, PublishProperties::cost);
        let texts = string_cost(self.topic.len()) + string_cost(self.payload.len());
        (MESSAGE_COST + texts + properties) as u64
    }
}

/// The bytes of encoded properties.
fn properties_len(properties: &PublishProperties) -> usize {
    let texts = [&properties.content_type, &properties.response_topic];
    let texts = texts.into_iter().flatten().map(|text| text.len());
    let data = properties.correlation_data.iter().map(Bytes::len);
    let fields = texts.chain(data).map(|len| 3 + len).sum::<usize>();
    let pairs = properties.user_properties.iter();
    let pairs = pairs.map(|(name, value)| 5 + name.len() + value.len());
    fields + pairs.sum::<usize>()
}

/// Whether the holder of a reference has a connection. Messages that offline holders wait for count
/// for the lane's [share](super::share).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Presence {
    #[default]
    Connected,
    Offline,
}

/// The table of messages, with the number of references to each.
///
/// A message that waits for a thousand sessions is in memory once. It counts once, too: for as long
/// as one of them is offline. It goes with its last reference.
///
/// ```text
///   let number = messages.open(stored)    the message is being published
///   messages.add_reference(number, ..)    for each session and group that waits for it
///   messages.close()                      stored under its number, if anything waits for it
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Messages {
    by_number: BTreeMap<MessageNo, Held>,
    /// The number that was given last.
    last: MessageNo,
    /// The message that is being published. None between two entries.
    open: Option<Held>,
    /// Bytes of the messages that offline holders wait for.
    offline_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    message: Arc<StoredMessage>,
    /// How many wait for it.
    references: u32,
    /// How many of them are offline.
    offline: u32,
}

impl Messages {
    /// Begins to publish a message that something may wait for. Returns its number.
    pub(super) fn open(&mut self, message: StoredMessage) -> MessageNo {
        self.open = Some(Held {
            message: Arc::new(message),
            references: 0,
            offline: 0,
        });
        self.next()
    }

    /// Stores the open message if anything waits for it. Its number is used up in any case: sessions
    /// may have been sent it.
    pub(super) fn close(&mut self) {
        if let Some(held) = self.open.take() {
            self.last = self.next();
            if held.references > 0 {
                self.by_number.insert(self.last, held);
            }
        }
    }

    fn next(&self) -> MessageNo {
        MessageNo(self.last.0 + 1)
    }

    /// The message with this number, if anything waits for it or if it is being published.
    pub(super) fn get(&self, number: MessageNo) -> Option<&Arc<StoredMessage>> {
        let held = if number > self.last {
            self.open.as_ref().filter(|_| number == self.next())
        } else {
            self.by_number.get(&number)
        };
        Some(&held?.message)
    }

    /// The bytes of a message in a queue.
    pub(super) fn len_of(&self, number: MessageNo) -> u64 {
        self.get(number).map_or(0, |message| message.len())
    }

    /// Adds a reference of such a holder.
    pub(super) fn add_reference(&mut self, number: MessageNo, of: Presence) {
        self.change(number, |held| {
            held.references += 1;
            held.offline += u32::from(of == Presence::Offline);
        });
    }

    /// Removes a reference of such a holder, and the message with its last one.
    pub(super) fn remove_reference(&mut self, number: MessageNo, of: Presence) {
        self.change(number, |held| {
            held.references = held.references.saturating_sub(1);
            let offline = u32::from(of == Presence::Offline);
            held.offline = held.offline.saturating_sub(offline);
        });
    }

    /// The holder of a reference has lost its connection, or has one again.
    pub(super) fn move_reference(&mut self, number: MessageNo, to: Presence) {
        self.change(number, |held| match to {
            Presence::Offline => held.offline += 1,
            Presence::Connected => held.offline = held.offline.saturating_sub(1),
        });
    }

    fn change(&mut self, number: MessageNo, change: impl FnOnce(&mut Held)) {
        let is_open = number > self.last;
        let held = if is_open {
            self.open.as_mut()
        } else {
            self.by_number.get_mut(&number)
        };
        let Some(held) = held else { return };
        let before = held.offline > 0;
        change(held);
        let after = held.offline > 0;
        if before != after {
            let cost = held.message.cost();
            if after {
                self.offline_bytes += cost;
            } else {
                self.offline_bytes -= cost;
            }
        }
        if held.references == 0 && !is_open {
            self.by_number.remove(&number);
        }
    }

    /// The bytes of all messages that offline holders wait for, each once.
    pub(super) fn offline_bytes(&self) -> u64 {
        self.offline_bytes
    }

    /// The bytes by which an offline holder of the open message would make
    /// [`offline_bytes`](Self::offline_bytes) grow.
    pub(super) fn open_cost(&self) -> u64 {
        let open = self.open.as_ref().filter(|held| held.offline == 0);
        open.map_or(0, |held| held.message.cost())
    }

    /// The number that was given last.
    pub(super) fn last(&self) -> MessageNo {
        self.last
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> usize {
        self.by_number.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with a payload of so many bytes.
    pub(crate) fn stored(at: u64, payload: usize) -> StoredMessage {
        StoredMessage {
            at,
            topic: "t".into(),
            payload: vec![b'x'; payload].into(),
            expires: u64::MAX,
            properties: None,
        }
    }

    impl Messages {
        /// References and offline references of each message.
        pub(crate) fn references(&self) -> BTreeMap<u64, (u32, u32)> {
            let all = self.by_number.iter();
            all.map(|(number, held)| (number.0, (held.references, held.offline)))
                .collect()
        }
    }

    fn message(payload: usize) -> StoredMessage {
        stored(0, payload)
    }

    #[test]
    fn no_number_is_given_twice() {
        let mut messages = Messages::default();
        assert_eq!(messages.open(message(1)), MessageNo(1));
        messages.close();
        assert_eq!(messages.count(), 0, "nothing waits for it");
        assert_eq!(messages.open(message(2)), MessageNo(2));
        messages.add_reference(MessageNo(2), Presence::Connected);
        messages.close();
        messages.remove_reference(MessageNo(2), Presence::Connected);
        assert_eq!(messages.count(), 0);
        assert_eq!(messages.open(message(3)), MessageNo(3));
    }

    #[test]
    fn a_message_for_a_thousand_offline_sessions_counts_once() {
        let mut messages = Messages::default();
        let number = messages.open(message(1_000));
        let cost = messages.open_cost();
        assert_eq!(cost, 128 + (1 + 64) + (1_000 + 64));
        for _ in 0..1_000 {
            messages.add_reference(number, Presence::Offline);
        }
        assert_eq!(messages.open_cost(), 0);
        messages.close();
        assert_eq!((messages.count(), messages.offline_bytes()), (1, cost));
        for _ in 0..999 {
            messages.remove_reference(number, Presence::Offline);
        }
        assert_eq!(messages.offline_bytes(), cost);
        messages.move_reference(number, Presence::Connected);
        assert_eq!((messages.count(), messages.offline_bytes()), (1, 0));
        messages.remove_reference(number, Presence::Connected);
        assert_eq!(messages.count(), 0);
    }

    #[test]
    fn the_bytes_in_a_queue_are_those_of_a_publish() {
        use roommq_mqtt::packet::{PublishParts, QoS, Version, encode_publish};
        let mut message = message(200);
        let mut properties = PublishProperties {
            content_type: Some("text/plain".into()),
            response_topic: Some("answers".into()),
            correlation_data: Some(Bytes::from_static(b"1")),
            ..PublishProperties::default()
        };
        properties.user_properties = vec![("name".into(), "value".into())];
        let user_properties = [("name".into(), "value".into())];
        let parts = PublishParts {
            content_type: Some("text/plain"),
            response_topic: Some("answers"),
            correlation_data: Some(b"1"),
            user_properties: &user_properties,
            ..PublishParts::new("t", &message.payload, QoS::AtLeastOnce)
        };
        let encoded = encode_publish(Version::V5, &parts).len() as u64;
        message.properties = Some(Box::new(properties));
        assert!(message.len().abs_diff(encoded) <= 2, "{encoded}");
    }

    #[test]
    fn a_message_is_small() {
        assert_eq!((size_of::<StoredMessage>(), size_of::<Held>()), (72, 16));
    }

    proptest! {
        /// Holders come, go, and lose their connections at random.
        #[test]
        fn counts_follow_the_holders(
            steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut messages = Messages::default();
            // Of each reference the message, and whether its holder is offline.
            let mut model: Vec<(u64, Presence)> = Vec::new();
            for (step, which) in steps {
                let at = (!model.is_empty()).then(|| which.index(model.len()));
                match (step, at) {
                    (0, _) | (_, None) => {
                        let number = messages.open(message(which.index(9)));
                        for n in 0..which.index(4) {
                            let of = [Presence::Connected, Presence::Offline][n % 2];
                            messages.add_reference(number, of);
                            model.push((number.0, of));
                        }
                        messages.close();
                    }
                    (1, Some(at)) => {
                        let (number, of) = model.swap_remove(at);
                        messages.remove_reference(MessageNo(number), of);
                    }
                    (_, Some(at)) => {
                        let (number, of) = &mut model[at];
                        let to = match of {
                            Presence::Connected => Presence::Offline,
                            Presence::Offline => Presence::Connected,
                        };
                        messages.move_reference(MessageNo(*number), to);
                        *of = to;
                    }
                }
                let mut expected: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
                for (number, of) in &model {
                    let counts = expected.entry(*number).or_default();
                    counts.0 += 1;
                    counts.1 += u32::from(*of == Presence::Offline);
                }
                let waited_for = expected.iter().filter(|(_, counts)| counts.1 > 0);
                let costs = waited_for.map(|(n, _)| messages.get(MessageNo(*n)).map_or(0, |m| m.cost()));
                prop_assert_eq!(costs.sum::<u64>(), messages.offline_bytes());
                prop_assert_eq!(messages.references(), expected);
            }
        }
    }
}
