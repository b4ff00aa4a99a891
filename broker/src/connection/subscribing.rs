//! SUBSCRIBE and UNSUBSCRIBE: asks the policy for each filter, then the lanes that the filters live
//! in.
//!
//! An entry carries at most [`FILTERS`] filters. The client gets one SUBACK or UNSUBACK when the
//! lanes have answered all entries of its packet.

use super::client::Client;
use super::filters_by_lane::FiltersByLane;
use super::peer_limits::{check_filters, check_levels};
use crate::fairness::{FILTERS, Turn, others_first};
use crate::packet::{
    NameError, ReasonCode, Subscribe, SubscribeOptions, TopicFilter, Unsubscribe, Version,
};
use crate::policy::{Attempt, Refusal, SubscribeGrant};
use crate::session::{Answer, Close, Outbound};
use bytestring::ByteString;
use roommq_lane::{Entry, FilterEntry, SubscribeEntry, UnsubscribeEntry};

/// An entry names the position of a filter in its packet by 16 bits.
const TOO_MANY: &str = "one packet may name 65,536 filters";

/// Asks the policy for each filter of a SUBSCRIBE, and the lanes for those that it grants.
pub(super) async fn subscribe(client: &mut Client, subscribe: &Subscribe) -> Result<(), Close> {
    // First, so that filters that are refused again and again do not accumulate.
    client.remove_refused_filters();
    make_room_for_replay(client).await?;
    let mut codes = Vec::with_capacity(subscribe.filters.len());
    let mut reason = None;
    let (mut names, mut granted) = (Vec::new(), Vec::new());
    let mut turn = Turn::of(FILTERS);
    for (position, (filter, options)) in subscribe.filters.iter().enumerate() {
        // A packet may be large enough to name more.
        let Ok(position) = u16::try_from(position) else {
            codes.push(ReasonCode::QuotaExceeded);
            reason.get_or_insert_with(|| TOO_MANY.to_owned());
            continue;
        };
        turn.spend(1).await;
        match grant(client, filter).await {
            Ok((name, grant)) => {
                codes.push(ReasonCode::Success);
                names.push((position, name));
                // 3.1.1 has no options for this. Without them a bridge sends back what it receives.
                let bridge = client.outbox.is_bridge() && grant.filter.share_group().is_none();
                let options = SubscribeOptions {
                    no_local: options.no_local || bridge,
                    retain_as_published: options.retain_as_published || bridge,
                    ..*options
                };
                granted.push((position, options, grant));
            }
            Err(refusal) => {
                codes.push(refusal.code);
                let shown = filter.as_ref().map(TopicFilter::as_str).ok();
                tracing::debug!(user = %client.who.user, filter = shown, %refusal, "SUBSCRIBE refused");
                if let (Version::V3, Ok(filter)) = (client.session.version(), filter) {
                    client.notify(Attempt::Subscribe(filter.as_str()), &refusal);
                }
                reason.get_or_insert(refusal.reason);
            }
        }
    }
    let filters = granted.iter().map(|(_, _, grant)| &grant.filter);
    let asked = FiltersByLane::new(client.node.lanes, filters);
    let answer = Answer::SubAck(subscribe.packet_id, names);
    let request_id = client.next_request(answer, codes, reason, asked.pieces());
    let who = client.who.clone();
    for lane in asked.lanes() {
        client.lanes.insert(lane);
        for piece in asked.of(lane).chunks(FILTERS) {
            let filters = piece.iter().filter_map(|at| granted.get(*at));
            let filters =
                filters.map(|(slot, options, grant)| filter_entry(*slot, *options, grant));
            let entry = Entry::Subscribe(SubscribeEntry {
                who: who.actor(client.session_id, client.connection),
                request_id,
                keeps: client.keeps,
                identifier: subscribe.identifier.map_or(0, Into::into),
                filters: filters.collect(),
            });
            client.append_filters(lane, &entry, piece.len()).await?;
        }
    }
    Ok(())
}

/// Sends retained messages of earlier SUBSCRIBEs while many replays wait.
///
/// # Errors
/// The client does not read them.
async fn make_room_for_replay(client: &mut Client) -> Result<(), Close> {
    while client.outbox.has_many_replays() {
        let state = |out: &mut Outbound| (out.replaying().is_some(), out.wants_retained());
        match client.outbox.queue(state) {
            Some((true, true)) => {
                client.replay().await?;
                // Another thread may have the turn.
                others_first().await;
            }
            Some((true, false)) => {
                return Err(Close {
                    reason: ReasonCode::QuotaExceeded,
                    text: "the client asks for more retained messages than it reads".to_owned(),
                });
            }
            // They wait for the answer of a lane.
            _ => break,
        }
    }
    Ok(())
}

/// Removes the filters of an UNSUBSCRIBE. The client gets one answer for all of them, subscribed or
/// not [MQTT-3.10.4-5, MQTT-3.10.4-6].
pub(super) async fn unsubscribe(
    client: &mut Client,
    unsubscribe: &Unsubscribe,
) -> Result<(), Close> {
    let mut codes = Vec::with_capacity(unsubscribe.filters.len());
    let mut reason = None;
    let mut resolved = Vec::new();
    let mut turn = Turn::of(FILTERS);
    for (position, filter) in unsubscribe.filters.iter().enumerate() {
        turn.spend(1).await;
        match (u16::try_from(position), filter) {
            (Err(_), _) => {
                codes.push(ReasonCode::UnspecifiedError);
                reason.get_or_insert_with(|| TOO_MANY.to_owned());
            }
            (Ok(position), Ok(filter)) => {
                client.filters.remove(filter.as_str());
                codes.push(ReasonCode::Success);
                resolved.push((position, client.node.policy.resolve(&client.who, filter)));
            }
            (Ok(_), Err(error)) => {
                codes.push(ReasonCode::TopicFilterInvalid);
                reason.get_or_insert_with(|| error.to_string());
            }
        }
    }
    let filters = resolved.iter().map(|(_, filter)| filter);
    let asked = FiltersByLane::new(client.node.lanes, filters);
    let answer = Answer::UnsubAck(unsubscribe.packet_id);
    let request_id = client.next_request(answer, codes, reason, asked.pieces());
    let who = client.who.clone();
    for lane in asked.lanes() {
        for piece in asked.of(lane).chunks(FILTERS) {
            let filters = piece.iter().filter_map(|at| resolved.get(*at));
            let filters = filters.map(|(position, filter)| (*position, filter.as_str()));
            let entry = Entry::Unsubscribe(UnsubscribeEntry {
                who: who.actor(client.session_id, client.connection),
                request_id,
                filters: filters.collect(),
            });
            client.append_filters(lane, &entry, piece.len()).await?;
        }
    }
    Ok(())
}

/// Checks one filter of a SUBSCRIBE, and adds it to the session. Returns its name and the policy's
/// grant.
///
/// # Errors
/// The filter is invalid, a limit is reached, or the policy refuses it.
async fn grant(
    client: &mut Client,
    filter: &Result<TopicFilter, NameError>,
) -> Result<(ByteString, SubscribeGrant), Refusal> {
    let invalid = |e: &NameError| Refusal::new(ReasonCode::TopicFilterInvalid, e.to_string());
    let filter = filter.as_ref().map_err(invalid)?;
    let code = ReasonCode::TopicFilterInvalid;
    check_levels(filter.inner(), code, &client.node)?;
    check_filters(&client.filters, filter, &client.node)?;
    let grant = client.node.policy.subscribe(&client.who, filter).await?;
    let name = ByteString::from(filter.as_str());
    client.filters.insert(name.clone());
    Ok((name, grant))
}

/// The part of an entry for one granted filter.
pub(super) fn filter_entry(
    position: u16,
    options: SubscribeOptions,
    grant: &SubscribeGrant,
) -> FilterEntry<'_> {
    FilterEntry {
        position,
        filter: grant.filter.as_str(),
        options,
        mount: grant.mount.clone(),
        guarded: grant.guarded,
        proof: &grant.proof,
    }
}
