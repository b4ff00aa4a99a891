//! Applying one batch to a lane whose lock is held.

use super::context::NodeHost;
use crate::lane::state::{self, Lane};

/// Applies all entries of a batch; false where the lane has ended.
pub(super) fn apply_batch(
    number: u16,
    lane: &mut Lane,
    batch: &[u8],
    host: &mut NodeHost<'_>,
) -> bool {
    let entries = match state::read_batch(batch) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(lane = number, %error, "a batch was passed over");
            return true;
        }
    };
    for entry in entries {
        match entry {
            Ok(entry) => {
                if !lane.apply(&entry, host) {
                    return false;
                }
            }
            Err(error) => {
                tracing::error!(lane = number, %error, "the rest of a batch was passed over");
            }
        }
    }
    true
}

/// A server without a keeper would look alive and deliver nothing; a lane half applied would lie.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a lane has panicked: the server cannot go on");
            std::process::abort();
        }
    }
}
