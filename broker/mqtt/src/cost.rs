//! The table of costs: how many bytes an object counts for, beside its own text or payload, where a limit bounds memory.
//!
//! | constant | bytes | for each | limit | how it was found |
//! |---|---|---|---|---|
//! | [`STRING_COST`] | 64 | string or payload that is kept | `kept_bytes` (wills), `retained_bytes` | estimate: the value has 32, its allocation takes about as many |
//! | [`MESSAGE_COST`] | 128 | message that offline sessions wait for, once; and message in the outbox of an offline session | `kept_bytes` | 96 for its place, and part of what a queue that doubles leaves free |
//! | [`REF_COST`] | 16 | message that one offline session waits for, in its lane | `kept_bytes` | 8, in a queue that may be half empty |
//! | [`FORM_COST`] | 96 | set of subscription identifiers or renaming of messages that one offline session waits for, in its lane, beside 4 for each identifier | `kept_bytes` | 40, in a list that may be half empty, and an allocation |
//! | [`LEAST_HELD_COST`] | 64 | message held for an answer, at least | `outbox_bytes` | its place has 88, of which a short frame of its own pays for some |
//! | [`RELEASED_ID_COST`] | 2 | QoS 2 id whose PUBCOMP is awaited | `kept_bytes` | size of the type |
//! | [`SESSION_COST`] | 1,500 | offline session | `kept_bytes` | 1,400 measured over 50,000 empty sessions (debug build, short names), and slack of the registry |
//! | [`LANE_COST`] | 300 | lane that knows the session | `kept_bytes` | measured with 10 and 50 filters in one lane and in all |
//! | [`FILTER_COST`] | 350 | filter, in each lane that it lives in | `kept_bytes` | the same |
//! | [`ID_COST`] | 6 | QoS 2 id that was received and is not released | `kept_bytes` | 2, in a hash table that may be half empty, and its control bytes |
//! | [`BATCH_COST`] | 16 | batch in a lane's log | `lanes.credit_bytes` | rumqttd counts its topic and 4 bytes; rounded up |
//!
//! The numbers are constants near a measurement and not sums, so that a limit means the same on every machine. A text that is
//! stored twice is counted twice by its user. Operators find them in `docs/operate/memory.md`, the reasons in
//! `docs/decisions/0008-kept-sessions.md`.

/// Bytes of a string or payload with memory of its own, beside its length: the value and the allocation.
pub const STRING_COST: usize = 64;

/// Bytes of a message in a lane's table or in the outbox of an offline session, beside those that it is [kept
/// with](crate::session::Frame::len).
pub const MESSAGE_COST: usize = 128;

/// Bytes of a lane's reference to a message that an offline session waits for.
pub const REF_COST: usize = 16;

/// Bytes of what subscriptions add to messages that an offline session waits for: their identifiers, or a renaming.
pub const FORM_COST: usize = 96;

/// Bytes that a message held for an answer counts for at least: many short ones must not be free.
pub const LEAST_HELD_COST: usize = 64;

/// Bytes of a QoS 2 id whose PUBCOMP is awaited.
pub const RELEASED_ID_COST: usize = size_of::<u16>();

/// Bytes of an offline session that holds nothing, beside its names.
pub const SESSION_COST: usize = 1_500;

/// Bytes of an offline session for each lane that knows it.
pub const LANE_COST: usize = 300;

/// Bytes of a filter beside its text, in each lane that it lives in.
pub const FILTER_COST: usize = 350;

/// Bytes of a QoS 2 id that was received and is not released.
pub const ID_COST: usize = 3 * size_of::<u16>();

/// Bytes of a batch in a lane's log, beside its own.
pub const BATCH_COST: usize = 16;

/// Bytes that a string or payload of `len` bytes counts for.
#[must_use]
pub fn string_cost(len: usize) -> usize {
    len + STRING_COST
}
