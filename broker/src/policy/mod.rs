//! Two traits that the broker owns and others implement.
//!
//! [`Policy`] answers "may this client …?" before an entry is appended to a lane. [`LaneHook`] holds its owner's state
//! beside a lane, sees each entry in the lane's order, and answers with effects.
//!
//! Architecture invariants:
//!
//! - The broker knows no rule about any topic.
//! - A hook cannot block a lane: it is synchronous, reads no clock, and is a deterministic function of the entries.

mod access;
mod allow_all;
mod hook;
mod identity;

pub use access::{
    Attempt, AuthExchange, AuthStep, BoxFuture, Mount, Notice, Policy, PublishPermit,
    SubscribeGrant,
};
pub use allow_all::AllowAll;
pub use hook::{
    Effect, EndReason, HookContext, LaneHook, LaneHooks, Limit, Message, Request, RulesError,
    Stamps, Verdict,
};
pub use identity::{Actor, ConnectRequest, Peer, Principal, SessionId};
pub use roommq_mqtt::Refusal;
/// A number that a hook attaches to an accepted message and gets back when stamps are needed. Only the hook reads it.
pub use roommq_mqtt::session::Mark;
