//! The problems that settings can have. Each text says what to write instead.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. The order is that of the layers: a later layer wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// Built in.
    Default,
    /// A TOML file.
    File {
        /// The path as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable, by name.
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

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("{}{} cannot be read: {reason}", path.display(), by_variable(named_by.as_deref()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The variable that named the file. None: the command line named it.
        named_by: Option<String>,
        /// The operating system's error.
        reason: String,
    },
    /// The file is not TOML. No other layer is checked then.
    #[error("{location} is not TOML: {reason}")]
    Syntax {
        /// Where parsing stopped.
        location: Location,
        /// The parser's error.
        reason: String,
    },
    /// No such key.
    #[error("unknown key `{key}` in {location}{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it was written.
        location: Location,
        /// The known key that is most similar, if one is similar.
        nearest: Option<String>,
    },
    /// A value that the key cannot take.
    #[error("`{key}` in {location} is `{value}`: {hint}")]
    BadValue {
        /// The key. Entries of a list are counted from 0: `room[0].match`.
        key: String,
        /// Where it was written.
        location: Location,
        /// The value as it was written, shortened.
        value: String,
        /// What to write instead.
        hint: String,
    },
    /// A required key is missing.
    #[error("`{key}` is missing in {location}: {hint}")]
    Missing {
        /// The key.
        key: String,
        /// Where it was expected.
        location: Location,
        /// What to write.
        hint: String,
    },
    /// Values that contradict each other.
    #[error("{text}")]
    Conflict {
        /// The value that most likely has to change.
        location: Location,
        /// The whole text, with what to write instead.
        text: String,
    },
}

impl Problem {
    /// Where the problem is. None: the file cannot be read.
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

    /// The key with the problem. None: the problem is not about a single key.
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

/// All problems of the settings, in the order of layers and lines. There is at least one.
///
/// The text has one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Sorts `problems` by location.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.location().cmp(&b.location()));
        ConfigError { problems }
    }

    /// The problems.
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

/// A variable may have been set long ago, so the error names it.
fn by_variable(named_by: Option<&str>) -> String {
    named_by.map_or_else(String::new, |variable| format!(" (named by {variable})"))
}
