//! Topics whose messages a resumed session may still receive.

use super::index::Index;
use super::subscription::Subscription;
use super::subscriptions::is_shared;
use roommq_mqtt::packet::TopicFilter;

/// Slots in the index.
const REFUSED: u32 = 0;
const HELD: u32 = 1;

/// The topics of waiting messages that a session may still receive after it has lost some filters.
/// An index, since there may be thousands of filters and messages.
pub struct VisibleTopics(Index);

impl VisibleTopics {
    /// `held` are the filters that the session still has. A guarded filter shows only topics that
    /// its user may see now: leave it out, so that it keeps no message.
    pub fn new<'a>(
        refused: impl Iterator<Item = &'a str>,
        held: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut index = Index::default();
        let mut add = |name: &str, slot| {
            if let Ok(filter) = TopicFilter::new(name.into()) {
                index.insert(filter.inner(), Subscription::placeholder(slot));
            }
        };
        refused.for_each(|name| add(name, REFUSED));
        let own = held.filter(|name| !is_shared(name));
        own.for_each(|name| add(name, HELD));
        VisibleTopics(index)
    }

    /// Whether a message may be delivered: a held filter matches, or no refused one does. A message
    /// of a filter that was unsubscribed meanwhile is still delivered [MQTT-3.10.4-3].
    #[must_use]
    pub fn allow(&self, topic: &str) -> bool {
        let (mut refused, mut held) = (false, false);
        self.0.matches(topic, |found| match found.slot {
            REFUSED => refused = true,
            _ => held = true,
        });
        held || !refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_a_refused_filter_is_visible_only_by_another_filter() {
        let refused = ["a/#", "b/+", "c"].into_iter();
        let held = ["a/x", "+/y", "$share/g/#"].into_iter();
        let visible = VisibleTopics::new(refused, held);
        for (topic, allowed) in [
            ("a", false),
            ("a/x", true),
            ("a/x/y", false),
            ("b/y", true),
            ("b/z", false),
            ("c", false),
            ("d", true),
        ] {
            assert_eq!(visible.allow(topic), allowed, "{topic}");
        }
    }
}
