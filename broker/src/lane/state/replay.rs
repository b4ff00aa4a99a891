//! What a SUBSCRIBE is answered with in a lane: its codes, then the retained messages that its filters match.

use super::entry::{FilterEntry, SubscribeEntry};
use super::frames::retained_frame;
use super::host::LaneHost;
use super::lane::Lane;
use super::subscription::Slot;
use super::subscription::Subscription;
use crate::packet::{QoS, ReasonCode};
use std::ops::ControlFlow;

impl Lane {
    /// Answers a SUBSCRIBE. The filters in `wanted` get what is retained, all at once: each topic comes in its order, as
    /// often as filters match it [3.1.1 MQTT-3.8.4-4, 5.0 MQTT-3.8.4-5].
    pub(super) fn answer(
        &self,
        slot: Slot,
        s: &SubscribeEntry<'_>,
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        wanted: &[&FilterEntry<'_>],
        host: &mut dyn LaneHost,
    ) {
        let Some(outbox) = self.outbox(slot) else {
            return;
        };
        if outbox.fill(|out| out.begin_answer(s.request_id, self.number, codes, self.now)) {
            host.flush_later(outbox);
        }
        if !wanted.is_empty() {
            self.replay(slot, s, wanted, host);
        }
        if outbox.fill(|out| out.end_answer(s.request_id, self.now)) {
            host.flush_later(outbox);
        }
    }

    fn replay(
        &self,
        slot: Slot,
        s: &SubscribeEntry<'_>,
        wanted: &[&FilterEntry<'_>],
        host: &mut dyn LaneHost,
    ) {
        let (Some(subscriber), Some(outbox)) = (self.subscribers.get(slot), self.outbox(slot))
        else {
            return;
        };
        let who = subscriber.actor();
        let of = |f: &&FilterEntry<'_>| Subscription::of(slot, f, s.identifier);
        let subscriptions: Vec<_> = wanted.iter().map(of).collect();
        let unsure = |qos| qos == QoS::AtMostOnce;
        let all_unsure = subscriptions.iter().all(|s| unsure(s.options.qos));
        let all_guarded = subscriptions.iter().all(|s| s.guarded);
        // Whoever subscribes again and again and does not read shall not keep the lane busy with it.
        let mut room = true;
        let filters = wanted.iter().map(|f| f.filter);
        self.retained
            .matching(filters, self.now, |topic, kept, places| {
                // Asked once: one packet may name filters by the thousand, all of which match it.
                let mut seen = None;
                let mut is_hidden = || !*seen.get_or_insert_with(|| self.hook.may_see(who, topic));
                if all_guarded && is_hidden() {
                    return ControlFlow::Continue(());
                }
                for subscription in places.iter().filter_map(|place| subscriptions.get(*place)) {
                    if !room && all_unsure {
                        return ControlFlow::Break(());
                    }
                    if !room && (unsure(kept.qos) || unsure(subscription.options.qos)) {
                        continue;
                    }
                    if subscription.guarded && is_hidden() {
                        continue;
                    }
                    let frame =
                        retained_frame(topic, kept, self.now, subscription, outbox.version());
                    let mut closing = false;
                    let taken = outbox.try_fill(|out| {
                        room &= out.replay(s.request_id, self.number, &frame, self.now);
                        closing = out.overflowed();
                    });
                    if taken == Some(true) {
                        host.flush_later(outbox);
                    }
                    if closing || taken.is_none() {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
    }
}
