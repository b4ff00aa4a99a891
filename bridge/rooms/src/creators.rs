//! The users who created the rooms of a lane, and the order in which rooms without members end.

use super::topics;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The rooms of a lane by their creators. All of it follows from the rooms, so it is in no snapshot. Rooms that a rule
/// names in full have no creator.
///
/// If a lane has as many rooms as it may, a new room replaces one without members: that of an anonymous creator before
/// that of a user, then of the creator who has most of them, then the one without members for the longest time.
#[derive(Debug, Default)]
pub(crate) struct RoomCreators {
    by_user: HashMap<Arc<str>, Created>,
    /// The creators of rooms without members. The first loses one first.
    order: BTreeSet<CreatorRank>,
    /// The numbers of rooms without members: of anonymous creators, of users.
    empty: [usize; 2],
}

/// Whether the creator has credentials, and how many rooms without members it has. These compare in this order.
type CreatorRank = (bool, Reverse<usize>, Arc<str>);

/// The rooms of one creator.
#[derive(Debug, Default)]
struct Created {
    rooms: usize,
    /// Those without members, with the lane time at which the last one left.
    empty: BTreeSet<(u64, Arc<str>)>,
}

fn is_user(creator: &str) -> bool {
    !topics::is_anonymous(creator)
}

impl RoomCreators {
    /// How many rooms of this creator there are.
    pub fn rooms_of(&self, creator: &str) -> usize {
        self.by_user.get(creator).map_or(0, |created| created.rooms)
    }

    /// How many rooms may end so that `creator` can have a new one.
    pub fn replaceable(&self, creator: &str) -> usize {
        let [anonymous, users] = self.empty;
        anonymous + if is_user(creator) { users } else { 0 }
    }

    /// The room that ends first so that `creator` can have a new one.
    pub fn first_to_end(&self, creator: &str) -> Option<Arc<str>> {
        let (authenticated, _, first) = self.order.first()?;
        let allowed = is_user(creator) || !authenticated;
        let created = self.by_user.get(first).filter(|_| allowed)?;
        Some(Arc::clone(&created.empty.first()?.1))
    }

    /// Adds a room with members.
    pub fn add(&mut self, creator: &Arc<str>) {
        self.by_user.entry(Arc::clone(creator)).or_default().rooms += 1;
    }

    /// Notes that a room is without members since `after`, and not since `before`. None: it has members.
    pub fn update(
        &mut self,
        creator: &Arc<str>,
        room: &Arc<str>,
        before: Option<u64>,
        after: Option<u64>,
    ) {
        let Some(created) = self.by_user.get_mut(creator) else {
            return;
        };
        let authenticated = is_user(creator);
        let rank = |empty: usize| (authenticated, Reverse(empty), Arc::clone(creator));
        let was = created.empty.len();
        if let Some(since) = before {
            created.empty.remove(&(since, Arc::clone(room)));
        }
        if let Some(since) = after {
            created.empty.insert((since, Arc::clone(room)));
        }
        let is = created.empty.len();
        if was != is {
            self.order.remove(&rank(was));
            if is > 0 {
                self.order.insert(rank(is));
            }
            let empty = &mut self.empty[usize::from(authenticated)];
            *empty = *empty + is - was;
        }
    }

    /// Removes a room that is without members since `empty`.
    pub fn remove(&mut self, creator: &Arc<str>, room: &Arc<str>, empty: Option<u64>) {
        self.update(creator, room, empty, None);
        if let Some(created) = self.by_user.get_mut(creator) {
            created.rooms -= 1;
            if created.rooms == 0 {
                self.by_user.remove(creator);
            }
        }
    }

    /// Whether there is no room with a creator.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty() && self.order.is_empty() && self.empty == [0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_lose_rooms_first_then_those_who_have_most() {
        let mut creators = RoomCreators::default();
        let rooms = [
            ("al", "a1", 1),
            ("bob", "b1", 2),
            ("bob", "b2", 3),
            ("~x", "x1", 4),
            ("~y", "y1", 6),
            ("~y", "y2", 5),
        ];
        for (creator, room, since) in rooms {
            let (creator, room) = (creator.into(), room.into());
            creators.add(&creator);
            creators.update(&creator, &room, None, Some(since));
        }
        assert_eq!(
            (creators.replaceable("~z"), creators.replaceable("al")),
            (3, 6)
        );
        let mut ended = Vec::new();
        while let Some(room) = creators.first_to_end("al") {
            let of = rooms.iter().find(|(_, name, _)| *name == &*room);
            let Some((creator, _, since)) = of else {
                break;
            };
            if ended.len() == 3 {
                assert_eq!(creators.first_to_end("~z"), None, "users' rooms stay");
            }
            creators.remove(&(*creator).into(), &room, Some(*since));
            ended.push(room.to_string());
        }
        assert_eq!(ended, ["y2", "x1", "y1", "b1", "a1", "b2"]);
        assert!(creators.is_empty());
    }
}
