//! Rules for topics outside rooms and inboxes.

use super::NamePattern;
use serde::{Deserialize, Serialize};

/// Permissions for some topics and some users. A rule without a permission for an action does not
/// apply to that action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// One or more well-formed topic filters. `%u` is the user's name and `%c` the client id, both
    /// as in a topic level. No filter is for rooms, inboxes or `$SYS`, and no filter is shared.
    pub topics: Vec<String>,
    /// The users that the rule is for, by names as in CONNECT; `~<client id>` without credentials. None: everybody. Never empty.
    pub users: Option<Vec<NamePattern>>,
    /// Whether they may publish.
    pub publish: Option<Permission>,
    /// Whether they may subscribe.
    pub subscribe: Option<Permission>,
}

/// Whether an action is allowed. Encoded by the number of its variant, so their order is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// It is allowed.
    Allow,
    /// It is refused.
    Deny,
}
