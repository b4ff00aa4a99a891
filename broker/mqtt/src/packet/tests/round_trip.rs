//! What holds for all bytes and all messages.

use super::library::{read_v3, read_v5};
use super::{MOST, accepted, connected};
use crate::packet::{
    Decoder, Packet, PacketId, Patch, PublishFrame, PublishParts, QoS, TopicAlias, Version,
    encode_publish,
};
use bytes::Bytes;
use proptest::prelude::*;
use rmqtt_codec::{types::Publish, v3, v5};
use std::borrow::Cow;
use std::num::{NonZeroU16, NonZeroU32};

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3), Just(Version::V5)]
}

/// Bytes that look like packets: a first byte, a length that is right, a body.
fn packet_like() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(first, body)| {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    })
}

/// A packet of the table with some bytes changed.
fn nearly_right() -> impl Strategy<Value = (Version, Vec<u8>)> {
    let rows = accepted::accepted();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (any::<prop::sample::Index>(), changes).prop_map(move |(row, changes)| {
        let (_, _, version, bytes, _) = &rows[row.index(rows.len())];
        let mut bytes = bytes.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        (*version, bytes)
    })
}

fn all_of(decoder: &mut Decoder, pieces: &[&[u8]]) -> (Vec<Packet>, bool) {
    let mut packets = Vec::new();
    let mut carry = Vec::new();
    for piece in pieces {
        carry.extend_from_slice(piece);
        let mut bytes = Bytes::from(std::mem::take(&mut carry));
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return (packets, false),
            }
        }
        carry.extend_from_slice(&bytes);
    }
    (packets, true)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(version in versions(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all_of(&mut connected(version), &[&bytes]);
        all_of(&mut Decoder::new(MOST), &[&bytes]);
    }

    #[test]
    fn no_packet_makes_it_panic(version in versions(), bytes in packet_like()) {
        all_of(&mut connected(version), &[&bytes]);
        all_of(&mut Decoder::new(MOST), &[&bytes]);
    }

    #[test]
    fn no_damaged_packet_makes_it_panic((version, bytes) in nearly_right()) {
        all_of(&mut connected(version), &[&bytes]);
        all_of(&mut Decoder::new(MOST), &[&bytes]);
    }

    #[test]
    fn it_does_not_matter_where_the_bytes_are_split(
        version in versions(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let rows = accepted::accepted();
        let rows: Vec<_> = rows.iter().filter(|row| row.2 == version && row.3[0] >> 4 != 1).collect();
        let bytes: Vec<u8> = picks.iter().flat_map(|pick| rows[pick.index(rows.len())].3).copied().collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();

        let (whole, ok) = all_of(&mut connected(version), &[&bytes]);
        prop_assert!(ok);
        prop_assert_eq!(whole.len(), picks.len());
        prop_assert_eq!(all_of(&mut connected(version), &pieces), (whole, true));
    }
}

/// A message in owned parts.
#[derive(Debug, Clone)]
struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    dup: bool,
    format: Option<bool>,
    expiry: Option<u32>,
    texts: [Option<String>; 2],
    correlation: Option<Vec<u8>>,
    user: Vec<(String, String)>,
    ids: Vec<u32>,
}

fn messages() -> impl Strategy<Value = Message> {
    let (text, response) = ("[^\\p{Cc}+#]{0,20}", "[^\\p{Cc}+#]{1,20}");
    let head = (
        "[^\\p{Cc}+#]{1,200}",
        prop::collection::vec(any::<u8>(), 0..300),
        0..=2_u8,
        any::<[bool; 2]>(),
        any::<Option<bool>>(),
    );
    let properties = (
        prop::option::of(1..=u32::MAX), // the library that reads it back refuses 0
        [prop::option::of(text), prop::option::of(response)],
        prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        prop::collection::vec((text, text), 0..8),
        prop::collection::vec(1..=268_435_455_u32, 0..4),
    );
    (head, properties).prop_map(
        |((topic, payload, qos, flags, format), (expiry, texts, correlation, user, ids))| Message {
            topic,
            payload,
            qos: QoS::from_u8(qos).unwrap(),
            retain: flags[0],
            dup: flags[1],
            format,
            expiry,
            texts,
            correlation,
            user,
            ids,
        },
    )
}

fn encode(version: Version, message: &Message) -> PublishFrame {
    let user: Vec<_> = message
        .user
        .iter()
        .map(|(name, value)| (Cow::from(name), Cow::from(value)))
        .collect();
    let parts = PublishParts {
        topic: &message.topic,
        payload: &message.payload,
        qos: message.qos,
        retain: message.retain,
        dup: message.dup,
        payload_format_indicator: message.format,
        message_expiry: message.expiry,
        content_type: message.texts[0].as_deref(),
        response_topic: message.texts[1].as_deref(),
        correlation_data: message.correlation.as_deref(),
        user_properties: &user,
        subscription_ids: &message.ids,
    };
    encode_publish(version, &parts)
}

/// The PUBLISH as a client sees it, by a decoder that is not ours: the library's.
fn as_client(version: Version, bytes: &[u8]) -> Publish {
    match version {
        Version::V3 => match read_v3(bytes).unwrap() {
            v3::Packet::Publish(publish) => *publish,
            other => panic!("{other:?}"),
        },
        Version::V5 => match read_v5(bytes).unwrap() {
            v5::Packet::Publish(publish) => *publish,
            other => panic!("{other:?}"),
        },
    }
}

proptest! {
    #[test]
    fn a_client_reads_what_was_encoded(version in versions(), message in messages(), id in 1..=u16::MAX, again in any::<bool>()) {
        let frame = encode(version, &message);
        let id = PacketId::new(id).unwrap();
        let patch = Patch { id: Some(id), dup: again, ..Patch::default() };
        let mut bytes = Vec::new();
        frame.write_to(&mut bytes, &patch);
        prop_assert_eq!(frame.len(), bytes.len());
        prop_assert_eq!(&frame.patched(&patch)[..], &bytes[..]);
        prop_assert_eq!(frame.topic(), message.topic.as_bytes());
        prop_assert_eq!(frame.version(), version);
        prop_assert_eq!(frame.needs_id(), message.qos != QoS::AtMostOnce);
        prop_assert_eq!(frame.payload_len(), message.payload.len());

        let read = as_client(version, &bytes);
        prop_assert_eq!(&read.topic[..], &message.topic[..]);
        prop_assert_eq!(&read.payload[..], &message.payload[..]);
        prop_assert_eq!(read.qos.value(), message.qos as u8);
        prop_assert_eq!(read.retain, message.retain);
        prop_assert_eq!(read.packet_id, frame.needs_id().then_some(id));
        prop_assert_eq!(read.dup, frame.needs_id() && again);
        let Some(read) = read.properties else {
            prop_assert_eq!(version, Version::V3);
            return Ok(());
        };
        prop_assert_eq!(read.is_utf8_payload, message.format == Some(true));
        prop_assert_eq!(read.message_expiry_interval.map(u32::from), message.expiry);
        prop_assert_eq!(read.content_type.as_deref(), message.texts[0].as_deref());
        prop_assert_eq!(read.response_topic.as_deref(), message.texts[1].as_deref());
        prop_assert_eq!(read.correlation_data.as_deref(), message.correlation.as_deref());
        prop_assert_eq!(read.topic_alias, None);
        let ids: Vec<u32> = read.subscription_ids.iter().map(|id| id.get()).collect();
        prop_assert_eq!(ids, message.ids);
        let user: Vec<_> = read.user_properties.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        prop_assert_eq!(user, message.user);
    }

    #[test]
    fn an_alias_and_fewer_seconds_change_nothing_else(
        message in messages(), number in 1..=u16::MAX, known in any::<bool>(), seconds in any::<u32>(),
    ) {
        let frame = encode(Version::V5, &message);
        let number = NonZeroU16::new(number).unwrap();
        let alias = TopicAlias { number, known };
        let plain = Patch { id: Some(PacketId::MAX), ..Patch::default() };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        frame.write_to(&mut before, &plain);
        frame.write_to(&mut after, &Patch { alias: Some(alias), expiry: Some(seconds), ..plain });
        let (mut before, after) = (as_client(Version::V5, &before), as_client(Version::V5, &after));
        prop_assert_eq!(&after.topic[..], if known { "" } else { &message.topic[..] });
        before.topic = after.topic.clone();
        let properties = before.properties.as_mut().unwrap();
        properties.topic_alias = Some(number);
        properties.message_expiry_interval = message.expiry.and_then(|_| NonZeroU32::new(seconds));
        prop_assume!(seconds > 0);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn another_version_gets_the_same_message(from in versions(), message in messages()) {
        let to = if from == Version::V3 { Version::V5 } else { Version::V3 };
        let moved = encode(from, &message).translated(to);
        let bare = Message {
            format: None,
            expiry: None,
            texts: [None, None],
            correlation: None,
            user: Vec::new(),
            ids: Vec::new(),
            ..message
        };
        let expected = encode(to, &bare);
        prop_assert_eq!(moved.as_bytes(), expected.as_bytes());
        let patch = Patch { id: Some(PacketId::MAX), dup: true, ..Patch::default() };
        prop_assert_eq!(moved.patched(&patch), expected.patched(&patch));
        prop_assert_eq!(moved.version(), to);
        prop_assert_eq!(moved.payload_len(), expected.payload_len());
        // What is as the publisher said is so in 5.0 only.
        let forwarded = encode(from, &bare).forwarded().translated(to);
        let retain = bare.retain && to == Version::V5;
        let expected = encode(to, &Message { retain, ..bare });
        prop_assert_eq!(forwarded.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn our_own_decoder_reads_what_was_encoded(version in versions(), message in messages()) {
        let message = Message { ids: Vec::new(), ..message };
        let mut bytes = Vec::new();
        let patch = Patch { id: Some(PacketId::MAX), dup: message.dup, ..Patch::default() };
        encode(version, &message).write_to(&mut bytes, &patch);
        let (packets, _) = all_of(&mut connected(version), &[&bytes]);
        let [Packet::Publish(read)] = &packets[..] else {
            return Err(TestCaseError::fail("not one PUBLISH"));
        };
        prop_assert_eq!(read.topic.as_ref().map(AsRef::as_ref), Some(&message.topic[..]));
        prop_assert_eq!(&read.payload[..], &message.payload[..]);
        prop_assert_eq!((read.qos, read.retain), (message.qos, message.retain));
        if version == Version::V5 {
            let properties = read.properties.clone().unwrap_or_default();
            prop_assert_eq!(properties.payload_format_indicator, message.format);
            prop_assert_eq!(properties.message_expiry, message.expiry);
            prop_assert_eq!(properties.user_properties.len(), message.user.len());
        }
    }
}

#[test]
fn a_frame_has_one_allocation_of_its_size() {
    let message = Message {
        topic: "a".into(),
        payload: vec![0; 200],
        qos: QoS::AtLeastOnce,
        retain: false,
        dup: true,
        format: None,
        expiry: None,
        texts: [None, None],
        correlation: None,
        user: Vec::new(),
        ids: Vec::new(),
    };
    let frame = encode(Version::V3, &message);
    assert_eq!(&frame.as_bytes()[..8], b"\x3a\xcd\x01\x00\x01a\x00\x00");
    let patch = Patch {
        id: Some(PacketId::MAX),
        ..Patch::default()
    };
    assert_eq!(
        &frame.patched(&patch)[..8],
        b"\x32\xcd\x01\x00\x01a\xff\xff"
    );
}

#[test]
fn what_is_longer_than_a_string_is_cut_at_a_character() {
    let message = Message {
        topic: "é".repeat(40_000),
        payload: b"hi".to_vec(),
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
        format: None,
        expiry: None,
        texts: [None, None],
        correlation: Some(vec![0; 70_000]),
        user: vec![("k".into(), "v".repeat(70_000))],
        ids: Vec::new(),
    };
    let read = as_client(Version::V5, encode(Version::V5, &message).as_bytes());
    assert_eq!(read.topic.len(), 65_534);
    assert_eq!(&read.payload[..], b"hi");
}
