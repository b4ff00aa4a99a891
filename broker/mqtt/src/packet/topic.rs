//! Topic names and topic filters (4.7), and the `$share` syntax of 5.0 (4.8.2). Clause ids of 4.7.1 are
//! those of 3.1.1; 5.0 counts the same three from [MQTT-4.7.0-1].

use super::text::{first_control, is_printable};
use bytestring::ByteString;
use std::fmt;

/// The maximum bytes of a name or filter, whose length field has 16 bits [MQTT-4.7.3-3].
const MAX_BYTES: usize = 65_535;

const SHARE: &str = "$share/";

/// The error in a topic name or topic filter. Positions are byte offsets in the text as given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// [MQTT-4.7.3-1]
    #[error("a topic must have at least one character")]
    Empty,
    /// [MQTT-4.7.3-3]
    #[error("{0} bytes; a topic has at most 65,535")]
    TooLong(usize),
    /// [MQTT-4.7.3-2]
    #[error("a null character at byte {0}; a topic has none")]
    Null(usize),
    /// U+0001 to U+001F, U+007F to U+009F (3.1.1 1.5.3, 5.0 1.5.4).
    #[error("a control character at byte {0}; a topic here has none")]
    Control(usize),
    /// [MQTT-4.7.1-1], [MQTT-3.3.2-2]
    #[error("`{wildcard}` at byte {at}; a topic name has no wildcards, only filters do")]
    WildcardInName {
        /// `+` or `#`
        wildcard: char,
        /// Its byte offset.
        at: usize,
    },
    /// [MQTT-4.7.1-2]
    #[error("`#` at byte {0}; `#` must be the last level and stand alone in it")]
    MultiLevel(usize),
    /// [MQTT-4.7.1-3]
    #[error("`+` at byte {0}; `+` must stand alone in its level")]
    SingleLevel(usize),
    /// [MQTT-4.8.2-1]
    #[error("the share name is missing; write $share/<group>/<filter>")]
    ShareNameEmpty,
    /// [MQTT-4.8.2-2]
    #[error("`{wildcard}` at byte {at}; a share name has no wildcards")]
    ShareNameWildcard {
        /// `+` or `#`
        wildcard: char,
        /// Its byte offset.
        at: usize,
    },
    /// [MQTT-4.8.2-2]
    #[error("a filter is missing after the share name; write $share/<group>/<filter>")]
    ShareFilterMissing,
}

impl NameError {
    /// Whether only the `$share` syntax is wrong. In 3.1.1, which does not have it, the filter is well formed.
    #[must_use]
    pub fn is_of_sharing(self) -> bool {
        matches!(
            self,
            NameError::ShareNameEmpty
                | NameError::ShareNameWildcard { .. }
                | NameError::ShareFilterMissing
        )
    }
}

/// A topic that a message is published to, such as `rooms/lobby`. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(ByteString);

impl TopicName {
    /// Checks `text`: 1 to 65,535 bytes, no null or other control character (5.0 1.5.4), no wildcard
    /// [MQTT-4.7.1-1, MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-4.7.3-3].
    pub fn new(text: ByteString) -> Result<TopicName, NameError> {
        check_length(&text)?;
        // Every PUBLISH runs this loop. It has no early exit, so that the compiler can vectorise it. Text other than
        // printable ASCII is checked again by character, since the controls from U+0080 on have two bytes.
        let doubtful = |byte: u8| !is_printable(byte) | matches!(byte, b'+' | b'#');
        if !text.bytes().fold(false, |bad, byte| bad | doubtful(byte)) {
            return Ok(TopicName(text));
        }
        let forbidden = |c: char| c.is_control() || matches!(c, '+' | '#');
        match text.char_indices().find(|(_, c)| forbidden(*c)) {
            None => Ok(TopicName(text)),
            Some((at, wildcard @ ('+' | '#'))) => Err(NameError::WildcardInName { wildcard, at }),
            Some((at, control)) => Err(control_error(at, control)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy with memory of its own; the text may be a slice of a larger buffer.
    #[must_use]
    pub fn detached(&self) -> TopicName {
        TopicName(ByteString::from(self.as_str()))
    }
}

/// A topic filter, such as `jobs/+` or `$share/workers/jobs/#`. Filters with wildcards are supported
/// [3.1.1 MQTT-3.8.3-2]. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter {
    text: ByteString,
    /// Byte offset of the inner filter: 0, or after `$share/<group>/`.
    inner_at: usize,
    literal: bool,
}

impl TopicFilter {
    /// Checks `text`: 1 to 65,535 bytes, no null or other control character (5.0 1.5.4), wildcards alone in their
    /// level and `#` last [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-4.7.3-3]; after `$share/` a
    /// group and a filter [MQTT-4.8.2-1, MQTT-4.8.2-2].
    pub fn new(text: ByteString) -> Result<TopicFilter, NameError> {
        check_length(&text)?;
        if let Some((at, control)) = first_control(&text) {
            return Err(control_error(at, control));
        }
        let inner_at = if text.starts_with(SHARE) {
            // A misplaced wildcard is reported first, since it is an error in 3.1.1 too.
            after_share_name(&text).or_else(|e| check_wildcards(&text, 0).and(Err(e)))?
        } else {
            0
        };
        let literal = check_wildcards(&text, inner_at)?;
        Ok(TopicFilter {
            text,
            inner_at,
            literal,
        })
    }

    /// The text as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The filter without `$share/<group>/`.
    pub fn inner(&self) -> &str {
        &self.text[self.inner_at..]
    }

    /// The share name (group) of a shared subscription; none for others.
    pub fn share_group(&self) -> Option<&str> {
        (self.inner_at > 0).then(|| &self.text[SHARE.len()..self.inner_at - 1])
    }

    /// Whether the inner filter has no wildcard, and so matches one topic only.
    pub fn is_literal(&self) -> bool {
        self.literal
    }

    /// Whether the inner filter matches `topic`. A wildcard at the first
    /// level does not match a topic that starts with `$` [MQTT-4.7.2-1]; `a/#` matches `a` too (4.7.1.2).
    pub fn matches(&self, topic: &str) -> bool {
        let filter = self.inner();
        if self.literal {
            return filter == topic;
        }
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let mut names = levels(topic);
        for level in levels(filter) {
            match (level, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// The first two levels, if all topics that match have the same: `a/b/#` has (`a`, `b`), and the filter
    /// `a` of one literal level has (`a`, none). None if these levels may differ (`a/#`, `a/+`, `#`).
    pub fn literal_head(&self) -> Option<(&str, Option<&str>)> {
        let mut levels = levels(self.inner());
        let first = levels.next().filter(|level| !is_wildcard(level))?;
        match levels.next() {
            Some(second) => (!is_wildcard(second)).then_some((first, Some(second))),
            None => Some((first, None)),
        }
    }
}

/// The levels of a name or filter, that is, the parts between the slashes, empty ones included.
pub fn levels(text: &str) -> impl Iterator<Item = &str> {
    text.split('/')
}

/// Whether a name or filter has more than `most` levels. Reads no more than these.
#[must_use]
pub fn has_more_levels(text: &str, most: usize) -> bool {
    levels(text).nth(most).is_some()
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}

fn check_length(text: &str) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        1..=MAX_BYTES => Ok(()),
        more => Err(NameError::TooLong(more)),
    }
}

fn control_error(at: usize, control: char) -> NameError {
    match control {
        '\0' => NameError::Null(at), // [MQTT-4.7.3-2]
        _ => NameError::Control(at),
    }
}

/// The byte offset of the inner filter in a shared one.
fn after_share_name(text: &str) -> Result<usize, NameError> {
    let rest = &text[SHARE.len()..];
    let (name, inner) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(NameError::ShareNameEmpty); // [MQTT-4.8.2-1]
    }
    // [MQTT-4.8.2-2]
    if let Some((at, wildcard)) = name.char_indices().find(|(_, c)| matches!(c, '+' | '#')) {
        let at = SHARE.len() + at;
        return Err(NameError::ShareNameWildcard { wildcard, at });
    }
    if inner.is_empty() {
        return Err(NameError::ShareFilterMissing); // [MQTT-4.8.2-2]
    }
    Ok(SHARE.len() + name.len() + 1)
}

/// Whether the filter that starts at `start` is literal; an error if a wildcard is misplaced.
fn check_wildcards(text: &str, start: usize) -> Result<bool, NameError> {
    let bytes = text.as_bytes();
    let mut literal = true;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        let opens_level = at == start || bytes[at - 1] == b'/';
        match byte {
            // [MQTT-4.7.1-2]
            b'#' if !opens_level || at + 1 != bytes.len() => return Err(NameError::MultiLevel(at)),
            // [MQTT-4.7.1-3]
            b'+' if !opens_level || bytes.get(at + 1).is_some_and(|next| *next != b'/') => {
                return Err(NameError::SingleLevel(at));
            }
            b'#' | b'+' => literal = false,
            _ => {}
        }
    }
    Ok(literal)
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<$name, NameError> {
                $name::new(text.into())
            }
        }
    };
}
as_text!(TopicName);
as_text!(TopicFilter);

#[cfg(test)]
#[path = "tests/topic.rs"]
mod tests;
