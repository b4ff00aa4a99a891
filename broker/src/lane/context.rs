//! Everything that the lanes of a node share.

use super::mailbox::Mailboxes;
use super::timers::Timers;
use crate::limit_counts::LimitCounts;
use crate::policy::{Actor, Attempt, Policy, Principal, Refusal};
use crate::sessions::Sessions;
use roommq_lane::Lane;
use std::sync::Arc;

/// The limit of error messages to one user, by its name in `$SYS`.
pub(crate) const UNTOLD: &str = "errors_untold";

/// Everything that all lanes of a node reach. The appliers and the entrances share it.
pub(crate) struct NodeContext {
    /// Finds a session's outbox.
    pub sessions: Arc<Sessions>,
    /// For error messages to other lanes.
    pub mailboxes: Mailboxes,
    /// How often each limit has acted.
    pub limits: Arc<LimitCounts>,
    pub timers: Arc<Timers>,
    /// Says how a refusal is told.
    pub policy: Arc<dyn Policy>,
}

impl NodeContext {
    /// The lane refused a request that the policy had let in. The policy says whether the sender is
    /// told.
    pub(super) fn refused(
        &self,
        who: Actor<'_>,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        lane: &Lane,
    ) {
        tracing::debug!(user = who.user, ?attempt, %refusal, "refused in its lane");
        let principal = Principal::new(who.user, false);
        let (now, wall) = (lane.now(), lane.wall());
        let notice = self.policy.notice(&principal, attempt, refusal, now, wall);
        match notice {
            Some(notice) => self.mailboxes.send(notice),
            None => self.limits.count(UNTOLD),
        }
    }
}
