//! The epoch of a room, and the position of a message in it.

use roommq_lane::WallTime;
use roommq_mqtt::session::Mark;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Identifies one life of a room, from its creation to its removal. Never 0.
///
/// A room counts its messages by an offset. When the room is removed and created again, offsets
/// start at 1 again, so an offset has a meaning only together with the epoch: `10:5` and `z:5` are
/// different messages of the same room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch(u64);

/// The bits of `order` in an epoch, below the milliseconds.
const ORDER_BITS: u32 = 20;

impl Epoch {
    /// `order` grows with each room that the lane
    /// creates. It makes the epochs of up to a million rooms of one millisecond different.
    pub fn new(now: WallTime, order: u64) -> Epoch {
        let low = order & ((1 << ORDER_BITS) - 1);
        Epoch(((now.0 << ORDER_BITS) | low).max(1))
    }

    /// The mark of the message at `offset`.
    pub fn mark(self, offset: u64) -> Mark {
        Mark(self.0, offset)
    }
}

/// Base 36 in lower case: short, and safe in a topic or a shell.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut left = self.0;
        let mut text = [0_u8; 13]; // 36^13 > 2^64
        let mut start = text.len();
        loop {
            start -= 1;
            text[start] = DIGITS[usize::try_from(left % 36).unwrap_or(0)];
            left /= 36;
            if left == 0 {
                break;
            }
        }
        f.write_str(std::str::from_utf8(&text[start..]).unwrap_or_default())
    }
}

/// The `seq` of a message: `<epoch>:<offset>`. None: its room did not exist.
pub(crate) fn seq(mark: Mark) -> Option<String> {
    (mark != Mark::default()).then(|| format!("{}:{}", Epoch(mark.0), mark.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_base_36() {
        assert_eq!(Epoch(35).to_string(), "z");
        assert_eq!(Epoch(36).to_string(), "10");
        assert_eq!(Epoch(u64::MAX).to_string(), "3w5e11264sgsf");
    }

    #[test]
    fn epochs_differ_by_time_and_by_order() {
        let first = Epoch::new(WallTime(1_800_000_000_000), 7);
        assert_ne!(first, Epoch::new(WallTime(1_800_000_000_000), 8));
        assert_ne!(first, Epoch::new(WallTime(1_800_000_000_001), 7));
        assert_ne!(Epoch::new(WallTime(0), 0).mark(0), Mark::default());
    }

    #[test]
    fn a_message_to_no_room_has_no_seq() {
        assert_eq!(seq(Mark::default()), None);
        assert_eq!(seq(Epoch(36).mark(5)).as_deref(), Some("10:5"));
    }
}
