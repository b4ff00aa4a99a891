//! Makes checked settings from the layers.

use crate::keys::{self, Key, ListenerDraft};
use crate::parsed_table::ParsedTable;
use crate::problem::{ConfigError, Location, Problem};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::{check, layer, value};
use config::{Map, Value, ValueKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The built-in defaults, as a file for people.
const DEFAULTS: &str = include_str!("../default.toml");

/// Checked settings, and where each value comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings in effect.
    pub settings: Settings,
    /// The values of all keys: listeners, then sections, then `[[access]]`, then `[[room]]`.
    pub values: Vec<EffectiveValue>,
}

/// The value of one key that is in effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveValue {
    /// As in the file. Entries of a list are counted from 0: `room[0].match`.
    pub key: String,
    /// The value. None: the key is not set and has no default (`max_members`: no limit).
    /// `to_string` gives its TOML text.
    pub value: Option<toml::Value>,
    /// Where the value comes from. It serializes as its text.
    pub source: Location,
}

/// Reads all layers, merges them and checks the result.
///
/// # Errors
///
/// All problems of all layers. If the file cannot be read or is not TOML, only that problem.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let Some((path, named_by)) = named_file(sources)? else {
        return load_text(None, sources);
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let reason = match error.kind() {
            _ if path.as_os_str().is_empty() => "the name is empty".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => error.to_string(),
        };
        ConfigError::new(vec![Problem::Unreadable {
            path: path.clone(),
            named_by: named_by.map(str::to_owned),
            reason,
        }])
    })?;
    load_text(Some((&path, &text)), sources)
}

impl Sources {
    /// The path of the settings file.
    #[must_use]
    pub fn file_path(&self) -> Option<PathBuf> {
        let named = named_file(self).ok().flatten();
        named.map(|(path, _)| path)
    }
}

/// The file's path, and the variable that named it. No variable: the command line named it.
fn named_file(sources: &Sources) -> Result<Option<(PathBuf, Option<&'static str>)>, ConfigError> {
    if let Some(path) = &sources.file {
        return Ok(Some((path.clone(), None)));
    }
    match layer::file_variable(&sources.environment) {
        Some(("", variable)) => Err(ConfigError::new(vec![Problem::Conflict {
            location: Location::Environment(variable.to_owned()),
            text: format!("{variable} is empty: name a TOML file, or unset it"),
        }])),
        named => Ok(named.map(|(path, variable)| (PathBuf::from(path), Some(variable)))),
    }
}

/// [`load`] with the file's text.
pub(crate) fn load_text(
    file: Option<(&Path, &str)>,
    sources: &Sources,
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let alone = |problem| ConfigError::new(vec![problem]);
    let mut layers = vec![layer::file(DEFAULTS, None, &mut problems).map_err(alone)?];
    if let Some((path, text)) = file {
        layers.push(layer::file(text, Some(path), &mut problems).map_err(alone)?);
    }
    layers.push(layer::environment(&sources.environment, &mut problems));
    layers.push(layer::flags(&sources.flags));
    let tree = layer::merge(layers).map_err(|error| {
        alone(Problem::Conflict {
            location: Location::Default,
            text: error.to_string(),
        })
    })?;
    let mut loader = Loader {
        file: file.map_or(Path::new(""), |(path, _)| path),
        problems,
        values: Vec::new(),
    };
    let settings = loader.settings(&tree);
    match settings {
        Some(settings) if loader.problems.is_empty() => Ok(Loaded {
            settings,
            values: loader.values,
        }),
        _ => Err(ConfigError::new(loader.problems)),
    }
}

struct Loader<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
    values: Vec<EffectiveValue>,
}

impl Loader<'_> {
    /// None: there are problems that leave no settings to build.
    fn settings(&mut self, tree: &Map<String, Value>) -> Option<Settings> {
        let listeners = self.list("listener", keys::LISTENER, tree, Loader::resolve_listener);
        let given = |name: &str| {
            let (section, key) = name.split_once('.')?;
            match &tree.get(section)?.kind {
                ValueKind::Table(table) => table.get(key),
                _ => None,
            }
        };
        let mut entry = ParsedTable {
            name: String::new(),
            location: Location::Default,
            values: Settings::default(),
            locations: BTreeMap::new(),
        };
        self.fill(keys::SETTINGS, given, &mut entry);
        let locations = &entry.locations;
        self.resolve(
            locations,
            "auth.users_file",
            &mut entry.values.auth.users_file,
        );
        self.resolve(locations, "jwt.keys", &mut entry.values.jwt.keys);
        self.resolve(locations, "log.file", &mut entry.values.log.file);
        self.record(keys::SETTINGS, &entry);
        let access = self.list("access", keys::ACCESS, tree, |_, _| {});
        let rooms = self.list("room", keys::ROOM, tree, |_, _| {});

        if let Some(tables) = &rooms {
            check::shadow::rooms(tables, &mut self.problems);
        }
        if let Some(tables) = &access {
            check::shadow::access(tables, &mut self.problems);
        }
        let listeners = listeners.map(|tables| check::listeners(&tables, &mut self.problems));
        let rooms =
            rooms.map(|tables| check::entries(&tables, &mut self.problems, check::room_rule));
        let access =
            access.map(|tables| check::entries(&tables, &mut self.problems, check::access_rule));
        let (listeners, rooms, access) = (listeners?, rooms?, access?);
        if !self.misread("auth") {
            check::auth(&listeners, &entry, &mut self.problems);
        }
        if !self.misread("limits") {
            check::outbox(&listeners, &entry, &mut self.problems);
        }
        let mut settings = entry.values;
        settings.listeners = listeners.into_iter().map(|one| one.listener).collect();
        settings.access_rules = access;
        settings.room_rules = rooms;
        Some(settings)
    }

    /// Reads the entries of a list. None: an entry has a problem, and checks of the whole list
    /// would report follow-up errors.
    fn list<T: Default>(
        &mut self,
        section: &str,
        keys: &[Key<T>],
        tree: &Map<String, Value>,
        resolve: impl Fn(&Self, &mut ParsedTable<T>),
    ) -> Option<Vec<ParsedTable<T>>> {
        let items = match tree.get(section).map(|value| &value.kind) {
            Some(ValueKind::Array(items)) => items.as_slice(),
            _ => &[],
        };
        let mut entries = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let ValueKind::Table(table) = &item.kind else {
                continue;
            };
            let mut entry = ParsedTable {
                name: format!("{section}[{index}]"),
                location: layer::location(item, self.file),
                values: T::default(),
                locations: BTreeMap::new(),
            };
            let own = |key: &str| key.split_once('.').and_then(|(_, key)| table.get(key));
            self.fill(keys, own, &mut entry);
            resolve(self, &mut entry);
            self.record(keys, &entry);
            entries.push(entry);
        }
        (!self.misread(section)).then_some(entries)
    }

    /// Whether a key of the section has a problem. The checks of that section are skipped then, so
    /// that a misspelt key is reported once.
    fn misread(&self, section: &str) -> bool {
        let of = |key: &str| key.split(['.', '[']).next() == Some(section);
        self.problems
            .iter()
            .any(|problem| problem.key().is_some_and(of))
    }

    /// Reads the values of all keys of a table.
    fn fill<'v, T>(
        &mut self,
        keys: &[Key<T>],
        given: impl Fn(&str) -> Option<&'v Value>,
        entry: &mut ParsedTable<T>,
    ) {
        for key in keys {
            let Some(value) = given(key.name) else {
                continue;
            };
            let location = layer::location(value, self.file);
            entry.locations.insert(key.name, location);
            if let Err(hint) = (key.read)(&mut entry.values, &value.kind) {
                let value = value::describe(&value.kind);
                self.problems.push(entry.bad_value(key.name, value, hint));
            }
        }
    }

    /// Records the values of a table for [`Loaded::values`].
    fn record<T>(&mut self, keys: &[Key<T>], entry: &ParsedTable<T>) {
        self.values.extend(keys.iter().map(|key| EffectiveValue {
            key: entry.name_of(key.name),
            value: (key.show)(&entry.values),
            source: match entry.locations.get(key.name) {
                Some(location) => location.clone(),
                None => Location::Default,
            },
        }));
    }

    fn resolve_listener(&self, entry: &mut ParsedTable<ListenerDraft>) {
        let (draft, locations) = (&mut entry.values, &entry.locations);
        self.resolve(locations, "listener.path", &mut draft.path);
        self.resolve(locations, "listener.certificate", &mut draft.certificate);
        self.resolve(locations, "listener.key", &mut draft.key);
        self.resolve(locations, "listener.client_ca", &mut draft.client_ca);
    }

    /// Resolves a relative path from the file against the file's directory.
    fn resolve(
        &self,
        locations: &BTreeMap<&'static str, Location>,
        key: &str,
        path: &mut Option<PathBuf>,
    ) {
        let from_file = matches!(locations.get(key), Some(Location::File { .. }));
        if let (true, Some(path), Some(directory)) = (from_file, path, self.file.parent()) {
            *path = directory.join(&*path);
        }
    }
}
