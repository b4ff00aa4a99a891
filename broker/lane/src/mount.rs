//! A renamed topic prefix.

use serde::{Deserialize, Serialize};

/// A topic prefix that one subscription sees under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The prefix of the real topic.
    pub real: String,
    /// The prefix that the client sees instead.
    pub shown: String,
}
