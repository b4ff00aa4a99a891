//! Encodes an outgoing PUBLISH: once for each form that subscribers need, not once for each
//! subscriber.

use crate::outbox::Outbox;
use crate::packet::{PublishParts, QoS, Version, encode_publish};
use crate::policy::{Mark, Mount, Stamps, WallTime};
use crate::session::{Frame, NEVER};
use bytes::Bytes;
use roommq_lane::{
    Entry, Forms, Lane, PublishEntry, RetainedMessage, Subscription, Target, UserProperty,
    WaitingMessage, stamped_properties,
};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::num::NonZeroU32;

/// A message that a lane has accepted, encoded in the forms that subscribers have needed so far.
///
/// A form is a version (2), a QoS (3) and a retain flag (2): a message to 10,000 subscribers is
/// encoded 12 times at most. Only a subscriber with an identifier or a mount needs a form of its
/// own. Subscribers that follow each other and need the same one share it.
pub(super) struct Frames<'a> {
    lane: &'a Lane,
    pub(super) message: &'a PublishEntry<'a>,
    /// The hook's mark for the sender. None: the server sent it.
    pub(super) mark: Option<Mark>,
    /// When it expires, in milliseconds of lane time; [`NEVER`]: never.
    pub(super) expires: u64,
    /// When it came, as its stamps show it.
    pub(super) wall: WallTime,
    /// Asked of the hook when the first form for 5.0 is encoded.
    stamps: Option<Stamps>,
    /// The frames of form 0, each behind its number among the forms that it may have.
    encoded: SmallVec<[(usize, Frame); 1]>,
    /// The frame that was made last for a form of a subscriber's own: the form, the same number, and
    /// the frame.
    own: Option<(u32, usize, Frame)>,
    /// The encoded entry, for shared groups.
    encoded_entry: Option<Bytes>,
}

/// The form of a subscriber that is encoded anew each time.
const UNSHARED: u32 = u32::MAX;

/// What a subscriber needs of a message.
struct Wish<'a> {
    qos: QoS,
    retain: bool,
    identifiers: &'a [u32],
    mount: Option<&'a Mount>,
}

impl<'a> Wish<'a> {
    fn of(target: &Target, forms: &'a Forms, shows_retain: bool) -> Self {
        let (identifiers, mount) = forms.get(target.form);
        Wish {
            qos: target.qos,
            retain: target.retain && shows_retain,
            identifiers,
            mount,
        }
    }
}

impl<'a> Frames<'a> {
    pub(super) fn new(
        lane: &'a Lane,
        message: &'a PublishEntry<'a>,
        mark: Option<Mark>,
        expires: u64,
        wall: WallTime,
    ) -> Self {
        Frames {
            lane,
            message,
            mark,
            expires,
            wall,
            stamps: None,
            encoded: SmallVec::new(),
            own: None,
            encoded_entry: None,
        }
    }

    /// The encoded entry. Another member of a shared group may need it, to encode the message
    /// for itself.
    pub(super) fn encoded_entry(&mut self) -> Bytes {
        let write = || Entry::Publish(self.message.clone()).to_bytes();
        self.encoded_entry.get_or_insert_with(write).clone()
    }

    /// The frame for one target, whose form is one of `forms`. Its DUP flag does not depend on the
    /// sender's [MQTT-3.3.1-3].
    pub(super) fn for_target(
        &mut self,
        target: &Target,
        forms: &Forms,
        (version, shows_retain): (Version, bool),
    ) -> &Frame {
        self.frame(target.form, &Wish::of(target, forms, shows_retain), version)
    }

    /// Delivers the message to its only receiver without a frame, if that is possible. Returns whether
    /// it was, and whether the outbox needs a flush, which may be so without it.
    pub(super) fn deliver_alone(
        &mut self,
        target: &Target,
        forms: &Forms,
        outbox: &Outbox,
    ) -> (bool, bool) {
        let version = outbox.version();
        let wish = Wish::of(target, forms, outbox.shows_retain());
        self.with_parts(&wish, version, |parts| {
            let mut delivered = false;
            let needs_flush = outbox.fill(|out| delivered = out.deliver_alone(version, parts));
            (delivered, needs_flush)
        })
    }

    /// The frame for a member of a shared group: with the member's own QoS and identifier
    /// [5.0 MQTT-3.3.4-5, MQTT-4.8.2-3].
    pub(super) fn for_member(&mut self, member: &Subscription, version: Version) -> &Frame {
        let (options, identifier) = (member.options, identifier(member));
        let retain = self.message.retain && options.retain_as_published;
        let wish = Wish {
            qos: self.message.qos.min(options.qos),
            retain: retain && version == Version::V5,
            identifiers: identifier.as_slice(),
            mount: member.mount.as_deref(),
        };
        let plain = identifier.is_none() && member.mount.is_none();
        self.frame(if plain { 0 } else { UNSHARED }, &wish, version)
    }

    fn frame(&mut self, form: u32, wish: &Wish<'_>, version: Version) -> &Frame {
        let v5 = usize::from(version == Version::V5);
        let number = v5 * 6 + wish.qos as usize * 2 + usize::from(wish.retain);
        if form != 0 {
            let same =
                |own: &(u32, usize, Frame)| form != UNSHARED && (own.0, own.1) == (form, number);
            let own = self.own.take().filter(same);
            let own = own.unwrap_or_else(|| (form, number, self.encode(wish, version)));
            return &self.own.insert(own).2;
        }
        let known = self.encoded.iter().position(|(n, _)| *n == number);
        let at = known.unwrap_or_else(|| {
            let frame = self.encode(wish, version);
            self.encoded.push((number, frame));
            self.encoded.len() - 1
        });
        &self.encoded[at].1
    }

    fn encode(&mut self, wish: &Wish<'_>, version: Version) -> Frame {
        let packet = self.with_parts(wish, version, |parts| encode_publish(version, parts));
        Frame {
            qos: wish.qos,
            packet: packet.forwarded(),
            expires: self.expires,
            share: None,
        }
    }

    /// Calls `encode` with the message as this subscriber is to receive it.
    fn with_parts<T>(
        &mut self,
        wish: &Wish<'_>,
        version: Version,
        encode: impl FnOnce(&PublishParts<'_>) -> T,
    ) -> T {
        let message = self.message;
        if self.stamps.is_none() && version == Version::V5 {
            self.stamps = Some(self.lane.stamps(message, self.mark, self.wall));
        }
        let none = Stamps::new();
        let stamps = self.stamps.as_ref().unwrap_or(&none);
        let user_properties = match version {
            Version::V5 => stamped_properties(message, stamps),
            Version::V3 => Vec::new(),
        };
        let properties = message.properties.as_ref();
        let parts = PublishParts {
            topic: &shown_topic(message.topic, wish.mount),
            payload: message.payload,
            qos: wish.qos,
            retain: wish.retain,
            dup: false,
            payload_format_indicator: properties.and_then(|p| p.payload_format_indicator),
            message_expiry: self.seconds_left(),
            content_type: properties.and_then(|p| p.content_type),
            response_topic: properties.and_then(|p| p.response_topic),
            correlation_data: properties.and_then(|p| p.correlation_data),
            user_properties: &user_properties,
            subscription_ids: wish.identifiers,
        };
        encode(&parts)
    }

    /// The seconds until the message expires; none: it never does.
    fn seconds_left(&self) -> Option<u32> {
        let left = || self.expires.saturating_sub(self.lane.now()).div_ceil(1000);
        (self.expires != NEVER).then(|| u32::try_from(left()).unwrap_or(u32::MAX))
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
    let (qos, identifier) = (
        retained.qos.min(subscription.options.qos),
        identifier(subscription),
    );
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
        subscription_ids: identifier.as_slice(),
    };
    Frame {
        qos,
        packet: encode_publish(version, &parts),
        expires: retained.expires_at().unwrap_or(NEVER),
        share: None,
    }
}

/// A message that waits for a session in its lane.
pub(super) fn waiting_frame(
    waiting: &WaitingMessage<'_>,
    (version, shows_retain): (Version, bool),
) -> Frame {
    let message = waiting.message;
    let properties = message.properties.as_deref();
    let user_properties: Vec<UserProperty<'_>> = properties
        .into_iter()
        .flat_map(|p| &p.user_properties)
        .map(|(n, v)| (Cow::Borrowed(&**n), Cow::Borrowed(&**v)))
        .collect();
    let parts = PublishParts {
        topic: &shown_topic(&message.topic, waiting.mount),
        payload: &message.payload,
        qos: waiting.qos,
        retain: waiting.retain && shows_retain,
        dup: false,
        payload_format_indicator: properties.and_then(|p| p.payload_format_indicator),
        message_expiry: properties.and_then(|p| p.message_expiry),
        content_type: properties.and_then(|p| p.content_type.as_deref()),
        response_topic: properties.and_then(|p| p.response_topic.as_deref()),
        correlation_data: properties.and_then(|p| p.correlation_data.as_deref()),
        user_properties: &user_properties,
        subscription_ids: waiting.identifiers,
    };
    Frame {
        qos: waiting.qos,
        packet: encode_publish(version, &parts).forwarded(),
        expires: message.expires,
        share: None,
    }
}

fn identifier(subscription: &Subscription) -> Option<u32> {
    subscription.identifier.map(NonZeroU32::get)
}

/// The topic as the subscriber knows it, which matches its filter [MQTT-3.3.2-3]: a mount replaces
/// a prefix.
fn shown_topic<'a>(topic: &'a str, mount: Option<&Mount>) -> Cow<'a, str> {
    match mount.and_then(|m| Some((m, topic.strip_prefix(m.real.as_str())?))) {
        Some((mount, rest)) => Cow::Owned(format!("{}{rest}", mount.shown)),
        None => Cow::Borrowed(topic),
    }
}
