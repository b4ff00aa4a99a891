//! Applying a SUBSCRIBE or an UNSUBSCRIBE.

use super::entry::{FilterEntry, SubscribeEntry, UnsubscribeEntry};
use super::host::LaneHost;
use super::lane::Lane;
use super::subscription::{Slot, Subscription};
use super::subscriptions::is_shared;
use crate::packet::{ReasonCode, RetainHandling, Version};
use crate::policy::Attempt;

impl Lane {
    /// Applies a SUBSCRIBE, or a part of one. In this order:
    ///
    /// 1. the hook judges the filters, and the subscriptions that it grants are added;
    /// 2. the client receives the reason codes, then the retained messages;
    /// 3. the hook is told, and its effects follow.
    ///
    /// The client therefore receives retained messages and live ones without a gap between them.
    pub(super) fn subscribe(&mut self, s: &SubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(s.at);
        let Some(slot) = self.slot_for(s.who, host) else {
            return;
        };
        let requests: Vec<_> = s.filters.iter().map(FilterEntry::request).collect();
        let verdicts = self.judge(s.who, &requests);
        let mut codes = Vec::with_capacity(requests.len());
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in s.filters.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    let new = self.add_subscription(slot, f, s.identifier);
                    granted.push((f, *request, new));
                    codes.push((f.position, f.options.qos.granted(), None));
                }
                Err(refusal) => {
                    // The SUBACK of 5.0 carries the reason. That of 3.1.1 does not, so a message
                    // does.
                    let outbox = host.linked(slot);
                    if outbox.is_some_and(|o| o.version() == Version::V3) {
                        let attempt = Attempt::Subscribe(f.filter);
                        host.refused(s.who, attempt, &refusal, self.now);
                    }
                    codes.push((f.position, refusal.code, Some(refusal.reason)));
                }
            }
        }
        let wanted = granted.iter().filter_map(|(f, _, new)| {
            // Retain handling: always, for new subscriptions only, or never [5.0 MQTT-3.8.4-4].
            let wanted = match f.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => *new,
                RetainHandling::DoNotSend => false,
            };
            // A shared subscription receives no retained messages (4.8.2).
            (wanted && !is_shared(f.filter)).then_some(*f)
        });
        let wanted: Vec<_> = wanted.collect();
        self.answer(slot, s, codes, &wanted, host);
        let granted: Vec<_> = granted.into_iter().map(|(_, r, _)| r).collect();
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, s.who, &granted));
        }
        self.perform_effects(host);
        self.remove_if_unused(slot, host);
    }

    /// Adds a subscription. True if the session had none to this filter.
    fn add_subscription(&mut self, slot: Slot, f: &FilterEntry<'_>, identifier: u32) -> bool {
        let subscription = Subscription::of(slot, f, identifier);
        let new = self.subscriptions.insert(f.filter, subscription);
        if new {
            self.subscribers.add_filter(slot, f.filter);
        }
        new
    }

    /// Applies an UNSUBSCRIBE, or a part of one.
    pub(super) fn unsubscribe(&mut self, u: &UnsubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(u.at);
        let Some(slot) = self.slot_for(u.who, host) else {
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
        self.reassign_after_unsubscribe(slot, &removed, host);
        if let Some(outbox) = host.linked(slot)
            && outbox.fill(|out| out.answer(u.request_id, self.number, codes, self.now))
        {
            host.flush_later(slot);
        }
        if !removed.is_empty() {
            self.with_hook(|hook, cx| hook.unsubscribed(cx, u.who, &removed));
        }
        self.perform_effects(host);
        self.remove_if_unused(slot, host);
    }
}
