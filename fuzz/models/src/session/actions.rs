//! What can happen to a session.

use super::answering::Request;
use super::terms::{ALIASES, FOR_EVER, LANES, LARGEST, Terms, WINDOWS};
use roommq_mqtt::packet::{QoS, ReasonCode, Version};

/// Which acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// PUBACK
    Taken,
    /// PUBREC
    Received,
    /// PUBCOMP
    Complete,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// A lane delivers a message with so many bytes beside its number, and so many milliseconds to live.
    Deliver {
        lane: u16,
        qos: QoS,
        padding: usize,
        life: u64,
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
        what: Request,
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
    /// The connection ends, and the session is kept.
    Lose,
    /// The client comes back to its session, which asks these lanes (bits) first.
    Resume {
        version: Version,
        lanes: u8,
        window: u16,
        largest: Option<u32>,
        aliases: u16,
    },
    /// So many messages have come and gone that this id was the last one given.
    Skip {
        last: u16,
    },
    /// Milliseconds pass.
    Wait(u64),
}

impl Action {
    /// The action of four bytes; those that make queues grow and shrink are the more frequent.
    pub(crate) fn of([what, a, b, c]: [u8; 4]) -> Self {
        let qos = match a & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        // Ids start at 1 and messages are few: small ids are the ones in use.
        let id = u16::from(b % 32) + 1;
        let deliver = |life| Action::Deliver {
            lane: u16::from(a >> 2) % LANES,
            qos,
            padding: usize::from(b) * usize::from(c % 16 + 1),
            life,
        };
        let publish = Action::Publish {
            qos,
            id: u16::from(b % 8) + 1,
            dup: a & 4 > 0,
            topic: (a & 8 == 0).then_some(c % 4),
            alias: (a & 16 > 0).then_some(u16::from(c >> 4) + 1),
        };
        let confirm = Action::Confirm {
            which: a.into(),
            refuse: b & 15 == 15,
        };
        match what % 32 {
            0..=3 | 16..=18 => deliver(FOR_EVER),
            4 | 5 => Action::Write {
                most: usize::from(a) << (b % 8),
            },
            6..=8 | 23 | 24 => confirm,
            9 => Action::Acknowledge {
                ack: [Ack::Taken, Ack::Received, Ack::Complete][usize::from(a % 3)],
                id,
                refuse: c & 3 == 3,
            },
            10 => Action::Ask {
                what: [Request::Subscribe, Request::Unsubscribe][usize::from(a & 1)],
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
            12 | 13 => publish,
            14 => Action::Release {
                id: u16::from(b % 8) + 1,
            },
            19 => deliver((u64::from(c >> 4) + 1) * 1_000),
            20..=22 => Action::Write { most: usize::MAX },
            25 => Action::Lose,
            26 | 27 => Action::Resume {
                version: [Version::V3, Version::V5][usize::from(a & 1)],
                lanes: a >> 1 & 7,
                window: WINDOWS[usize::from(b) % WINDOWS.len()],
                largest: LARGEST[usize::from(c & 3)],
                aliases: ALIASES[usize::from(c >> 2 & 3)],
            },
            29 => Action::Skip {
                last: u16::from(b % 32).wrapping_sub(2),
            },
            28 => Action::Wait(u64::from(a) * u64::from(b)),
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
                5 => Action::Lose,
                _ => confirm,
            },
        }
    }

    /// The way back on the terms there were.
    pub(crate) fn resume(terms: &Terms) -> Self {
        Action::Resume {
            version: terms.version,
            lanes: 0,
            window: terms.outbound.receive_maximum,
            largest: terms.outbound.maximum_packet_size,
            aliases: terms.outbound.topic_aliases,
        }
    }
}
