//! `roommq config`: shows the settings in effect, and checks a settings file.

use crate::credentials::load_credentials;
use crate::options::SettingsArgs;
use crate::{bind_error, logging, shown, table};
use anyhow::Result;
use clap::Subcommand;
use roommq_config::{EffectiveValue, Problem, Settings, Sources, load};
use std::io::Write;
use std::path::PathBuf;

/// `roommq config`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the settings in effect, and where each comes from
    Show(SettingsArgs),
    /// Check a settings file, and the files and addresses that it names
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Writes every setting in effect and where it comes from: as a table, or with `json` as a list of
/// `{"key", "value", "source"}`.
///
/// # Errors
///
/// The settings have problems (the error has all of them), or `out` fails.
pub fn show(source: &Sources, json: bool, out: &mut impl Write) -> Result<()> {
    let loaded = load(source)?;
    if json {
        // Through a String: serde_json would wrap the error of a closed pipe, which is no error.
        writeln!(out, "{}", serde_json::to_string(&loaded.values)?)?;
    } else {
        let heading = ["KEY", "VALUE", "SOURCE"];
        table::write(out, heading, loaded.values.iter().map(row))?;
    }
    Ok(())
}

fn row(origin: &EffectiveValue) -> [String; 3] {
    let value = match &origin.value {
        Some(value) => shown::line(&value.to_string()).into_owned(),
        None => "-".to_owned(),
    };
    let source = shown::line(&origin.source.to_string()).into_owned();
    [origin.key.clone(), value, source]
}

/// Checks all that a start needs: the settings, and the files and addresses that they name. Writes
/// `ok` or all problems; with `json`, `{"ok", "problems"}`. Returns whether there is none. Warnings
/// go to stderr.
///
/// # Errors
///
/// `out` fails.
pub fn check(sources: &Sources, json: bool, out: &mut impl Write) -> Result<bool> {
    let problems: Vec<String> = match load(sources) {
        Ok(loaded) => logging::with_warnings(|| unusable(&loaded.settings)),
        Err(error) => error.problems().iter().map(Problem::to_string).collect(),
    };
    let ok = problems.is_empty();
    if json {
        let answer = serde_json::json!({ "ok": ok, "problems": problems });
        writeln!(out, "{answer}")?;
    } else if ok {
        writeln!(out, "ok")?;
    } else {
        for problem in problems {
            writeln!(out, "{}", shown::line(&problem))?;
        }
    }
    out.flush()?;
    Ok(ok)
}

/// What the settings name and a server cannot use.
fn unusable(settings: &Settings) -> Vec<String> {
    let credentials = load_credentials(settings).err();
    let listeners = roommq_broker::check_listeners(&settings.listeners);
    let problems = credentials.iter().map(ToString::to_string);
    let log = settings.log.file.as_deref();
    let log = log.and_then(|file| logging::check_file(file).err());
    problems
        .chain(listeners.iter().map(bind_error::text))
        .chain(log.map(|error| format!("{error:#}")))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::collections::BTreeMap;

    fn shown_as(json: bool) -> String {
        let variable = ("ROOMMQ__PRESENCE__GRACE", "1m");
        let source = Sources {
            environment: BTreeMap::from([variable].map(|(n, v)| (n.to_owned(), v.to_owned()))),
            ..Sources::default()
        };
        let mut out = Vec::new();
        show(&source, json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_of_values_and_sources() {
        let text = shown_as(false);
        let cells = |key: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(cells("KEY"), ["KEY", "VALUE", "SOURCE"]);
        assert_eq!(cells("lanes.count"), ["lanes.count", "16", "default"]);
        assert_eq!(cells("auth.users_file")[1..], ["-", "default"]);
        assert_eq!(
            cells("presence.grace")[1..],
            ["\"1m\"", "ROOMMQ__PRESENCE__GRACE"]
        );
    }

    #[test]
    fn the_same_for_programs() {
        let list: Vec<serde_json::Value> = serde_json::from_str(&shown_as(true)).unwrap();
        let has = |wanted: serde_json::Value| list.contains(&wanted);
        assert!(has(
            serde_json::json!({"key": "lanes.count", "value": 16, "source": "default"})
        ));
        assert!(has(
            serde_json::json!({"key": "auth.users_file", "value": null, "source": "default"})
        ));
        assert!(has(serde_json::json!({
            "key": "presence.grace", "value": "1m", "source": "ROOMMQ__PRESENCE__GRACE"
        })));
    }

    #[test]
    fn files_are_checked_whole() {
        let directory = std::env::temp_dir().join(format!("roommq-check-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("roommq.toml");
        let checked = |toml: &str, json| {
            std::fs::write(&file, toml).unwrap();
            let mut out = Vec::new();
            let sources = Sources {
                file: Some(file.clone()),
                ..Sources::default()
            };
            let ok = check(&sources, json, &mut out).unwrap();
            (ok, String::from_utf8(out).unwrap())
        };
        assert_eq!(checked("", false), (true, "ok\n".to_owned()));
        let (ok, text) = checked("[lanes]\ncount = 0\nx = 1", false);
        assert!(!ok && text.lines().count() == 2, "{text}");
        let (ok, text) = checked("[lanes]\ncount = 0\nx = 1", true);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(!ok && answer["ok"] == false && answer["problems"].as_array().unwrap().len() == 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
