//! The choice of a shared group's member for a message: one that can take it, in turn (4.8.2).

use super::frames::Frames;
use super::host::LaneHost;
use super::subscription::{Slot, Subscription};
use super::subscriptions::Group;
use crate::outbox::Outbox;
use crate::packet::QoS;
use crate::policy::Mark;
use crate::session::{Need, Outbound, Share};
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

/// A group, one of whose members receives a message.
struct GroupDelivery<'a> {
    group: &'a Group,
    /// A member that must not receive it.
    except: Option<Slot>,
}

/// Gives a new message to one member of a shared group.
pub(super) fn share_out(group: &Group, frames: &mut Frames<'_>, host: &mut dyn LaneHost) {
    let delivery = GroupDelivery {
        group,
        except: None,
    };
    if !delivery.give_to_first(&DELIVERY_ORDER, frames, host) {
        delivery.give_to_first(&DROP_ORDER, frames, host);
    }
}

/// Gives a message that the member `from` leaves to another member that can take it without a loss.
/// With `connected_only`, only to one that has a connection. True if one took it, or if it has
/// expired.
pub(super) fn reassign_one(
    group: &Group,
    from: Slot,
    connected_only: bool,
    frames: &mut Frames<'_>,
    host: &mut dyn LaneHost,
) -> bool {
    if frames.message.expires_at() <= frames.message.now {
        return true;
    }
    let delivery = GroupDelivery {
        group,
        except: Some(from),
    };
    let asked = if connected_only {
        &REASSIGN_ORDER[..1]
    } else {
        &REASSIGN_ORDER
    };
    delivery.give_to_first(asked, frames, host)
}

/// Whether messages are stored for a member while it is offline.
fn keeps_messages(member: &Subscription) -> bool {
    member.options.qos != QoS::AtMostOnce
}

impl GroupDelivery<'_> {
    /// Gives the message to the first member that meets a line of `asked`. False if none does.
    fn give_to_first(
        &self,
        asked: &[(Eligible, Need)],
        frames: &mut Frames<'_>,
        host: &mut dyn LaneHost,
    ) -> bool {
        let members = self.group.in_turn().enumerate();
        let members = members.filter(|(_, member)| Some(member.slot) != self.except);
        for (which, need) in asked {
            for (position, member) in members.clone() {
                let Some(outbox) = host.linked(member.slot) else {
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
                let (given, flush) = self.give((member, *need), outbox, frames);
                if flush {
                    host.flush_later(member.slot);
                }
                if given {
                    self.group.advance_past(position);
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
        (member, need): (&Subscription, Need),
        outbox: &Arc<Outbox>,
        frames: &mut Frames<'_>,
    ) -> (bool, bool) {
        let message = frames.message;
        let version = outbox.version();
        let mut given = false;
        let deliver = |out: &mut Outbound| {
            // A member that cannot even take the payload costs no encoding.
            if !out.may_meet(need, message.entry.payload.len()) {
                return;
            }
            // With the member's own QoS and identifier [5.0 MQTT-3.3.4-5, MQTT-4.8.2-3].
            let mut frame = frames.for_matches(&[member], version).clone();
            if frame.qos != QoS::AtMostOnce {
                frame.share = Some(Arc::new(Share {
                    lane: message.lane,
                    group: self.group.key.clone(),
                    batch: frames.entry_batch(),
                    mark: message.marked.map_or_else(Mark::default, |(_, mark)| mark),
                }));
            }
            given = out.meets(need, &frame);
            if given {
                out.deliver(message.lane, &frame, message.now);
            }
        };
        let flush = outbox.fill(deliver);
        (given, flush)
    }
}
