//! What can happen to a session.

use super::super::input::Input;
use crate::packet::{QoS, ReasonCode, Version};
use crate::session::OutboundLimits;

/// Lanes that deliver.
pub(in crate::fuzzing) const LANES: u16 = 3;

/// How a session is set up.
#[derive(Debug, Clone, Copy)]
pub(in crate::fuzzing) struct Setup {
    pub version: Version,
    pub outbound: OutboundLimits,
    /// QoS 2 messages that the client may have on the way.
    pub receive_maximum: u16,
    pub alias_maximum: u16,
}

impl Setup {
    /// Of eight bytes.
    pub(in crate::fuzzing) fn of(input: &mut Input<'_>) -> Self {
        let version = input.one_of(&[Version::V3, Version::V5]);
        let largest = input.one_of(&[None, None, Some(64), Some(300)]);
        Setup {
            version,
            outbound: OutboundLimits {
                bytes: input.one_of(&[64, 300, 1_000, 5_000, 20_000]),
                messages: input.one_of(&[1, 2, 3, 10, 100]),
                receive_maximum: input.one_of(&[1, 2, 3, 10, 100, u16::MAX]),
                maximum_packet_size: largest.filter(|_| version == Version::V5),
                problem_information: input.flag(),
                topic_aliases: 0,
                age: u64::MAX,
            },
            receive_maximum: input.one_of(&[1, 2, 5, u16::MAX]),
            alias_maximum: input.one_of(&[0, 1, 3, u16::MAX]),
        }
    }
}

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fuzzing) enum Ack {
    /// PUBACK
    Taken,
    /// PUBREC
    Received,
    /// PUBCOMP
    Complete,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(in crate::fuzzing) enum Action {
    /// A lane delivers a message with so many bytes beside its number.
    Deliver {
        lane: u16,
        qos: QoS,
        padding: usize,
    },
    /// The socket takes so many bytes.
    Write {
        most: usize,
    },
    /// The client acknowledges, as it should, one of the messages it has read; or refuses it, where it can.
    Confirm {
        which: usize,
        refuse: bool,
    },
    /// The client acknowledges what it may never have seen.
    Acknowledge {
        ack: Ack,
        id: u16,
        refuse: bool,
    },
    /// The client asks something of these lanes (bits); `refused`: one filter was refused before any lane was asked.
    Ask {
        subscribe: bool,
        lanes: u8,
        filters: usize,
        refused: bool,
    },
    /// A lane answers what it was asked first.
    Answer {
        lane: u16,
        code: ReasonCode,
    },
    /// The client publishes; no topic: by the alias alone.
    Publish {
        qos: QoS,
        id: u16,
        dup: bool,
        topic: Option<u8>,
        alias: Option<u16>,
    },
    /// The client releases a QoS 2 message.
    Release {
        id: u16,
    },
    /// The broker refuses a QoS 2 message that was taken.
    Forget {
        id: u16,
    },
    Ping,
    /// The client says goodbye with this code.
    Leave {
        reason: ReasonCode,
    },
    /// The connection ends, and its session with it; another begins.
    Reconnect,
}

impl Action {
    /// The action of four bytes; those that make queues grow and shrink are the more frequent.
    pub(in crate::fuzzing) fn of([what, a, b, c]: [u8; 4]) -> Self {
        let qos = match a & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        // Ids start at 1 and messages are few: small ids are the ones in use.
        let id = u16::from(b % 32) + 1;
        match what % 16 {
            0..=3 => Action::Deliver {
                lane: u16::from(a >> 2) % LANES,
                qos,
                padding: usize::from(b) * usize::from(c % 16 + 1),
            },
            4 | 5 => Action::Write {
                most: usize::from(a) << (b % 8),
            },
            6..=8 => Action::Confirm {
                which: a.into(),
                refuse: b & 15 == 15,
            },
            9 => Action::Acknowledge {
                ack: [Ack::Taken, Ack::Received, Ack::Complete][usize::from(a % 3)],
                id,
                refuse: c & 3 == 3,
            },
            10 => Action::Ask {
                subscribe: a & 1 == 0,
                lanes: b % 8,
                filters: usize::from(c % 4) + 1,
                refused: c & 16 > 0,
            },
            11 => Action::Answer {
                lane: u16::from(a) % LANES,
                code: [
                    ReasonCode::Success,
                    ReasonCode::GrantedQoS1,
                    ReasonCode::GrantedQoS2,
                    ReasonCode::NoSubscriptionExisted,
                    ReasonCode::NotAuthorized,
                    ReasonCode::QuotaExceeded,
                ][usize::from(b % 6)],
            },
            12 | 13 => Action::Publish {
                qos,
                id: u16::from(b % 8) + 1,
                dup: a & 4 > 0,
                topic: (a & 8 == 0).then_some(c % 4),
                alias: (a & 16 > 0).then_some(u16::from(c >> 4) + 1),
            },
            14 => Action::Release {
                id: u16::from(b % 8) + 1,
            },
            _ => match a % 8 {
                0 => Action::Leave {
                    reason: [ReasonCode::Success, ReasonCode::DisconnectWithWill]
                        [usize::from(b % 2)],
                },
                1 => Action::Reconnect,
                2 | 3 => Action::Forget {
                    id: u16::from(b % 8) + 1,
                },
                4 => Action::Ping,
                _ => Action::Write { most: usize::MAX },
            },
        }
    }
}
