//! The replays of a session, between their turns: cursors over the retained messages of lanes.

use roommq_lane::Cursor;

/// The replay of one answer of a lane.
#[derive(Debug)]
pub(crate) struct Replay {
    pub request_id: u32,
    pub lane: u16,
    pub cursor: Box<Cursor>,
}

/// The replays that have not ended.
#[derive(Debug, Default)]
pub(super) struct Replays {
    pub waiting: Vec<Replay>,
    /// One is out for its turn.
    pub is_busy: bool,
}

impl Replays {
    /// The replays of this request that can take a turn, with their places in the list.
    pub(super) fn of(&self, request_id: u32) -> impl Iterator<Item = (usize, &Replay)> {
        let all = self.waiting.iter().enumerate();
        all.filter(move |(_, r)| r.request_id == request_id && !self.is_busy)
    }

    /// The one that is next: its place is the first in the order of topics.
    pub(super) fn next(&self, request_id: u32) -> Option<(usize, &Replay)> {
        self.of(request_id).min_by_key(|(_, r)| r.cursor.place())
    }
}
