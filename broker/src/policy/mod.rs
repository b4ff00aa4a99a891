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
mod identity;

pub use access::{
    Attempt, AuthExchange, AuthStep, BoxFuture, Policy, PublishPermit, SubscribeGrant,
};
pub use identity::{ConnectRequest, Credential, Peer, Principal};
pub use roommq_lane::{
    Actor, AllowAll, Effect, EndReason, HookContext, LaneHook, LaneHooks, Limit, Mark, Message,
    Mount, Notice, Refusal, Request, RestoreError, RulesError, SessionId, Stamps, Verdict,
    WallTime,
};
