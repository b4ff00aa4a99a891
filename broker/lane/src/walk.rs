//! Looks up many filters at once among ordered topics, and skips the topics that none of them can
//! match.
//!
//! A SUBSCRIBE may name thousands of filters, and a lane may retain a message at each of many
//! topics. The walk goes through the topics once for all filters.
//!
//! Topics are ordered by a key in which each `/` is a null character. No topic contains one
//! [MQTT-4.7.3-2], and nothing sorts before it. A topic therefore comes right before all topics
//! below it:
//!
//! ```text
//!   as text:  a   a-b   a/b   a/c        by key:  a   a/b   a/c   a-b
//! ```
//!
//! Filters are sorted by the same keys, so filters that begin alike are adjacent: a range of them
//! takes the place of a node of a tree. For each level of the current topic the walk keeps the
//! ranges of filters that match up to there. If a level leaves none, the walk continues at the next
//! topic that a filter can match:
//!
//! ```text
//!   filters:  chat/berlin/+   chat/paris/#
//!
//!   topics:   chat/athens/a       no filter continues with "athens": skip to chat/berlin
//!             chat/athens/b       (not looked at)
//!             chat/berlin/main    matches chat/berlin/+
//!             chat/oslo/a         no filter continues with "oslo": skip to chat/paris
//!             chat/paris/b        matches chat/paris/#
//! ```
//!
//! Nothing here recurses. The work for one topic is bounded by the filters that match its
//! beginning, and the number of topics looked at by what filters and topics have in common.
//!
//! A walk may be long, so it can stop after any topic. All that it needs to go on is the key at which
//! it stopped: the topics may change meanwhile.

use super::index::is_literal;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Replaces `/` in a key.
pub(super) const SLASH: char = '\0';

/// A key followed by this sorts after all topics below it and before all others: no topic contains
/// a control character.
const AFTER_BELOW: char = '\u{1}';

/// The key by which a topic, or a filter, is sorted.
pub fn key_of(topic: &str) -> String {
    let key = topic.bytes().map(|b| if b == b'/' { 0 } else { b });
    // One ASCII character replaces another, so it stays UTF-8.
    String::from_utf8(key.collect()).unwrap_or_default()
}

/// The topic of a key.
#[must_use]
pub fn topic_of(key: &str) -> String {
    key.replace(SLASH, "/")
}

/// The filters of a walk, none of which may be shared: sorted by key, each with its position in the
/// request.
#[derive(Debug)]
pub struct WalkFilters(Vec<(Box<str>, usize)>);

impl WalkFilters {
    /// Sorts filters, whose positions count from 0.
    pub fn new<'a>(filters: impl Iterator<Item = &'a str>) -> Self {
        let keys = filters.map(|filter| key_of(filter).into());
        let mut filters: Vec<_> = keys.zip(0..).collect();
        filters.sort_unstable();
        WalkFilters(filters)
    }

    /// The key of the only filter, if that has no wildcard: one look-up takes the place of the walk.
    #[must_use]
    pub fn only_topic(&self) -> Option<&str> {
        match &self.0[..] {
            [(key, _)] if is_literal(key) => Some(key),
            _ => None,
        }
    }

    /// The keys, in their order, with the positions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(key, position)| (&**key, *position))
    }
}

/// One part of a walk of many filters through the topics.
///
/// The lists are stacks: going into a level of a topic pushes, leaving it truncates. [`Level`] says
/// how far.
struct Walk<'f> {
    filters: &'f [(Box<str>, usize)],
    /// Ranges of filters that match the current topic so far and continue.
    candidates: Vec<Part>,
    /// Ranges of filters that match the current topic, or one above it.
    matched: Vec<Match>,
    /// The levels of the current topic. The first is no level of it, but the state before any.
    levels: Vec<Level>,
    /// How many ranges have been narrowed since this was last asked.
    work: Cell<usize>,
}

/// The filters from index `from` to before `to`, whose first `at` bytes are the same. Their next
/// level begins at byte `at`.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: usize,
    to: usize,
    at: usize,
}

/// Filters that match a topic.
#[derive(Debug, Clone, Copy)]
struct Match {
    part: Part,
    /// They end with `#` and match all topics below too. Otherwise they match the topic that ends
    /// here.
    below: bool,
}

/// A level of the current topic.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    /// The byte of the key at which it ends.
    end: usize,
    /// The length of [`Walk::candidates`] before this level.
    candidates: usize,
    /// The length of [`Walk::matched`] before this level.
    matched: usize,
    /// How many ranges match everything from here on downwards.
    below: usize,
}

/// The next topic that a filter can match.
enum Next {
    /// Any topic may be: look at the following one.
    Any,
    /// The first topic whose key does not sort before this.
    From(String),
    /// There is no other.
    None,
}

impl Part {
    fn new(from: usize, to: usize, at: usize) -> Self {
        Part { from, to, at }
    }

    fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// Calls `visit` with the key of each topic from `place` on that matches, in order, and with the
/// positions of the filters that match it, in ascending order. Returns whether it has come to the end.
///
/// It stops when `visit` breaks: then `place` is the key of that topic. It also stops when `budget`
/// is used up, behind one topic at least: then `place` is a key before which no other topic matches.
/// A unit of the budget is a topic looked at, or a search in the filters.
pub(super) fn walk<'m, V>(
    filters: &WalkFilters,
    topics: &'m BTreeMap<Box<str>, V>,
    place: &mut String,
    budget: &mut usize,
    mut visit: impl FnMut(&'m str, &'m V, &[usize]) -> ControlFlow<()>,
) -> bool {
    let from = |start: &str| {
        let bounds = (Bound::Included(start), Bound::Unbounded);
        topics.range::<str, _>(bounds)
    };
    let mut walk = Walk::new(&filters.0);
    let start = walk.start();
    let mut ahead = from(start.as_str().max(place));
    let mut before = "";
    let mut positions = Vec::new();
    let mut current = ahead.next();
    while let Some((key, value)) = current {
        let next = walk.enter(before, key);
        *budget = budget.saturating_sub(1 + walk.work.take());
        before = key;
        walk.positions(key, &mut positions);
        if !positions.is_empty() && visit(key, value, &positions).is_break() {
            (**key).clone_into(place);
            return false;
        }
        current = ahead.next();
        match next {
            Next::Any => {}
            Next::None => return true,
            Next::From(start) => {
                // Often the following topic is far enough, and a search costs more than a step.
                if current.is_some_and(|(key, _)| **key < *start) {
                    ahead = from(&start);
                    current = ahead.next();
                }
            }
        }
        if let Some((key, _)) = current
            && *budget == 0
        {
            (**key).clone_into(place);
            return false;
        }
    }
    true
}

impl<'f> Walk<'f> {
    fn new(filters: &'f [(Box<str>, usize)]) -> Self {
        let root = Part::new(0, filters.len(), 0);
        let mut walk = Walk {
            filters,
            candidates: Vec::new(),
            matched: Vec::new(),
            levels: Vec::new(),
            work: Cell::default(),
        };
        let mut before_all = Level::default();
        walk.add_candidates(root, &mut before_all);
        walk.levels.push(before_all);
        walk
    }

    /// A key before which no filter matches any topic.
    fn start(&self) -> String {
        let wild =
            self.levels[0].below > 0 || self.candidates.iter().any(|part| self.has_plus(*part));
        match self.filters.first() {
            Some((least, _)) if !wild => first_level(least).to_owned(),
            _ => String::new(),
        }
    }

    /// Makes the topic with this key the current one, and goes into its levels as far as filters
    /// match.
    fn enter(&mut self, before: &str, key: &str) -> Next {
        self.leave(before, key);
        // A wildcard at the first level does not match a leading `$` [MQTT-4.7.2-1].
        let hidden = key.starts_with('$');
        let below_hidden = if hidden { self.levels[0].below } else { 0 };
        loop {
            let above = self.levels[self.levels.len() - 1];
            let first = self.levels.len() == 1;
            if !first && above.end == key.len() {
                return Next::Any;
            }
            let start = if first { 0 } else { above.end + 1 };
            let name = first_level(&key[start..]);
            let level = self.descend(name, start + name.len(), first && hidden);
            if level.below == below_hidden && level.candidates == self.candidates.len() {
                return self.skip_from(key, name, first && hidden);
            }
        }
    }

    /// Leaves the levels of the topic `before` that the topic `key` does not have.
    fn leave(&mut self, before: &str, key: &str) {
        let pairs = before.bytes().zip(key.bytes());
        let alike = pairs.take_while(|(a, b)| a == b).count();
        let goes = |level: &mut Level| {
            level.end > alike || !matches!(key.as_bytes().get(level.end), None | Some(0))
        };
        while self.levels.len() > 1
            && let Some(level) = self.levels.pop_if(goes)
        {
            self.candidates.truncate(level.candidates);
            self.matched.truncate(level.matched);
        }
    }

    /// Goes into the next level of the current topic, `name`, which ends at byte `end` of the key.
    /// `hidden`: `+` does not match it.
    fn descend(&mut self, name: &str, end: usize, hidden: bool) -> Level {
        let above = self.levels[self.levels.len() - 1];
        let mut level = Level {
            end,
            candidates: self.candidates.len(),
            matched: self.matched.len(),
            below: above.below,
        };
        let plus = (!hidden).then_some("+");
        for at in above.candidates..level.candidates {
            let part = self.candidates[at];
            for asked in [Some(name), plus].into_iter().flatten() {
                let (ends, goes_on) = self.narrow(part, asked);
                self.add_match(ends, false);
                self.add_candidates(goes_on, &mut level);
            }
        }
        self.levels.push(level);
        level
    }

    /// Adds filters that match the topic up to `level`.
    fn add_candidates(&mut self, part: Part, level: &mut Level) {
        if part.is_empty() {
            return;
        }
        self.candidates.push(part);
        // `a/#` also matches `a` (4.7.1.2).
        let (ends, _) = self.narrow(part, "#");
        level.below += usize::from(self.add_match(ends, true));
    }

    /// Adds filters that match the current topic. False if there are none.
    fn add_match(&mut self, part: Part, below: bool) -> bool {
        if !part.is_empty() {
            self.matched.push(Match { part, below });
        }
        !part.is_empty()
    }

    /// The filters of `part` whose next level is `level`: first those that end with it, then those
    /// that continue.
    fn narrow(&self, part: Part, level: &str) -> (Part, Part) {
        self.work.update(|work| work + 1);
        let level = level.as_bytes();
        let mut from = part.from;
        // The end of the filters from `from` on for which `holds`. Once false, it must stay false.
        let mut pass = |holds: &dyn Fn(&[u8]) -> bool| {
            let rest = &self.filters[from..part.to];
            from += rest.partition_point(|(filter, _)| holds(&filter.as_bytes()[part.at..]));
            from
        };
        let first = pass(&|rest| rest < level);
        let on = pass(&|rest| rest == level);
        let end = pass(&|rest| {
            rest.strip_prefix(level)
                .is_some_and(|more| more.first() == Some(&0))
        });
        let next = part.at + level.len() + 1;
        (Part::new(first, on, part.at), Part::new(on, end, next))
    }

    /// Whether any filter of `part` continues with `+`.
    fn has_plus(&self, part: Part) -> bool {
        let (ends, goes_on) = self.narrow(part, "+");
        !ends.is_empty() || !goes_on.is_empty()
    }

    /// No filter matches the level last gone into, `name`. Returns the next topic, after all below
    /// that level, that a filter can match.
    fn skip_from(&self, key: &str, name: &str, hidden: bool) -> Next {
        let [.., above, dead] = &self.levels[..] else {
            return Next::Any;
        };
        let parts = &self.candidates[above.candidates..dead.candidates];
        if hidden || parts.iter().any(|part| self.has_plus(*part)) {
            return Next::From(format!("{}{AFTER_BELOW}", &key[..dead.end]));
        }
        let later = parts.iter().filter_map(|part| {
            let (_, same) = self.narrow(*part, name);
            let (filter, _) = self.filters[..part.to].get(same.to)?;
            Some(first_level(&filter[part.at..]))
        });
        match later.min() {
            Some(name_then) => {
                let start = dead.end - name.len();
                Next::From(format!("{}{name_then}", &key[..start]))
            }
            None if self.levels.len() == 2 => Next::None,
            None => Next::From(format!("{}{AFTER_BELOW}", &key[..above.end])),
        }
    }

    /// Collects the positions of the filters that match the current topic.
    fn positions(&self, key: &str, positions: &mut Vec<usize>) {
        positions.clear();
        let last = self.levels[self.levels.len() - 1];
        let hidden = if key.starts_with('$') {
            self.levels[0].below
        } else {
            0
        };
        for (at, found) in self.matched.iter().enumerate().skip(hidden) {
            let ends_here = at >= last.matched && last.end == key.len();
            if found.below || ends_here {
                let filters = &self.filters[found.part.from..found.part.to];
                positions.extend(filters.iter().map(|(_, position)| *position));
            }
        }
        positions.sort_unstable();
    }
}

fn first_level(key: &str) -> &str {
    key.split(SLASH).next().unwrap_or(key)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
