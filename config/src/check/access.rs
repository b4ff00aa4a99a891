//! Rules that say something.

use crate::entry::Entry;
use crate::keys::AccessDraft;
use crate::problem::Problem;
use crate::settings::AccessRule;

/// Each rule has filters, and an action.
pub(crate) fn topics(
    entries: Vec<Entry<AccessDraft>>,
    problems: &mut Vec<Problem>,
) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    for entry in entries {
        let missing = if entry.read.topics.is_empty() {
            Some(("topics", r#"write `topics = ["sensors/#"]`"#))
        } else if entry.read.publish.is_none() && entry.read.subscribe.is_none() {
            let wanted = r#"the rule says nothing; write `publish = "deny"` (or "allow"), `subscribe`, or both"#;
            Some(("publish", wanted))
        } else {
            None
        };
        if let Some((key, wanted)) = missing {
            problems.push(Problem::Missing {
                key: format!("{}.{key}", entry.name),
                place: entry.place,
                wanted: wanted.to_owned(),
            });
            continue;
        }
        rules.push(AccessRule {
            topics: entry.read.topics,
            users: entry.read.users,
            publish: entry.read.publish,
            subscribe: entry.read.subscribe,
        });
    }
    rules
}
