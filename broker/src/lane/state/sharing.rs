//! Members member of a shared group gets a message (4.8.2): who can take it, in delivery.

use super::frames::{Frames, Outgoing};
use super::host::LaneHost;
use super::subscribers::Subscribers;
use super::subscription::{Slot, Subscription};
use super::subscriptions::Group;
use crate::outbox::Outbox;
use crate::packet::QoS;
use crate::policy::{LaneHook, Mark};
use crate::session::{Need, Outbound, Share};
use std::sync::Arc;

/// Members members are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Those with a connection.
    Connected,
    /// Those without.
    Offline,
    /// All of them: who comes while they are asked is left out by neither.
    Any,
}

/// Who is asked, the best first; most of the time that is the first of all. Who has no room is closed for it, and who is
/// away and took no such packet last time perhaps does next time.
const DELIVERY_ORDER: [(Members, Need); 5] = [
    (Members::Connected, Need::Room),
    (Members::Offline, Need::Room),
    (Members::Connected, Need::Size),
    (Members::Offline, Need::Size),
    (Members::Offline, Need::Later),
];

/// Nobody can take it: it is dropped where that is counted, and takes no room from what an absent member keeps.
const DROP_ORDER: [(Members, Need); 2] = [
    (Members::Connected, Need::Nothing),
    (Members::Any, Need::Nothing),
];

/// Who is asked for what another member left, the first of them only if it is to be now. Nobody is closed for it: who is
/// leaves all it has to the others, and so the whole group could go.
const REASSIGN_ORDER: [(Members, Need); 3] = [
    (Members::Connected, Need::Room),
    (Members::Any, Need::Room),
    (Members::Offline, Need::Later),
];

/// A message on its way to a group.
struct GroupDelivery<'a, 'm> {
    message: &'a Outgoing<'m>,
    group: &'a Group,
    /// Who shall not have it.
    except: Option<Slot>,
    subscribers: &'a Subscribers,
}

/// Gives a message to one member of a shared group.
pub(super) fn share_out(
    message: &Outgoing<'_>,
    group: &Group,
    frames: &mut Frames<'_>,
    subscribers: &Subscribers,
    host: &mut dyn LaneHost,
) {
    let delivery = GroupDelivery {
        message,
        group,
        except: None,
        subscribers,
    };
    if !delivery.take(&DELIVERY_ORDER, frames, host) {
        delivery.take(&DROP_ORDER, frames, host);
    }
}

/// Gives a message that `from` has left to another member that has room, with a connection if it is to be `now`. True
/// where one took it, or it has expired.
pub(super) fn reassign_one(
    message: &Outgoing<'_>,
    group: &Group,
    from: Slot,
    connected_only: bool,
    subscribers: &Subscribers,
    hook: &dyn LaneHook,
    host: &mut dyn LaneHost,
) -> bool {
    if message.expires_at() <= message.now {
        return true;
    }
    let delivery = GroupDelivery {
        message,
        group,
        except: Some(from),
        subscribers,
    };
    let asked = if connected_only {
        &REASSIGN_ORDER[..1]
    } else {
        &REASSIGN_ORDER
    };
    delivery.take(asked, &mut Frames::new(message, hook), host)
}

/// Whether anything is kept for a member while it is away.
fn keeps_messages(member: &Subscription) -> bool {
    member.options.qos != QoS::AtMostOnce
}

impl GroupDelivery<'_, '_> {
    /// Gives the message to the first that meets what is asked; false where none does.
    fn take(
        &self,
        asked: &[(Members, Need)],
        frames: &mut Frames<'_>,
        host: &mut dyn LaneHost,
    ) -> bool {
        let members = self.group.in_turn().enumerate();
        let members = members.filter(|(_, member)| Some(member.slot) != self.except);
        let members = members.filter_map(|(place, member)| {
            let outbox = self.subscribers.outbox(member.slot)?;
            Some((place, member, outbox))
        });
        for (which, need) in asked {
            let able = members.clone().filter(|(_, member, outbox)| {
                let awake = outbox.is_connected();
                let asked = match which {
                    Members::Connected => awake,
                    Members::Offline => !awake,
                    Members::Any => true,
                };
                asked && (awake || *need == Need::Nothing || keeps_messages(member))
            });
            for (place, member, outbox) in able {
                if self.give((member, *need), outbox, frames, host) {
                    self.group.advance_past(place);
                    return true;
                }
            }
        }
        false
    }

    /// Gives the message to a member that meets what is asked of it, of all that is kept of it, properties and the entry
    /// included, and of the packet that it would get; false where it does not, or where its session is over, of which
    /// the lane has not heard yet.
    fn give(
        &self,
        (member, need): (&Subscription, Need),
        outbox: &Arc<Outbox>,
        frames: &mut Frames<'_>,
        host: &mut dyn LaneHost,
    ) -> bool {
        let message = self.message;
        let version = outbox.version();
        let mut given = false;
        let deliver = |out: &mut Outbound| {
            // Nothing is encoded for those who cannot even take the payload.
            if !out.may_meet(need, message.entry.payload.len()) {
                return;
            }
            // By the member's own QoS and identifier [5.0 MQTT-3.3.4-5, MQTT-4.8.2-3].
            let mut frame = frames.for_group(&[member], version).clone();
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
        if outbox.try_fill(deliver) == Some(true) {
            host.flush_later(outbox);
        }
        given
    }
}
