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

/// The file that the environment names, and the variable that names it.
pub(crate) fn file_variable(
    environment: &BTreeMap<String, String>,
) -> Option<(&str, &'static str)> {
    let file = environment.get(FILE_VARIABLE)?;
    Some((file, FILE_VARIABLE))
}

/// Reads the variables that start with `ROOMMQ_`.
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
