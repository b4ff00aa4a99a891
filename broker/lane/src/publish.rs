//! Applying a PUBLISH: the hook judges it, the lane retains it, subscribers receive it.

use super::entry::{PropertiesEntry, PublishEntry};
use super::lane::Lane;
use super::outcome::{Act, Outcome, Outgoing, Source};
use super::retained::{RetainedLimits, RetainedMessage, expires_at};
use crate::{Limit, Mark, Message, Refusal, Stamps, WallTime};
use roommq_mqtt::packet::{PublishProperties, ReasonCode};
use roommq_mqtt::session::NEVER;
use std::borrow::Cow;

/// Name and value of a user property.
pub type UserProperty<'a> = (Cow<'a, str>, Cow<'a, str>);

impl Lane {
    /// Applies a PUBLISH. The hook does not judge what the server itself sends.
    pub(super) fn publish(&mut self, p: &PublishEntry<'_>, outcome: &mut Outcome) {
        let Some(origin) = p.origin else {
            let keep = p.retain.then_some(Limit::None);
            self.distribute(Source::Entry, p, None, keep, outcome);
            return;
        };
        let message = Message {
            topic: p.topic,
            payload: p.payload,
            retain: p.retain,
            replaces: p.retain && self.retained.get(p.topic).is_some(),
        };
        match self.judge_message(origin, message) {
            Ok(verdict) => {
                let keep = verdict.keep.then_some(verdict.limit);
                self.distribute(Source::Entry, p, Some(verdict.mark), keep, outcome);
            }
            Err(refusal) => outcome.acts.push(Act::Refuse { filter: 0, refusal }),
        }
        self.perform_effects(outcome);
    }

    /// Retains a message that has been accepted, if `keep` says by which limit, and adds its
    /// subscribers to the outcome.
    ///
    /// A message that the limit does not allow is delivered all the same, and its sender is told.
    pub(super) fn distribute(
        &mut self,
        source: Source,
        p: &PublishEntry<'_>,
        mark: Option<Mark>,
        keep: Option<Limit>,
        outcome: &mut Outcome,
    ) {
        if let Some(limit) = keep {
            let stamps = self.stamps(p, mark, self.wall);
            let message = RetainedMessage {
                at: self.now,
                payload: bytes::Bytes::copy_from_slice(p.payload),
                qos: p.qos,
                properties: owned_properties(p, &stamps),
                limit,
                position: self.position,
            };
            if self.retained.set(p.topic, message) {
                self.set_expiry_timer(outcome);
            } else {
                if limit == Limit::OfBytes {
                    self.with_hook(|hook, cx| hook.expired(cx, p.topic));
                }
                if p.origin.is_some() {
                    let refusal = not_retained(limit, self.retained.limits());
                    outcome.acts.push(Act::Refuse { filter: 0, refusal });
                }
            }
        }
        let expires = p.expires(self.now);
        let outgoing = Outgoing {
            source,
            mark,
            expires,
            number: None,
        };
        self.fan_out(p, outgoing, outcome);
    }

    /// The user properties that the hook sets on a client's message, by its mark and the wall time
    /// of its batch. It sets none on the server's own.
    pub fn stamps(&self, p: &PublishEntry<'_>, mark: Option<Mark>, wall: WallTime) -> Stamps {
        let marked = p.origin.zip(mark);
        marked.map_or_else(Stamps::new, |(origin, mark)| {
            self.hook.stamps(origin, p.topic, mark, wall)
        })
    }
}

impl PublishEntry<'_> {
    /// When the message expires if it was received at `at`, both in milliseconds of lane time;
    /// [`NEVER`]: never.
    #[must_use]
    pub fn expires(&self, at: u64) -> u64 {
        let expiry = self.properties.as_ref().and_then(|p| p.message_expiry);
        expiry.map_or(NEVER, |expiry| expires_at(expiry, at))
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

/// The properties to store with a message, the hook's included; none if no property is set.
pub(super) fn owned_properties(
    p: &PublishEntry<'_>,
    stamps: &Stamps,
) -> Option<Box<PublishProperties>> {
    let user_properties = stamped_properties(p, stamps)
        .into_iter()
        .map(|(n, v)| (n.as_ref().into(), v.as_ref().into()))
        .collect();
    let own = p.properties.as_deref().map(PropertiesEntry::to_properties);
    let properties = PublishProperties {
        user_properties,
        ..own.unwrap_or_default()
    };
    (properties != PublishProperties::default()).then(|| Box::new(properties))
}

/// The user properties that a subscriber receives: those of the sender, without names that the hook
/// sets, then those that the hook sets. A sender therefore cannot forge them.
#[must_use]
pub fn stamped_properties<'a>(
    entry: &'a PublishEntry<'_>,
    stamps: &'a Stamps,
) -> Vec<UserProperty<'a>> {
    let own = entry
        .properties
        .iter()
        .flat_map(|p| &*p.user_properties)
        .filter(|(name, _)| !stamps.iter().any(|(s, _)| **s == **name))
        .map(|(n, v)| (Cow::Borrowed(&**n), Cow::Borrowed(&**v)));
    let set = stamps
        .iter()
        .filter_map(|(n, v)| Some((Cow::Borrowed(*n), Cow::Borrowed(v.as_deref()?))));
    own.chain(set).collect()
}
