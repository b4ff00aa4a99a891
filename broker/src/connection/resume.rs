//! Resuming a session: the policy and the lanes are asked again for its subscriptions, before
//! CONNACK.

use super::client::Client;
use super::filters_by_lane::FiltersByLane;
use super::subscribing::filter_entry;
use crate::fairness::{FILTERS, Turn};
use crate::lane::LogError;
use crate::packet::{QoS, ReasonCode, SubscribeOptions, TopicFilter};
use crate::policy::{Attempt, SubscribeGrant};
use crate::session::{Answer, Outbound};
use bytestring::ByteString;
use roommq_lane::{Entry, SubscribeEntry, VisibleTopics};
use std::collections::{BTreeSet, HashSet};

/// Lanes ignore these: a resumed subscription has its old options.
const KNOWN: SubscribeOptions = SubscribeOptions::of(QoS::AtMostOnce);

/// Asks the policy and then the lanes for all filters of the session. Resolves when all lanes have
/// answered. A filter that is refused leaves the session, its messages leave the queues of the lanes
/// and the outbox, and the client gets a notice in its inbox.
pub(super) async fn resume(client: &mut Client) -> Result<(), LogError> {
    let mut names: Vec<ByteString> = client.filters.iter().cloned().collect();
    names.sort_unstable();
    let mut codes = Vec::with_capacity(names.len());
    let mut granted: Vec<(u16, SubscribeGrant)> = Vec::new();
    let mut turn = Turn::of(FILTERS);
    // `names` first: `zip` must not count past the last 16-bit position.
    for (name, position) in names.iter().zip(0..) {
        let Ok(filter) = TopicFilter::new(name.clone()) else {
            codes.push(ReasonCode::TopicFilterInvalid);
            continue;
        };
        turn.spend(1).await;
        match client.node.policy.subscribe(&client.who, &filter).await {
            Ok(grant) => {
                codes.push(ReasonCode::Success);
                granted.push((position, grant));
            }
            Err(refusal) => {
                codes.push(refusal.code);
                client.notify(Attempt::Subscribe(name), &refusal);
            }
        }
    }
    let by_lane = FiltersByLane::new(client.node.lanes, granted.iter().map(|(_, g)| &g.filter));
    let known = client.lanes.iter().copied();
    let lanes: BTreeSet<u16> = known.chain(by_lane.lanes()).collect();
    let request_id = client.next_request(Answer::Resume, codes, None, lanes.len());
    // A copy: the client is borrowed mutably below.
    let who = client.who.clone();
    for lane in lanes {
        let filters = by_lane.of(lane);
        let filters = filters.iter().filter_map(|at| granted.get(*at));
        let filters = filters.map(|(position, grant)| filter_entry(*position, KNOWN, grant));
        let filters: Vec<_> = filters.collect();
        let asked = filters.len();
        let entry = Entry::Resume(SubscribeEntry {
            who: who.actor(client.session_id, client.connection),
            request_id,
            keeps: client.keeps,
            identifier: 0,
            filters,
        });
        // One entry a lane: a lane ends the subscriptions that it is not asked for.
        client.append_filters(lane, &entry, asked).await?;
    }
    let codes = loop {
        if let Some(codes) = client.outbox.queue(Outbound::take_resumed).flatten() {
            break codes;
        }
        client.outbox.changed().await;
    };
    client.send_notices();
    let guarded: HashSet<&ByteString> = granted
        .iter()
        .filter(|(_, grant)| grant.guarded)
        .filter_map(|(position, _)| names.get(usize::from(*position)))
        .collect();
    // A lane that does not know a filter has refused it before, after the connection had ended.
    let unknown = ReasonCode::NoSubscriptionExisted;
    let refused = names.iter().zip(&codes);
    let refused = refused.filter(|(_, code)| code.is_error() || **code == unknown);
    let refused: Vec<&ByteString> = refused.map(|(name, _)| name).collect();
    if !refused.is_empty() {
        for name in &refused {
            client.filters.remove(name);
        }
        // A guarded filter shows only topics that its user may see now: it keeps no message.
        let held = client
            .filters
            .iter()
            .filter(|name| !guarded.contains(*name));
        let topics = VisibleTopics::new(refused.into_iter().map(|n| &**n), held.map(|n| &**n));
        client
            .outbox
            .queue(|out| out.purge(|topic| topics.allow(topic)));
    }
    Ok(())
}
