//! What a session has sent and dropped, until somebody takes it into account. Plain numbers under the outbox's
//! lock: counting costs nothing here.

/// Why a message did not go to a client for which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// QoS 1 or 2, and as much waits as may: the oldest goes. A client that is there is closed for it.
    QueueFull,
    /// QoS 0, for a client whose socket takes nothing.
    SlowReader,
    /// It has waited longer than messages may.
    TooOld,
    /// Its own expiry has passed [MQTT-3.3.2-5].
    Expired,
    /// The client takes no packet of this size [MQTT-3.1.2-25].
    TooLarge,
    /// The client may not see it any more.
    Forbidden,
    /// As much waits for absent clients as may, for all of them together: the oldest of this one goes.
    KeptFull,
}

impl DropReason {
    /// Each in the place of its number.
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::SlowReader,
        DropReason::TooOld,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::Forbidden,
        DropReason::KeptFull,
    ];

    /// As it stands in a topic.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::SlowReader => "slow_reader",
            DropReason::TooOld => "too_old",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too_large",
            DropReason::Forbidden => "forbidden",
            DropReason::KeptFull => "kept_full",
        }
    }
}

/// Since it was taken last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// PUBLISH packets given to the socket's queue.
    pub publishes: u64,
    /// Bytes of their payloads.
    pub payload: u64,
    /// Packets of all other kinds.
    pub others: u64,
    /// Boxed: most sessions never drop anything.
    pub dropped: Option<Box<Dropped>>,
}

/// Messages that were dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// In the order of [`DropReason::ALL`].
    pub messages: [u64; DropReason::ALL.len()],
    /// Bytes of their payloads.
    pub payload: u64,
}

impl Tally {
    /// One more message was dropped.
    pub fn dropped(&mut self, reason: DropReason, payload: u64) {
        let dropped = self.dropped.get_or_insert_default();
        dropped.messages[reason as usize] += 1;
        dropped.payload += payload;
    }
}

/// What a session keeps: QoS 1 and 2 messages that are not acknowledged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Those in flight, and those that wait for the window or for their client.
    pub messages: u64,
    /// Bytes of their payloads.
    pub payload: u64,
    /// Sent, and PUBACK, PUBREC or PUBCOMP awaited; a QoS 2 message after its PUBREC counts here only.
    pub in_flight: u64,
    /// Bytes that count for `limits.kept_bytes`; 0 while a connection serves the session.
    pub kept: u64,
    /// The same of a session that is over, for others of its groups.
    pub leaving: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_by_their_places() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.name());
        }
    }
}
