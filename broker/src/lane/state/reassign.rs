//! What a member of a shared group leaves to the others: never lost while the group has one that can take it.

use super::entry::{self, Entry};
use super::frames::Outgoing;
use super::host::LaneHost;
use super::lane::Lane;
use super::sharing;
use super::subscription::{Slot, Subscription};
use super::subscriptions::is_shared;
use crate::outbox::Outbox;
use crate::session::{Share, Taken};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Lane {
    /// The session at `slot` has just left these filters. What its groups gave it and it has not been sent goes to their
    /// other members; without any it stays, as what was buffered may (3.10.4). What has been sent is completed
    /// [5.0 MQTT-3.10.4-3], or handed on by the end of the session.
    pub(super) fn reassign_after_unsubscribe(
        &self,
        slot: Slot,
        filters: &[&str],
        host: &mut dyn LaneHost,
    ) {
        let shared = filters.iter().copied().filter(|f| is_shared(f));
        let left: HashSet<&str> = shared.collect();
        if left.is_empty() {
            return;
        }
        let Some(outbox) = self.outbox(slot) else {
            return;
        };
        // A client that is there is sent what no other that is there takes.
        let connected_only = outbox.is_connected();
        self.reassign(slot, outbox, connected_only, left.into_iter(), host);
    }

    /// The connection of the session at `slot` has ended: others who are there get what they can take.
    pub(super) fn reassign_after_disconnect(&self, slot: Slot, host: &mut dyn LaneHost) {
        if let Some(outbox) = self.outbox(slot) {
            let groups = outbox.shared_groups(self.number);
            self.reassign(slot, outbox, true, groups.iter().map(|g| &**g), host);
        }
    }

    /// Gives what the outbox of `from` has by these groups to other members that have room, with a connection if it is to
    /// be `now`. The rest stays where it is, also of a session that is over: its end follows.
    fn reassign<'g>(
        &self,
        from: Slot,
        outbox: &Arc<Outbox>,
        connected_only: bool,
        groups: impl Iterator<Item = &'g str>,
        host: &mut dyn LaneHost,
    ) {
        let has_room = |member: &Subscription| {
            let outbox = self.outbox(member.slot).filter(|_| member.slot != from);
            outbox.is_some_and(|o| (!connected_only || o.is_connected()) && o.has_capacity())
        };
        let taken = self.take_messages(outbox, groups, has_room);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, from, connected_only, host);
        if outbox.put_back(self.number, left, self.now) {
            host.flush_later(outbox);
        }
    }

    /// The same for all of a session that is over. What others might have had and none took is lost.
    pub(super) fn reassign_after_end(&self, from: Slot, outbox: &Outbox, host: &mut dyn LaneHost) {
        let groups = outbox.shared_groups(self.number);
        let others = |member: &Subscription| member.slot != from;
        let taken = self.take_messages(outbox, groups.iter().map(|g| &**g), others);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, from, false, host);
        outbox.lose_taken(self.number, &left, self.now);
    }

    /// What the outbox has by those of these groups of which any member is `such`. Members are asked before anything is taken
    /// out: who leaves and joins again and again must not cost more than that.
    fn take_messages<'g>(
        &self,
        outbox: &Outbox,
        groups: impl Iterator<Item = &'g str>,
        such: impl Fn(&Subscription) -> bool,
    ) -> Vec<Taken> {
        let any = |group: &&str| {
            let group = self.subscriptions.group(group);
            group.is_some_and(|group| group.members().iter().any(&such))
        };
        let open: HashSet<&str> = groups.filter(any).collect();
        if open.is_empty() {
            return Vec::new();
        }
        outbox.take_shared(self.number, &|share| open.contains(&*share.group))
    }

    /// What nobody took of it.
    fn give_to_others(
        &self,
        taken: Vec<Taken>,
        from: Slot,
        connected_only: bool,
        host: &mut dyn LaneHost,
    ) -> Vec<Taken> {
        let mut left = Vec::new();
        // By group, the smallest that was refused. Nobody gets room meanwhile, most likely, and there may be thousands of both
        // members and messages.
        let mut refused: HashMap<Arc<str>, usize> = HashMap::new();
        for message in taken {
            let share = &message.share;
            let size = share.batch.len();
            let hopeless = refused
                .get(&share.group)
                .is_some_and(|least| *least <= size);
            if hopeless || !self.give_to_other(share, from, connected_only, host) {
                refused
                    .entry(share.group.clone())
                    .and_modify(|least| *least = size.min(*least))
                    .or_insert(size);
                left.push(message);
            }
        }
        left
    }

    /// Whether another member took it, or it has expired.
    fn give_to_other(
        &self,
        share: &Share,
        from: Slot,
        connected_only: bool,
        host: &mut dyn LaneHost,
    ) -> bool {
        let give = |message: &Outgoing<'_>| {
            let group = self.subscriptions.group(&share.group)?;
            let (subscribers, hook) = (&self.subscribers, self.hook.as_ref());
            Some(sharing::reassign_one(
                message,
                group,
                from,
                connected_only,
                subscribers,
                hook,
                host,
            ))
        };
        self.with_message(share, give).flatten() == Some(true)
    }

    /// The message as it came into the lane.
    fn with_message<T>(&self, share: &Share, f: impl FnOnce(&Outgoing<'_>) -> T) -> Option<T> {
        let entry = entry::read_batch(&share.batch).ok()?.next()?.ok()?;
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
    pub(super) fn remove_if_unused(&mut self, slot: Slot) {
        if !self.subscribers.has_no_filter(slot) {
            return;
        }
        let outbox = self.outbox(slot);
        if !outbox.is_some_and(|outbox| outbox.holds_shared(self.number)) {
            self.subscribers.remove(slot);
        }
    }
}
