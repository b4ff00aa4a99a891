//! The entries at the end of a connection or a session: the will, and one in each lane that knows
//! the session.

use crate::fairness::{LANES, Turn};
use crate::lane::LogError;
use crate::node::Node;
use crate::packet::Will;
use crate::policy::{Actor, EndReason, Principal, SessionId};
use crate::session::{Done, MessageNo, Outbound};
use roommq_lane::{DisconnectEntry, DoneEntry, Entry, PropertiesEntry, PublishEntry, lane_of};
use std::collections::{BTreeMap, BTreeSet};

/// Publishes a will of `who`, as from this connection of the session, retained if it says so
/// [3.1.1 MQTT-3.1.2-16, MQTT-3.1.2-17, 5.0 MQTT-3.1.2-14, MQTT-3.1.2-15]. The policy is asked
/// again, since the user may have lost the right since CONNECT.
pub(crate) async fn send_will(
    node: &Node,
    id: SessionId,
    connection: u32,
    who: &Principal,
    will: &Will,
) {
    let permit = match node.policy.publish(who, &will.topic, will.retain) {
        Ok(permit) => permit,
        Err(refusal) => {
            tracing::info!(user = %who.user, topic = %will.topic, %refusal, "will refused");
            return;
        }
    };
    let topic = permit.resolved.as_ref().unwrap_or(&will.topic).as_str();
    let entry = Entry::Publish(PublishEntry {
        origin: Some(who.actor(id, connection)),
        topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        properties: PropertiesEntry::of(&will.properties),
    });
    append_last(node, lane_of(topic, node.lanes), &entry).await;
}

/// The last report of a session to its lanes at the end of a connection.
pub(crate) struct LastWords {
    /// Messages that it has finished with.
    done: BTreeMap<u16, Done>,
    /// By lane, the last message that it was sent or has finished with.
    sent: BTreeMap<u16, MessageNo>,
    authenticated: bool,
}

impl LastWords {
    /// Those of a session that these lanes know.
    pub(crate) fn of(out: &mut Outbound, lanes: &BTreeSet<u16>, authenticated: bool) -> Self {
        LastWords {
            done: out.take_untold().into_iter().collect(),
            sent: lanes.iter().map(|l| (*l, out.last_handed(*l))).collect(),
            authenticated,
        }
    }
}

/// Appends the end of a connection to the lanes: `Disconnected` with its last words for a session
/// that stays, `Ended` for one that has ended too.
pub(crate) async fn notify_lanes(
    node: &Node,
    who: Actor<'_>,
    lanes: &BTreeSet<u16>,
    reason: &EndReason,
    mut last_words: Option<LastWords>,
) {
    let mut turn = Turn::of(LANES);
    for lane in lanes {
        turn.spend(1).await;
        let disconnect = DisconnectEntry {
            who,
            reason: reason.clone(),
            sent: last_words
                .as_ref()
                .and_then(|words| words.sent.get(lane).copied())
                .unwrap_or_default(),
            authenticated: last_words.as_ref().is_some_and(|w| w.authenticated),
        };
        let Some(words) = &mut last_words else {
            append_last(node, *lane, &Entry::Ended(disconnect)).await;
            continue;
        };
        if let Some(done) = words.done.remove(lane) {
            let session = who.session;
            append_last(node, *lane, &Entry::Done(DoneEntry { session, done })).await;
        }
        append_last(node, *lane, &Entry::Disconnected(disconnect)).await;
    }
}

async fn append_last(node: &Node, lane: u16, entry: &Entry<'_>) {
    let appended = node.entrance.append(lane, [entry]).await;
    // The line about a lane that has stopped is in the log already.
    if let Err(error @ LogError::Engine(_)) = appended {
        tracing::error!(%error, "the log did not take the end of a session");
    }
}
