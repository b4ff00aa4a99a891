//! On what terms a session is served.

use super::super::input::Input;
use roommq_mqtt::packet::Version;
use roommq_mqtt::session::OutboundLimits;

/// Lanes that deliver.
pub(crate) const LANES: u16 = 3;

/// Milliseconds for ever.
pub(super) const FOR_EVER: u64 = u64::MAX;

/// How a session is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub terms: Terms,
    /// QoS 2 messages that the client may have on the way.
    pub receive_maximum: u16,
    pub alias_maximum: u16,
}

/// What a connection brings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub version: Version,
    pub outbound: OutboundLimits,
}

pub(super) const LARGEST: [Option<u32>; 4] = [None, None, Some(64), Some(300)];
pub(super) const WINDOWS: [u16; 6] = [1, 2, 3, 10, 100, u16::MAX];
pub(super) const ALIASES: [u16; 4] = [0, 1, 2, u16::MAX];

impl Setup {
    /// Of eight bytes.
    pub(crate) fn of(input: &mut Input<'_>) -> Self {
        let version = input.one_of(&[Version::V3, Version::V5]);
        let maximum_packet_size = input.one_of(&LARGEST);
        let (bytes, messages) = (
            input.one_of(&[64, 300, 1_000, 5_000, 20_000]),
            input.one_of(&[1, 2, 3, 10, 100]),
        );
        let receive_maximum = input.one_of(&WINDOWS);
        let more = usize::from(input.byte());
        let outbound = OutboundLimits {
            bytes,
            messages,
            receive_maximum,
            maximum_packet_size,
            problem_information: more & 1 > 0,
            topic_aliases: ALIASES[more >> 1 & 3],
            age: [FOR_EVER, 1_000, 60_000, FOR_EVER][more >> 3 & 3],
        };
        Setup {
            terms: Terms::of(version, outbound),
            receive_maximum: input.one_of(&[1, 2, 5, u16::MAX]),
            alias_maximum: input.one_of(&[0, 1, 3, u16::MAX]),
        }
    }
}

impl Terms {
    /// 3.1.1 has neither a largest packet nor aliases.
    fn of(version: Version, mut outbound: OutboundLimits) -> Self {
        if version == Version::V3 {
            outbound.maximum_packet_size = None;
            outbound.topic_aliases = 0;
        }
        Terms { version, outbound }
    }
}

/// The terms of a client that comes back; what the server's own settings say stays.
pub(crate) fn terms(
    before: &Terms,
    version: Version,
    window: u16,
    largest: Option<u32>,
    aliases: u16,
) -> Terms {
    let outbound = OutboundLimits {
        receive_maximum: window,
        maximum_packet_size: largest,
        topic_aliases: aliases,
        ..before.outbound
    };
    Terms::of(version, outbound)
}
