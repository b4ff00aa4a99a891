//! The filters of a session as the client wrote them, and their limits.

use crate::packet::{ReasonCode, levels};
use crate::refusal::Refusal;
use bytestring::ByteString;
use std::collections::HashSet;

/// The filters of one session.
#[derive(Debug, Default)]
pub struct Filters {
    /// One of them. Most sessions have no other, and a set of one takes 160 bytes more.
    one: Option<ByteString>,
    /// The others, boxed for the same reason.
    others: Option<Box<OtherFilters>>,
    /// Bytes of all names.
    bytes: usize,
}

/// All filters of a session but one.
#[derive(Debug, Default)]
struct OtherFilters {
    names: HashSet<ByteString>,
    kinds: KindCounts,
}

/// How many filters are of the kinds that have limits of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct KindCounts {
    spanning: usize,
    /// Bytes of the spanning ones.
    spanning_bytes: usize,
    shared: usize,
}

impl KindCounts {
    /// The counts of one filter. It spans lanes if its first two levels have a wildcard.
    fn of(name: &str) -> KindCounts {
        let group = name.strip_prefix("$share/");
        let inner = group.map_or(name, |rest| {
            rest.split_once('/').map_or("", |(_, inner)| inner)
        });
        let spans = levels(inner)
            .take(2)
            .any(|level| matches!(level, "+" | "#"));
        KindCounts {
            spanning: spans.into(),
            spanning_bytes: if spans { name.len() } else { 0 },
            shared: group.is_some().into(),
        }
    }

    fn add(&mut self, other: KindCounts) {
        self.spanning += other.spanning;
        self.spanning_bytes += other.spanning_bytes;
        self.shared += other.shared;
    }

    fn subtract(&mut self, other: KindCounts) {
        self.spanning -= other.spanning;
        self.spanning_bytes -= other.spanning_bytes;
        self.shared -= other.shared;
    }
}

/// Limits of one session's filters.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// How many filters.
    pub number: usize,
    /// Bytes of all filters together, as the client wrote them, and of the spanning ones so often as
    /// `copies` says.
    pub bytes: usize,
    /// In how many places the text of a filter is stored that spans lanes, at least 1.
    pub copies: usize,
    /// How many filters with a wildcard in their first two levels, behind `$share/<group>/`.
    pub spanning: usize,
    /// How many shared subscriptions.
    pub shared: usize,
}

/// The limit that a filter would exceed, and the refusal: 0x97 (quota exceeded), with a text that names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceededLimit {
    /// The name of the setting, without its section.
    pub setting: &'static str,
    /// What the client is told.
    pub refusal: Refusal,
}

impl Filters {
    /// Whether a filter of this name fits. A filter that the session holds already always fits.
    ///
    /// # Errors
    /// One of the `limits` is reached.
    pub fn check_limits(&self, name: &str, limits: FilterLimits) -> Result<(), ExceededLimit> {
        if self.contains(name) {
            return Ok(());
        }
        let FilterLimits {
            number,
            bytes,
            copies,
            spanning,
            shared,
        } = limits;
        let (new, held) = (KindCounts::of(name), self.kinds());
        let more_copies = (held.spanning_bytes + new.spanning_bytes) * copies.saturating_sub(1);
        let (setting, reason) = if self.len() >= number {
            let reason = format!("a session may hold {number} filters");
            ("subscriptions", reason)
        } else if self.bytes + name.len() + more_copies > bytes {
            let reason = format!("a session may hold filters of {bytes} bytes together");
            ("subscription_bytes", reason)
        } else if new.spanning > 0 && held.spanning >= spanning {
            let reason = format!(
                "a session may hold {spanning} filters with a wildcard in the first two levels"
            );
            ("spanning_subscriptions", reason)
        } else if new.shared > 0 && held.shared >= shared {
            let reason = format!("a session may hold {shared} shared subscriptions");
            ("shared_subscriptions", reason)
        } else {
            return Ok(());
        };
        let refusal = Refusal::new(ReasonCode::QuotaExceeded, reason);
        Err(ExceededLimit { setting, refusal })
    }

    fn kinds(&self) -> KindCounts {
        let mut kinds = self
            .others
            .as_ref()
            .map_or_else(KindCounts::default, |o| o.kinds);
        if let Some(one) = &self.one {
            kinds.add(KindCounts::of(one));
        }
        kinds
    }

    /// Adds a filter. A name that is there is counted once.
    pub fn insert(&mut self, name: ByteString) {
        if self.contains(&name) {
            return;
        }
        self.bytes += name.len();
        if self.one.is_none() {
            self.one = Some(name);
        } else {
            let others = self.others.get_or_insert_default();
            others.kinds.add(KindCounts::of(&name));
            others.names.insert(name);
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
            others.names.shrink_to_fit();
        }
    }

    /// All filters, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ByteString> {
        let others = self.others.iter().flat_map(|others| &others.names);
        self.one.iter().chain(others)
    }

    /// Whether the session holds the filter.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let others = self.others.as_ref();
        self.one.as_ref().is_some_and(|one| *one == name)
            || others.is_some_and(|others| others.names.contains(name))
    }

    fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.others.as_ref().map_or(0, |o| o.names.len())
    }
}

impl OtherFilters {
    fn remove(&mut self, name: &str) -> bool {
        let removed = self.names.remove(name);
        if removed {
            self.kinds.subtract(KindCounts::of(name));
        }
        removed
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
            copies: 1,
            spanning: 1,
            shared: 1,
        };
        let mut held: Filters = ["a/#".into()].into_iter().collect();
        let why = |held: &Filters, name| {
            held.check_limits(name, limits)
                .err()
                .map(|e| e.refusal.reason)
        };
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

    #[test]
    fn filters_that_span_lanes_and_shared_ones_have_limits_of_their_own() {
        let limits = FilterLimits {
            number: 100,
            bytes: 1_000,
            copies: 4,
            spanning: 2,
            shared: 2,
        };
        let mut held: Filters = ["+/a", "$share/g/a/#", "$share/g/a/b/#", "a/b/#"]
            .map(Into::into)
            .into_iter()
            .collect();
        let exceeded =
            |held: &Filters, name| held.check_limits(name, limits).err().map(|e| e.setting);
        for name in ["#", "a/+", "$share/g/#"] {
            assert_eq!(exceeded(&held, name), Some("spanning_subscriptions"));
        }
        assert_eq!(
            exceeded(&held, "$share/h/a/b"),
            Some("shared_subscriptions")
        );
        assert_eq!(
            (exceeded(&held, "a/c/#"), exceeded(&held, "+/a")),
            (None, None)
        );
        assert!(held.remove("$share/g/a/#") && held.remove("+/a"));
        assert_eq!(
            (exceeded(&held, "#"), exceeded(&held, "$share/h/a/b")),
            (None, None)
        );
        let all: Vec<_> = held.iter().cloned().collect();
        assert!(all.iter().all(|name| held.remove(name)));
        assert_eq!(held.kinds(), KindCounts::default());
    }

    #[test]
    fn a_filter_that_spans_lanes_counts_once_for_each_copy() {
        let limits = FilterLimits {
            number: 100,
            bytes: 100,
            copies: 4,
            spanning: 100,
            shared: 100,
        };
        let mut held = Filters::default();
        let fits = |held: &Filters, name: &str| held.check_limits(name, limits).is_ok();
        let of = |wildcard: &str, bytes: usize| format!("{wildcard}/{}", "x".repeat(bytes - 2));
        assert!(fits(&held, &of("+", 25)) && !fits(&held, &of("+", 26)));
        assert!(fits(&held, &of("a", 100)) && !fits(&held, &of("a", 101)));
        held.insert(of("+", 20).into());
        assert!(fits(&held, &of("+", 5)) && !fits(&held, &of("+", 6)));
        assert!(fits(&held, &of("a", 20)) && !fits(&held, &of("a", 21)));
    }
}
