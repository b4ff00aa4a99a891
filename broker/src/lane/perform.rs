//! Performing the outcome of an entry: messages and answers into outboxes, links, and the acts that
//! reach other parts of the server.

use super::context::NodeContext;
use super::frames::Frames;
use super::links::Links;
use super::replaying::{ReplayBudget, at_first, take_turn};
use crate::fairness::{ENTRIES_WORK, ENTRY_WORK};
use crate::outbox::Outbox;
use crate::packet::{QoS, ReasonCode, Version};
use crate::policy::{Attempt, Refusal, SessionId};
use crate::session::{Outbound, Tag};
use bytes::{Buf, Bytes, BytesMut};
use roommq_lane::{
    Act, BatchError, Cursor, Entry, Lane, Outcome, Outgoing, PublishEntry, Slot, Source,
    SubscribeEntry,
};
use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

/// Targets of messages, and groups, that are served in one turn of a lane's lock.
const SLICE: usize = 1_024;

/// A lane as this node runs it. All of it is behind one lock.
pub(super) struct Running {
    pub lane: Lane,
    pub links: Links,
    /// That of the latest entry, with those of its acts that are not performed yet.
    outcome: Outcome,
    unfinished: Option<Unfinished>,
    /// [`SLICE`], but in tests, and without a limit if no applier serves the lane.
    pub slice: usize,
}

/// The rest of a batch that needs more than one turn of the lock. Nothing else is applied before it.
struct Unfinished {
    /// The entries that are not finished, encoded.
    entries: Bytes,
    /// Whether the first of them was applied, and its outcome is being performed.
    is_applied: bool,
}

impl Running {
    /// A lane that no session of this node is linked to.
    pub(super) fn new(lane: Lane) -> Self {
        Running {
            lane,
            links: Links::default(),
            outcome: Outcome::default(),
            unfinished: None,
            slice: SLICE,
        }
    }

    /// Whether the lane is in the midst of a batch.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Applies the entries of a batch, and performs their outcomes. If one of these is too large for one
    /// turn, the rest of the batch is left for [`go_on`](Self::go_on). Outboxes that have to be flushed
    /// are added to `to_flush`. `applied` is called after each entry: whether its PUBLISH matched a
    /// subscription.
    ///
    /// Takes the steps of each entry off `work`. When none is left it takes no further entry, and returns
    /// false: the caller puts those into another batch.
    ///
    /// # Errors
    /// The lane must stop: it cannot read its rules.
    pub(super) fn apply<'a, E: Borrow<Entry<'a>>>(
        &mut self,
        entries: impl IntoIterator<Item = E>,
        (context, to_flush): (&NodeContext, &mut Vec<Arc<Outbox>>),
        work: &mut usize,
        mut applied: impl FnMut(bool),
    ) -> Result<bool, BatchError> {
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            let mut slice = self.slice;
            self.lane.apply(entry.borrow(), &mut self.outcome);
            *work = work.saturating_sub(ENTRY_WORK + self.outcome.work);
            applied(self.outcome.reaches_anybody());
            let is_done = self.perform(entry.borrow(), &mut slice, context, to_flush);
            self.lane.check_rules()?;
            if !is_done {
                let mut rest = BytesMut::from(&*entry.borrow().to_bytes());
                entries.for_each(|entry| rest.extend_from_slice(&entry.borrow().to_bytes()));
                self.unfinished = Some(Unfinished {
                    entries: rest.freeze(),
                    is_applied: true,
                });
                break;
            }
            if *work == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leaves all entries of a batch for [`go_on`](Self::go_on).
    pub(super) fn begin(&mut self, entries: Bytes) {
        self.unfinished = Some(Unfinished {
            entries,
            is_applied: false,
        });
    }

    /// Goes on with a batch for one turn.
    ///
    /// # Errors
    /// The lane must stop: it cannot read an entry, or its rules.
    pub(super) fn go_on(
        &mut self,
        context: &NodeContext,
        to_flush: &mut Vec<Arc<Outbox>>,
    ) -> Result<(), BatchError> {
        let Some(mut rest) = self.unfinished.take() else {
            return Ok(());
        };
        let mut slice = self.slice;
        let mut work = ENTRIES_WORK;
        while !rest.entries.is_empty() {
            let (entry, behind) = Entry::decode(&rest.entries)?;
            if !std::mem::replace(&mut rest.is_applied, true) {
                self.lane.apply(&entry, &mut self.outcome);
                work = work.saturating_sub(ENTRY_WORK + self.outcome.work);
            }
            let is_done = self.perform(&entry, &mut slice, context, to_flush);
            self.lane.check_rules()?;
            if !is_done {
                self.unfinished = Some(rest);
                break;
            }
            let read = rest.entries.len() - behind.len();
            rest.entries.advance(read);
            rest.is_applied = false;
            if work == 0 && !rest.entries.is_empty() {
                self.unfinished = Some(rest);
                break;
            }
        }
        Ok(())
    }

    /// Drops the rest of a batch: the lane has stopped.
    pub(super) fn abandon(&mut self) {
        self.unfinished = None;
    }

    /// Performs the acts that are left of an entry's outcome, as far as a slice of so many targets goes.
    /// Returns whether all are performed.
    fn perform(
        &mut self,
        entry: &Entry<'_>,
        slice: &mut usize,
        context: &NodeContext,
        to_flush: &mut Vec<Arc<Outbox>>,
    ) -> bool {
        let mut acts = std::mem::take(&mut self.outcome.acts);
        let mut performer = Performer {
            entry,
            outcome: &self.outcome,
            lane: &self.lane,
            links: &mut self.links,
            context,
            to_flush,
        };
        let mut rest = acts.drain(..);
        let left = rest.find_map(|act| performer.perform(act, slice));
        let Some(left) = left else {
            drop(rest);
            self.outcome.acts = acts;
            return true;
        };
        self.outcome.acts = std::iter::once(left).chain(rest).collect();
        false
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
    /// Performs an act. Returns what is left of it if it has more targets than the slice.
    fn perform(&mut self, act: Act, slice: &mut usize) -> Option<Act> {
        match act {
            Act::Deliver {
                message,
                mut targets,
                mut groups,
            } => {
                self.deliver(message, &mut targets, &mut groups, slice);
                let is_left = !targets.is_empty() || !groups.is_empty();
                return is_left.then_some(Act::Deliver {
                    message,
                    targets,
                    groups,
                });
            }
            Act::Answer {
                session,
                request_id,
                codes,
                replay,
            } => self.answer(session, request_id, codes, replay),
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
            Act::Refuse { .. }
            | Act::Tell(_)
            | Act::Count(_)
            | Act::Wake { .. }
            | Act::Evict { .. } => {
                self.reach_out(act);
            }
        }
        None
    }

    /// Performs an act that has an effect outside of this lane and its clients. Of all nodes that
    /// apply the entry, one must do this.
    fn reach_out(&self, act: Act) {
        match act {
            Act::Refuse { filter, refusal } => self.refuse(filter, &refusal),
            Act::Tell(notice) => self.context.mailboxes.send(notice),
            Act::Count(limit) => self.context.limits.count(limit),
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

    /// Fills the outboxes of the next of these targets, and of a member of each of the next groups. What
    /// is left is behind the slice.
    fn deliver(
        &mut self,
        message: Outgoing,
        targets: &mut Range<usize>,
        groups: &mut Range<usize>,
        slice: &mut usize,
    ) {
        let (targets, groups) = (next(targets, slice), next(groups, slice));
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
        let targets = &self.outcome.targets[targets];
        let alone = targets.len() == 1 && groups.is_empty();
        for target in targets {
            let Some(outbox) = self.links.get(target.slot) else {
                continue;
            };
            if alone && target.qos == QoS::AtMostOnce {
                let forms = &self.outcome.forms;
                let (delivered, needs_flush) = frames.deliver_alone(target, forms, outbox);
                if needs_flush {
                    self.to_flush.push(outbox.clone());
                }
                if delivered {
                    return;
                }
            }
            let form = (outbox.version(), outbox.shows_retain());
            let frame = frames.for_target(target, &self.outcome.forms, form);
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

    /// Answers a request with `codes`, each with the position of its filter. The first retained messages
    /// follow at once if no other lane has to answer; the client's connection goes on from there.
    fn answer(
        &mut self,
        session: SessionId,
        request_id: u32,
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        replay: Option<Box<Cursor>>,
    ) {
        let Some(outbox) = self.context.sessions.outbox(session) else {
            return;
        };
        let (lane, now) = (self.lane.number(), self.lane.now());
        let cursor = replay.and_then(|cursor| at_first(self.lane, cursor));
        let replays = cursor.is_some();
        let mut flush = outbox.answer(request_id, lane, codes, cursor, now);
        if replays {
            let mut budget = ReplayBudget::default();
            flush |= take_turn(self.lane, &outbox, &mut budget, now);
        }
        if flush {
            self.to_flush.push(outbox);
        }
    }
}

/// Takes the next of a range, at most as many as are left of a slice.
fn next(range: &mut Range<usize>, slice: &mut usize) -> Range<usize> {
    let taken = range.start..range.end.min(range.start.saturating_add(*slice));
    *slice -= taken.len();
    range.start = taken.end;
    taken
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
