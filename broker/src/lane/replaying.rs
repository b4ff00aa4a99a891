//! Turns of replays: a part of the retained messages that a SUBSCRIBE brings, out of a locked lane into
//! the outbox of the client.

use super::frames::retained_frame;
use crate::outbox::Outbox;
use roommq_lane::{Cursor, Lane};
use std::ops::ControlFlow;

/// Topics and filters that one turn looks at: a fraction of a millisecond.
const WORK: usize = 4_096;

/// Bytes of messages that one turn gives, or one message.
const BYTES: usize = 64 << 10;

/// What is left of the turn of one client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplayBudget {
    /// Topics and filters to look at.
    pub work: usize,
    /// Bytes to give.
    pub bytes: usize,
}

impl Default for ReplayBudget {
    fn default() -> Self {
        ReplayBudget {
            work: WORK,
            bytes: BYTES,
        }
    }
}

impl ReplayBudget {
    /// Whether the turn goes on.
    pub(crate) fn is_left(&self) -> bool {
        self.work > 0 && self.bytes > 0
    }
}

/// A cursor that has come to its first message, or none if there is no message.
pub(super) fn at_first(lane: &Lane, mut cursor: Box<Cursor>) -> Option<Box<Cursor>> {
    let work = &mut { WORK };
    let stop = |_: &str, _: &_, _: &_| ControlFlow::Break(());
    let at_end = lane.replay(&mut cursor, None, work, stop);
    (!at_end).then_some(cursor)
}

/// Gives a client its next retained messages, as far as its outbox takes them, if they are this lane's.
/// `now` is in milliseconds of lane time. If it returns true, the caller must arrange a
/// [`flush`](Outbox::flush).
pub(super) fn take_turn(lane: &Lane, outbox: &Outbox, budget: &mut ReplayBudget, now: u64) -> bool {
    let Some((mut replay, until)) = outbox.take_replay(lane.number()) else {
        return false;
    };
    let ReplayBudget { work, bytes } = budget;
    let (until, cursor) = (until.as_deref(), &mut replay.cursor);
    let at_end = lane.replay(cursor, until, work, |topic, message, subscription| {
        if *bytes == 0 {
            return ControlFlow::Break(());
        }
        let frame = retained_frame(topic, message, now, subscription, outbox.version());
        if !outbox.give_retained(&frame, now) {
            return ControlFlow::Break(());
        }
        *bytes = bytes.saturating_sub(frame.len());
        ControlFlow::Continue(())
    });
    outbox.put_back_replay(replay, at_end, now)
}
