//! Shared groups on this node: the choice of the member that a message goes to, one that can take
//! it, in turn (4.8.2); and reassigning: what one member was given and has not been sent, or has
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

use super::frames::Frames;
use super::perform::Performer;
use crate::outbox::Outbox;
use crate::packet::QoS;
use crate::policy::{SessionId, WallTime};
use crate::session::{Need, Outbound, Share, Taken};
use roommq_lane::{Entry, Group, Slot, Subscription};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The members of a group that are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eligible {
    /// Those that have a connection.
    Connected,
    /// Those whose session is offline.
    Offline,
    /// All. A member that connects while the group is asked is missed by neither of the other two.
    Any,
}

/// The order in which members are asked to take a new message. Most of the time the first that is
/// asked takes it.
///
/// 1. A connected member that loses nothing by it.
/// 2. An offline member that loses nothing by it.
/// 3. A connected member that accepts packets of this size. Its queue is full: QoS 0 is dropped,
///    and QoS 1 or 2 closes its connection.
/// 4. An offline member whose last connection accepted packets of this size. Its queue is full: the
///    oldest message is dropped.
/// 5. An offline member whose last connection did not accept packets of this size. The next one
///    may.
const DELIVERY_ORDER: [(Eligible, Need); 5] = [
    (Eligible::Connected, Need::Capacity),
    (Eligible::Offline, Need::Capacity),
    (Eligible::Connected, Need::Size),
    (Eligible::Offline, Need::Size),
    (Eligible::Offline, Need::Later),
];

/// The order in which members are asked to drop and count a message that none can take. A connected
/// one comes first: an offline one with a full queue would drop an older message for it.
const DROP_ORDER: [(Eligible, Need); 2] = [
    (Eligible::Connected, Need::Nothing),
    (Eligible::Any, Need::Nothing),
];

/// The order in which members are asked to take what another member leaves. If only connected
/// members may, the first line alone is used.
///
/// No connection is closed for such a message. A closed member would leave all its messages to the
/// others, close one of those, and so on through the whole group.
const REASSIGN_ORDER: [(Eligible, Need); 3] = [
    (Eligible::Connected, Need::Capacity),
    (Eligible::Any, Need::Capacity),
    (Eligible::Offline, Need::Later),
];

/// Whether messages are stored for a member while it is offline.
fn keeps_messages(member: &Subscription) -> bool {
    member.options.qos != QoS::AtMostOnce
}

impl Performer<'_> {
    /// Gives a new message to one member of a shared group.
    pub(super) fn share(&mut self, group: Slot, frames: &mut Frames<'_>) {
        let lane = self.lane;
        if let Some(group) = lane.subscriptions().group_at(group)
            && !self.give_to_first(group, None, &DELIVERY_ORDER, frames)
        {
            self.give_to_first(group, None, &DROP_ORDER, frames);
        }
    }

    /// Gives the message to the first member that meets a line of `asked`, but not to `except`.
    /// False if none does.
    fn give_to_first(
        &mut self,
        group: &Group,
        except: Option<Slot>,
        asked: &[(Eligible, Need)],
        frames: &mut Frames<'_>,
    ) -> bool {
        let (number, all) = (self.lane.number(), self.lane.subscriptions());
        let members = self.links.turns.in_turn(number, all, group).enumerate();
        let members = members.filter(|(_, member)| Some(member.slot) != except);
        for (which, need) in asked {
            for (position, member) in members.clone() {
                let Some(outbox) = self.links.get(member.slot) else {
                    continue;
                };
                let connected = outbox.is_connected();
                let asked = match which {
                    Eligible::Connected => connected,
                    Eligible::Offline => !connected,
                    Eligible::Any => true,
                };
                if !asked || !(connected || *need == Need::Nothing || keeps_messages(member)) {
                    continue;
                }
                let (given, flush) = self.give(group, (member, *need), outbox, frames);
                if flush {
                    self.to_flush.push(outbox.clone());
                }
                if given {
                    self.links.turns.advance_past(group, position);
                    return true;
                }
            }
        }
        false
    }

    /// Gives the message to one member if it meets `need`. That is asked for all that the member
    /// would store (the entry included) and for the packet that it would receive.
    ///
    /// False if the member does not, or if its session has ended and the lane has not applied that
    /// yet. The second value says whether the outbox must be flushed.
    fn give(
        &self,
        group: &Group,
        (member, need): (&Subscription, Need),
        outbox: &Outbox,
        frames: &mut Frames<'_>,
    ) -> (bool, bool) {
        let (lane, now) = (self.lane.number(), self.lane.now());
        let version = outbox.version();
        let mut given = false;
        let flush = outbox.fill(|out: &mut Outbound| {
            // A member that cannot even take the payload costs no encoding.
            if !out.may_meet(need, frames.message.payload.len()) {
                return;
            }
            let mut frame = frames.for_member(member, version).clone();
            if frame.qos != QoS::AtMostOnce {
                frame.share = Some(Arc::new(Share {
                    lane,
                    group: group.key.clone(),
                    entry: frames.encoded_entry(),
                    mark: frames.mark.unwrap_or_default(),
                    wall: frames.wall.0,
                }));
            }
            given = out.meets(need, &frame);
            if given {
                out.deliver(lane, &frame, now);
            }
        });
        (given, flush)
    }

    /// The session at `slot` has unsubscribed from these groups. Their messages that it has not been
    /// sent go to other members. If there are none it may still receive them, as MQTT allows
    /// (3.10.4).
    ///
    /// Messages that it has been sent are completed [5.0 MQTT-3.10.4-3], or reassigned when the
    /// session ends.
    pub(super) fn reassign_after_unsubscribe(&mut self, slot: Slot, groups: &[Box<str>]) {
        if let Some(outbox) = self.links.get(slot).cloned() {
            // A connected client would rather receive its messages than leave them to offline
            // members.
            let connected_only = outbox.is_connected();
            let groups = groups.iter().map(|group| &**group);
            self.reassign(Some(slot), &outbox, connected_only, groups);
        }
    }

    /// The connection of a session has ended. Connected members of its groups receive what they can
    /// take; the rest waits for the session to be resumed, or to end.
    pub(super) fn reassign_after_disconnect(&mut self, session: SessionId) {
        let slot = self.lane.slot_of(session);
        let outbox = match slot {
            Some(slot) => self.links.get(slot),
            None => self.links.leaving.get(&session),
        };
        if let Some(outbox) = outbox.cloned() {
            let groups = outbox.shared_groups(self.lane.number());
            self.reassign(slot, &outbox, true, groups.iter().map(|g| &**g));
        }
    }

    /// Gives the messages that the outbox of `from` has by these groups to other members that can
    /// take them; with `connected_only`, only to those that have a connection. The rest goes back
    /// into the outbox. That is so even if its session has ended meanwhile: the entry that ends it
    /// here follows.
    fn reassign<'g>(
        &mut self,
        from: Option<Slot>,
        outbox: &Arc<Outbox>,
        connected_only: bool,
        groups: impl Iterator<Item = &'g str>,
    ) {
        let has_room = |member: &Subscription| {
            let outbox = self.links.get(member.slot);
            let outbox = outbox.filter(|_| Some(member.slot) != from);
            outbox.is_some_and(|o| (!connected_only || o.is_connected()) && o.has_capacity())
        };
        let taken = self.take_messages(outbox, groups, has_room);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, from, connected_only);
        if outbox.put_back(self.lane.number(), left, self.lane.now()) {
            self.to_flush.push(outbox.clone());
        }
    }

    /// A session has ended, and its outbox holds messages of shared groups. All of them go to other
    /// members, offline ones included. Those that no member takes are dropped, and counted.
    pub(super) fn reassign_after_end(&mut self, outbox: &Outbox) {
        let groups = outbox.shared_groups(self.lane.number());
        let taken = self.take_messages(outbox, groups.iter().map(|g| &**g), |_| true);
        if taken.is_empty() {
            return;
        }
        let left = self.give_to_others(taken, None, false);
        outbox.drop_taken(self.lane.number(), &left, self.lane.now());
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
            let group = self.lane.subscriptions().group(group);
            group.is_some_and(|group| group.members().iter().any(&candidate))
        };
        let open: HashSet<&str> = groups.filter(any).collect();
        if open.is_empty() {
            return Vec::new();
        }
        outbox.take_shared(self.lane.number(), &|share| open.contains(&*share.group))
    }

    /// Gives each message to another member, and returns those that none took.
    fn give_to_others(
        &mut self,
        taken: Vec<Taken>,
        from: Option<Slot>,
        connected_only: bool,
    ) -> Vec<Taken> {
        let mut left = Vec::new();
        // The size of the smallest message that each group refused. No member gains capacity
        // meanwhile, so larger ones are not offered: there may be thousands of messages, and
        // thousands of members.
        let mut refused: HashMap<Arc<str>, usize> = HashMap::new();
        for message in taken {
            let (share, expires) = (&message.share, message.expires());
            let size = share.entry.len();
            let least = refused.get(&share.group).copied().unwrap_or(usize::MAX);
            if least <= size || !self.give_to_other(share, expires, from, connected_only) {
                refused.insert(share.group.clone(), size.min(least));
                left.push(message);
            }
        }
        left
    }

    /// Gives one message to another member that can take it without a loss. True if one took it, or
    /// if it has expired.
    fn give_to_other(
        &mut self,
        share: &Share,
        expires: u64,
        from: Option<Slot>,
        connected_only: bool,
    ) -> bool {
        // The message as it was when the lane accepted it.
        let entry = Entry::decode(&share.entry);
        let lane = self.lane;
        let group = lane.subscriptions().group(&share.group);
        let (Ok((Entry::Publish(entry), _)), Some(group)) = (entry, group) else {
            return false;
        };
        if expires <= lane.now() {
            return true;
        }
        let mut frames = Frames::new(
            lane,
            &entry,
            Some(share.mark),
            expires,
            WallTime(share.wall),
        );
        let asked = if connected_only {
            &REASSIGN_ORDER[..1]
        } else {
            &REASSIGN_ORDER
        };
        self.give_to_first(group, from, asked, &mut frames)
    }
}
