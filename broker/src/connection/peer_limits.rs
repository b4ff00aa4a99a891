//! Limits on what one packet of a peer may bring. Each is counted in `$SYS` by its setting's name.

use crate::limit_counts::LimitCounts;
use crate::node::Node;
use crate::packet::{DecodeError, ReasonCode, TopicFilter, Will, has_more_levels};
use crate::policy::Refusal;
use crate::session::{FilterLimits, Filters};

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
