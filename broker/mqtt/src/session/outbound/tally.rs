//! Counts of what a session has sent, dropped and holds. They are plain numbers: the caller adds them to the server's metrics.

/// Why a message for a client was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// QoS 1 or 2, and the queue is full: the oldest message is dropped. A connected client is disconnected.
    QueueFull,
    /// QoS 0, for a client that does not read.
    SlowReader,
    /// It has waited longer than `limits.age`.
    TooOld,
    /// Its message expiry interval has passed [MQTT-3.3.2-5].
    Expired,
    /// It exceeds the client's maximum packet size [MQTT-3.1.2-25].
    TooLarge,
    /// The client may not see its topic any more.
    Forbidden,
    /// All offline sessions together have reached `limits.kept_bytes`: the oldest of this session's queue is dropped.
    KeptFull,
}

impl DropReason {
    /// All reasons, each at the index of its number.
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::SlowReader,
        DropReason::TooOld,
        DropReason::Expired,
        DropReason::TooLarge,
        DropReason::Forbidden,
        DropReason::KeptFull,
    ];

    /// Its name in `$SYS` topics.
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

/// Counts since they were taken last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// PUBLISH packets given to the socket's queue.
    pub publishes: u64,
    /// Bytes of their payloads.
    pub payload: u64,
    /// Packets of all other kinds.
    pub others: u64,
    /// Dropped messages. Boxed, since most sessions never drop any.
    pub dropped: Option<Box<Dropped>>,
}

/// Dropped messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many, by reason, in the order of [`DropReason::ALL`].
    pub messages: [u64; DropReason::ALL.len()],
    /// Bytes of their payloads.
    pub payload: u64,
}

impl Tally {
    /// Counts dropped messages with payloads of so many bytes together.
    pub fn dropped(&mut self, reason: DropReason, messages: u64, payload: u64) {
        let dropped = self.dropped.get_or_insert_default();
        dropped.messages[reason as usize] += messages;
        dropped.payload += payload;
    }
}

/// The QoS 1 and 2 messages that a session holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Messages in flight, and those that wait for the window or for the client to reconnect.
    pub messages: u64,
    /// Bytes of their payloads.
    pub payload: u64,
    /// Messages sent whose PUBACK, PUBREC or PUBCOMP is awaited. After its PUBREC a QoS 2 message counts here only.
    pub in_flight: u64,
    /// Bytes that count for `limits.kept_bytes`; 0 while the client is connected.
    pub kept_bytes: u64,
    /// The same of a session that has ended, whose messages go to other members of its groups. The caller sets it.
    pub ending_bytes: u64,
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
