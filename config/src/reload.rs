//! The difference between the settings of a running server and those that it reads again.

use crate::keys::is_live;
use crate::load::{EffectiveValue, Loaded};
use crate::settings::Settings;
use std::collections::BTreeSet;

/// The keys whose values differ. A list such as `[[room]]` counts as one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// A running server can take them.
    pub live: BTreeSet<String>,
    /// They need a restart.
    pub fixed: BTreeSet<String>,
}

impl Loaded {
    /// The keys whose values in `new` differ from those of `self`.
    #[must_use]
    pub fn changes(&self, new: &Loaded) -> Changes {
        let mut changes = Changes::default();
        let pairs = |loaded: &Loaded| -> BTreeSet<(String, Option<String>)> {
            let values = loaded.values.iter();
            let text = |value: &toml::Value| value.to_string();
            values
                .map(|one| (one.key.clone(), one.value.as_ref().map(text)))
                .collect()
        };
        for (key, _) in pairs(self).symmetric_difference(&pairs(new)) {
            let name = list_or_key(key);
            let set = if is_live(name) {
                &mut changes.live
            } else {
                &mut changes.fixed
            };
            set.insert(name.to_owned());
        }
        changes
    }

    /// Takes those values of `new` that a running server can take.
    pub fn take_live(&mut self, new: Loaded) {
        let live = |value: &EffectiveValue| is_live(list_or_key(&value.key));
        self.values.retain(|value| !live(value));
        self.values.extend(new.values.into_iter().filter(live));
        self.settings.take_live(new.settings);
    }
}

/// `room` for `room[0].match`, and a key of a table as it is.
fn list_or_key(key: &str) -> &str {
    key.split('[').next().unwrap_or(key)
}

impl Settings {
    fn take_live(&mut self, new: Settings) {
        let Settings {
            auth,
            jwt,
            topics,
            access_rules,
            room_rules,
            rooms,
            presence,
            limits: new_limits,
            sys,
            log,
            ..
        } = new;
        self.auth.users_file = auth.users_file;
        self.auth.scram_iterations = auth.scram_iterations;
        self.jwt = jwt;
        self.topics = topics;
        self.access_rules = access_rules;
        self.room_rules = room_rules;
        self.rooms = rooms;
        self.presence = presence;
        self.sys.read = sys.read;
        self.log.level = log.level;
        let limits = &mut self.limits;
        limits.retained = new_limits.retained;
        limits.retained_bytes = new_limits.retained_bytes;
        limits.rooms = new_limits.rooms;
        limits.room_retained = new_limits.room_retained;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::load::load_text;
    use crate::sources::Sources;
    use std::path::Path;

    fn loaded(text: &str) -> Loaded {
        load_text(Some((Path::new("a.toml"), text)), &Sources::default()).unwrap()
    }

    #[test]
    fn changes_are_told_by_key_and_live_ones_are_taken() {
        let old = loaded("lanes.count = 2\n[[room]]\nmatch = 'a'\n");
        assert_eq!(old.changes(&old), Changes::default());
        let new = loaded(
            "auth.anonymous = false\nauth.users_file = 'u'\nlanes.count = 4\nlog.level = 'debug'\nlimits.rooms = 5\nlimits.inflight = 9\n\
             [[room]]\nmatch = 'a'\nmax_members = 3\n[[room]]\nmatch = 'b'\n",
        );
        let changes = old.changes(&new);
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let live = ["auth.users_file", "limits.rooms", "log.level", "room"];
        assert_eq!(names(&changes.live), live);
        assert_eq!(
            names(&changes.fixed),
            ["auth.anonymous", "lanes.count", "limits.inflight"]
        );
        let mut taken = old.clone();
        taken.take_live(new.clone());
        assert_eq!(taken.changes(&new).live, BTreeSet::new());
        assert_eq!(taken.changes(&new).fixed, changes.fixed, "told again");
        let settings = taken.settings;
        assert_eq!(settings.room_rules, new.settings.room_rules);
        assert_eq!(
            (settings.limits.rooms, settings.log.level.as_str()),
            (5, "debug")
        );
        assert_eq!(
            (settings.lanes.count, &settings.listeners),
            (2, &old.settings.listeners)
        );
        assert_eq!(settings.limits.inflight, old.settings.limits.inflight);
    }
}
