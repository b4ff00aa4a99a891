//! The life of a session as a lane sees it: disconnected, resumed, ended.

use super::entry::{DisconnectEntry, SubscribeEntry};
use super::lane::Lane;
use super::outcome::{Act, Outcome};
use super::subscribe::left_groups;
use super::subscription::Slot;
use super::visible_topics::VisibleTopics;
use crate::{Actor, Request};
use bytestring::ByteString;
use roommq_mqtt::packet::ReasonCode;
use std::collections::HashSet;

impl Lane {
    /// The session goes offline. Its subscriptions stay, and the lane limits its queue.
    pub(super) fn disconnected(&mut self, d: &DisconnectEntry<'_>, outcome: &mut Outcome) {
        if !self.is_stale(d.who) {
            let session = d.who.session;
            if let Some(slot) = self.subscribers.slot_of(session) {
                self.go_offline(slot, d, &mut outcome.acts);
            }
            outcome.acts.push(Act::Disconnected { session });
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, d.who, &d.reason));
        self.perform_effects(outcome);
    }

    /// The session ends. Its subscriptions and its queue are removed.
    pub(super) fn ended(&mut self, d: &DisconnectEntry<'_>, outcome: &mut Outcome) {
        // A later connection keeps its subscriptions. The hook is told all the same: it may have
        // state of the earlier one.
        if !self.is_stale(d.who) {
            let session = d.who.session;
            if let Some(slot) = self.subscribers.slot_of(session) {
                self.remove_session(slot, outcome);
            }
            outcome.acts.push(Act::Ended { session });
        }
        self.with_hook(|hook, cx| hook.disconnected(cx, d.who, &d.reason));
        self.perform_effects(outcome);
    }

    /// Whether a later connection has the session.
    fn is_stale(&self, who: Actor<'_>) -> bool {
        let slot = self.subscribers.slot_of(who.session);
        let known = slot.and_then(|slot| self.subscribers.get(slot));
        known.is_some_and(|known| known.connection > who.connection)
    }

    /// A connection resumes the session. Each filter that the policy allowed is judged again by the
    /// hook, since the user may have lost rights meanwhile. The session keeps those that pass, and
    /// loses all others, and the waiting messages of topics that it may not see any more.
    ///
    /// For each filter the answer has one of these codes: 0 (success), 0x11 (the lane does not know
    /// the subscription), or the hook's refusal.
    pub(super) fn resume(&mut self, r: &SubscribeEntry<'_>, outcome: &mut Outcome) {
        let slot = self.subscribers.set_connection(r.who);
        let held = |lane: &Lane, filter: &str| {
            slot.filter(|slot| lane.subscriptions.find(filter, *slot).is_some())
        };
        let mut codes = Vec::with_capacity(r.filters.len());
        let mut known = Vec::with_capacity(r.filters.len());
        for (filter, f) in r.filters.iter().enumerate() {
            if held(self, f.filter).is_some() {
                known.push((filter, f));
            } else {
                codes.push((f.position, ReasonCode::NoSubscriptionExisted, None));
            }
        }
        let requests: Vec<_> = known.iter().map(|(_, f)| f.request()).collect();
        let verdicts = self.judge(r.who, &requests);
        let mut granted = Vec::with_capacity(requests.len());
        let mut unguarded = Vec::new();
        for (((filter, f), request), verdict) in known.into_iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    granted.push(*request);
                    unguarded.extend((!f.guarded).then_some(f.filter));
                    codes.push((f.position, ReasonCode::Success, None));
                }
                Err(refusal) => {
                    codes.push((f.position, refusal.code, None));
                    outcome.acts.push(Act::Refuse { filter, refusal });
                }
            }
        }
        if let Some(slot) = slot {
            let lost = self.retain_only(slot, &granted, outcome);
            if !lost.is_empty() {
                let lost = lost.iter().map(|filter| &**filter);
                let visible = VisibleTopics::new(lost, unguarded.into_iter());
                self.purge(slot, &visible, &mut outcome.acts);
            }
            self.go_online(slot);
        }
        outcome.acts.push(Act::Answer {
            session: r.who.session,
            request_id: r.request_id,
            codes,
            replay: None,
        });
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, r.who, &granted));
        }
        self.perform_effects(outcome);
        if let Some(slot) = slot {
            self.remove_if_unused(slot, outcome);
        }
    }

    /// Removes all subscriptions of a session but those to the `granted` filters. Returns their
    /// filters.
    fn retain_only(
        &mut self,
        slot: Slot,
        granted: &[Request<'_>],
        outcome: &mut Outcome,
    ) -> Vec<ByteString> {
        let granted: HashSet<&str> = granted.iter().map(|r| r.filter).collect();
        let mut lost = self.subscribers.filters(slot);
        lost.retain(|filter| !granted.contains(&**filter));
        for filter in &lost {
            self.subscriptions.remove(filter, slot);
            self.subscribers.remove_filter(slot, filter);
        }
        let names: Vec<&str> = lost.iter().map(|filter| &**filter).collect();
        left_groups(slot, &names, outcome);
        lost
    }
}
