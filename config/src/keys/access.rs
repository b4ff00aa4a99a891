//! Keys of an `[[access]]`.

use super::key::{Key, key};
use crate::settings::{Permission, UserPattern};
use crate::value;

/// The values of an `[[access]]`, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessRuleDraft {
    pub topics: Vec<String>,
    pub users: Option<Vec<UserPattern>>,
    pub publish: Option<Permission>,
    pub subscribe: Option<Permission>,
}

pub(crate) static ACCESS: &[Key<AccessRuleDraft>] = &[
    key!("access.topics", topics, filters, ()),
    key!("access.users", users, user_patterns, ()),
    key!("access.publish", publish, word::optional, ()),
    key!("access.subscribe", subscribe, word::optional, ()),
];
