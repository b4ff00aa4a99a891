//! The state of one lane, and what each entry does to it.

use super::entry::{Entry, FilterEntry, Origin, PublishEntry, SubscribeEntry, UnsubscribeEntry};
use super::fanout::fan_out;
use super::frames::{Outgoing, stamped_properties, stamps};
use super::host::LaneHost;
use super::retained::{RetainedLimits, RetainedMessage, RetainedStore};
use super::subscribers::Subscribers;
use super::subscription::{Slot, Subscription};
use super::subscriptions::{Subscriptions, is_shared};
use super::totals::LaneCounts;
use crate::outbox::Outbox;
use crate::packet::{PublishProperties, QoS, ReasonCode, RetainHandling, Version};
use crate::policy::{
    Attempt, Effect, HookContext, LaneHook, Limit, Mark, Message, Refusal, Stamps,
};
use std::sync::Arc;

/// One lane's state.
pub(crate) struct Lane {
    pub(super) number: u16,
    pub(super) now: u64,
    position: u64,
    pub(super) subscriptions: Subscriptions,
    pub(super) retained: RetainedStore,
    pub(super) subscribers: Subscribers,
    pub(super) hook: Box<dyn LaneHook>,
    effects: Vec<Effect>,
    /// The timer that is set for the end of a retained message.
    expiry_timer: Option<u64>,
}

/// The key of the lane's own timer; hooks have none that starts so.
const EXPIRY_TIMER: &str = "\0retained";

/// Retained messages whose time is over that are taken away in one go.
const EXPIRED_AT_ONCE: usize = 1_000;

impl Lane {
    /// `limits` is what it may keep of retained messages that nobody else limits.
    pub(crate) fn new(number: u16, hook: Box<dyn LaneHook>, limits: RetainedLimits) -> Self {
        Lane {
            number,
            now: 0,
            position: 0,
            subscriptions: Subscriptions::of(number),
            retained: RetainedStore::new(limits),
            subscribers: Subscribers::default(),
            hook,
            effects: Vec::new(),
            expiry_timer: None,
        }
    }

    /// Applies the next entry of the log. False where the log ends here.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>, host: &mut dyn LaneHost) -> bool {
        self.position += 1;
        match entry {
            Entry::Publish(publish) => self.publish(publish, host),
            Entry::Subscribe(subscribe) => self.subscribe(subscribe, host),
            Entry::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, host),
            Entry::Disconnected(gone) => self.disconnected(gone, host),
            Entry::Ended(gone) => self.ended(gone, host),
            Entry::Resume(resume) => self.resume(resume, host),
            Entry::Timer {
                at,
                key,
                generation,
            } => {
                self.advance_time(*at);
                if *key == EXPIRY_TIMER {
                    self.expire_retained(host);
                } else {
                    self.with_hook(|hook, cx| hook.timer(cx, key, *generation));
                    self.perform_effects(host);
                }
            }
            Entry::Barrier(number) => host.barrier_reached(self.number, *number),
            Entry::End => return false,
        }
        true
    }

    /// What it holds, in numbers.
    pub(crate) fn counts(&self) -> LaneCounts {
        LaneCounts::new(self.retained.size(), self.subscriptions.count())
    }

    /// A lane's time is the greatest seen.
    pub(super) fn advance_time(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    pub(super) fn with_hook<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn LaneHook, &mut HookContext<'_>) -> T,
    ) -> T {
        let mut cx = HookContext {
            now: self.now,
            position: self.position,
            effects: &mut self.effects,
        };
        ask(self.hook.as_mut(), &mut cx)
    }

    fn publish(&mut self, p: &PublishEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(p.at);
        let Some(origin) = p.origin else {
            let keep = p.retain.then_some(Limit::None);
            self.distribute(p, None, keep, host);
            return;
        };
        let message = Message {
            topic: p.topic,
            payload: p.payload,
            retain: p.retain,
            replaces: p.retain && self.retained.contains(p.topic),
        };
        match self.with_hook(|hook, cx| hook.publish(cx, origin.into(), message)) {
            Ok(verdict) => {
                let keep = verdict.keep.then_some(verdict.limit);
                self.distribute(p, Some((origin, verdict.mark)), keep, host);
            }
            Err(refusal) => {
                host.refused(origin.into(), Attempt::Publish(p.topic), &refusal, self.now);
            }
        }
        self.perform_effects(host);
    }

    /// Keeps the message where `keep` is given, and fills the outboxes of all it reaches.
    fn distribute(
        &mut self,
        p: &PublishEntry<'_>,
        marked: Option<(Origin<'_>, Mark)>,
        keep: Option<Limit>,
        host: &mut dyn LaneHost,
    ) {
        if let Some(limit) = keep {
            let stamps = stamps(self.hook.as_ref(), p, marked);
            let message = RetainedMessage {
                at: p.at,
                payload: bytes::Bytes::copy_from_slice(p.payload),
                qos: p.qos,
                properties: retained_properties(p, &stamps),
                limit,
            };
            if self.retained.set(p.topic, message) {
                self.set_expiry_timer(host);
            } else {
                if limit == Limit::OfBytes {
                    self.with_hook(|hook, cx| hook.expired(cx, p.topic));
                }
                if let Some(origin) = p.origin {
                    let refusal = not_retained(limit, self.retained.limits());
                    host.refused(origin.into(), Attempt::Publish(p.topic), &refusal, self.now);
                }
            }
        }
        let outgoing = Outgoing {
            lane: self.number,
            entry: p,
            marked,
            now: self.now,
        };
        fan_out(
            &outgoing,
            &self.subscriptions,
            &self.subscribers,
            self.hook.as_ref(),
            host,
        );
    }

    /// Sets the timer for the retained message that ends first.
    fn set_expiry_timer(&mut self, host: &mut dyn LaneHost) {
        let next = self.retained.next_expiry();
        if let Some(at) = next
            && self.expiry_timer.is_none_or(|known| at < known)
        {
            self.expiry_timer = next;
            host.set_timer(self.number, EXPIRY_TIMER.to_owned(), 0, at);
        }
    }

    fn expire_retained(&mut self, host: &mut dyn LaneHost) {
        self.expiry_timer = None;
        // The rest by the next timer, at once: others have something to say in between.
        for _ in 0..EXPIRED_AT_ONCE {
            let Some(topic) = self.retained.take_expired(self.now) else {
                break;
            };
            self.with_hook(|hook, cx| hook.expired(cx, &topic));
        }
        self.perform_effects(host);
        self.set_expiry_timer(host);
    }

    fn subscribe(&mut self, s: &SubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(s.at);
        let Some(slot) = self.slot_for(s.who, host) else {
            return;
        };
        let requests: Vec<_> = s.filters.iter().map(FilterEntry::request).collect();
        let verdicts = self.with_hook(|hook, cx| hook.judge(cx, s.who.into(), &requests));
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
                    // The SUBACK tells 5.0 all; 3.1.1 only that it failed.
                    if self
                        .outbox(slot)
                        .is_some_and(|o| o.version() == Version::V3)
                    {
                        let attempt = Attempt::Subscribe(f.filter);
                        host.refused(s.who.into(), attempt, &refusal, self.now);
                    }
                    codes.push((f.position, refusal.code, Some(refusal.reason)));
                }
            }
        }
        let wanted = granted.iter().filter_map(|(f, _, new)| {
            // [5.0 MQTT-3.8.4-4]
            let wanted = match f.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => *new,
                RetainHandling::DoNotSend => false,
            };
            // A shared subscription gets none (4.8.2).
            (wanted && !is_shared(f.filter)).then_some(*f)
        });
        let wanted: Vec<_> = wanted.collect();
        self.answer(slot, s, codes, &wanted, host);
        let granted: Vec<_> = granted.into_iter().map(|(_, r, _)| r).collect();
        if !granted.is_empty() {
            self.with_hook(|hook, cx| hook.subscribed(cx, s.who.into(), &granted));
        }
        self.perform_effects(host);
        self.remove_if_unused(slot);
    }

    fn add_subscription(&mut self, slot: Slot, f: &FilterEntry<'_>, identifier: u32) -> bool {
        let subscription = Subscription::of(slot, f, identifier);
        let new = self.subscriptions.insert(f.filter, subscription);
        if new {
            self.subscribers.add_filter(slot, f.filter);
        }
        new
    }

    fn unsubscribe(&mut self, u: &UnsubscribeEntry<'_>, host: &mut dyn LaneHost) {
        self.advance_time(u.at);
        let Some(slot) = self.slot_for(u.who, host) else {
            return;
        };
        let mut codes = Vec::with_capacity(u.filters.len());
        let mut gone = Vec::new();
        for (place, filter) in &u.filters {
            let had = self.subscriptions.remove(filter, slot);
            if had {
                gone.push(*filter);
                self.subscribers.remove_filter(slot, filter);
            }
            let code = if had {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            codes.push((*place, code, None));
        }
        self.reassign_after_unsubscribe(slot, &gone, host);
        if let Some(outbox) = self.outbox(slot)
            && outbox.fill(|out| out.answer(u.request_id, self.number, codes, self.now))
        {
            host.flush_later(outbox);
        }
        if !gone.is_empty() {
            self.with_hook(|hook, cx| hook.unsubscribed(cx, u.who.into(), &gone));
        }
        self.perform_effects(host);
        self.remove_if_unused(slot);
    }

    /// What the hook asked for, in order.
    pub(super) fn perform_effects(&mut self, host: &mut dyn LaneHost) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Publish {
                    topic,
                    payload,
                    retain,
                } => {
                    let entry = PublishEntry {
                        at: self.now,
                        origin: None,
                        topic: &topic,
                        payload: &payload,
                        qos: QoS::AtLeastOnce,
                        retain,
                        properties: None,
                    };
                    self.distribute(&entry, None, retain.then_some(Limit::None), host);
                }
                Effect::Wake {
                    key,
                    generation,
                    at,
                } => host.set_timer(self.number, key, generation, at),
                Effect::Tell(notice) => host.send_notice(notice),
            }
        }
        self.effects = effects;
    }

    /// The session's place; none for an incarnation that is over.
    fn slot_for(&mut self, who: Origin<'_>, host: &dyn LaneHost) -> Option<Slot> {
        if let Some(slot) = self.subscribers.slot_of(who.session.client) {
            let known = self.subscribers.get(slot)?.session.incarnation;
            if known == who.session.incarnation {
                return Some(slot);
            }
            if known > who.session.incarnation {
                return None;
            }
            self.remove_session(slot);
        }
        self.subscribers.insert(who, host.outbox(who.session))
    }

    pub(super) fn remove_session(&mut self, slot: Slot) -> Option<Arc<Outbox>> {
        let mut subscriber = self.subscribers.remove(slot)?;
        let outbox = subscriber.outbox.take();
        for filter in subscriber.into_filters() {
            self.subscriptions.remove(&filter, slot);
        }
        outbox
    }

    pub(super) fn outbox(&self, slot: Slot) -> Option<&Arc<Outbox>> {
        self.subscribers.outbox(slot)
    }
}

fn not_retained(limit: Limit, limits: RetainedLimits) -> Refusal {
    let RetainedLimits { messages, bytes } = limits;
    let messages = match limit {
        Limit::OfLane => format!("{messages} retained messages"),
        Limit::None | Limit::OfBytes => "retained messages".to_owned(),
    };
    Refusal {
        code: ReasonCode::RetainNotSupported,
        reason: format!(
            "delivered but not kept: there is no room for it; {messages} of {bytes} bytes together are kept in its \
             part of the topics"
        ),
    }
}

/// The properties to keep with a message, stamps included; none where nothing is set.
fn retained_properties(p: &PublishEntry<'_>, stamps: &Stamps) -> Option<Box<PublishProperties>> {
    let user_properties = stamped_properties(p, stamps)
        .into_iter()
        .map(|(n, v)| (n.as_ref().into(), v.as_ref().into()))
        .collect();
    let properties = match &p.properties {
        Some(q) => PublishProperties {
            payload_format_indicator: q.payload_format_indicator,
            message_expiry: q.message_expiry,
            content_type: q.content_type.map(Into::into),
            response_topic: q.response_topic.map(Into::into),
            correlation_data: q.correlation_data.map(bytes::Bytes::copy_from_slice),
            user_properties,
        },
        None => PublishProperties {
            user_properties,
            ..PublishProperties::default()
        },
    };
    (properties != PublishProperties::default()).then(|| Box::new(properties))
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
