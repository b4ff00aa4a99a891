//! The rules of a lane, ready to be asked.

use super::room_policy::{RoomPolicies, RoomRules};
use roommq_lane::RulesError;
use std::fmt;
use std::sync::Arc;

/// The topics that are neither rooms nor inboxes.
pub trait OutsideTopics: fmt::Debug + Send + Sync {
    /// May `user` (as in a topic level) see `topic`?
    fn may_see(&self, user: &str, topic: &str) -> bool;
}

/// The rules of one version, as a lane uses them.
#[derive(Debug, Clone)]
pub struct CompiledRules {
    /// What holds for each room.
    pub rooms: Arc<RoomPolicies>,
    /// Who may see what, outside rooms and inboxes.
    pub outside: Arc<dyn OutsideTopics>,
}

/// Reads rules that came by the log of a lane. The lanes of a server share one, so that it need not
/// compile rules again for each of them.
pub trait RulesReader: fmt::Debug + Send + Sync {
    /// Reads encoded rules. The answer follows from `rules` alone.
    ///
    /// # Errors
    /// The rules have an unknown format, or are damaged.
    fn read(&self, rules: &[u8]) -> Result<CompiledRules, RulesError>;
}

impl CompiledRules {
    /// The rules of a lane that has none yet: nobody may do or see anything.
    pub(crate) fn none() -> CompiledRules {
        CompiledRules {
            rooms: Arc::new(RoomPolicies::new(RoomRules::default())),
            outside: Arc::new(Unseen),
        }
    }
}

/// Shows no topic.
#[derive(Debug)]
struct Unseen;

impl OutsideTopics for Unseen {
    fn may_see(&self, _: &str, _: &str) -> bool {
        false
    }
}
