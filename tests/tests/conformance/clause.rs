//! Versions, clauses, and the list of all statements.

use roommq_tests::workspace::root;
use std::collections::BTreeMap;
use std::fmt;

/// The version of a statement, and of a run of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V311,
    V5,
}

impl Version {
    pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

    pub fn from_name(name: &str) -> Option<Version> {
        Version::BOTH.into_iter().find(|v| v.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        }
    }
}

/// The number of a statement: three parts (in one case two) and the number within them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(Vec<u32>, u32);

impl Number {
    /// From `3.1.2-4`.
    pub fn parse(text: &str) -> Option<Number> {
        let (section, last) = text.split_once('-')?;
        let section: Option<Vec<u32>> = section.split('.').map(|part| part.parse().ok()).collect();
        Some(Number(section?, last.parse().ok()?))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section: Vec<String> = self.0.iter().map(u32::to_string).collect();
        write!(f, "{}-{}", section.join("."), self.1)
    }
}

/// A statement of one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    pub version: Version,
    pub number: Number,
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [MQTT-{}]", self.version.name(), self.number)
    }
}

/// The text of a clause, and the side that it binds.
#[derive(Debug)]
pub struct Statement {
    pub binds: String,
    pub says: String,
}

impl Statement {
    pub fn binds_server(&self) -> bool {
        self.binds != "client"
    }
}

/// All statements of both versions.
pub fn all() -> BTreeMap<Clause, Statement> {
    let mut all = BTreeMap::new();
    for version in Version::BOTH {
        let name = format!("tests/conformance/statements-{}.toml", version.name());
        let text = std::fs::read_to_string(root().join(&name)).unwrap();
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        for (number, statement) in table {
            let word = |key: &str| statement[key].as_str().unwrap().to_owned();
            let (binds, says) = (word("binds"), word("says"));
            assert!(
                ["server", "client", "both"].contains(&binds.as_str()),
                "{name}: {number} binds {binds:?}"
            );
            let number = Number::parse(&number).unwrap_or_else(|| panic!("{name}: {number:?}"));
            all.insert(Clause { version, number }, Statement { binds, says });
        }
    }
    let count = |version| all.keys().filter(|c| c.version == version).count();
    // The numbers of statements in the standards.
    assert_eq!((count(Version::V311), count(Version::V5)), (141, 251));
    all
}
