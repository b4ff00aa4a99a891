//! Asks the policy again for a connected client: its rules have changed, or the client's credentials.

use super::client::Client;
use super::filters_by_lane::FiltersByLane;
use crate::fairness::{FILTERS, Turn};
use crate::packet::TopicFilter;
use crate::policy::{Attempt, Refusal};
use crate::session::Close;
use bytestring::ByteString;
use roommq_lane::{Entry, UnsubscribeEntry, VisibleTopics};

/// Ends the subscriptions that the policy does not grant any more: in their lanes, as UNSUBSCRIBE does, and in the
/// outbox, whose messages of their topics are dropped. The client gets a notice of each in its inbox.
///
/// # Errors
/// The client may not stay.
pub(super) async fn recheck(client: &mut Client) -> Result<(), Close> {
    let policy = client.node.policy.clone();
    let gone = |refusal: Refusal| Close {
        reason: refusal.code,
        text: refusal.reason,
    };
    policy.recheck(&client.who).map_err(gone)?;
    let names: Vec<ByteString> = client.filters.iter().cloned().collect();
    let (mut lost, mut resolved, mut unguarded) = (Vec::new(), Vec::new(), Vec::new());
    let mut turn = Turn::of(FILTERS);
    for name in names {
        turn.spend(1).await;
        let Ok(filter) = TopicFilter::new(name.clone()) else {
            continue;
        };
        match policy.subscribe(&client.who, &filter).await {
            Ok(grant) if grant.guarded => {}
            Ok(_) => unguarded.push(name),
            Err(refusal) => {
                tracing::info!(user = %client.who.user, filter = %name, %refusal, "subscription revoked");
                client.notify(Attempt::Subscribe(&name), &refusal);
                client.filters.remove(&name);
                resolved.push(policy.resolve(&client.who, &filter));
                lost.push(name);
            }
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let by_lane = FiltersByLane::new(client.node.lanes, resolved.iter());
    // Nobody waits for the answers of the lanes.
    client.request_id = client.request_id.wrapping_add(1);
    let (who, request_id) = (client.who.clone(), client.request_id);
    for lane in by_lane.lanes() {
        for piece in by_lane.of(lane).chunks(FILTERS) {
            let filters = piece.iter().filter_map(|at| resolved.get(*at));
            let entry = Entry::Unsubscribe(UnsubscribeEntry {
                who: who.actor(client.session_id, client.connection),
                request_id,
                filters: (0..).zip(filters.map(TopicFilter::as_str)).collect(),
            });
            client.append_filters(lane, &entry, piece.len()).await?;
        }
    }
    let lost = lost.iter().map(|name| &**name);
    let topics = VisibleTopics::new(lost, unguarded.iter().map(|name| &**name));
    client
        .outbox
        .queue(|out| out.purge(|topic| topics.allow(topic)));
    client.send_notices();
    Ok(())
}
