//! Topic aliases for a client that takes them (3.3.2.3.4).

use crate::packet::{PublishFrame, TopicAlias};
use std::collections::HashMap;
use std::num::NonZeroU16;

/// Bytes that an alias adds to a packet at most: the property, and longer length fields.
const GROWTH: usize = 5;

/// Topics of fewer bytes gain nothing by an alias.
const WORTH: usize = 4;

/// The aliases of one connection. The first topics keep theirs: a client that gets few topics gets them often.
#[derive(Debug)]
pub(super) struct Aliases {
    /// The client's topic alias maximum [MQTT-3.1.2-26, MQTT-3.1.2-27].
    most: u16,
    by_topic: HashMap<Box<[u8]>, NonZeroU16>,
}

impl Aliases {
    pub(super) fn new(most: u16) -> Option<Box<Self>> {
        (most > 0).then(|| {
            Box::new(Aliases {
                most,
                by_topic: HashMap::new(),
            })
        })
    }

    /// The alias to send a frame with [5.0 MQTT-3.3.2-11]; none if the topic has none and gets none. `largest`: bytes of the largest
    /// packet that the client takes.
    pub(super) fn of(&mut self, frame: &PublishFrame, largest: u32) -> Option<TopicAlias> {
        let topic = frame.topic();
        if let Some(number) = self.by_topic.get(topic) {
            return Some(TopicAlias {
                number: *number,
                known: true,
            });
        }
        let fits = frame.len() + GROWTH <= largest as usize;
        let next = u16::try_from(self.by_topic.len() + 1).ok()?;
        if topic.len() < WORTH || next > self.most || !fits {
            return None;
        }
        let number = NonZeroU16::new(next)?;
        self.by_topic.insert(topic.into(), number);
        Some(TopicAlias {
            number,
            known: false,
        })
    }
}
