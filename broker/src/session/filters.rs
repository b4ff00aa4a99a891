//! The filters that a session holds, by the client's own names, and what they may be in number and bytes.

use crate::packet::ReasonCode;
use crate::policy::Refusal;
use bytestring::ByteString;
use std::collections::HashSet;

/// All of a session.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    names: HashSet<ByteString>,
    /// Of all names.
    bytes: usize,
}

/// What one session may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterLimits {
    pub number: usize,
    /// Of all together.
    pub bytes: usize,
}

impl Filters {
    /// Whether one of this name may be held; one that is held may be subscribed to again.
    pub(crate) fn may_hold(&self, name: &str, limits: FilterLimits) -> Result<(), Refusal> {
        let FilterLimits { number, bytes } = limits;
        let reason = if self.names.contains(name) {
            return Ok(());
        } else if self.names.len() >= number {
            format!("a session may hold {number} filters")
        } else if self.bytes + name.len() > bytes {
            format!("a session may hold filters of {bytes} bytes together")
        } else {
            return Ok(());
        };
        let code = ReasonCode::QuotaExceeded;
        Err(Refusal { code, reason })
    }

    pub(crate) fn insert(&mut self, name: ByteString) {
        let len = name.len();
        if self.names.insert(name) {
            self.bytes += len;
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if self.names.remove(name) {
            self.bytes -= name.len();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Lets go of what was needed for more.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ByteString> {
        self.names.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_bytes_are_bounded() {
        let limits = FilterLimits {
            number: 2,
            bytes: 8,
        };
        let mut held = Filters::default();
        let why = |held: &Filters, name| held.may_hold(name, limits).err().map(|r| r.reason);
        held.insert("a/#".into());
        held.insert("a/#".into());
        assert_eq!(why(&held, "12345"), None);
        assert!(why(&held, "123456").is_some_and(|r| r.contains("8 bytes together")));
        held.insert("12345".into());
        assert!(why(&held, "b").is_some_and(|r| r.contains("2 filters")));
        assert_eq!(why(&held, "a/#"), None, "it is held already");
        held.remove("a/#");
        held.remove("a/#");
        assert_eq!((why(&held, "abc"), held.iter().count()), (None, 1));
        held.remove("12345");
        assert_eq!(held.bytes, 0);
    }
}
