//! What a member of a shared group leaves to the others: never lost while the group has one that can take it.

use super::entry::{self, Entry};
use super::fanout::Outgoing;
use super::index::Slot;
use super::sharing::{self, Heirs};
use super::state::{Lane, Reach};
use super::subscriptions::is_shared;
use crate::outbox::Outbox;
use crate::session::Share;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

impl Lane {
    /// The session at `slot` has just left these filters. What its groups gave it and it has not been sent goes to their
    /// other members; without any it stays, as what was buffered may (3.10.4). What has been sent is completed
    /// [5.0 MQTT-3.10.4-3], or handed on by the end of the session.
    pub(super) fn hand_over(&self, slot: Slot, filters: &[&str], reach: &mut dyn Reach) {
        let shared = filters.iter().copied().filter(|f| is_shared(f));
        let left: HashSet<&str> = shared.collect();
        if left.is_empty() {
            return;
        }
        let Some(outbox) = self.outbox(slot) else {
            return;
        };
        let of_these = |share: &Share| left.contains(&*share.group);
        let taken = self.take_what_others_can(slot, outbox, false, &of_these);
        self.pass_on(slot, &taken, reach);
    }

    /// Takes out of the outbox of `from` what the other members of its groups have room for, those with a connection if it
    /// is to be `now`. What they have not stays: nobody is closed for it.
    pub(super) fn take_what_others_can(
        &self,
        from: Slot,
        outbox: &Outbox,
        now: bool,
        may: &dyn Fn(&Share) -> bool,
    ) -> Vec<Arc<Share>> {
        let groups: RefCell<HashSet<Arc<str>>> = RefCell::default();
        outbox.take_shared(self.number, &|share| {
            if may(share) && !groups.borrow().contains(&share.group) {
                groups.borrow_mut().insert(share.group.clone());
            }
            false
        });
        let groups = groups.into_inner();
        if groups.is_empty() {
            return Vec::new();
        }
        let mut heirs = Heirs::default();
        for key in groups {
            if let Some(group) = self.index.group(&key) {
                heirs.add(group, from, now, &self.subscribers);
            }
        }
        let heirs = RefCell::new(heirs);
        outbox.take_shared(self.number, &|share| {
            let group = self.index.group(&share.group).filter(|_| may(share));
            group.is_some_and(|group| {
                let (subscribers, hook) = (&self.subscribers, self.hook.as_ref());
                let take = |message: &Outgoing<'_>| {
                    let bytes = share.batch.len();
                    heirs
                        .borrow_mut()
                        .take(message, bytes, group, subscribers, hook)
                };
                self.with_message(share, take).unwrap_or(false)
            })
        })
    }

    /// What `from` was given goes to others.
    pub(super) fn pass_on(&self, from: Slot, taken: &[Arc<Share>], reach: &mut dyn Reach) {
        for share in taken {
            let Some(group) = self.index.group(&share.group) else {
                continue;
            };
            self.with_message(share, |message| {
                let hook = self.hook.as_ref();
                sharing::pass_on(message, group, from, &self.subscribers, hook, reach);
            });
        }
    }

    /// The message as it came into the lane.
    fn with_message<T>(&self, share: &Share, f: impl FnOnce(&Outgoing<'_>) -> T) -> Option<T> {
        let entry = entry::read(&share.batch).ok()?.next()?.ok()?;
        let Entry::Publish(entry) = entry else {
            return None;
        };
        Some(f(&Outgoing {
            lane: self.number,
            entry: &entry,
            marked: entry.origin.map(|origin| (origin, share.mark)),
            now: self.now,
        }))
    }

    /// Forgets a session that holds no filter here any more, and nothing of a group that others are to have in the end.
    pub(super) fn leave_if_unused(&mut self, slot: Slot) {
        if !self.subscribers.is_unused(slot) {
            return;
        }
        let outbox = self.outbox(slot);
        if !outbox.is_some_and(|outbox| outbox.holds_shared(self.number)) {
            self.subscribers.take(slot);
        }
    }
}
