//! Sessions that outlive their connections, as their lanes see it.

use super::entry::{DisconnectEntry, SubscribeEntry};
use super::host::LaneHost;
use super::lane::Lane;
use super::subscription::Slot;
use crate::packet::ReasonCode;
use crate::policy::{Attempt, Refusal, Request, SessionId};
use std::collections::HashSet;

impl Lane {
    /// The connection is over; subscriptions stay, and fill the outbox. What others of a shared group can
    /// do at once they shall.
    pub(super) fn disconnected(&mut self, g: &DisconnectEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(g.at);
        if let Some(slot) = self.slot_up_to(g.who.session) {
            self.reassign_after_disconnect(slot, host);
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, g.who.into(), &g.reason));
        self.perform_effects(host);
    }

    /// The session is over.
    pub(super) fn ended(&mut self, g: &DisconnectEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(g.at);
        // A later incarnation keeps what it has here; the hook may know the old one in other places.
        if let Some(slot) = self.slot_up_to(g.who.session)
            && let Some(outbox) = self.remove_session(slot)
        {
            self.reassign_after_end(slot, &outbox, host);
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, g.who.into(), &g.reason));
        self.perform_effects(host);
    }

    /// Where this session is, or an earlier one of its client.
    fn slot_up_to(&self, session: SessionId) -> Option<Slot> {
        let slot = self.subscribers.slot_of(session.client)?;
        let known = self.subscribers.get(slot)?.session;
        (known.incarnation <= session.incarnation).then_some(slot)
    }

    /// The client is back: each of its filters is judged anew, since rights may have gone meanwhile.
    pub(super) fn resume(&mut self, r: &SubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(r.at);
        let slot = self.subscribers.set_session(r.who.session);
        let held = |lane: &Lane, filter: &str| {
            slot.filter(|slot| lane.subscriptions.find(filter, *slot).is_some())
        };
        let mut codes = Vec::with_capacity(r.filters.len());
        let mut asked = Vec::with_capacity(r.filters.len());
        for f in &r.filters {
            if held(self, f.filter).is_some() {
                asked.push(f);
            } else {
                codes.push((f.position, ReasonCode::NoSubscriptionExisted, None));
            }
        }
        let requests: Vec<_> = asked.iter().map(|f| f.request()).collect();
        let verdicts = self.with_hook(|hook, cx| hook.judge(cx, r.who.into(), &requests));
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in asked.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    granted.push(*request);
                    codes.push((f.position, ReasonCode::Success, None));
                }
                Err(refusal) => {
                    self.tell_refused(r, f.filter, &refusal, host);
                    codes.push((f.position, refusal.code, None));
                }
            }
        }
        if let Some(slot) = slot {
            self.retain_only(slot, &granted, host);
        }
        if let Some(outbox) = host.outbox(r.who.session) {
            // Asleep until all lanes have answered, so there is nothing to flush.
            outbox.fill(|out| out.answer(r.request_id, self.number, codes, self.now));
        }
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, r.who.into(), &granted));
        }
        self.perform_effects(host);
        if let Some(slot) = slot {
            self.remove_if_unused(slot);
        }
    }

    fn tell_refused(
        &self,
        r: &SubscribeEntry<'_>,
        filter: &str,
        refusal: &Refusal,
        host: &mut dyn LaneHost,
    ) {
        // No SUBACK can tell it, in any version.
        let attempt = Attempt::Subscribe(filter);
        host.refused(r.who.into(), attempt, refusal, self.now);
    }

    /// Takes all other filters of a session away.
    fn retain_only(&mut self, slot: Slot, granted: &[Request<'_>], host: &mut dyn LaneHost) {
        let kept: HashSet<&str> = granted.iter().map(|r| r.filter).collect();
        let mut gone = self.subscribers.filters(slot);
        gone.retain(|filter| !kept.contains(&**filter));
        for filter in &gone {
            self.subscriptions.remove(filter, slot);
            self.subscribers.remove_filter(slot, filter);
        }
        let gone: Vec<&str> = gone.iter().map(|filter| &**filter).collect();
        self.reassign_after_unsubscribe(slot, &gone, host);
    }
}
