//! Applying one batch to a lane. The caller holds the lane's lock.

use super::context::NodeHost;
use crate::lane::state::{self, Lane};

/// Applies all entries of a batch, in order. What cannot be read is logged and skipped.
pub(super) fn apply_batch(number: u16, lane: &mut Lane, batch: &[u8], host: &mut NodeHost<'_>) {
    let entries = match state::read_batch(batch) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(lane = number, %error, "a batch that cannot be read was skipped");
            return;
        }
    };
    for entry in entries {
        match entry {
            Ok(entry) => lane.apply(&entry, host),
            Err(error) => {
                tracing::error!(lane = number, %error, "the rest of a batch was skipped");
            }
        }
    }
}

/// Aborts the process if it is dropped by a panic.
///
/// A server without an applier would accept connections and deliver nothing. A lane with half an
/// entry applied would have a state that no log produces.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a lane has panicked: the server cannot go on");
            std::process::abort();
        }
    }
}
