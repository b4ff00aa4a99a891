//! A lane: an ordered log of entries, and the state that follows from it.
//!
//! | what | files |
//! |---|---|
//! | the log's batches and entries, and a topic's lane | `batch`, `entry`, `lane_of` |
//! | the order of batches, and their times | `writers`, `wall_time` |
//! | the state, and applying an entry | `lane`, `publish`, `subscribe`, `resume` |
//! | subscriptions: by filter, by session, by shared group | `index`, `tree`, `levels`, `subscribers`, `subscriptions` |
//! | messages that wait for sessions | `messages`, `pending`, `waiting`, `visible_topics`; their memory: `share` |
//! | retained messages | `retained`, `walk`; read for a subscriber by `replay`, from a `cursor` on |
//! | timers | `timers` |
//! | the state as bytes, and its digest | `snapshot`, and `snapshot` below each type of the state |
//! | the configuration that decides outcomes | `rules`, `judge` |
//! | what follows from an entry | `outcome`; the receivers of a message: `fanout` |
//! | the owner of a lane's rules | `hook`, `actor`, `mount`; one without rules: `allow_all` |
//!
//! [`Lane::apply`] changes the state and fills an [`Outcome`], which a runner performs. Both follow
//! from the state and the entry alone.
//!
//! Architecture invariant: this crate has no clock, lock, socket, task or setting, and none of its
//! dependencies has. Two nodes that apply the same entries have equal states, whatever their clients,
//! sockets and queues do.

mod actor;
mod allow_all;
mod batch;
mod cursor;
mod entry;
mod errors;
mod fanout;
mod guarded;
mod hook;
mod index;
mod judge;
mod lane;
mod lane_of;
mod levels;
mod messages;
mod mount;
mod outcome;
mod pending;
mod publish;
mod replay;
mod resume;
mod retained;
mod rules;
mod share;
mod snapshot;
mod subscribe;
mod subscribers;
mod subscription;
mod subscriptions;
mod timers;
mod totals;
mod tree;
mod visible_topics;
mod waiting;
mod walk;
mod wall_time;
mod writers;

pub use actor::{Actor, SessionId};
pub use allow_all::AllowAll;
pub use batch::{BATCH_BYTES, BATCH_ENTRIES, Batch, BatchError, BatchHeader, Entries, read};
pub use cursor::Cursor;
pub use entry::{
    DisconnectEntry, DoneEntry, Entry, FilterEntry, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry,
};
pub use errors::{RestoreError, RulesError};
pub use hook::{
    Effect, EndReason, HookContext, LaneHook, LaneHooks, Limit, Message, Notice, Request, Stamps,
    Verdict,
};
pub use index::Index;
pub use lane::Lane;
pub use lane_of::{lane_of, lane_of_filter, spans_lanes, spread};
pub use messages::StoredMessage;
pub use mount::Mount;
pub use outcome::{Act, Forms, Made, Outcome, Outgoing, Source, Target};
pub use pending::QueueLimits;
pub use publish::{UserProperty, stamped_properties};
pub use retained::{RetainedLimits, RetainedMessage, RetainedStore};
pub use roommq_mqtt::Refusal;
/// A number that a hook attaches to an accepted message and gets back when stamps are needed. Only the hook reads it.
pub use roommq_mqtt::session::Mark;
pub use rules::LaneRules;
pub use subscription::{Slot, Subscription};
pub use subscriptions::{Group, Subscriptions};
pub use totals::{LANE_COUNTS, LaneCounts, LaneTotals};
pub use visible_topics::VisibleTopics;
pub use waiting::WaitingMessage;
pub use walk::{WalkFilters, topic_of};
pub use wall_time::WallTime;
pub use writers::BatchTurn;
