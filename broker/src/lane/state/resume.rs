//! Sessions that outlive their connections, as their lanes see it.

use super::entry::{GoneEntry, SubscribeEntry};
use super::host::Reach;
use super::lane::Lane;
use super::subscription::Slot;
use crate::packet::ReasonCode;
use crate::policy::{Attempt, Refusal, Request, SessionId};
use std::collections::HashSet;

impl Lane {
    /// The connection is over; subscriptions stay, and fill the outbox. What others of a shared group can
    /// do at once they shall.
    pub(super) fn asleep(&mut self, g: &GoneEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(g.at);
        if let Some(slot) = self.own_slot(g.who.session) {
            self.offer_all(slot, reach);
        }
        self.ask(|hook, cx| hook.gone(cx, g.who.into(), &g.reason));
        self.carry_out(reach);
    }

    /// The session is over.
    pub(super) fn gone(&mut self, g: &GoneEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(g.at);
        // A later incarnation keeps what it has here; the hook may know the old one in other places.
        if let Some(slot) = self.own_slot(g.who.session)
            && let Some(outbox) = self.remove(slot)
        {
            self.bequeath(slot, &outbox, reach);
        }
        self.ask(|hook, cx| hook.gone(cx, g.who.into(), &g.reason));
        self.carry_out(reach);
    }

    /// Where this session is, or an earlier one of its client.
    fn own_slot(&self, session: SessionId) -> Option<Slot> {
        let slot = self.subscribers.slot_of(session.client)?;
        let known = self.subscribers.get(slot)?.session;
        (known.incarnation <= session.incarnation).then_some(slot)
    }

    /// The client is back: each of its filters is judged anew, since rights may have gone meanwhile.
    pub(super) fn resume(&mut self, r: &SubscribeEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(r.at);
        let slot = self.subscribers.adopt(r.who.session);
        let held = |lane: &Lane, filter: &str| {
            slot.filter(|slot| lane.index.find(filter, *slot).is_some())
        };
        let mut codes = Vec::with_capacity(r.filters.len());
        let mut asked = Vec::with_capacity(r.filters.len());
        for f in &r.filters {
            if held(self, f.filter).is_some() {
                asked.push(f);
            } else {
                codes.push((f.slot, ReasonCode::NoSubscriptionExisted, None));
            }
        }
        let requests: Vec<_> = asked.iter().map(|f| f.request()).collect();
        let verdicts = self.ask(|hook, cx| hook.judge(cx, r.who.into(), &requests));
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in asked.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    granted.push(*request);
                    codes.push((f.slot, ReasonCode::Success, None));
                }
                Err(refusal) => {
                    self.tell_refused(r, f.filter, &refusal, reach);
                    codes.push((f.slot, refusal.code, None));
                }
            }
        }
        if let Some(slot) = slot {
            self.keep_only(slot, &granted, reach);
        }
        if let Some(outbox) = reach.outbox(r.who.session) {
            // Asleep until all lanes have answered, so there is nothing to flush.
            outbox.fill(|out| out.answer(r.ticket, self.number, codes, self.now));
        }
        if !granted.is_empty() {
            self.ask(|hook, cx| hook.subscribed(cx, r.who.into(), &granted));
        }
        self.carry_out(reach);
        if let Some(slot) = slot {
            self.leave_if_unused(slot);
        }
    }

    fn tell_refused(
        &self,
        r: &SubscribeEntry<'_>,
        filter: &str,
        refusal: &Refusal,
        reach: &mut dyn Reach,
    ) {
        // No SUBACK can tell it, in any version.
        let attempt = Attempt::Subscribe(filter);
        reach.refused(r.who.into(), attempt, refusal, self.now);
    }

    /// Takes all other filters of a session away.
    fn keep_only(&mut self, slot: Slot, granted: &[Request<'_>], reach: &mut dyn Reach) {
        let kept: HashSet<&str> = granted.iter().map(|r| r.filter).collect();
        let mut gone = self.subscribers.filters(slot);
        gone.retain(|filter| !kept.contains(&**filter));
        for filter in &gone {
            self.index.remove(filter, slot);
            self.subscribers.drop_filter(slot, filter);
        }
        let gone: Vec<&str> = gone.iter().map(|filter| &**filter).collect();
        self.hand_over(slot, &gone, reach);
    }
}
