//! Everything that the lanes of a node share, and how a lane's effects reach it.

use super::links::Links;
use super::mailbox::Mailboxes;
use super::timers::Timers;
use crate::lane::state::{LaneHost, Slot};
use crate::outbox::Outbox;
use crate::policy::{Actor, Attempt, Notice, Policy, Principal, Refusal, SessionId};
use crate::sessions::Sessions;
use std::sync::Arc;

/// Everything that all lanes of a node reach. The appliers and the entrances share it.
pub(crate) struct NodeContext {
    /// Finds a session's outbox.
    pub sessions: Arc<Sessions>,
    /// For error messages to other lanes.
    pub mailboxes: Mailboxes,
    pub timers: Arc<Timers>,
    /// Says how a refusal is told.
    pub policy: Arc<dyn Policy>,
}

/// The host of a lane while one batch is applied to it.
pub(super) struct NodeHost<'a> {
    pub context: &'a NodeContext,
    pub links: &'a mut Links,
    /// Outboxes to flush after the batch are added here.
    pub to_flush: &'a mut Vec<Arc<Outbox>>,
}

impl LaneHost for NodeHost<'_> {
    fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        self.context.sessions.outbox(session)
    }

    fn link(&mut self, slot: Slot, session: SessionId) {
        self.links.link(slot, self.context.sessions.outbox(session));
    }

    fn unlink(&mut self, slot: Slot) -> Option<Arc<Outbox>> {
        self.links.unlink(slot)
    }

    fn linked(&self, slot: Slot) -> Option<&Arc<Outbox>> {
        self.links.get(slot)
    }

    fn flush_later(&mut self, slot: Slot) {
        self.to_flush.extend(self.links.get(slot).cloned());
    }

    fn send_notice(&mut self, notice: Notice) {
        self.context.mailboxes.send(notice);
    }

    fn refused(&mut self, who: Actor<'_>, attempt: Attempt<'_>, refusal: &Refusal, now: u64) {
        tracing::debug!(user = who.user, ?attempt, %refusal, "refused in its lane");
        let principal = Principal::new(who.user, false);
        let policy = &self.context.policy;
        if let Some(notice) = policy.notice(&principal, attempt, refusal, now) {
            self.send_notice(notice);
        }
    }

    fn set_timer(&mut self, lane: u16, key: String, generation: u64, at: u64) {
        self.context.timers.set(lane, key, generation, at);
    }
}
