//! Limits on what one packet of a peer may bring. Each is counted in `$SYS` by its setting's name.

use crate::node::Node;
use crate::packet::{ReasonCode, has_more_levels};
use crate::policy::Refusal;

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
