//! Applying a SUBSCRIBE or an UNSUBSCRIBE.

use super::cursor::Cursor;
use super::entry::{FilterEntry, SubscribeEntry, UnsubscribeEntry};
use super::lane::Lane;
use super::outcome::{Act, Outcome};
use super::subscription::{Slot, Subscription};
use super::subscriptions::is_shared;
use roommq_mqtt::packet::{ReasonCode, RetainHandling};

impl Lane {
    /// Applies a SUBSCRIBE, or a part of one. In this order:
    ///
    /// 1. the hook judges the filters, and the subscriptions that it grants are added;
    /// 2. the client receives the reason codes, then the retained messages;
    /// 3. the hook is told, and its effects follow.
    ///
    /// The client therefore receives retained messages and live ones without a gap between them.
    pub(super) fn subscribe(&mut self, s: &SubscribeEntry<'_>, outcome: &mut Outcome) {
        let Some(slot) = self.slot_for(s.who, outcome) else {
            return;
        };
        let requests: Vec<_> = s.filters.iter().map(FilterEntry::request).collect();
        let verdicts = self.judge(s.who, &requests);
        let mut codes = Vec::with_capacity(requests.len());
        let mut granted = Vec::with_capacity(requests.len());
        let mut wanted = Vec::new();
        let asked = s.filters.iter().zip(&requests).zip(verdicts);
        for (filter, ((f, request), verdict)) in asked.enumerate() {
            match verdict {
                Ok(()) => {
                    let new = self.add_subscription(slot, f, s);
                    granted.push(*request);
                    codes.push((f.position, f.options.qos.granted(), None));
                    // Retain handling: always, for new subscriptions only, or never
                    // [5.0 MQTT-3.8.4-4].
                    let sends = match f.options.retain_handling {
                        RetainHandling::Send => true,
                        RetainHandling::SendIfNew => new,
                        RetainHandling::DoNotSend => false,
                    };
                    // A shared subscription receives no retained messages (4.8.2).
                    if sends && !is_shared(f.filter) {
                        wanted.push(f);
                    }
                }
                Err(refusal) => {
                    let reason = Some(refusal.reason.clone());
                    codes.push((f.position, refusal.code, reason));
                    outcome.acts.push(Act::Refuse { filter, refusal });
                }
            }
        }
        let (retained, _) = self.retained.size();
        let replay = (!wanted.is_empty() && retained > 0)
            .then(|| Box::new(Cursor::new(s, &wanted, self.position)));
        outcome.acts.push(Act::Answer {
            session: s.who.session,
            request_id: s.request_id,
            codes,
            replay,
        });
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, s.who, &granted));
        }
        self.perform_effects(outcome);
        self.remove_if_unused(slot, outcome);
    }

    /// Adds a subscription. True if the session had none to this filter.
    fn add_subscription(
        &mut self,
        slot: Slot,
        f: &FilterEntry<'_>,
        s: &SubscribeEntry<'_>,
    ) -> bool {
        let subscription = Subscription::of(slot, f, s.identifier, s.keeps);
        let new = self.subscriptions.insert(f.filter, subscription);
        if new {
            self.subscribers.add_filter(slot, f.filter);
        }
        new
    }

    /// Applies an UNSUBSCRIBE, or a part of one.
    pub(super) fn unsubscribe(&mut self, u: &UnsubscribeEntry<'_>, outcome: &mut Outcome) {
        let Some(slot) = self.slot_for(u.who, outcome) else {
            return;
        };
        let mut codes = Vec::with_capacity(u.filters.len());
        let mut removed = Vec::new();
        for (position, filter) in &u.filters {
            let mut code = ReasonCode::NoSubscriptionExisted;
            if self.subscriptions.remove(filter, slot) {
                code = ReasonCode::Success;
                removed.push(*filter);
                self.subscribers.remove_filter(slot, filter);
            }
            codes.push((*position, code, None));
        }
        left_groups(slot, &removed, outcome);
        outcome.acts.push(Act::Answer {
            session: u.who.session,
            request_id: u.request_id,
            codes,
            replay: None,
        });
        if !removed.is_empty() {
            self.with_hook(|hook, cx| hook.unsubscribed(cx, u.who, &removed));
        }
        self.perform_effects(outcome);
        self.remove_if_unused(slot, outcome);
    }
}

/// Adds to the outcome that the session at `slot` has left the shared ones of these filters.
pub(super) fn left_groups(slot: Slot, filters: &[&str], outcome: &mut Outcome) {
    let shared = filters.iter().filter(|filter| is_shared(filter));
    let groups: Vec<Box<str>> = shared.map(|filter| (*filter).into()).collect();
    if !groups.is_empty() {
        outcome.acts.push(Act::LeftGroups { slot, groups });
    }
}
