//! Checks of `[[access]]`.

use crate::keys::AccessRuleDraft;
use crate::parsed_table::ParsedTable;
use crate::problem::Problem;
use crate::settings::AccessRule;

/// Checks that each rule has topic filters and a permission.
pub(crate) fn topics(
    tables: Vec<ParsedTable<AccessRuleDraft>>,
    problems: &mut Vec<Problem>,
) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    for table in tables {
        let missing = if table.values.topics.is_empty() {
            Some(("topics", r#"write `topics = ["sensors/#"]`"#))
        } else if table.values.publish.is_none() && table.values.subscribe.is_none() {
            let hint = r#"the rule says nothing; write `publish = "deny"` (or "allow"), `subscribe`, or both"#;
            Some(("publish", hint))
        } else {
            None
        };
        if let Some((key, hint)) = missing {
            problems.push(Problem::Missing {
                key: format!("{}.{key}", table.name),
                location: table.location,
                hint: hint.to_owned(),
            });
            continue;
        }
        rules.push(AccessRule {
            topics: table.values.topics,
            users: table.values.users,
            publish: table.values.publish,
            subscribe: table.values.subscribe,
        });
    }
    rules
}
