//! How long messages wait, and how long a session may outlive its connection (3.1.2.11.2).

use std::time::Duration;

/// When a message expires that never does, in milliseconds of lane time.
pub const NEVER: u64 = u64::MAX;

/// The session expiry interval, in seconds, of a session that never ends by its time.
pub const FOR_EVER: u32 = u32::MAX;

/// The longest session expiry interval in seconds under a server's `cap`; [`FOR_EVER`] without one.
#[must_use]
pub fn longest_expiry(cap: Option<Duration>) -> u32 {
    let capped = cap.map(|cap| cap.as_secs());
    capped.map_or(FOR_EVER, |cap| u32::try_from(cap).unwrap_or(FOR_EVER))
}
