//! The state of one lane, and what each entry does to it.

use super::entry::{Entry, FilterEntry, Origin, PublishEntry, SubscribeEntry, UnsubscribeEntry};
use super::fanout::fan_out;
use super::frames::{Outgoing, stamped, stamps};
use super::host::Reach;
use super::retained::{Kept, Portion, Retained};
use super::stock::LaneStock;
use super::subscribers::Subscribers;
use super::subscription::{Slot, Subscription};
use super::subscriptions::{Subscriptions, is_shared};
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
    pub(super) index: Subscriptions,
    pub(super) retained: Retained,
    pub(super) subscribers: Subscribers,
    pub(super) hook: Box<dyn LaneHook>,
    effects: Vec<Effect>,
    /// The timer that is set for the end of a retained message.
    waits_until: Option<u64>,
}

/// The key of the lane's own timer; hooks have none that starts so.
const ENDS: &str = "\0retained";

/// Retained messages whose time is over that are taken away in one go.
const ENDS_AT_ONCE: usize = 1_000;

impl Lane {
    /// `portion` is what it may keep of retained messages that nobody else limits.
    pub(crate) fn new(number: u16, hook: Box<dyn LaneHook>, portion: Portion) -> Self {
        Lane {
            number,
            now: 0,
            position: 0,
            index: Subscriptions::of(number),
            retained: Retained::new(portion),
            subscribers: Subscribers::default(),
            hook,
            effects: Vec::new(),
            waits_until: None,
        }
    }

    /// Applies the next entry of the log. False where the log ends here.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>, reach: &mut dyn Reach) -> bool {
        self.position += 1;
        match entry {
            Entry::Publish(publish) => self.publish(publish, reach),
            Entry::Subscribe(subscribe) => self.subscribe(subscribe, reach),
            Entry::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, reach),
            Entry::Asleep(gone) => self.asleep(gone, reach),
            Entry::Gone(gone) => self.gone(gone, reach),
            Entry::Resume(resume) => self.resume(resume, reach),
            Entry::Timer {
                at,
                key,
                generation,
            } => {
                self.pass_time(*at);
                if *key == ENDS {
                    self.end_retained(reach);
                } else {
                    self.ask(|hook, cx| hook.timer(cx, key, *generation));
                    self.carry_out(reach);
                }
            }
            Entry::Barrier(number) => reach.barrier(self.number, *number),
            Entry::End => return false,
        }
        true
    }

    /// What it holds, in numbers.
    pub(crate) fn stock(&self) -> LaneStock {
        LaneStock::new(self.retained.size(), self.index.count())
    }

    /// A lane's time is the greatest seen.
    pub(super) fn pass_time(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    pub(super) fn ask<T>(
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

    fn publish(&mut self, p: &PublishEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(p.at);
        let Some(origin) = p.origin else {
            let keep = p.retain.then_some(Limit::None);
            self.send_out(p, None, keep, reach);
            return;
        };
        let message = Message {
            topic: p.topic,
            payload: p.payload,
            retain: p.retain,
            replaces: p.retain && self.retained.holds(p.topic),
        };
        match self.ask(|hook, cx| hook.publish(cx, origin.into(), message)) {
            Ok(verdict) => {
                let keep = verdict.keep.then_some(verdict.limit);
                self.send_out(p, Some((origin, verdict.mark)), keep, reach);
            }
            Err(refusal) => {
                reach.refused(origin.into(), Attempt::Publish(p.topic), &refusal, self.now);
            }
        }
        self.carry_out(reach);
    }

    /// Keeps the message where `keep` is given, and fills the outboxes of all it reaches.
    fn send_out(
        &mut self,
        p: &PublishEntry<'_>,
        marked: Option<(Origin<'_>, Mark)>,
        keep: Option<Limit>,
        reach: &mut dyn Reach,
    ) {
        if let Some(limit) = keep {
            let stamps = stamps(self.hook.as_ref(), p, marked);
            let message = Kept {
                at: p.at,
                payload: bytes::Bytes::copy_from_slice(p.payload),
                qos: p.qos,
                properties: kept_properties(p, &stamps),
                limit,
            };
            if self.retained.set(p.topic, message) {
                self.wait_for_end(reach);
            } else {
                if limit == Limit::OfBytes {
                    self.ask(|hook, cx| hook.expired(cx, p.topic));
                }
                if let Some(origin) = p.origin {
                    let refusal = not_kept(limit, self.retained.portion());
                    reach.refused(origin.into(), Attempt::Publish(p.topic), &refusal, self.now);
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
            &self.index,
            &self.subscribers,
            self.hook.as_ref(),
            reach,
        );
    }

    /// Sets the timer for the retained message that ends first.
    fn wait_for_end(&mut self, reach: &mut dyn Reach) {
        let next = self.retained.next_end();
        if let Some(at) = next
            && self.waits_until.is_none_or(|known| at < known)
        {
            self.waits_until = next;
            reach.wake(self.number, ENDS.to_owned(), 0, at);
        }
    }

    fn end_retained(&mut self, reach: &mut dyn Reach) {
        self.waits_until = None;
        // The rest by the next timer, at once: others have something to say in between.
        for _ in 0..ENDS_AT_ONCE {
            let Some(topic) = self.retained.take_over(self.now) else {
                break;
            };
            self.ask(|hook, cx| hook.expired(cx, &topic));
        }
        self.carry_out(reach);
        self.wait_for_end(reach);
    }

    fn subscribe(&mut self, s: &SubscribeEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(s.at);
        let Some(slot) = self.slot_of(s.who, reach) else {
            return;
        };
        let requests: Vec<_> = s.filters.iter().map(FilterEntry::request).collect();
        let verdicts = self.ask(|hook, cx| hook.judge(cx, s.who.into(), &requests));
        let mut codes = Vec::with_capacity(requests.len());
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in s.filters.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    let new = self.add(slot, f, s.identifier);
                    granted.push((f, *request, new));
                    codes.push((f.slot, f.options.qos.granted(), None));
                }
                Err(refusal) => {
                    // The SUBACK tells 5.0 all; 3.1.1 only that it failed.
                    if self
                        .outbox(slot)
                        .is_some_and(|o| o.version() == Version::V3)
                    {
                        let attempt = Attempt::Subscribe(f.filter);
                        reach.refused(s.who.into(), attempt, &refusal, self.now);
                    }
                    codes.push((f.slot, refusal.code, Some(refusal.reason)));
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
        self.answer(slot, s, codes, &wanted, reach);
        let granted: Vec<_> = granted.into_iter().map(|(_, r, _)| r).collect();
        if !granted.is_empty() {
            self.ask(|hook, cx| hook.subscribed(cx, s.who.into(), &granted));
        }
        self.carry_out(reach);
        self.leave_if_unused(slot);
    }

    fn add(&mut self, slot: Slot, f: &FilterEntry<'_>, identifier: u32) -> bool {
        let subscription = Subscription::of(slot, f, identifier);
        let new = self.index.insert(f.filter, subscription);
        if new {
            self.subscribers.add_filter(slot, f.filter);
        }
        new
    }

    fn unsubscribe(&mut self, u: &UnsubscribeEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(u.at);
        let Some(slot) = self.slot_of(u.who, reach) else {
            return;
        };
        let mut codes = Vec::with_capacity(u.filters.len());
        let mut gone = Vec::new();
        for (place, filter) in &u.filters {
            let had = self.index.remove(filter, slot);
            if had {
                gone.push(*filter);
                self.subscribers.drop_filter(slot, filter);
            }
            let code = if had {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            codes.push((*place, code, None));
        }
        self.hand_over(slot, &gone, reach);
        if let Some(outbox) = self.outbox(slot)
            && outbox.fill(|out| out.answer(u.ticket, self.number, codes, self.now))
        {
            reach.touch(outbox);
        }
        if !gone.is_empty() {
            self.ask(|hook, cx| hook.unsubscribed(cx, u.who.into(), &gone));
        }
        self.carry_out(reach);
        self.leave_if_unused(slot);
    }

    /// What the hook asked for, in order.
    pub(super) fn carry_out(&mut self, reach: &mut dyn Reach) {
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
                    self.send_out(&entry, None, retain.then_some(Limit::None), reach);
                }
                Effect::Wake {
                    key,
                    generation,
                    at,
                } => reach.wake(self.number, key, generation, at),
                Effect::Tell(notice) => reach.tell(notice),
            }
        }
        self.effects = effects;
    }

    /// The session's place; none for an incarnation that is over.
    fn slot_of(&mut self, who: Origin<'_>, reach: &dyn Reach) -> Option<Slot> {
        if let Some(slot) = self.subscribers.slot_of(who.session.client) {
            let known = self.subscribers.get(slot)?.session.incarnation;
            if known == who.session.incarnation {
                return Some(slot);
            }
            if known > who.session.incarnation {
                return None;
            }
            self.remove(slot);
        }
        self.subscribers.enter(who, reach.outbox(who.session))
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Arc<Outbox>> {
        let mut subscriber = self.subscribers.take(slot)?;
        let outbox = subscriber.outbox.take();
        for filter in subscriber.into_filters() {
            self.index.remove(&filter, slot);
        }
        outbox
    }

    pub(super) fn outbox(&self, slot: Slot) -> Option<&Arc<Outbox>> {
        self.subscribers.outbox(slot)
    }
}

fn not_kept(limit: Limit, portion: Portion) -> Refusal {
    let Portion { messages, bytes } = portion;
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
fn kept_properties(p: &PublishEntry<'_>, stamps: &Stamps) -> Option<Box<PublishProperties>> {
    let user_properties = stamped(p, stamps)
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
