//! The rules of the lanes: encoded from the settings and the hooks, and appended to every lane, at the start and again
//! whenever they change.

use super::options::StartError;
use crate::lane::{Entrance, LogError};
use crate::policy::LaneHooks;
use roommq_config::Limits;
use roommq_lane::{Entry, LaneRules, QueueLimits, RetainedLimits};

/// The rules of each of so many lanes.
pub(super) fn lane_rules(
    lanes: u16,
    limits: &Limits,
    hooks: &dyn LaneHooks,
) -> Result<Vec<u8>, StartError> {
    let all = RetainedLimits {
        messages: limits.retained,
        bytes: limits.retained_bytes,
    };
    let kept = u64::try_from(limits.kept_bytes).unwrap_or(u64::MAX);
    let rules = LaneRules {
        retained: all.share(lanes),
        queue: QueueLimits {
            messages: limits.outbox_messages,
            bytes: u64::try_from(limits.outbox_bytes).unwrap_or(u64::MAX),
            age: u64::try_from(limits.queue_age.as_millis()).unwrap_or(u64::MAX),
        },
        offline_bytes: kept.div_ceil(u64::from(lanes).max(1)),
        hook: &hooks.rules(),
    };
    rules.to_bytes().map_err(|e| StartError::Log(e.to_string()))
}

/// Appends these rules to every lane, the lane of the node included. Until it has any, a lane refuses what clients ask
/// for. A lane that has stopped is an error, after all others have the rules.
pub(super) async fn append_rules(
    entrance: &Entrance,
    lanes: u16,
    version: u64,
    body: &[u8],
) -> Result<(), LogError> {
    let mut appended = Ok(());
    for lane in 0..=lanes {
        let rules = Entry::Rules { version, body };
        appended = entrance.append(lane, [&rules]).await.and(appended);
    }
    appended
}
