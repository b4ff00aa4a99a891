//! The replays of a session, between their turns: cursors over the retained messages of lanes.

use roommq_lane::Cursor;
use std::collections::BTreeMap;

/// The replay of one answer of a lane.
#[derive(Debug)]
pub(crate) struct Replay {
    pub request_id: u32,
    pub lane: u16,
    pub cursor: Box<Cursor>,
    /// The bytes that the cursor counted for at first.
    pub bytes: usize,
}

/// The replays that have not ended.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// By request; none of these lists is empty.
    waiting: BTreeMap<u32, Vec<Replay>>,
    /// One is out for its turn.
    is_busy: bool,
    /// The bytes of all.
    pub bytes: usize,
}

impl Replays {
    /// Adds a replay.
    pub(super) fn add(&mut self, replay: Replay) {
        self.bytes += replay.bytes;
        let of_request = self.waiting.entry(replay.request_id);
        of_request.or_default().push(replay);
    }

    /// Whether a replay of this request can take a turn.
    pub(super) fn has(&self, request_id: u32) -> bool {
        !self.is_busy && self.waiting.contains_key(&request_id)
    }

    /// The replay of this request that is next: its place is the first in the order of topics.
    pub(super) fn next(&self, request_id: u32) -> Option<&Replay> {
        let waiting = self.waiting.get(&request_id).filter(|_| !self.is_busy);
        waiting?.iter().min_by_key(|r| r.cursor.place())
    }

    /// Takes that one out for its turn, if it is of this lane, with the place of the next.
    pub(super) fn take(&mut self, request_id: u32, lane: u16) -> Option<(Replay, Option<String>)> {
        if self.next(request_id)?.lane != lane {
            return None;
        }
        let waiting = self.waiting.get_mut(&request_id)?;
        let next = waiting.iter().enumerate();
        let (at, _) = next.min_by_key(|(_, r)| r.cursor.place())?;
        let replay = waiting.swap_remove(at);
        if waiting.is_empty() {
            self.waiting.remove(&request_id);
        }
        let other = self.next(request_id);
        let until = other.map(|other| other.cursor.place().to_owned());
        self.bytes -= replay.bytes;
        self.is_busy = true;
        Some((replay, until))
    }

    /// The turn of the one that was taken out is over. It goes on unless it is at its end.
    pub(super) fn put_back(&mut self, replay: Option<Replay>) {
        self.is_busy = false;
        if let Some(replay) = replay {
            self.add(replay);
        }
    }

    /// Drops the replays of some requests.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(u32) -> bool) {
        self.waiting.retain(|request_id, _| stays(*request_id));
        let all = self.waiting.values().flatten();
        self.bytes = all.map(|replay| replay.bytes).sum();
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }
}
