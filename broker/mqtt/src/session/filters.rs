//! The filters of a session as the client wrote them, and their limits.

use crate::packet::ReasonCode;
use crate::refusal::Refusal;
use bytestring::ByteString;
use std::collections::HashSet;

/// The filters of one session.
#[derive(Debug, Default)]
pub struct Filters {
    /// One of them. Most sessions have no other, and a set of one takes 160 bytes more.
    one: Option<ByteString>,
    /// The others, boxed for the same reason.
    #[allow(clippy::box_collection)] // an empty set takes 48 bytes
    others: Option<Box<HashSet<ByteString>>>,
    /// Bytes of all names.
    bytes: usize,
}

/// Limits of one session's filters.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// How many filters.
    pub number: usize,
    /// Bytes of all filters together, as the client wrote them.
    pub bytes: usize,
}

impl Filters {
    /// Whether a filter of this name fits. A filter that the session holds already always fits.
    ///
    /// # Errors
    /// 0x97 (quota exceeded) at the number or at the bytes of `limits`; the text names the limit.
    pub fn check_limits(&self, name: &str, limits: FilterLimits) -> Result<(), Refusal> {
        let FilterLimits { number, bytes } = limits;
        let reason = if self.contains(name) {
            return Ok(());
        } else if self.len() >= number {
            format!("a session may hold {number} filters")
        } else if self.bytes + name.len() > bytes {
            format!("a session may hold filters of {bytes} bytes together")
        } else {
            return Ok(());
        };
        let code = ReasonCode::QuotaExceeded;
        Err(Refusal { code, reason })
    }

    /// Adds a filter. A name that is there is counted once.
    pub fn insert(&mut self, name: ByteString) {
        if self.contains(&name) {
            return;
        }
        self.bytes += name.len();
        match &self.one {
            None => self.one = Some(name),
            Some(_) => {
                self.others.get_or_insert_default().insert(name);
            }
        }
    }

    /// Takes a filter out. False if it is not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let others = self.others.as_mut();
        let removed = self.one.take_if(|one| *one == name).is_some()
            || others.is_some_and(|others| others.remove(name));
        if removed {
            self.bytes -= name.len();
        }
        removed
    }

    /// Whether the session has no filter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives unused memory back.
    pub fn shrink_to_fit(&mut self) {
        if let Some(others) = &mut self.others {
            others.shrink_to_fit();
        }
    }

    /// All filters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ByteString> {
        self.one.iter().chain(self.others.iter().flat_map(|o| &**o))
    }

    /// Whether the session holds the filter.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let others = self.others.as_ref();
        self.one.as_ref().is_some_and(|one| *one == name)
            || others.is_some_and(|others| others.contains(name))
    }

    fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.others.as_ref().map_or(0, |o| o.len())
    }
}

impl FromIterator<ByteString> for Filters {
    fn from_iter<I: IntoIterator<Item = ByteString>>(names: I) -> Self {
        let mut all = Filters::default();
        names.into_iter().for_each(|name| all.insert(name));
        all
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
        let mut held: Filters = ["a/#".into()].into_iter().collect();
        let why = |held: &Filters, name| held.check_limits(name, limits).err().map(|r| r.reason);
        held.insert("a/#".into());
        assert_eq!(why(&held, "12345"), None);
        assert!(why(&held, "123456").is_some_and(|r| r.contains("8 bytes together")));
        held.insert("12345".into());
        assert!(why(&held, "b").is_some_and(|r| r.contains("2 filters")));
        assert_eq!(why(&held, "a/#"), None, "it is held already");
        assert!(held.remove("a/#") && !held.remove("a/#"));
        assert_eq!((why(&held, "abc"), held.iter().count()), (None, 1));
        held.remove("12345");
        assert_eq!(held.bytes, 0);
    }
}
