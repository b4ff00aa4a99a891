//! Taking turns with the replays of a session, which send it retained messages.
//!
//! A replay belongs to the session, and goes on with its next connection. Turns are taken by the
//! connection's task, and the first one by the thread that performs the lane's answer. Only one cursor
//! is out at a time, so that the messages of all lanes come in one order.

use super::replays::{Replay, Replays};
use super::{Outbox, Stage, State};
use crate::packet::ReasonCode;
use crate::session::Frame;
use roommq_lane::Cursor;

impl State {
    /// The replays, and the request whose messages are sent next, if the outbox takes one.
    fn open_replays(&mut self) -> Option<(&mut Replays, u32)> {
        let replays = self.replays.as_deref_mut()?;
        let open = self.outbound.replaying();
        Some((replays, open.filter(|_| self.outbound.wants_retained())?))
    }

    /// Whether a replay can take a turn.
    pub(super) fn wants_replay(&mut self) -> bool {
        let open = self.open_replays();
        open.is_some_and(|(replays, request_id)| replays.has(request_id))
    }

    /// Bytes that the cursors count for.
    pub(super) fn replay_bytes(&self) -> usize {
        self.replays.as_ref().map_or(0, |replays| replays.bytes)
    }

    /// Whether so many replays wait that the client must not ask for more.
    pub(super) fn has_many_replays(&self) -> bool {
        self.outbound.exceeds_limit(self.replay_bytes())
    }

    /// The connection has ended: drops the replays of requests that were not answered, or all.
    pub(super) fn drop_replays(&mut self) {
        if let Some(replays) = &mut self.replays {
            replays.retain(|request_id| self.outbound.has_replay(request_id));
        }
        self.replays.take_if(|replays| replays.is_empty());
    }
}

impl Outbox {
    /// A lane answers a request with `codes`, each with the position of its filter. Retained messages
    /// follow if there is a `cursor`. If it returns true, the caller must arrange a
    /// [`flush`](Outbox::flush).
    pub(crate) fn answer(
        &self,
        request_id: u32,
        lane: u16,
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        cursor: Option<Box<Cursor>>,
        now: u64,
    ) -> bool {
        let answer = |state: &mut State| {
            if let Some(cursor) = cursor
                && state.outbound.begin_replay(request_id)
            {
                state.replays.get_or_insert_default().add(Replay {
                    request_id,
                    lane,
                    bytes: cursor.cost(),
                    cursor,
                });
            }
            state.outbound.answer(request_id, lane, codes, now);
        };
        self.fill_state(answer).unwrap_or(false)
    }

    /// The lane of the replay that is next, if the outbox takes a message of it.
    pub(crate) fn next_replay(&self) -> Option<u16> {
        let mut state = self.state.lock();
        let (replays, request_id) = state.open_replays()?;
        replays.next(request_id).map(|replay| replay.lane)
    }

    /// Takes out the replay that is next, if it is of this lane, with the last key that it may come to:
    /// behind it is another's turn. Call [`put_back_replay`](Outbox::put_back_replay) then.
    pub(crate) fn take_replay(&self, lane: u16) -> Option<(Replay, Option<String>)> {
        let mut state = self.state.lock();
        let (replays, request_id) = state.open_replays()?;
        replays.take(request_id, lane)
    }

    /// Sends or queues a retained message of the replay that is out. False if it has to wait.
    pub(crate) fn give_retained(&self, frame: &Frame, now: u64) -> bool {
        let mut state = self.state.lock();
        state.stage != Stage::Ended && state.outbound.deliver_retained(frame, now)
    }

    /// Ends the turn of a replay, and the replay itself if it is at its end. If it returns true, the
    /// caller must arrange a [`flush`](Outbox::flush).
    pub(crate) fn put_back_replay(&self, replay: Replay, at_end: bool, now: u64) -> bool {
        let put_back = |state: &mut State| {
            let request_id = replay.request_id;
            let goes_on = !at_end && state.outbound.has_replay(request_id);
            if let Some(replays) = &mut state.replays {
                replays.put_back(goes_on.then_some(replay));
            }
            if at_end {
                state.outbound.end_replay(request_id, now);
            }
            state.replays.take_if(|replays| replays.is_empty());
        };
        self.fill_state(put_back).unwrap_or(false)
    }

    /// Whether so many replays wait that the client must not ask for more: their cursors have more
    /// bytes than `limits.outbox_bytes`.
    pub(crate) fn has_many_replays(&self) -> bool {
        self.state.lock().has_many_replays()
    }
}
