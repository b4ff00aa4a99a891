//! The sessions of this node: which client has which, takeover, and those whose client is disconnected.
//!
//! [`registry`](Sessions) lets one connection at a time serve a session. A session whose connection has ended and whose
//! expiry interval has not is offline: [`OfflineSession`] holds what there is of it, `expiry` ends it when its time comes, and
//! `eviction` ends some where all of them together hold more than `limits.kept_bytes`.

mod cost;
mod ending;
mod eviction;
mod expiry;
mod offline;
mod registry;
mod session_state;

pub(crate) use ending::{notify_lanes, send_will};
pub(crate) use expiry::{carry_out, end_offline_session, expire_offline_sessions};
pub(crate) use offline::{OfflinePeriod, OfflineSession};
pub(crate) use registry::{Registration, SessionCounts, Sessions};
pub(crate) use session_state::SessionState;
