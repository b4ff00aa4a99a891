//! The rooms of a lane as bytes, and back.
//!
//! Rules are not in them: a restored room takes its policy from the rules of its lane.

use super::super::creators::RoomCreators;
use super::super::join_rates::{JoinRates, JoinRatesImage};
use super::super::room::Room;
use super::super::room::snapshot::RoomImage;
use super::{LaneRooms, SessionRooms};
use roommq_lane::{RestoreError, SessionId};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The version of the format. A change that a reader of this version cannot read raises it.
const VERSION: u16 = 2;

#[derive(Serialize, Deserialize)]
struct RoomsImage<'a> {
    order: u64,
    /// By name.
    #[serde(borrow)]
    rooms: Vec<RoomImage<'a>>,
    /// Each session with its latest connection, by session.
    sessions: Vec<(SessionId, u32)>,
    #[serde(borrow)]
    joins: JoinRatesImage<'a>,
}

impl LaneRooms {
    /// Appends the state to `out`, and returns the version of the format.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> u16 {
        let LaneRooms {
            reader: _,
            rules_version: _, // the rules come before
            rules: _,
            rooms,
            sessions,
            order,
            creators: _, // follow from the rooms
            joins,
        } = self;
        let mut rooms: Vec<_> = rooms.values().map(Room::snapshot).collect();
        rooms.sort_unstable_by_key(RoomImage::name);
        let latest = |(session, rooms): (&SessionId, &SessionRooms)| {
            let SessionRooms {
                connection,
                rooms: _, // follow from the devices in the rooms
            } = rooms;
            (*session, *connection)
        };
        let mut sessions: Vec<_> = sessions.iter().map(latest).collect();
        sessions.sort_unstable();
        let order = *order;
        let image = RoomsImage {
            order,
            rooms,
            sessions,
            joins: joins.snapshot(),
        };
        // Writing to a Vec cannot fail. If there were a bug, the bytes would be cut off, and nothing
        // could restore them.
        drop(postcard::to_io(&image, out));
        VERSION
    }

    /// Replaces the state by one that [`write`](Self::write) wrote. If that fails, it stays.
    pub(super) fn read(&mut self, version: u16, bytes: &[u8]) -> Result<(), RestoreError> {
        if version != VERSION {
            return Err(RestoreError::NeedsReader {
                needed: version,
                known: VERSION,
            });
        }
        let image: RoomsImage<'_> = match postcard::take_from_bytes(bytes) {
            Ok((image, [])) => image,
            _ => return Err(RestoreError::Damaged("its rooms cannot be read")),
        };
        let mut sessions: HashMap<SessionId, SessionRooms, _> = HashMap::default();
        for (session, connection) in image.sessions {
            let rooms = BTreeSet::new();
            sessions.insert(session, SessionRooms { connection, rooms });
        }
        let mut rooms = HashMap::default();
        for image in image.rooms {
            let room = Room::restore(image, &self.rules.rooms, self.rules_version)?;
            for session in room.sessions() {
                let session = sessions.get_mut(&session);
                let session = session.ok_or(RestoreError::Damaged("a device has no session"))?;
                session.rooms.insert(Arc::clone(room.name()));
            }
            rooms.insert(SmolStr::new(room.name()), room);
        }
        if sessions.values().any(|session| session.rooms.is_empty()) {
            return Err(RestoreError::Damaged("a session is in no room"));
        }
        let mut creators = RoomCreators::default();
        for room in rooms.values() {
            if let Some(creator) = room.creator() {
                creators.add(creator);
                creators.update(creator, room.name(), None, room.empty_since());
            }
        }
        self.joins = JoinRates::restore(image.joins);
        (self.order, self.rooms, self.sessions) = (image.order, rooms, sessions);
        self.creators = creators;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
