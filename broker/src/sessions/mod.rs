//! The sessions of this server: takeover, and the sessions of clients that are disconnected.
//!
//! [`Sessions`] lets one connection at a time serve a session. A session is offline between the end
//! of its connection and the end of its expiry interval: [`OfflineSession`] holds its state.
//! `expiry` sends delayed wills and ends expired sessions. `eviction` ends some sessions early if
//! all of them together hold more than `limits.kept_bytes`.

mod cost;
mod ending;
mod eviction;
mod expiry;
mod offline;
mod registry;
mod session_state;
mod term;

pub(crate) use ending::{LastWords, notify_lanes, send_will};
pub(crate) use expiry::{carry_out, end_offline_session, expire_offline_sessions};
pub(crate) use offline::{OfflinePeriod, OfflineSession};
pub(crate) use registry::{Registration, SessionCounts, Sessions, shutting_down};
pub(crate) use session_state::SessionState;
pub(crate) use term::new_term;
