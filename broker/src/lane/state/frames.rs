//! Encodes an outgoing PUBLISH: once for each form that subscribers need, not once for each
//! subscriber.

use super::entry::{Entry, PublishEntry};
use super::retained::{RetainedMessage, expires_at, remaining};
use super::subscription::Subscription;
use crate::packet::{PublishParts, QoS, Version, encode_publish};
use crate::policy::{Actor, LaneHook, Mark, Mount, Stamps};
use crate::session::Frame;
use bytes::Bytes;
use std::borrow::Cow;

/// Name and value of a user property.
type UserProperty<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A message that the lane has accepted, on its way to subscribers.
pub(super) struct Outgoing<'a> {
    pub lane: u16,
    pub entry: &'a PublishEntry<'a>,
    /// The sender, and the hook's mark for it. None: the server sent it.
    pub marked: Option<(Actor<'a>, Mark)>,
    /// The lane's time, in milliseconds since the Unix epoch.
    pub now: u64,
}

impl Outgoing<'_> {
    /// The expiry that the sender set, in seconds.
    fn expiry(&self) -> Option<u32> {
        self.entry.properties.as_ref()?.message_expiry
    }

    /// The seconds until it expires; none: it never does.
    fn seconds_left(&self) -> Option<u32> {
        Some(remaining(self.expiry()?, self.entry.at, self.now))
    }

    /// When it expires, in milliseconds since the Unix epoch; [`Frame::FOR_EVER`]: never.
    pub(super) fn expires_at(&self) -> u64 {
        self.expiry()
            .map_or(Frame::FOR_EVER, |expiry| expires_at(expiry, self.entry.at))
    }
}

/// One message, encoded in the forms that subscribers have needed so far.
///
/// A form is a version (2), a QoS (3) and a retain flag (2): a message to 10,000 subscribers is
/// encoded 12 times at most. Only a subscription with an identifier or a mount needs a form of its
/// own, in a 13th place that is encoded anew each time.
pub(super) struct Frames<'a> {
    pub(super) message: &'a Outgoing<'a>,
    hook: &'a dyn LaneHook,
    /// Asked of the hook when the first form for 5.0 is encoded.
    stamps: Option<Stamps>,
    forms: [Option<Frame>; 13],
    /// The encoded entry, for shared groups.
    batch: Option<Bytes>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(message: &'a Outgoing<'a>, hook: &'a dyn LaneHook) -> Self {
        Frames {
            message,
            hook,
            stamps: None,
            forms: Default::default(),
            batch: None,
        }
    }

    /// The encoded entry. Another member of a shared group may need it, to encode the message
    /// for itself.
    pub(super) fn entry_batch(&mut self) -> Bytes {
        let write = || Entry::Publish(self.message.entry.clone()).to_bytes();
        self.batch.get_or_insert_with(write).clone()
    }

    /// The form for one subscriber, all of whose matching subscriptions are `matches`: with all
    /// their identifiers [5.0 MQTT-3.3.4-4], and with a DUP flag that does not depend on the
    /// sender's [MQTT-3.3.1-3].
    pub(super) fn for_matches(&mut self, matches: &[&Subscription], version: Version) -> &Frame {
        let entry = self.message.entry;
        // The highest QoS of the matching subscriptions, and no more than that of the message
        // [3.1.1 MQTT-3.3.5-1, MQTT-3.8.4-6, 5.0 MQTT-3.3.4-2, MQTT-3.8.4-8].
        let granted = matches.iter().map(|s| s.options.qos).max();
        let qos = entry.qos.min(granted.unwrap_or(QoS::AtMostOnce));
        let as_published = matches.iter().any(|s| s.options.retain_as_published);
        let retain = entry.retain && as_published && version == Version::V5;
        let ids = identifiers(matches.iter().copied());
        let mount = matches.iter().find_map(|s| s.mount.as_deref());

        let mut form = 12;
        if ids.is_empty() && mount.is_none() {
            form = usize::from(version == Version::V5) * 6 + qos as usize * 2 + usize::from(retain);
        } else {
            self.forms[form] = None;
        }
        if self.forms[form].is_none() {
            if self.stamps.is_none() && version == Version::V5 {
                self.stamps = Some(stamps(self.hook, entry, self.message.marked));
            }
            let none = Stamps::new();
            let stamps = self.stamps.as_ref().unwrap_or(&none);
            let user_properties = match version {
                Version::V5 => stamped_properties(entry, stamps),
                Version::V3 => Vec::new(),
            };
            let topic = shown_topic(entry.topic, mount);
            let properties = entry.properties.as_deref();
            let parts = PublishParts {
                topic: &topic,
                payload: entry.payload,
                qos,
                retain,
                dup: false,
                payload_format_indicator: properties.and_then(|p| p.payload_format_indicator),
                message_expiry: self.message.seconds_left(),
                content_type: properties.and_then(|p| p.content_type),
                response_topic: properties.and_then(|p| p.response_topic),
                correlation_data: properties.and_then(|p| p.correlation_data),
                user_properties: &user_properties,
                subscription_ids: &ids,
            };
            let packet = encode_publish(version, &parts).forwarded();
            self.forms[form] = Some(Frame {
                qos,
                packet,
                expires: self.message.expires_at(),
                share: None,
            });
        }
        match &self.forms[form] {
            Some(frame) => frame,
            None => unreachable!("encoded above"),
        }
    }
}

/// A retained message for a new subscription: its retain flag is set [MQTT-3.3.1-8].
pub(super) fn retained_frame(
    topic: &str,
    retained: &RetainedMessage,
    now: u64,
    subscription: &Subscription,
    version: Version,
) -> Frame {
    let qos = retained.qos.min(subscription.options.qos);
    let properties = retained.properties.as_deref();
    let user_properties: Vec<UserProperty<'_>> = properties
        .into_iter()
        .flat_map(|p| &p.user_properties)
        .map(|(n, v)| (Cow::Borrowed(&**n), Cow::Borrowed(&**v)))
        .collect();
    let parts = PublishParts {
        topic: &shown_topic(topic, subscription.mount.as_deref()),
        payload: &retained.payload,
        qos,
        retain: true,
        dup: false,
        payload_format_indicator: properties.and_then(|p| p.payload_format_indicator),
        message_expiry: retained.seconds_left(now),
        content_type: properties.and_then(|p| p.content_type.as_deref()),
        response_topic: properties.and_then(|p| p.response_topic.as_deref()),
        correlation_data: properties.and_then(|p| p.correlation_data.as_deref()),
        user_properties: &user_properties,
        subscription_ids: &identifiers(std::iter::once(subscription)),
    };
    Frame {
        qos,
        packet: encode_publish(version, &parts),
        expires: retained.expires_at().unwrap_or(Frame::FOR_EVER),
        share: None,
    }
}

/// The identifiers of those subscriptions that have one.
fn identifiers<'a>(subscriptions: impl Iterator<Item = &'a Subscription>) -> Vec<u32> {
    subscriptions
        .filter_map(|s| Some(s.identifier?.get()))
        .collect()
}

/// The topic as the subscriber knows it, which matches its filter [MQTT-3.3.2-3]: a mount replaces
/// a prefix.
fn shown_topic<'a>(topic: &'a str, mount: Option<&Mount>) -> Cow<'a, str> {
    match mount.and_then(|m| Some((m, topic.strip_prefix(m.real.as_str())?))) {
        Some((mount, rest)) => Cow::Owned(format!("{}{rest}", mount.shown)),
        None => Cow::Borrowed(topic),
    }
}

/// The user properties that the hook sets on a client's message. It sets none on the server's own.
pub(super) fn stamps(
    hook: &dyn LaneHook,
    entry: &PublishEntry<'_>,
    marked: Option<(Actor<'_>, Mark)>,
) -> Stamps {
    marked.map_or_else(Stamps::new, |(origin, mark)| {
        hook.stamps(origin, entry.topic, mark, entry.at)
    })
}

/// The user properties that a subscriber receives: those of the sender, without names that the hook
/// sets, then those that the hook sets. A sender therefore cannot forge them.
pub(super) fn stamped_properties<'a>(
    entry: &'a PublishEntry<'_>,
    stamps: &'a Stamps,
) -> Vec<UserProperty<'a>> {
    let own = entry
        .properties
        .iter()
        .flat_map(|p| &p.user_properties)
        .filter(|(name, _)| !stamps.iter().any(|(s, _)| s == name))
        .map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(*v)));
    let set = stamps
        .iter()
        .filter_map(|(n, v)| Some((Cow::Borrowed(*n), Cow::Borrowed(v.as_deref()?))));
    own.chain(set).collect()
}
