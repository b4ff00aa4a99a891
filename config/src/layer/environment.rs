//! The layer of environment variables: `ROOMMQ__SECTION__KEY`, and `ROOMMQ_LISTEN` for one
//! listener.

use super::{Layer, mark, unknown};
use crate::keys::{self, SectionKind};
use crate::problem::{Location, Problem};
use config::ValueKind;
use std::collections::BTreeMap;

/// The variable for a single listener. Lists have no form as variables.
pub(crate) const LISTEN_VARIABLE: &str = "ROOMMQ_LISTEN";

const FILE_VARIABLE: &str = "ROOMMQ_CONFIG";

const PREFIX: &str = "ROOMMQ__";

/// The variables that are no settings of the server: options of the client commands.
const CLIENT_VARIABLES: [&str; 6] = [
    "ROOMMQ_SERVER",
    "ROOMMQ_CA",
    "ROOMMQ_CERT",
    "ROOMMQ_KEY",
    "ROOMMQ_USER",
    "ROOMMQ_PASSWORD_FILE",
];

/// The least similarity, from 0 to 1, at which a variable with one underscore is suggested: before
/// those of settings, and after them.
const NEARLY_SAME: f64 = 0.9;
const SIMILAR: f64 = 0.7;

/// The file that the environment names, and the variable that names it.
pub(crate) fn file_variable(
    environment: &BTreeMap<String, String>,
) -> Option<(&str, &'static str)> {
    let file = environment.get(FILE_VARIABLE)?;
    Some((file, FILE_VARIABLE))
}

/// Reads the variables that start with `ROOMMQ_`. One that means nothing is a problem: a setting that
/// is nearly right must not be ignored.
pub(crate) fn environment(
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    if let Some(bind) = environment.get(LISTEN_VARIABLE) {
        let location = Location::Environment(LISTEN_VARIABLE.to_owned());
        layer.listen(bind, &location);
    }
    for (variable, value) in environment {
        // In any case, so that a variable in lower case is reported and not ignored.
        let upper = variable.to_uppercase();
        let Some(rest) = upper.strip_prefix(PREFIX) else {
            problems.extend(meaningless(variable, value));
            continue;
        };
        let name = rest.to_lowercase().replace("__", ".");
        match known(&name, variable) {
            Ok(name) => {
                let location = Location::Environment(variable.clone());
                layer.set(name, mark(&location, ValueKind::String(value.clone())));
            }
            Err(problem) => problems.push(problem),
        }
    }
    layer
}

/// The problem of a variable without two underscores that means nothing here or to a client command.
pub(crate) fn meaningless(variable: &str, value: &str) -> Option<Problem> {
    let single = [LISTEN_VARIABLE, FILE_VARIABLE];
    let known = || single.into_iter().chain(CLIENT_VARIABLES);
    if known().any(|name| name == variable) || is_service_link(variable, value) {
        return None;
    }
    let upper = variable.to_uppercase();
    let rest = upper.strip_prefix("ROOMMQ_")?.to_lowercase();
    let advice = if known().any(|name| name == upper) {
        format!("write {upper}, in capitals")
    } else {
        let instead = most_similar(&upper, known(), NEARLY_SAME)
            .or_else(|| right_variable(&rest))
            .or_else(|| most_similar(&upper, known(), SIMILAR));
        instead.map_or_else(
            || "settings have two underscores, as in ROOMMQ__LOG__LEVEL".to_owned(),
            |name| format!("did you mean {name}?"),
        )
    };
    Some(Problem::Conflict {
        location: Location::Environment(variable.to_owned()),
        text: format!("{variable} means nothing: {advice}"),
    })
}

/// The variable of the key that `rest` names with single underscores: `auth_anonymous`, `anonymous`.
fn right_variable(rest: &str) -> Option<String> {
    let same = keys::names().find(|name| name.replace('.', "_") == rest);
    let dotted = rest.replacen('_', ".", 1);
    let key = same
        .or_else(|| keys::nearest(&dotted))
        .or_else(|| keys::nearest(rest))?;
    let section = keys::section(key);
    match keys::shape(section)? {
        SectionKind::Table if key.contains('.') => Some(keys::variable(key)),
        SectionKind::List if section == "listener" => Some(LISTEN_VARIABLE.to_owned()),
        SectionKind::Table | SectionKind::List => None,
    }
}

fn most_similar(
    variable: &str,
    known: impl Iterator<Item = &'static str>,
    least: f64,
) -> Option<String> {
    let similarity = |name: &str| strsim::normalized_damerau_levenshtein(variable, name);
    let rated = known.map(|name| (similarity(name), name));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(similarity, _)| *similarity >= least)
        .map(|(_, name)| name.to_owned())
}

/// Whether Kubernetes or Docker has set the variable in a container beside a service that is called
/// `roommq` or `roommq-…`: `ROOMMQ_SERVICE_HOST`, `ROOMMQ_PORT=tcp://…`, `ROOMMQ_PORT_1883_TCP_ADDR`.
fn is_service_link(variable: &str, value: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT") && value.contains("://")
        || variable.split("_PORT_").skip(1).any(numbered)
}

/// The key that a variable sets. The error: the variable is not spelled exactly.
fn known(name: &str, variable: &str) -> Result<&'static str, Problem> {
    let location = Location::Environment(variable.to_owned());
    let section = keys::section(name);
    if keys::shape(section) == Some(SectionKind::List) {
        let instead = if section == "listener" {
            format!("write `[[listener]]` into a file, or set {LISTEN_VARIABLE} for a single one")
        } else {
            format!("write `[[{section}]]` into a file")
        };
        return Err(Problem::Conflict {
            text: format!("{variable} cannot be set, since `{section}` is a list: {instead}"),
            location,
        });
    }
    let key = keys::names()
        .find(|known| *known == name)
        .ok_or_else(|| unknown(name, location.clone()))?;
    let right = keys::variable(key);
    if right == variable {
        Ok(key)
    } else {
        Err(Problem::Conflict {
            text: format!("{variable} sets nothing: write {right}, in capitals"),
            location,
        })
    }
}
