//! Performing the outcome of an entry: messages and answers into outboxes, links, and the acts that
//! reach other parts of the server.

use super::context::NodeContext;
use super::frames::{Frames, retained_frame};
use super::links::Links;
use crate::outbox::Outbox;
use crate::packet::{QoS, ReasonCode, Version};
use crate::policy::{Attempt, Refusal, SessionId};
use crate::session::{Outbound, Tag};
use roommq_lane::{
    Act, Entry, Lane, Outcome, Outgoing, PublishEntry, Slot, Source, SubscribeEntry,
};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// A lane as this node runs it. All of it is behind one lock.
pub(super) struct Running {
    pub lane: Lane,
    pub links: Links,
    /// That of the latest entry, without its acts.
    outcome: Outcome,
}

impl Running {
    /// A lane that no session of this node is linked to.
    pub(super) fn new(lane: Lane) -> Self {
        Running {
            lane,
            links: Links::default(),
            outcome: Outcome::default(),
        }
    }

    /// Applies the next entry of the log, and performs its outcome. Outboxes that have to be
    /// flushed are added to `to_flush`.
    pub(super) fn apply(
        &mut self,
        entry: &Entry<'_>,
        context: &NodeContext,
        to_flush: &mut Vec<Arc<Outbox>>,
    ) {
        self.lane.apply(entry, &mut self.outcome);
        let mut acts = std::mem::take(&mut self.outcome.acts);
        let mut performer = Performer {
            entry,
            outcome: &self.outcome,
            lane: &self.lane,
            links: &mut self.links,
            context,
            to_flush,
        };
        for act in acts.drain(..) {
            performer.perform(act);
        }
        self.outcome.acts = acts;
    }
}

/// Performs the acts of one outcome.
pub(super) struct Performer<'a> {
    /// The entry that was applied.
    entry: &'a Entry<'a>,
    outcome: &'a Outcome,
    /// As it is after the entry.
    pub(super) lane: &'a Lane,
    pub(super) links: &'a mut Links,
    context: &'a NodeContext,
    pub(super) to_flush: &'a mut Vec<Arc<Outbox>>,
}

impl Performer<'_> {
    fn perform(&mut self, act: Act) {
        match act {
            Act::Deliver {
                message,
                targets,
                groups,
            } => self.deliver(message, targets, groups),
            Act::Answer {
                session,
                request_id,
                codes,
                replay,
            } => self.answer(session, request_id, codes, &replay),
            Act::Linked { slot, session } => {
                let left = self.links.leaving.remove(&session);
                let outbox = left.or_else(|| self.context.sessions.outbox(session));
                self.links.link(slot, outbox);
            }
            Act::Unlinked { slot, session } => {
                if let Some(outbox) = self.links.unlink(slot)
                    && outbox.holds_shared(self.lane.number())
                {
                    self.links.leaving.insert(session, outbox);
                }
            }
            Act::Disconnected { session } => self.reassign_after_disconnect(session),
            Act::Ended { session } => {
                if let Some(outbox) = self.links.leaving.remove(&session) {
                    self.reassign_after_end(&outbox);
                }
            }
            Act::LeftGroups { slot, groups } => self.reassign_after_unsubscribe(slot, &groups),
            Act::Dropped {
                slot,
                reason,
                messages,
                payload,
            } => {
                if let Some(outbox) = self.links.get(slot) {
                    let lane = self.lane.number();
                    outbox.fill(|out| out.dropped_in_lane(lane, reason, messages, payload));
                }
            }
            Act::Refuse { .. } | Act::Tell(_) | Act::Wake { .. } | Act::Evict { .. } => {
                self.reach_out(act);
            }
        }
    }

    /// Performs an act that has an effect outside of this lane and its clients. Of all nodes that
    /// apply the entry, one must do this.
    fn reach_out(&self, act: Act) {
        match act {
            Act::Refuse { filter, refusal } => self.refuse(filter, &refusal),
            Act::Tell(notice) => self.context.mailboxes.send(notice),
            Act::Evict { session } => self.context.sessions.evict_for_lane(session),
            Act::Wake {
                key,
                generation,
                at,
            } => {
                let lane = self.lane.number();
                self.context.timers.set(lane, key, generation, at);
            }
            _ => {}
        }
    }

    /// Tells the sender of the entry that it was refused, or that its filter with this index was.
    fn refuse(&self, filter: usize, refusal: &Refusal) {
        let (who, attempt) = match self.entry {
            Entry::Publish(p) => (p.origin, Some(Attempt::Publish(p.topic))),
            Entry::Subscribe(s) => {
                // The SUBACK of 5.0 carries the reason. That of 3.1.1 does not, so a message does.
                let outbox = self.context.sessions.outbox(s.who.session);
                let told = outbox.is_none_or(|outbox| outbox.version() == Version::V5);
                (Some(s.who).filter(|_| !told), refused_filter(s, filter))
            }
            // In no version of MQTT does a SUBACK follow.
            Entry::Resume(r) => (Some(r.who), refused_filter(r, filter)),
            _ => return,
        };
        if let (Some(who), Some(attempt)) = (who, attempt) {
            self.context.refused(who, attempt, refusal, self.lane);
        }
    }

    /// Fills the outboxes of these targets, and of a member of each of these groups.
    fn deliver(&mut self, message: Outgoing, targets: Range<usize>, groups: Range<usize>) {
        let lane = self.lane;
        let made;
        let entry = match (message.source, self.entry) {
            (Source::Entry, Entry::Publish(entry)) => entry,
            (Source::Made(at), _) => {
                let Some(message) = self.outcome.made.get(at) else {
                    return;
                };
                made = PublishEntry {
                    retain: message.retain,
                    ..PublishEntry::of_server(&message.topic, &message.payload)
                };
                &made
            }
            // Only a PUBLISH is a message.
            (Source::Entry, _) => return,
        };
        let mut frames = Frames::new(lane, entry, message.mark, message.expires, lane.wall());
        let (number, now) = (lane.number(), lane.now());
        for target in &self.outcome.targets[targets] {
            let Some(outbox) = self.links.get(target.slot) else {
                continue;
            };
            let frame = frames.for_target(target, &self.outcome.forms, outbox.version());
            let kept = message.number.filter(|_| target.kept);
            let deliver = |out: &mut Outbound| match kept {
                None => {
                    out.deliver(number, frame, now);
                }
                Some(kept) => {
                    let tag = Tag::own(number, kept);
                    if !out.deliver_kept(tag, frame, now) {
                        pass_over(lane, target.slot, out);
                    }
                }
            };
            if outbox.fill(deliver) {
                self.to_flush.push(outbox.clone());
            }
        }
        for group in &self.outcome.groups[groups] {
            self.share(*group, &mut frames);
        }
    }

    /// Answers a request with `codes`, each with the position of its filter, and then with the
    /// retained messages that the filters of `replay` match.
    fn answer(
        &mut self,
        session: SessionId,
        request_id: u32,
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        replay: &[usize],
    ) {
        let Some(outbox) = self.context.sessions.outbox(session) else {
            return;
        };
        let (lane, now) = (self.lane.number(), self.lane.now());
        if let (Entry::Subscribe(s), [_, ..]) = (self.entry, replay) {
            if outbox.fill(|out| out.begin_answer(request_id, lane, codes, now)) {
                self.to_flush.push(outbox.clone());
            }
            self.replay(&outbox, s, replay);
            if outbox.fill(|out| out.end_answer(request_id, now)) {
                self.to_flush.push(outbox);
            }
        } else if outbox.fill(|out| out.answer(request_id, lane, codes, now)) {
            self.to_flush.push(outbox);
        }
    }

    /// Sends the retained messages that these filters of a SUBSCRIBE match.
    fn replay(&mut self, outbox: &Arc<Outbox>, s: &SubscribeEntry<'_>, filters: &[usize]) {
        let (lane, now) = (self.lane.number(), self.lane.now());
        let may_drop = |qos| qos == QoS::AtMostOnce;
        let mut options = filters.iter().filter_map(|at| s.filters.get(*at));
        let may_drop_all = options.all(|f| may_drop(f.options.qos));
        // False once the outbox has dropped a message. From then on QoS 0 is not even encoded: a
        // client that subscribes again and again, and does not read, must not keep the lane busy.
        let mut has_capacity = true;
        let to_flush = &mut *self.to_flush;
        self.lane
            .replay(s, filters, self.outcome, |topic, message, subscription| {
                let qos = subscription.options.qos;
                if !has_capacity && (may_drop(message.qos) || may_drop(qos)) {
                    return ControlFlow::Continue(());
                }
                let frame = retained_frame(topic, message, now, subscription, outbox.version());
                let mut closing = false;
                let filled = outbox.try_fill(|out| {
                    has_capacity &= out.deliver_retained(s.request_id, lane, &frame, now);
                    closing = out.overflowed();
                });
                if filled == Some(true) {
                    to_flush.push(outbox.clone());
                }
                if closing || filled.is_none() || (!has_capacity && may_drop_all) {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
    }
}

/// A connected client has not been sent so much of what waits for it in the lane that it loses the
/// oldest.
fn pass_over(lane: &Lane, slot: Slot, out: &mut Outbound) {
    let number = lane.number();
    while out.is_too_far_behind(number)
        && let Some(oldest) = lane.waiting_at(slot, out.last_handed(number)).next()
    {
        let tag = Tag::own(number, oldest.number);
        out.pass_over(tag, oldest.message.payload.len());
    }
}

fn refused_filter<'a>(s: &SubscribeEntry<'a>, index: usize) -> Option<Attempt<'a>> {
    s.filters.get(index).map(|f| Attempt::Subscribe(f.filter))
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod waiting_tests;
