//! What can be wrong with settings, told so that the reader can put it right.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. The order is that of the layers: a later one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// Built in.
    Default,
    /// A TOML file.
    File {
        /// As it was named.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Default => f.write_str("default"),
            Location::File { path, line } => write!(f, "{}:{line}", path.display()),
            Location::Environment(name) | Location::Flag(name) => f.write_str(name),
        }
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("{}{} cannot be read: {reason}", path.display(), by_variable(named_by.as_deref()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The variable that named it; none: the command line did.
        named_by: Option<String>,
        /// What the system says.
        reason: String,
    },
    /// The file is no TOML. Nothing else is looked at then.
    #[error("{location} is not TOML: {reason}")]
    Syntax {
        /// Where parsing stopped.
        location: Location,
        /// What the parser says.
        reason: String,
    },
    /// No such key.
    #[error("unknown key `{key}` in {location}{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        location: Location,
        /// The known key that looks most like it, if one does.
        nearest: Option<String>,
    },
    /// A value that the key cannot take.
    #[error("`{key}` in {location} is `{value}`: {hint}")]
    BadValue {
        /// The key; entries of lists are counted from 0, as in `room[0].match`.
        key: String,
        /// Where.
        location: Location,
        /// As it was written, shortened.
        value: String,
        /// What would be right.
        hint: String,
    },
    /// A key that must be there is not.
    #[error("`{key}` is missing in {location}: {hint}")]
    Missing {
        /// The key.
        key: String,
        /// Where it was looked for.
        location: Location,
        /// What to write.
        hint: String,
    },
    /// Values that are right alone and wrong together.
    #[error("{text}")]
    Conflict {
        /// The value that has to change, most likely.
        location: Location,
        /// The whole story, and what to write.
        text: String,
    },
}

impl Problem {
    /// Where to look, where that is one place.
    #[must_use]
    pub fn location(&self) -> Option<&Location> {
        match self {
            Problem::Unreadable { .. } => None,
            Problem::Syntax { location, .. }
            | Problem::UnknownKey { location, .. }
            | Problem::BadValue { location, .. }
            | Problem::Missing { location, .. }
            | Problem::Conflict { location, .. } => Some(location),
        }
    }

    /// The key that it is about, where it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Problem::UnknownKey { key, .. }
            | Problem::BadValue { key, .. }
            | Problem::Missing { key, .. } => Some(key),
            Problem::Unreadable { .. } | Problem::Syntax { .. } | Problem::Conflict { .. } => None,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

/// Everything that is wrong with the settings, in the order of the layers and lines. Never empty.
///
/// Shown as one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Sorts `problems` by their places.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.location().cmp(&b.location()));
        ConfigError { problems }
    }

    /// One by one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

/// Whoever typed the name knows where it is from; a variable may have been set long ago.
fn by_variable(named_by: Option<&str>) -> String {
    named_by.map_or_else(String::new, |variable| format!(" (named by {variable})"))
}
