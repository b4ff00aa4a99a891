//! From the layers to checked settings.

use crate::entry::Entry;
use crate::keys::{self, Key, ListenerDraft};
use crate::problem::{ConfigError, Place, Problem};
use crate::settings::Settings;
use crate::source::Source;
use crate::{check, layer, value};
use config::{Map, Value, ValueKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The built-in defaults, as a file that people can read.
const DEFAULTS: &str = include_str!("../default.toml");

/// Checked settings, and where they come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub settings: Settings,
    /// Every key: listeners first, then the sections, then rules for topics and for rooms.
    pub origins: Vec<Origin>,
}

/// One key's effective value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// As in the file; entries of lists are counted from 0: `room[0].match`.
    pub key: String,
    /// The value in TOML; none where nothing is set and that means something (`max_members`: no limit).
    /// Serialized it is a plain value; `to_string` gives its TOML text.
    pub value: Option<toml::Value>,
    /// Where it comes from; serialized as it is shown.
    pub source: Place,
}

/// Reads all layers, lays them over one another and checks what comes out.
///
/// # Errors
///
/// All that is wrong, not only the first; but only what is wrong with the file where it cannot be read
/// or is no TOML.
pub fn load(source: &Source) -> Result<Loaded, ConfigError> {
    let Some((path, named_by)) = named_file(source)? else {
        return load_text(None, source);
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
    load_text(Some((&path, &text)), source)
}

/// The file, and the variable that named it; none where the command line did.
fn named_file(source: &Source) -> Result<Option<(PathBuf, Option<&'static str>)>, ConfigError> {
    if let Some(path) = &source.file {
        return Ok(Some((path.clone(), None)));
    }
    match layer::file_variable(&source.environment) {
        Some(("", variable)) => Err(ConfigError::new(vec![Problem::Conflict {
            place: Place::Environment(variable.to_owned()),
            text: format!("{variable} is empty: name a TOML file, or unset it"),
        }])),
        named => Ok(named.map(|(path, variable)| (PathBuf::from(path), Some(variable)))),
    }
}

/// [`load`] with the file already read.
pub(crate) fn load_text(
    file: Option<(&Path, &str)>,
    source: &Source,
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let alone = |problem| ConfigError::new(vec![problem]);
    let mut layers = vec![layer::file(DEFAULTS, None, &mut problems).map_err(alone)?];
    if let Some((path, text)) = file {
        layers.push(layer::file(text, Some(path), &mut problems).map_err(alone)?);
    }
    layers.push(layer::environment(&source.environment, &mut problems));
    layers.push(layer::flags(&source.flags));
    let tree = layer::merge(layers).map_err(|error| {
        alone(Problem::Conflict {
            place: Place::Default,
            text: error.to_string(),
        })
    })?;
    let mut reader = Reader {
        file: file.map_or(Path::new(""), |(path, _)| path),
        problems,
        origins: Vec::new(),
    };
    let settings = reader.settings(&tree);
    match settings {
        Some(settings) if reader.problems.is_empty() => Ok(Loaded {
            settings,
            origins: reader.origins,
        }),
        _ => Err(ConfigError::new(reader.problems)),
    }
}

struct Reader<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
    origins: Vec<Origin>,
}

impl Reader<'_> {
    /// None where so much is wrong that no settings can be made.
    fn settings(&mut self, tree: &Map<String, Value>) -> Option<Settings> {
        let listeners = self.list("listener", keys::LISTENER, tree, Reader::resolve_listener);
        let sections = tree
            .iter()
            .filter_map(|(section, value)| match &value.kind {
                ValueKind::Table(table) => Some((section, table)),
                _ => None,
            });
        let given: BTreeMap<String, &Value> = sections
            .flat_map(|(section, table)| {
                let entries = table.iter();
                entries.map(move |(key, value)| (format!("{section}.{key}"), value))
            })
            .collect();
        let mut entry = Entry {
            name: String::new(),
            place: Place::Default,
            read: Settings::default(),
            places: BTreeMap::new(),
        };
        self.fill(keys::SETTINGS, |key| given.get(key).copied(), &mut entry);
        let places = &entry.places;
        self.resolve(places, "auth.users_file", &mut entry.read.auth.users_file);
        self.record(keys::SETTINGS, &entry);
        let access = self.list("access", keys::ACCESS, tree, |_, _| {});
        let rooms = self.list("room", keys::ROOM, tree, |_, _| {});

        let listeners = listeners.map(|entries| check::listeners(entries, &mut self.problems));
        let rooms = rooms.map(|entries| check::rooms(entries, &mut self.problems));
        let access = access.map(|entries| check::topics(entries, &mut self.problems));
        let (bound, Some(rules), Some(access)) = (listeners?, rooms, access) else {
            return None;
        };
        if !self.misread("auth") {
            check::auth(&bound, &entry, &mut self.problems);
        }
        let mut settings = entry.read;
        settings.listeners = bound.into_iter().map(|bound| bound.read).collect();
        settings.access_rules = access;
        settings.room_rules = rules;
        Some(settings)
    }

    /// Reads the entries of a list; none where one of them is wrong, since what is said about all of it
    /// would be wrong too.
    fn list<T: Default>(
        &mut self,
        section: &str,
        keys: &[Key<T>],
        tree: &Map<String, Value>,
        resolve: impl Fn(&Self, &mut Entry<T>),
    ) -> Option<Vec<Entry<T>>> {
        let items = match tree.get(section).map(|value| &value.kind) {
            Some(ValueKind::Array(items)) => items.as_slice(),
            _ => &[],
        };
        let mut entries = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let ValueKind::Table(table) = &item.kind else {
                continue;
            };
            let mut entry = Entry {
                name: format!("{section}[{index}]"),
                place: layer::place(item, self.file),
                read: T::default(),
                places: BTreeMap::new(),
            };
            let own = |key: &str| key.split_once('.').and_then(|(_, key)| table.get(key));
            self.fill(keys, own, &mut entry);
            resolve(self, &mut entry);
            self.record(keys, &entry);
            entries.push(entry);
        }
        (!self.misread(section)).then_some(entries)
    }

    /// Whether a section is not what was meant: a misspelt key is one problem, and not two.
    fn misread(&self, section: &str) -> bool {
        let of = |key: &str| key.split(['.', '[']).next() == Some(section);
        self.problems
            .iter()
            .any(|problem| problem.key().is_some_and(of))
    }

    /// Reads all keys of a table.
    fn fill<'v, T>(
        &mut self,
        keys: &[Key<T>],
        given: impl Fn(&str) -> Option<&'v Value>,
        entry: &mut Entry<T>,
    ) {
        for key in keys {
            let Some(value) = given(key.name) else {
                continue;
            };
            let place = layer::place(value, self.file);
            if let Err(wanted) = (key.read)(&mut entry.read, &value.kind) {
                self.problems.push(Problem::BadValue {
                    key: full_name(&entry.name, key.name),
                    place: place.clone(),
                    value: value::describe(&value.kind),
                    wanted,
                });
            }
            entry.places.insert(key.name, place);
        }
    }

    /// Notes the values of a table for those who ask.
    fn record<T>(&mut self, keys: &[Key<T>], entry: &Entry<T>) {
        self.origins.extend(keys.iter().map(|key| {
            Origin {
                key: full_name(&entry.name, key.name),
                value: (key.show)(&entry.read),
                source: entry
                    .places
                    .get(key.name)
                    .cloned()
                    .unwrap_or(Place::Default),
            }
        }));
    }

    fn resolve_listener(&self, entry: &mut Entry<ListenerDraft>) {
        let (draft, places) = (&mut entry.read, &entry.places);
        self.resolve(places, "listener.path", &mut draft.path);
        self.resolve(places, "listener.certificate", &mut draft.certificate);
        self.resolve(places, "listener.key", &mut draft.key);
        self.resolve(places, "listener.client_ca", &mut draft.client_ca);
    }

    /// A file's relative paths are relative to the file.
    fn resolve(
        &self,
        places: &BTreeMap<&'static str, Place>,
        key: &str,
        path: &mut Option<PathBuf>,
    ) {
        let from_file = matches!(places.get(key), Some(Place::File { .. }));
        if let (true, Some(path), Some(directory)) = (from_file, path, self.file.parent()) {
            *path = directory.join(&*path);
        }
    }
}

/// `room[0]` and `room.match` make `room[0].match`.
fn full_name(entry: &str, key: &str) -> String {
    match key.split_once('.') {
        Some((_, last)) if !entry.is_empty() => format!("{entry}.{last}"),
        _ => key.to_owned(),
    }
}
