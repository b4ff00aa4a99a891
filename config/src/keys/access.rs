//! Keys of an `[[access]]`.

use super::key::{Key, key};
use crate::settings::{NamePattern, Permission};

/// The values of an `[[access]]`, not yet checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessRuleDraft {
    pub topics: Option<Vec<String>>,
    pub users: Option<Vec<NamePattern>>,
    pub publish: Option<Permission>,
    pub subscribe: Option<Permission>,
}

pub(crate) static ACCESS: &[Key<AccessRuleDraft>] = &[
    key!("access.topics" => topics?: filters),
    key!("access.users" => users?: user_patterns),
    key!("access.publish" => publish?: word),
    key!("access.subscribe" => subscribe?: word),
];
