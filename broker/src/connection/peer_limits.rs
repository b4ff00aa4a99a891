//! Limits on what one packet of a peer may bring. Each is counted in `$SYS` by its setting's name.

use super::connecting::ConnectingPeer;
use crate::connect_limits::ConnectLimit;
use crate::limit_counts::LimitCounts;
use crate::node::Node;
use crate::packet::{Connect, DecodeError, ReasonCode, TopicFilter, Will, has_more_levels};
use crate::policy::{Principal, Refusal};
use crate::session::{FilterLimits, Filters};
use std::time::Instant;

/// A filter that spans lanes counts for so many of them at most: with thousands of lanes it could not be long.
const COPIES: usize = 16;

/// Refuses, by `code`, a topic or filter with more than `limits.topic_levels` levels.
pub(super) fn check_levels(text: &str, code: ReasonCode, node: &Node) -> Result<(), Refusal> {
    let most = node.limits.topic_levels;
    if !has_more_levels(text, most) {
        return Ok(());
    }
    node.limit_counts.count("topic_levels");
    let text = format!("a topic or filter may have {most} levels here");
    Err(Refusal::new(code, text))
}

/// Refuses a filter that a session may not hold beside those it `held`.
pub(super) fn check_filters(held: &Filters, new: &TopicFilter, node: &Node) -> Result<(), Refusal> {
    let limits = FilterLimits {
        number: node.limits.subscriptions,
        bytes: node.limits.subscription_bytes,
        copies: usize::from(node.lanes).min(COPIES),
        spanning: node.limits.spanning_subscriptions,
        shared: node.limits.shared_subscriptions,
    };
    held.check_limits(new.as_str(), limits).map_err(|exceeded| {
        node.limit_counts.count(exceeded.setting);
        exceeded.refusal
    })
}

/// Refuses, by 0x97, a will of more than `limits.will_bytes`: topic, payload and properties, with their overhead.
pub(super) fn check_will_bytes(will: &Will, node: &Node) -> Result<(), Refusal> {
    let (bytes, most) = (will.cost(), node.limits.will_bytes);
    if bytes <= most {
        return Ok(());
    }
    node.limit_counts.count("will_bytes");
    let text = format!("will: {bytes} bytes with its properties; it may have {most} here");
    Err(Refusal::new(ReasonCode::QuotaExceeded, text))
}

/// Counts a packet that was refused for `limits.user_properties`.
pub(super) fn note_user_properties(error: &DecodeError, counts: &LimitCounts) {
    if error.has_too_many_user_properties() {
        counts.count("user_properties");
    }
}

/// Counts the connection of a peer's address.
///
/// # Errors
/// The refusal by `limits.connections_per_address` or `limits.connects_per_address`.
pub(super) fn enter_address(connecting: &mut ConnectingPeer<'_>) -> Result<(), Refusal> {
    let node = connecting.node;
    let entered = node
        .connect_limits
        .enter_address(connecting.peer, Instant::now());
    connecting.guards.address = entered.map_err(|limit| refused(limit, node))?;
    Ok(())
}

/// Counts the connection of a user who may connect, and the connect for `limits.flapping`.
///
/// # Errors
/// The refusal by one of these limits.
pub(super) fn enter_user(
    connect: &Connect,
    who: &Principal,
    connecting: &mut ConnectingPeer<'_>,
) -> Result<(), Refusal> {
    let (node, now) = (connecting.node, Instant::now());
    let takes_over = node.sessions.is_connected(&who.user, &who.client_id);
    let entered = node.connect_limits.enter_user(&who.user, takes_over, now);
    connecting.guards.user = entered.map_err(|limit| refused(limit, node))?;
    let noted = client_of(connect).map_or(Ok(()), |c| node.connect_limits.note_connect(c, now));
    noted.map_err(|limit| refused(limit, node))
}

/// Refuses a client that `limits.flapping` keeps away.
pub(super) fn check_flapping(connect: &Connect, node: &Node) -> Result<(), Refusal> {
    let now = Instant::now();
    let checked = client_of(connect).map_or(Ok(()), |c| node.connect_limits.is_flapping(c, now));
    checked.map_err(|limit| refused(limit, node))
}

/// The client, as its CONNECT names it. None: the server assigns another id each time.
fn client_of(connect: &Connect) -> Option<(Option<&str>, &str)> {
    let id = &*connect.client_id;
    (!id.is_empty()).then_some((connect.user_name.as_deref(), id))
}

/// The refusal by a limit on connections, which is counted.
fn refused(limit: ConnectLimit, node: &Node) -> Refusal {
    node.limit_counts.count(limit.setting);
    let most = limit.most;
    let (code, text) = match limit.setting {
        "connections_per_address" => (
            ReasonCode::QuotaExceeded,
            format!("an address may have {most} connections"),
        ),
        "connections_per_user" => (
            ReasonCode::QuotaExceeded,
            format!("a user may have {most} connections"),
        ),
        "flapping" => (
            ReasonCode::QuotaExceeded,
            format!("more than {most} connects in a minute; connect again after five minutes"),
        ),
        _ => (
            ReasonCode::ConnectionRateExceeded,
            format!("too fast: {most} connects a second from one address or user"),
        ),
    };
    Refusal::new(code, text)
}
