//! Applying a PUBLISH: the hook judges it, the lane retains it, subscribers receive it.

use super::entry::PublishEntry;
use super::fanout::fan_out;
use super::frames::{Outgoing, stamped_properties, stamps};
use super::host::LaneHost;
use super::lane::Lane;
use super::retained::{RetainedLimits, RetainedMessage};
use crate::packet::{PublishProperties, ReasonCode};
use crate::policy::{Actor, Attempt, Limit, Mark, Message, Refusal, Stamps};

impl Lane {
    /// Applies a PUBLISH. The hook does not judge what the server itself sends.
    pub(super) fn publish(&mut self, p: &PublishEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(p.at);
        let Some(origin) = p.origin else {
            let keep = p.retain.then_some(Limit::None);
            self.distribute(p, None, keep, host);
            return;
        };
        let message = Message {
            topic: p.topic,
            payload: p.payload,
            retain: p.retain,
            replaces: p.retain && self.retained.contains(p.topic),
        };
        match self.judge_message(origin, message) {
            Ok(verdict) => {
                let keep = verdict.keep.then_some(verdict.limit);
                self.distribute(p, Some((origin, verdict.mark)), keep, host);
            }
            Err(refusal) => {
                host.refused(origin, Attempt::Publish(p.topic), &refusal, self.now);
            }
        }
        self.perform_effects_for(Some((origin, p.topic)), host);
    }

    /// Retains a message that has been accepted, if `keep` says by which limit, and fills the
    /// outboxes of its subscribers.
    ///
    /// A message that the limit does not allow is delivered all the same, and its sender is told.
    pub(super) fn distribute(
        &mut self,
        p: &PublishEntry<'_>,
        marked: Option<(Actor<'_>, Mark)>,
        keep: Option<Limit>,
        host: &mut dyn LaneHost,
    ) {
        if let Some(limit) = keep {
            let stamps = stamps(self.hook.as_ref(), p, marked);
            let message = RetainedMessage {
                at: p.at,
                payload: bytes::Bytes::copy_from_slice(p.payload),
                qos: p.qos,
                properties: retained_properties(p, &stamps),
                limit,
            };
            if self.retained.set(p.topic, message) {
                self.set_expiry_timer(host);
            } else {
                if limit == Limit::OfBytes {
                    self.with_hook(|hook, cx| hook.expired(cx, p.topic));
                }
                if let Some(origin) = p.origin {
                    let refusal = not_retained(limit, self.retained.limits());
                    host.refused(origin, Attempt::Publish(p.topic), &refusal, self.now);
                }
            }
        }
        let (message, hook) = (self.outgoing(p, marked), self.hook.as_ref());
        fan_out(&message, &self.subscriptions, &self.subscribers, hook, host);
    }

    /// A message on its way to subscribers, with the hook's mark for its sender.
    pub(super) fn outgoing<'a>(
        &self,
        entry: &'a PublishEntry<'a>,
        marked: Option<(Actor<'a>, Mark)>,
    ) -> Outgoing<'a> {
        let (lane, now) = (self.number, self.now);
        Outgoing {
            lane,
            entry,
            marked,
            now,
        }
    }
}

/// The refusal that a sender is told: its message was delivered but not retained.
fn not_retained(limit: Limit, limits: RetainedLimits) -> Refusal {
    let RetainedLimits { messages, bytes } = limits;
    let messages = match limit {
        Limit::OfLane => format!("{messages} retained messages"),
        Limit::None | Limit::OfBytes => "retained messages".to_owned(),
    };
    let reason = format!(
        "delivered but not kept: there is no room for it; {messages} of {bytes} bytes together are kept in its \
         part of the topics"
    );
    Refusal::new(ReasonCode::RetainNotSupported, reason)
}

/// The properties to retain with a message, the hook's included; none if no property is set.
fn retained_properties(p: &PublishEntry<'_>, stamps: &Stamps) -> Option<Box<PublishProperties>> {
    let user_properties = stamped_properties(p, stamps)
        .into_iter()
        .map(|(n, v)| (n.as_ref().into(), v.as_ref().into()))
        .collect();
    let properties = match &p.properties {
        Some(q) => PublishProperties {
            payload_format_indicator: q.payload_format_indicator,
            message_expiry: q.message_expiry,
            content_type: q.content_type.map(Into::into),
            response_topic: q.response_topic.map(Into::into),
            correlation_data: q.correlation_data.map(bytes::Bytes::copy_from_slice),
            user_properties,
        },
        None => PublishProperties {
            user_properties,
            ..PublishProperties::default()
        },
    };
    (properties != PublishProperties::default()).then(|| Box::new(properties))
}
