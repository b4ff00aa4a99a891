//! Sessions that outlive their connections, as their lanes see it.

use super::entry::{self, Entry, GoneEntry, SubscribeEntry};
use super::fanout::{Outgoing, pass_on};
use super::index::Slot;
use super::state::{Lane, Reach};
use super::subscriptions::Group;
use crate::packet::ReasonCode;
use crate::policy::{Attempt, Refusal, Request, SessionId};
use crate::session::Share;
use std::collections::HashSet;
use std::sync::Arc;

impl Lane {
    /// The connection is over; subscriptions stay, and fill the outbox. What others of a shared group can
    /// do at once they shall.
    pub(super) fn asleep(&mut self, g: &GoneEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(g.at);
        if let Some(slot) = self.own_slot(g.who.session)
            && let Some(outbox) = self.subscribers.get(slot).and_then(|s| s.outbox.clone())
        {
            let others = |share: &Share| {
                let group = self.index.group(&share.group);
                group.is_some_and(|g| self.is_attended(g, slot))
            };
            let taken = outbox.take_shared(self.number, &others);
            self.pass_on(slot, &taken, reach);
        }
        self.ask(|hook, cx| hook.gone(cx, g.who.into(), &g.reason));
        self.carry_out(reach);
    }

    /// The session is over.
    pub(super) fn gone(&mut self, g: &GoneEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(g.at);
        // A later incarnation keeps what it has here; the hook may know the old one in other places.
        if let Some(slot) = self.own_slot(g.who.session)
            && let Some(outbox) = self.remove(slot)
        {
            let taken = outbox.take_shared(self.number, &|_| true);
            self.pass_on(slot, &taken, reach);
        }
        self.ask(|hook, cx| hook.gone(cx, g.who.into(), &g.reason));
        self.carry_out(reach);
    }

    /// Where this session is, or an earlier one of its client.
    fn own_slot(&self, session: SessionId) -> Option<Slot> {
        let slot = self.subscribers.slot_of(session.client)?;
        let known = self.subscribers.get(slot)?.session;
        (known.incarnation <= session.incarnation).then_some(slot)
    }

    /// Whether a group has another member with a connection.
    fn is_attended(&self, group: &Group, but: Slot) -> bool {
        group.members().iter().any(|member| {
            let subscriber = self.subscribers.get(member.slot);
            let outbox = subscriber.and_then(|s| s.outbox.as_ref());
            member.slot != but && outbox.is_some_and(|o| o.is_awake())
        })
    }

    /// Never lost while the group has a member: what `from` was given goes to others.
    fn pass_on(&self, from: Slot, taken: &[Arc<Share>], reach: &mut dyn Reach) {
        for share in taken {
            let Some(group) = self.index.group(&share.group) else {
                continue;
            };
            let Ok(mut entries) = entry::read(&share.batch) else {
                continue;
            };
            let Some(Ok(Entry::Publish(entry))) = entries.next() else {
                continue;
            };
            let message = Outgoing {
                lane: self.number,
                entry: &entry,
                marked: entry.origin.map(|origin| (origin, share.mark)),
                now: self.now,
            };
            pass_on(
                &message,
                group,
                from,
                &self.subscribers,
                self.hook.as_ref(),
                reach,
            );
        }
    }

    /// The client is back: each of its filters is judged anew, since rights may have gone meanwhile.
    pub(super) fn resume(&mut self, r: &SubscribeEntry<'_>, reach: &mut dyn Reach) {
        self.pass_time(r.at);
        let slot = self.subscribers.adopt(r.who.session);
        let held = |lane: &Lane, filter: &str| {
            slot.filter(|slot| lane.index.find(filter, *slot).is_some())
        };
        let mut codes = Vec::with_capacity(r.filters.len());
        let mut asked = Vec::with_capacity(r.filters.len());
        for f in &r.filters {
            if held(self, f.filter).is_some() {
                asked.push(f);
            } else {
                codes.push((f.slot, ReasonCode::NoSubscriptionExisted, None));
            }
        }
        let requests: Vec<_> = asked.iter().map(|f| f.request()).collect();
        let verdicts = self.ask(|hook, cx| hook.judge(cx, r.who.into(), &requests));
        let mut granted = Vec::with_capacity(requests.len());
        for ((f, request), verdict) in asked.iter().zip(&requests).zip(verdicts) {
            match verdict {
                Ok(()) => {
                    granted.push(*request);
                    codes.push((f.slot, ReasonCode::Success, None));
                }
                Err(refusal) => {
                    self.tell_refused(r, f.filter, &refusal, reach);
                    codes.push((f.slot, refusal.code, None));
                }
            }
        }
        if let Some(slot) = slot {
            self.keep_only(slot, &granted);
        }
        if let Some(outbox) = reach.outbox(r.who.session) {
            // Asleep until all lanes have answered, so there is nothing to flush.
            outbox.fill(|out| out.answer(r.ticket, self.number, codes, self.now));
        }
        if !granted.is_empty() {
            self.ask(|hook, cx| hook.subscribed(cx, r.who.into(), &granted));
        }
        self.carry_out(reach);
        if let Some(slot) = slot {
            self.subscribers.take_if_unused(slot);
        }
    }

    fn tell_refused(
        &self,
        r: &SubscribeEntry<'_>,
        filter: &str,
        refusal: &Refusal,
        reach: &mut dyn Reach,
    ) {
        // No SUBACK can tell it, in any version.
        let attempt = Attempt::Subscribe(filter);
        reach.refused(r.who.into(), attempt, refusal, self.now);
    }

    /// Takes all other filters of a session away.
    fn keep_only(&mut self, slot: Slot, granted: &[Request<'_>]) {
        let kept: HashSet<&str> = granted.iter().map(|r| r.filter).collect();
        for filter in self.subscribers.filters(slot) {
            if !kept.contains(&*filter) {
                self.index.remove(&filter, slot);
                self.subscribers.drop_filter(slot, &filter);
            }
        }
    }
}
