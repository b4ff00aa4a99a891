//! Rules without any effect, since an earlier rule applies wherever they would.

use crate::keys::{AccessRuleDraft, RoomRuleDraft};
use crate::parsed_table::ParsedTable;
use crate::problem::Problem;
use crate::settings::{NamePattern, Permission};
use crate::value::glob;

/// Finds each `[[room]]` whose rooms an earlier one matches.
pub(crate) fn rooms(tables: &[ParsedTable<RoomRuleDraft>], problems: &mut Vec<Problem>) {
    for (number, table) in tables.iter().enumerate() {
        let Some(pattern) = &table.values.pattern else {
            continue;
        };
        let shadow = tables[..number].iter().find_map(|earlier| {
            let general = earlier.values.pattern.as_ref()?;
            // Of two that are written the same, another check speaks.
            let shadows = general != pattern && glob::covers(&general.text, &pattern.text);
            shadows.then_some((earlier, general))
        });
        if let Some((earlier, general)) = shadow {
            let hint = format!(
                "no room is left for it, since `{}.match` in {} is `{}`, which matches them all, and the first \
                 match wins; put this entry before that one, or remove it",
                earlier.name,
                earlier.location_of("room.match"),
                general.text
            );
            problems.push(table.bad_value("room.match", pattern.text.clone(), hint));
        }
    }
}

/// Finds each `[[access]]` that decides nothing: for each of its actions and topics an earlier one
/// decides.
pub(crate) fn access(tables: &[ParsedTable<AccessRuleDraft>], problems: &mut Vec<Problem>) {
    for (number, table) in tables.iter().enumerate() {
        let earlier = &tables[..number];
        let actions: Vec<Action> = Action::ALL
            .into_iter()
            .filter(|action| action.of(&table.values).is_some())
            .collect();
        let topics = table.values.topics.iter().flatten();
        let mut shadows = topics.flat_map(|topic| {
            actions.iter().map(move |action| {
                let decides = |rule: &&ParsedTable<AccessRuleDraft>| {
                    decides_before(&rule.values, &table.values, *action, topic)
                };
                earlier.iter().find(decides)
            })
        });
        let Some(Some(first)) = shadows.next() else {
            continue;
        };
        if shadows.all(|shadow| shadow.is_some()) {
            let hint = format!(
                "the entry decides nothing, since `{}` in {} (with those between, if any) decides the same for all of \
                 its users and topics, and the first rule wins; put this entry before that one, or remove it",
                first.name, first.location
            );
            let topics = table.values.topics.iter().flatten();
            let topics: Vec<&str> = topics.map(String::as_str).collect();
            problems.push(table.bad_value("access.topics", topics.join(", "), hint));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Publish,
    Subscribe,
}

impl Action {
    const ALL: [Action; 2] = [Action::Publish, Action::Subscribe];

    fn of(self, rule: &AccessRuleDraft) -> Option<Permission> {
        match self {
            Action::Publish => rule.publish,
            Action::Subscribe => rule.subscribe,
        }
    }
}

/// Whether `earlier` decides on `action` wherever `later` would because of `topic`.
fn decides_before(
    earlier: &AccessRuleDraft,
    later: &AccessRuleDraft,
    action: Action,
    topic: &str,
) -> bool {
    let (Some(first), Some(second)) = (action.of(earlier), action.of(later)) else {
        return false;
    };
    // A `deny` applies to each SUBSCRIBE that has a topic in common with it, an `allow` to those
    // within it alone. So an `allow` leaves wider filters to a later `deny`.
    let wider =
        action == Action::Subscribe && first == Permission::Allow && second == Permission::Deny;
    let mut filters = earlier.topics.iter().flatten();
    covers_users(earlier, later)
        && filters.any(|filter| {
            // Without a usable client id an `allow` with `%c` applies to nobody.
            let named = filter.contains("%c") && first == Permission::Allow;
            let leaves_some = wider && filter != "#";
            !(named || leaves_some) && covers_topics(filter, topic)
        })
}

fn covers_users(earlier: &AccessRuleDraft, later: &AccessRuleDraft) -> bool {
    let Some(general) = &earlier.users else {
        return true;
    };
    let everybody = "*";
    let covered = |text: &str| general.iter().any(|glob| glob::covers(&glob.text, text));
    match &later.users {
        None => covered(everybody),
        Some(users) => users.iter().all(|NamePattern { text, .. }| covered(text)),
    }
}

/// Whether `general` matches every topic that `special` matches, with the same names in it.
fn covers_topics(general: &str, special: &str) -> bool {
    // No topic is empty, so `#` is `+/#`.
    let levels = |filter: &str| -> Vec<String> {
        let filter = if filter == "#" { "+/#" } else { filter };
        filter.split('/').map(str::to_owned).collect()
    };
    let (general, special) = (levels(general), levels(special));
    let hidden = special[0].starts_with('$');
    let mut theirs = special.iter();
    for (number, level) in general.iter().enumerate() {
        if number == 0 && hidden && level == "+" {
            return false;
        }
        match (level.as_str(), theirs.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    theirs.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_cover_others() {
        for (general, special, wanted) in [
            ("#", "a/b", true),
            ("#", "#", true),
            ("#", "$aws/x", false),
            ("+/x", "%u/x", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("a/%u", "a/%u", true),
            ("a/%u", "a/b", false),
            ("$aws/#", "$aws/x", true),
            ("+/#", "#", true),
            ("a/+/#", "a/#", false),
        ] {
            assert_eq!(
                covers_topics(general, special),
                wanted,
                "{general} {special}"
            );
        }
    }
}
