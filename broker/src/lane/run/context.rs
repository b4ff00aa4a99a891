//! What the lanes of this process share, and how a lane's effects reach it.

use super::barriers::Barriers;
use super::courier::Courier;
use super::timers::Timers;
use crate::lane::state::Reach;
use crate::outbox::Outbox;
use crate::policy::{Actor, Attempt, Notice, Policy, Principal, Refusal, SessionId};
use crate::sessions::Sessions;
use std::sync::Arc;

/// What keepers share.
pub(crate) struct Surroundings {
    pub sessions: Arc<Sessions>,
    pub courier: Courier,
    pub timers: Arc<Timers>,
    pub policy: Arc<dyn Policy>,
    pub barriers: Arc<Barriers>,
}

/// What a lane reaches.
pub(super) struct Around<'a> {
    pub surroundings: &'a Surroundings,
    pub touched: &'a mut Vec<Arc<Outbox>>,
}

impl Reach for Around<'_> {
    fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        self.surroundings.sessions.outbox(session)
    }

    fn touch(&mut self, outbox: &Arc<Outbox>) {
        self.touched.push(outbox.clone());
    }

    fn tell(&mut self, notice: Notice) {
        self.surroundings.courier.send(notice);
    }

    fn refused(&mut self, who: Actor<'_>, attempt: Attempt<'_>, refusal: &Refusal, now: u64) {
        tracing::debug!(user = who.user, ?attempt, %refusal, "refused in its lane");
        let principal = Principal::new(who.user, false);
        let policy = &self.surroundings.policy;
        if let Some(notice) = policy.notice(&principal, attempt, refusal, now) {
            self.tell(notice);
        }
    }

    fn wake(&mut self, lane: u16, key: String, generation: u64, at: u64) {
        self.surroundings.timers.set(lane, key, generation, at);
    }

    fn barrier(&mut self, _: u16, number: u64) {
        self.surroundings.barriers.reached(number);
    }
}
