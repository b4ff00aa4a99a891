//! Why the rules or the state of a lane, or of its hook, cannot be read.

/// Why the rules of a lane cannot be read, in a few words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rules of a lane cannot be read: {0}")]
pub struct RulesError(String);

impl RulesError {
    /// An error with this reason.
    pub fn new(reason: impl Into<String>) -> RulesError {
        RulesError(reason.into())
    }
}

/// Why a snapshot cannot be restored. Each text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The bytes do not begin as a snapshot does.
    #[error("these bytes are no snapshot of a lane; check which file was read")]
    NoSnapshot,
    /// A newer server wrote the snapshot.
    #[error(
        "the snapshot needs a server that reads format {needed}, and this one reads formats up to {known}; start the \
         version that wrote it"
    )]
    NeedsReader {
        /// The lowest format that a reader must know.
        needed: u16,
        /// The highest format that this server knows.
        known: u16,
    },
    /// The snapshot is of a server with another number of lanes, where topics belong to other lanes.
    #[error(
        "the snapshot is of a server with {found} lanes, and this one has {expected}; set `lanes.count` to {found}"
    )]
    OtherLanes {
        /// `lanes.count` of the server that wrote the snapshot.
        found: u16,
        /// `lanes.count` of this server.
        expected: u16,
    },
    /// Another version of the server wrote the rules in it.
    #[error("{0}; start the version that wrote the snapshot")]
    Rules(#[from] RulesError),
    /// Bytes are missing or have changed, or there is a bug.
    #[error(
        "the snapshot is damaged: {0}; restore another one, and report this if the file is intact"
    )]
    Damaged(&'static str),
}
