//! Reassigning a shared group's messages: what one member was given and has not been sent, or has
//! not acknowledged, goes to another.
//!
//! | the member | messages that move | to |
//! |---|---|---|
//! | unsubscribes | those that it has not been sent | connected members; if it is offline itself, any |
//! | loses its connection | those, and QoS 1 that it has not acknowledged | connected members |
//! | ends its session | the same | any members |
//!
//! A message that no member takes stays where it is. At the end of the session it is dropped, and
//! counted.

use super::entry::Entry;
use super::frames::Frames;
use super::host::LaneHost;
use super::lane::Lane;
use super::sharing::reassign_one;
use super::subscription::{Slot, Subscription};
use super::subscriptions::is_shared;
use crate::outbox::Outbox;
use crate::session::{Share, Taken};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Lane {
    /// The session at `slot` has unsubscribed from these filters, some of which may be shared.
    /// Messages of those groups that it has not been sent go to other members. If there are none it
    /// may still receive them, as MQTT allows (3.10.4).
    ///
    /// Messages that it has been sent are completed [5.0 MQTT-3.10.4-3], or reassigned when the
    /// session ends.
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
        let Some(outbox) = host.linked(slot).cloned() else {
            return;
        };
        // A connected client would rather receive its messages than leave them to offline members.
        let connected_only = outbox.is_connected();
        self.reassign(slot, &outbox, connected_only, left.into_iter(), host);
    }

    /// The connection of the session at `slot` has ended. Connected members of its groups receive
    /// what they can take; the rest waits for the session to be resumed, or to end.
    pub(super) fn reassign_after_disconnect(&self, slot: Slot, host: &mut dyn LaneHost) {
        if let Some(outbox) = host.linked(slot).cloned() {
            let groups = outbox.shared_groups(self.number);
            self.reassign(slot, &outbox, true, groups.iter().map(|g| &**g), host);
        }
    }

    /// Gives the messages that the outbox of `from` has by these groups to other members that can
    /// take them; with `connected_only`, only to those that have a connection. The rest goes back
    /// into the outbox. That is so even if its session has ended meanwhile: the entry that ends it
    /// here follows.
    fn reassign<'g>(
        &self,
        from: Slot,
        outbox: &Arc<Outbox>,
        connected_only: bool,
        groups: impl Iterator<Item = &'g str>,
        host: &mut dyn LaneHost,
    ) {
        let has_room = |member: &Subscription| {
            let outbox = host.linked(member.slot).filter(|_| member.slot != from);
            outbox.is_some_and(|o| (!connected_only || o.is_connected()) && o.has_capacity())
        };
        let taken = self.take_messages(outbox, groups, has_room);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, from, connected_only, host);
        if outbox.put_back(self.number, left, self.now) {
            host.flush_later(from);
        }
    }

    /// The session at `from` has ended. All messages of its groups go to other members, offline
    /// ones included. Those that no member takes are dropped, and counted.
    pub(super) fn reassign_after_end(&self, from: Slot, outbox: &Outbox, host: &mut dyn LaneHost) {
        let groups = outbox.shared_groups(self.number);
        let others = |member: &Subscription| member.slot != from;
        let taken = self.take_messages(outbox, groups.iter().map(|g| &**g), others);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, from, false, host);
        outbox.drop_taken(self.number, &left, self.now);
    }

    /// Takes out of the outbox the messages of those of these groups of which any member is a
    /// `candidate`. Candidates are looked for first: a client that subscribes and unsubscribes
    /// again and again must not cause more work than that.
    fn take_messages<'g>(
        &self,
        outbox: &Outbox,
        groups: impl Iterator<Item = &'g str>,
        candidate: impl Fn(&Subscription) -> bool,
    ) -> Vec<Taken> {
        let any = |group: &&str| {
            let group = self.subscriptions.group(group);
            group.is_some_and(|group| group.members().iter().any(&candidate))
        };
        let open: HashSet<&str> = groups.filter(any).collect();
        if open.is_empty() {
            return Vec::new();
        }
        outbox.take_shared(self.number, &|share| open.contains(&*share.group))
    }

    /// Gives each message to another member, and returns those that none took.
    fn give_to_others(
        &self,
        taken: Vec<Taken>,
        from: Slot,
        connected_only: bool,
        host: &mut dyn LaneHost,
    ) -> Vec<Taken> {
        let mut left = Vec::new();
        // The size of the smallest message that each group refused. No member gains capacity
        // meanwhile, so larger ones are not offered: there may be thousands of messages, and
        // thousands of members.
        let mut refused: HashMap<Arc<str>, usize> = HashMap::new();
        for message in taken {
            let share = &message.share;
            let size = share.batch.len();
            let least = refused.get(&share.group).copied().unwrap_or(usize::MAX);
            if least <= size || !self.give_to_other(share, from, connected_only, host) {
                refused.insert(share.group.clone(), size.min(least));
                left.push(message);
            }
        }
        left
    }

    /// Gives one message to another member. True if one took it, or if it has expired.
    fn give_to_other(
        &self,
        share: &Share,
        from: Slot,
        connected_only: bool,
        host: &mut dyn LaneHost,
    ) -> bool {
        // The message as it was when the lane accepted it.
        let entry = Entry::decode(&share.batch);
        let group = self.subscriptions.group(&share.group);
        let (Ok((Entry::Publish(entry), _)), Some(group)) = (entry, group) else {
            return false;
        };
        let marked = entry.origin.map(|origin| (origin, share.mark));
        let message = self.outgoing(&entry, marked);
        let mut frames = Frames::new(&message, self.hook.as_ref());
        reassign_one(group, from, connected_only, &mut frames, host)
    }

    /// Removes a session that has no subscription here any more, unless it still holds messages of
    /// shared groups: those are reassigned when it ends.
    pub(super) fn remove_if_unused(&mut self, slot: Slot, host: &mut dyn LaneHost) {
        let holds_shared = |outbox: &Arc<Outbox>| outbox.holds_shared(self.number);
        let subscriber = self.subscribers.get(slot);
        if subscriber.is_some_and(|s| s.filters.is_empty())
            && !host.linked(slot).is_some_and(holds_shared)
        {
            self.subscribers.remove(slot);
            host.unlink(slot);
        }
    }
}
