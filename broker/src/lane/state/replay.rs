//! A lane's answer to a SUBSCRIBE: the reason codes, then the retained messages that the filters
//! match.

use super::entry::{FilterEntry, SubscribeEntry};
use super::frames::retained_frame;
use super::host::LaneHost;
use super::lane::Lane;
use super::subscription::{Slot, Subscription};
use crate::outbox::Outbox;
use crate::packet::{QoS, ReasonCode};
use std::ops::ControlFlow;
use std::sync::Arc;

impl Lane {
    /// Answers a SUBSCRIBE with `codes`, each with the position of its filter and a reason string
    /// if it is a refusal, and with the retained messages that the filters in `wanted` match.
    ///
    /// Messages come in the order of topics, for all filters at once. One that several filters
    /// match comes once for each [3.1.1 MQTT-3.8.4-4, 5.0 MQTT-3.8.4-5].
    pub(super) fn answer(
        &self,
        slot: Slot,
        s: &SubscribeEntry<'_>,
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        wanted: &[&FilterEntry<'_>],
        host: &mut dyn LaneHost,
    ) {
        let Some(outbox) = host.linked(slot) else {
            return;
        };
        if outbox.fill(|out| out.begin_answer(s.request_id, self.number, codes, self.now)) {
            host.flush_later(slot);
        }
        if !wanted.is_empty() {
            self.replay(slot, s, wanted, host);
        }
        let end = |outbox: &Arc<Outbox>| outbox.fill(|out| out.end_answer(s.request_id, self.now));
        if host.linked(slot).is_some_and(end) {
            host.flush_later(slot);
        }
    }

    /// Sends the retained messages that the filters in `wanted` match.
    fn replay(
        &self,
        slot: Slot,
        s: &SubscribeEntry<'_>,
        wanted: &[&FilterEntry<'_>],
        host: &mut dyn LaneHost,
    ) {
        let (Some(subscriber), Some(outbox)) =
            (self.subscribers.get(slot), host.linked(slot).cloned())
        else {
            return;
        };
        let who = subscriber.actor();
        let of = |f: &&FilterEntry<'_>| Subscription::of(slot, f, s.identifier);
        let subscriptions: Vec<_> = wanted.iter().map(of).collect();
        let may_drop = |qos| qos == QoS::AtMostOnce;
        let may_drop_all = subscriptions.iter().all(|s| may_drop(s.options.qos));
        let all_guarded = subscriptions.iter().all(|s| s.guarded);
        // False once the outbox has dropped a message. From then on QoS 0 is not even encoded: a
        // client that subscribes again and again, and does not read, must not keep the lane busy.
        let mut has_capacity = true;
        let filters = wanted.iter().map(|f| f.filter);
        self.retained
            .matching(filters, self.now, |topic, message, positions| {
                // The hook is asked once a topic: thousands of filters of one packet may match it.
                let mut seen = None;
                let mut is_hidden = || !*seen.get_or_insert_with(|| self.hook.may_see(who, topic));
                if all_guarded && is_hidden() {
                    return ControlFlow::Continue(());
                }
                for subscription in positions.iter().filter_map(|at| subscriptions.get(*at)) {
                    if !has_capacity && may_drop_all {
                        return ControlFlow::Break(());
                    }
                    if !has_capacity
                        && (may_drop(message.qos) || may_drop(subscription.options.qos))
                    {
                        continue;
                    }
                    if subscription.guarded && is_hidden() {
                        continue;
                    }
                    let frame =
                        retained_frame(topic, message, self.now, subscription, outbox.version());
                    let mut closing = false;
                    let taken = outbox.try_fill(|out| {
                        has_capacity &=
                            out.deliver_retained(s.request_id, self.number, &frame, self.now);
                        closing = out.overflowed();
                    });
                    if taken == Some(true) {
                        host.flush_later(slot);
                    }
                    if closing || taken.is_none() {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
    }
}
