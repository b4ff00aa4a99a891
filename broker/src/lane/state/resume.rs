//! The life of a session as a lane sees it: disconnected, resumed, ended.

use super::entry::{DisconnectEntry, SubscribeEntry};
use super::host::LaneHost;
use super::lane::Lane;
use super::subscription::Slot;
use crate::packet::ReasonCode;
use crate::policy::{Actor, Attempt, Request};
use std::collections::HashSet;

impl Lane {
    /// The session goes offline. Its subscriptions stay and fill its outbox; messages of its shared
    /// groups go to members that have a connection.
    pub(super) fn disconnected(&mut self, d: &DisconnectEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(d.at);
        if let Some(slot) = self.slot_up_to(d.who) {
            self.reassign_after_disconnect(slot, host);
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, d.who, &d.reason));
        self.perform_effects(host);
    }

    /// The session ends. Its subscriptions are removed, and messages of its shared groups go to any
    /// member.
    pub(super) fn ended(&mut self, d: &DisconnectEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(d.at);
        // A later connection keeps its subscriptions. The hook is told all the same: it may have
        // state of the earlier one.
        if let Some(slot) = self.slot_up_to(d.who) {
            self.remove_session(slot);
            if let Some(outbox) = host.unlink(slot) {
                self.reassign_after_end(slot, &outbox, host);
            }
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, d.who, &d.reason));
        self.perform_effects(host);
    }

    /// The slot of this session; none if a later connection has it.
    fn slot_up_to(&self, who: Actor<'_>) -> Option<Slot> {
        let slot = self.subscribers.slot_of(who.session)?;
        let known = self.subscribers.get(slot)?.connection;
        (known <= who.connection).then_some(slot)
    }

    /// A connection resumes the session. Each filter that the policy allowed is judged again by the
    /// hook, since the user may have lost rights meanwhile. The session keeps those that pass, and
    /// loses all others.
    ///
    /// For each filter the answer has one of these codes: 0 (success), 0x11 (the lane does not know
    /// the subscription), or the hook's refusal.
    pub(super) fn resume(&mut self, r: &SubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(r.at);
        let slot = self.subscribers.set_connection(r.who);
        let held = |lane: &Lane, filter: &str| {
            slot.filter(|slot| lane.subscriptions.find(filter, *slot).is_some())
        };
        let mut codes = Vec::with_capacity(r.filters.len());
        let mut known = Vec::with_capacity(r.filters.len());
        for f in &r.filters {
            if held(self, f.filter).is_some() {
                known.push(f);
            } else {
                codes.push((f.position, ReasonCode::NoSubscriptionExisted, None));
            }
        }
        let requests: Vec<_> = known.iter().map(|f| f.request()).collect();
        let verdicts = self.judge(r.who, &requests);
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in known.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    granted.push(*request);
                    codes.push((f.position, ReasonCode::Success, None));
                }
                Err(refusal) => {
                    // In no version of MQTT does a SUBACK follow, so the user is told by a message.
                    let attempt = Attempt::Subscribe(f.filter);
                    host.refused(r.who, attempt, &refusal, self.now);
                    codes.push((f.position, refusal.code, None));
                }
            }
        }
        if let Some(slot) = slot {
            self.retain_only(slot, &granted, host);
        }
        if let Some(outbox) = host.outbox(r.who.session) {
            // The session stays offline until all lanes have answered, so nothing can be flushed.
            outbox.fill(|out| out.answer(r.request_id, self.number, codes, self.now));
        }
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, r.who, &granted));
        }
        self.perform_effects(host);
        if let Some(slot) = slot {
            self.remove_if_unused(slot, host);
        }
    }

    /// Removes all subscriptions of a session but those to the `granted` filters.
    fn retain_only(&mut self, slot: Slot, granted: &[Request<'_>], host: &mut dyn LaneHost) {
        let granted: HashSet<&str> = granted.iter().map(|r| r.filter).collect();
        let mut lost = self.subscribers.filters(slot);
        lost.retain(|filter| !granted.contains(&**filter));
        for filter in &lost {
            self.subscriptions.remove(filter, slot);
            self.subscribers.remove_filter(slot, filter);
        }
        let lost: Vec<&str> = lost.iter().map(|filter| &**filter).collect();
        self.reassign_after_unsubscribe(slot, &lost, host);
    }
}
