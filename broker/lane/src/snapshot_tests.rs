#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    Actor, AllowAll, BatchHeader, BatchTurn, DisconnectEntry, EndReason, Entry, FilterEntry, Lane,
    LaneRules, Mount, Outcome, PropertiesEntry, PublishEntry, QueueLimits, RetainedLimits,
    SessionId, SubscribeEntry, WallTime,
};
use proptest::prelude::*;
use roommq_mqtt::packet::{QoS, RetainHandling, SubscribeOptions};
use roommq_mqtt::session::MessageNo;

const LANES: u16 = 16;

const LIMITS: RetainedLimits = RetainedLimits {
    messages: 10,
    bytes: 10_000,
};

fn apply(lane: &mut Lane, at: u64, entry: &Entry<'_>) {
    let header = BatchHeader {
        writer: 0,
        // The latest that there is: a lane of damaged bytes takes the batch, too.
        term: u64::MAX,
        number: lane.last_number(0, u64::MAX) + 1,
        at,
        wall: WallTime(at),
    };
    assert_eq!(lane.begin(&header), BatchTurn::Take);
    lane.apply(entry, &mut Outcome::default());
}

fn who(n: u64) -> Actor<'static> {
    Actor {
        session: SessionId { term: 1, n },
        connection: 1,
        user: "alice",
    }
}

fn ended(n: u64) -> DisconnectEntry<'static> {
    DisconnectEntry {
        who: who(n),
        reason: EndReason::Orderly,
        sent: MessageNo(2),
        authenticated: true,
    }
}

/// A lane with something in each section: sessions, a free slot, filters of each kind, a group,
/// messages that wait for an online and an offline session, and a retained message that will expire.
fn lane() -> Lane {
    let mut lane = Lane::new(3, LANES, Box::new(AllowAll));
    let rules = LaneRules {
        retained: LIMITS,
        queue: QueueLimits {
            messages: 2,
            bytes: 1_000,
            age: 1_000_000,
        },
        offline_bytes: 100_000,
        hook: b"",
    };
    let body = &rules.to_bytes().unwrap()[..];
    apply(&mut lane, 4, &Entry::Rules { version: 1, body });
    for n in 0..4 {
        let filters = ["a/b", "a/#", "#", "+/b/+", "$share/g/a/#"];
        let filters = (0..).zip(filters).map(|(position, filter)| FilterEntry {
            position,
            filter,
            options: SubscribeOptions {
                qos: QoS::AtLeastOnce,
                no_local: true,
                retain_as_published: false,
                retain_handling: RetainHandling::SendIfNew,
            },
            mount: (n == 1).then(|| Mount {
                real: "a".to_owned(),
                shown: "mine".to_owned(),
            }),
            guarded: n == 2,
            proof: &[],
        });
        let entry = SubscribeEntry {
            who: who(n),
            request_id: 1,
            keeps: n > 1,
            identifier: 7,
            filters: filters.collect(),
        };
        apply(&mut lane, 5, &Entry::Subscribe(entry));
    }
    for (topic, expiry) in [("a", None), ("a-b", None), ("a/b", Some(60))] {
        let properties = PropertiesEntry {
            payload_format_indicator: Some(true),
            message_expiry: expiry,
            content_type: Some("text/plain"),
            response_topic: Some("r"),
            correlation_data: Some(&[0, 255]),
            user_properties: vec![("name".into(), "value".into())].into(),
        };
        let entry = PublishEntry {
            retain: true,
            properties: Some(Box::new(properties)),
            ..PublishEntry::of_server(topic, b"payload")
        };
        apply(&mut lane, 6, &Entry::Publish(entry));
    }
    apply(&mut lane, 7, &Entry::Ended(ended(1)));
    apply(&mut lane, 8, &Entry::Disconnected(ended(3)));
    let entry = PublishEntry::of_server("a/b", b"again");
    apply(&mut lane, 9, &Entry::Publish(entry));
    lane
}

fn snapshot(lane: &Lane) -> Vec<u8> {
    let mut bytes = Vec::new();
    lane.snapshot(&mut bytes);
    bytes
}

fn restore(bytes: &[u8]) -> Result<Lane, RestoreError> {
    Lane::restore(bytes, LANES, Box::new(AllowAll))
}

/// Changes a snapshot, and gives it the right digest.
fn sealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bytes.truncate(bytes.len() - DIGEST);
    change(&mut bytes);
    let digest = digest_of(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

#[test]
fn a_restored_lane_has_the_same_snapshot() {
    let lane = lane();
    let bytes = snapshot(&lane);
    let restored = restore(&bytes).unwrap();
    assert_eq!(snapshot(&restored), bytes);
    assert_eq!(restored.digest(), bytes[bytes.len() - DIGEST..]);
    assert_eq!(restored.counts(), lane.counts());
    assert_eq!(restored.timers(), [("\0retained", 60_006, 60_006)]);
}

#[test]
fn a_snapshot_begins_behind_the_bytes_that_are_there() {
    let mut bytes = b"header".to_vec();
    let digest = lane().snapshot(&mut bytes);
    assert_eq!(digest, lane().digest());
    assert!(restore(&bytes[6..]).is_ok());
}

#[test]
fn a_snapshot_that_this_server_cannot_use_is_refused_with_the_reason() {
    let bytes = snapshot(&lane());
    let error = |bytes: &[u8]| restore(bytes).err().unwrap();
    assert_eq!(error(b""), RestoreError::NoSnapshot);
    assert_eq!(error(b"RMQ"), RestoreError::NoSnapshot);
    let newer = sealed(bytes.clone(), |bytes| bytes[6] = 2);
    let expected = RestoreError::NeedsReader {
        needed: 2,
        known: 1,
    };
    assert_eq!(error(&newer), expected);
    let other = sealed(bytes.clone(), |bytes| bytes[10] = 8);
    let expected = RestoreError::OtherLanes {
        found: 8,
        expected: 16,
    };
    assert_eq!(error(&other), expected);
    let text = expected.to_string();
    assert!(text.ends_with("set `lanes.count` to 8"), "{text}");
}

#[test]
fn sections_of_a_newer_version_are_passed_over() {
    let lane = lane();
    let more = sealed(snapshot(&lane), |bytes| {
        bytes.extend_from_slice(&[200, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    });
    assert_eq!(restore(&more).unwrap().digest(), lane.digest());
}

proptest! {
    #[test]
    fn damage_is_noticed(at: prop::sample::Index, change in 1..=u8::MAX, cut: bool) {
        let mut bytes = snapshot(&lane());
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= change;
        }
        prop_assert!(restore(&bytes).is_err());
    }

    /// As a bug could write it.
    #[test]
    fn damage_with_the_right_checksum_gives_a_whole_lane_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let bytes = sealed(snapshot(&lane()), |bytes| {
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        });
        if let Ok(mut lane) = restore(&bytes) {
            let again = snapshot(&lane);
            prop_assert_eq!(snapshot(&restore(&again).unwrap()), again);
            let ended = ended(2);
            apply(&mut lane, 10, &Entry::Ended(ended));
            let entry = PublishEntry::of_server("a/b", b"");
            apply(&mut lane, 11, &Entry::Publish(PublishEntry { retain: true, ..entry }));
            apply(&mut lane, 12, &Entry::Disconnected(self::ended(3)));
        }
    }
}
