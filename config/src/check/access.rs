//! Checks of `[[access]]`.

use super::{Checked, both};
use crate::keys::AccessRuleDraft;
use crate::parsed_table::ParsedTable;
use crate::settings::AccessRule;

/// Checks that a rule has topic filters and a permission.
pub(crate) fn access_rule(
    table: &ParsedTable<AccessRuleDraft>,
    _: &[AccessRule],
) -> Checked<AccessRule> {
    let draft = &table.values;
    let topics = draft
        .topics
        .clone()
        .ok_or_else(|| vec![table.missing("access.topics", r#"write `topics = ["sensors/#"]`"#)]);
    let permission = (draft.publish.or(draft.subscribe)).ok_or_else(|| {
        let hint =
            r#"the rule says nothing; write `publish = "deny"` (or "allow"), `subscribe`, or both"#;
        vec![table.missing("access.publish", hint)]
    });
    let (topics, _) = both(topics, permission)?;
    Ok(AccessRule {
        topics,
        users: draft.users.clone(),
        publish: draft.publish,
        subscribe: draft.subscribe,
    })
}
