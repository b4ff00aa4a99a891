//! Checks of `[[access]]`.

use crate::keys::AccessRuleDraft;
use crate::parsed_table::ParsedTable;
use crate::problem::Problem;
use crate::settings::AccessRule;

/// Checks that a rule has topic filters and a permission.
pub(crate) fn access_rule(
    table: &ParsedTable<AccessRuleDraft>,
    _: &[AccessRule],
) -> Result<AccessRule, Problem> {
    let draft = &table.values;
    let Some(topics) = draft.topics.clone() else {
        return Err(table.missing("access.topics", r#"write `topics = ["sensors/#"]`"#));
    };
    if draft.publish.is_none() && draft.subscribe.is_none() {
        let hint =
            r#"the rule says nothing; write `publish = "deny"` (or "allow"), `subscribe`, or both"#;
        return Err(table.missing("access.publish", hint));
    }
    Ok(AccessRule {
        topics,
        users: draft.users.clone(),
        publish: draft.publish,
        subscribe: draft.subscribe,
    })
}
