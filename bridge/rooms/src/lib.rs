//! The rooms of a lane: membership, presence, notices, and the topics of rooms and inboxes.
//!
//! Architecture invariant: what is here is a function of its arguments. It names no runtime, lock,
//! log, clock or setting, nothing else of this crate, and of the broker only what a hook needs.
//!
//! | what | files |
//! |---|---|
//! | the hook of a lane | `hook` |
//! | a room, its members, its roster and its notices | `room`, `membership`, `presence`, `notice` |
//! | the limits of rooms and joins of a user | `creators`, `join_rates` |
//! | the keys of timers | `hook_keys` |
//! | a room's life, and the times that people see | `epoch`, `time` |
//! | the rules, as they come and as they are asked | `room_policy`, `compiled_rules` |
//! | what an entry proves of who joins | `join_proof` |
//! | topics, refusals | `topics`, `refusal` |

mod compiled_rules;
mod creators;
mod epoch;
mod hook;
mod hook_keys;
mod join_proof;
mod join_rates;
mod membership;
mod notice;
mod presence;
mod refusal;
mod room;
mod room_policy;
mod time;
pub mod topics;

pub use compiled_rules::{CompiledRules, OutsideTopics, RulesReader};
pub use hook::LaneRooms;
pub use join_proof::JoinProof;
pub use notice::{EventKind, RoomEvent, RoomInfo, json, no_room};
pub use presence::{PresenceState, RosterEntry};
pub use refusal::{not_authorized, refused};
pub use room_policy::{Creators, RoomLimits, RoomPolicies, RoomPolicy, RoomRules};
pub use time::rfc3339;
