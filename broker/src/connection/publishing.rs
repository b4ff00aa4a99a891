//! A PUBLISH: asks the policy, adds a message for the topic's lane, and acknowledges.

use super::client::Client;
use super::peer_limits::check_levels;
use crate::packet::{
    PacketId, PublishProperties, QoS, ReasonCode, Reply, TopicName, Version, has_more_levels,
};
use crate::policy::{Attempt, Refusal};
use crate::session::{Close, Inbound};
use roommq_lane::lane_of;

/// Bytes of a reason string in PUBACK or PUBREC, at most. A reason may name a topic of 64 KiB,
/// which the client can repeat by an alias of a few bytes.
const REASON_BYTES: usize = 256;

/// Handles a PUBLISH. A refused one is acknowledged too, and adds no message.
///
/// # Errors
/// A 3.1.1 client names a topic of too many levels, which its acknowledgement cannot refuse.
pub(super) fn publish(client: &mut Client, mut inbound: Inbound) -> Result<(), Close> {
    let lane = permit(client, &mut inbound).and_then(|lane| {
        check_payload_format(inbound.properties.as_deref(), &inbound.payload)?;
        Ok(lane)
    });
    let (qos, id) = (inbound.qos, inbound.packet_id);
    let refusal = match lane {
        Ok(lane) => {
            let user = &client.who.user;
            if qos == QoS::ExactlyOnce && !client.filters.is_empty() {
                client.pending.push_qos2(lane, inbound, user);
                return Ok(());
            }
            client.pending.push(lane, inbound, user);
            None
        }
        Err(refusal) if is_too_deep(client, &inbound) => {
            let (reason, text) = (refusal.code, refusal.reason);
            return Err(Close { reason, text });
        }
        Err(refusal) => refuse(client, &inbound, refusal),
    };
    acknowledge(client, qos, id, refusal);
    Ok(())
}

/// Asks the policy, and resolves aliases in the topic. The answer for the topic of the last PUBLISH is
/// cached. Returns the lane of the topic.
fn permit(client: &mut Client, inbound: &mut Inbound) -> Result<u16, Refusal> {
    let version = client.node.policy.version();
    let cached = client.permit.get_or_insert_default();
    let topic = inbound.topic.as_str();
    // No topic is empty, so a new one is for none.
    if cached.version != version || cached.topic != topic || cached.retain != inbound.retain {
        let node = &client.node;
        check_levels(topic, ReasonCode::TopicNameInvalid, node)?;
        let permit = node
            .policy
            .publish(&client.who, &inbound.topic, inbound.retain)?;
        let resolved = permit.resolved.as_ref().map_or(topic, TopicName::as_str);
        cached.lane = lane_of(resolved, node.lanes);
        topic.clone_into(&mut cached.topic);
        (cached.version, cached.retain) = (version, inbound.retain);
        cached.resolved = permit.resolved;
    }
    if let Some(resolved) = &cached.resolved {
        inbound.topic = resolved.clone();
    }
    Ok(cached.lane)
}

/// Whether the topic of a 3.1.1 client has more than `limits.topic_levels`.
fn is_too_deep(client: &Client, inbound: &Inbound) -> bool {
    let most = client.node.limits.topic_levels;
    client.session.version() == Version::V3 && has_more_levels(inbound.topic.as_str(), most)
}

/// Returns the refusal if the acknowledgement of the message carries it, which 5.0 has. 3.1.1 and
/// QoS 0 have no reason code, so the client gets a notice in its inbox [3.1.1 MQTT-3.3.5-2].
fn refuse(client: &mut Client, inbound: &Inbound, refusal: Refusal) -> Option<Refusal> {
    tracing::debug!(user = %client.who.user, topic = %inbound.topic, %refusal, "PUBLISH refused");
    if client.session.version() == Version::V5 && inbound.qos != QoS::AtMostOnce {
        return Some(refusal);
    }
    client.notify(Attempt::Publish(inbound.topic.as_str()), &refusal);
    None
}

/// Answers with PUBACK for QoS 1, PUBREC for QoS 2, and nothing for QoS 0
/// [MQTT-3.3.4-1, 3.1.1 MQTT-4.3.2-2, 5.0 MQTT-4.3.2-4, MQTT-4.3.3-8].
fn acknowledge(client: &mut Client, qos: QoS, id: Option<PacketId>, refusal: Option<Refusal>) {
    let Some(id) = id else { return };
    let (code, reason) = match refusal {
        Some(refusal) => (refusal.code, Some(truncated(&refusal.reason).into())),
        None => (ReasonCode::Success, None),
    };
    let reply = if qos == QoS::AtLeastOnce {
        Reply::PubAck(id, code, reason)
    } else {
        if code != ReasonCode::Success {
            client.session.release(id);
        }
        Reply::PubRec(id, code, reason)
    };
    client.pending.acknowledge(reply);
}

fn truncated(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES)]
}

/// Refuses a payload that is marked as UTF-8 and is not (3.3.2.3.2, 3.1.3.2.3). An unmarked payload
/// is not read.
pub(super) fn check_payload_format(
    properties: Option<&PublishProperties>,
    payload: &[u8],
) -> Result<(), Refusal> {
    if properties.and_then(|p| p.payload_format_indicator) != Some(true) {
        return Ok(());
    }
    std::str::from_utf8(payload).map(drop).map_err(|error| {
        let from = error.valid_up_to();
        let text = format!("the payload is said to be UTF-8 and is not, from byte {from} on");
        Refusal::new(ReasonCode::PayloadFormatInvalid, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_marked_as_utf_8_must_be() {
        let marked = |mark| PublishProperties {
            payload_format_indicator: mark,
            ..PublishProperties::default()
        };
        for (mark, payload, holds) in [
            (None, &b"\xFF"[..], true),
            (Some(false), b"\xFF", true),
            (Some(true), "ä".as_bytes(), true),
            (Some(true), b"ok\xFF", false),
        ] {
            assert_eq!(
                check_payload_format(Some(&marked(mark)), payload).is_ok(),
                holds
            );
        }
        let refusal = check_payload_format(Some(&marked(Some(true))), b"ok\xFF").err();
        let refusal = refusal.map(|r| (r.code, r.reason.ends_with("from byte 2 on")));
        assert_eq!(refusal, Some((ReasonCode::PayloadFormatInvalid, true)));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(truncated("full"), "full");
        let long = format!("{}ä", "x".repeat(REASON_BYTES - 1));
        assert_eq!(truncated(&long).len(), REASON_BYTES - 1);
    }
}
