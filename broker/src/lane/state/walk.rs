//! Many filters looked up at once among ordered topics, passing over what none of them can match.
//!
//! Topics are kept by a key in which each `/` is a null character, which no topic has [MQTT-4.7.3-2] and nothing
//! sorts before: in the plain order of keys a topic stands right before all below it, and siblings stand in the
//! order of their bytes. Filters sorted by the same keys are a tree without nodes: those that begin alike lie
//! together. The walk goes along the topics, holds for each level of the one at hand which filters still agree,
//! and where none does it goes on at the next topic with which one could. No recursion; the work done for a topic is
//! bounded by the filters that agree so far, the topics looked at by what filters and topics have in common.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Stands for `/` in a key.
const SLASH: char = '\0';

/// Sorts behind all that is below a topic whose key it follows, and before all else: no topic has a control character.
const AFTER_BELOW: char = '\u{1}';

/// What a topic, or a filter, is sorted by.
pub(crate) fn key_of(topic: &str) -> String {
    topic.replace('/', "\0")
}

/// The topic of a key.
pub(crate) fn topic_of(key: &str) -> String {
    key.replace(SLASH, "/")
}

/// Filters on their way through the topics.
pub(super) struct Walk {
    /// By key, each with its place in what was asked for.
    filters: Vec<(String, usize)>,
    /// Those that agree so far, level by level.
    candidates: Vec<Part>,
    /// Those that match, level by level.
    matched: Vec<Match>,
    /// Those gone into, after one that stands before all.
    levels: Vec<Level>,
}

/// Filters that begin alike: what they ask of the next level stands at byte `at`.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: usize,
    to: usize,
    at: usize,
}

/// Filters that match the topic that ends with a level, or all from there on.
#[derive(Debug, Clone, Copy)]
struct Match {
    part: Part,
    below: bool,
}

/// Where a level ends in the key, and where what it added begins in the lists of the walk.
#[derive(Debug, Clone, Copy)]
struct Level {
    end: usize,
    candidates: usize,
    matched: usize,
    /// How many match all from here on.
    below: usize,
}

/// The first topic that filters can match after the one at hand.
enum Next {
    /// Maybe the very next.
    Any,
    /// None whose key sorts before this.
    From(String),
    /// There is none.
    None,
}

impl Part {
    fn is_empty(self) -> bool {
        self.from == self.to
    }
}

impl Walk {
    /// Of these filters, none of them shared.
    pub(super) fn new<'a>(filters: impl Iterator<Item = &'a str>) -> Self {
        let mut filters: Vec<_> = filters.map(key_of).zip(0..).collect();
        filters.sort_unstable();
        let root = Part {
            from: 0,
            to: filters.len(),
            at: 0,
        };
        let mut walk = Walk {
            filters,
            candidates: Vec::new(),
            matched: Vec::new(),
            levels: Vec::new(),
        };
        let mut before_all = Level {
            end: 0,
            candidates: 0,
            matched: 0,
            below: 0,
        };
        walk.add_candidates(root, &mut before_all);
        walk.levels.push(before_all);
        walk
    }

    /// Shows `visit` the key of each topic that filters match, in order, with the filters' places in order. Ends
    /// where `visit` breaks off. Says how many topics were looked at.
    pub(super) fn over<'m, V>(
        mut self,
        topics: &'m BTreeMap<Box<str>, V>,
        mut visit: impl FnMut(&'m str, &'m V, &[usize]) -> ControlFlow<()>,
    ) -> usize {
        let behind = |start: &str| {
            let bounds = (Bound::Included(start), Bound::Unbounded);
            topics.range::<str, _>(bounds)
        };
        let mut ahead = behind(&self.start());
        let (mut before, mut looked_at) = ("", 0);
        let mut places = Vec::new();
        let mut at_hand = ahead.next();
        while let Some((key, value)) = at_hand {
            looked_at += 1;
            let next = self.enter(before, key);
            before = key;
            self.positions(key, &mut places);
            if !places.is_empty() && visit(key, value, &places).is_break() {
                break;
            }
            at_hand = ahead.next();
            match next {
                Next::Any => {}
                Next::None => break,
                Next::From(start) => {
                    // Often the very next is far enough, and a search costs more.
                    if at_hand.is_some_and(|(key, _)| **key < *start) {
                        ahead = behind(&start);
                        at_hand = ahead.next();
                    }
                }
            }
        }
        looked_at
    }

    /// Where all that filters can match lies behind.
    fn start(&self) -> String {
        let wild =
            self.levels[0].below > 0 || self.candidates.iter().any(|part| self.has_plus(*part));
        match self.filters.first() {
            Some((least, _)) if !wild => first_level(least).to_owned(),
            _ => String::new(),
        }
    }

    /// Goes into a topic as far as filters agree with it.
    fn enter(&mut self, before: &str, key: &str) -> Next {
        self.leave(before, key);
        // Wildcards at the first level are not for a leading `$` [MQTT-4.7.2-1].
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

    /// Forgets the levels that the next topic does not share.
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

    fn descend(&mut self, name: &str, end: usize, hidden: bool) -> Level {
        let above = self.levels[self.levels.len() - 1];
        let mut level = Level {
            end,
            candidates: self.candidates.len(),
            matched: self.matched.len(),
            below: above.below,
        };
        let plus = (!hidden).then_some("+");
        for place in above.candidates..level.candidates {
            let part = self.candidates[place];
            for asked in [Some(name), plus].into_iter().flatten() {
                let (ends, goes_on) = self.narrow(part, asked);
                if !ends.is_empty() {
                    let below = false;
                    self.matched.push(Match { part: ends, below });
                }
                self.add_candidates(goes_on, &mut level);
            }
        }
        self.levels.push(level);
        level
    }

    /// Notes filters that agree with all up to `level`.
    fn add_candidates(&mut self, part: Part, level: &mut Level) {
        if part.is_empty() {
            return;
        }
        self.candidates.push(part);
        // `a/#` matches `a` too (4.7.1.2).
        let (ends, _) = self.narrow(part, "#");
        if !ends.is_empty() {
            let below = true;
            self.matched.push(Match { part: ends, below });
            level.below += 1;
        }
    }

    /// Those of `part` whose next level is this one: that end with it, and that go on.
    fn narrow(&self, part: Part, level: &str) -> (Part, Part) {
        let filters = &self.filters[part.from..part.to];
        let rest = |at: usize| &filters[at].0.as_bytes()[part.at..];
        let level = level.as_bytes();
        let first = bisect(0, filters.len(), |at| rest(at) < level);
        let on = bisect(first, filters.len(), |at| rest(at) == level);
        let end = bisect(on, filters.len(), |at| {
            rest(at).starts_with(level) && rest(at).get(level.len()) == Some(&0)
        });
        let ends = Part {
            from: part.from + first,
            to: part.from + on,
            at: part.at,
        };
        let goes_on = Part {
            from: part.from + on,
            to: part.from + end,
            at: part.at + level.len() + 1,
        };
        (ends, goes_on)
    }

    fn has_plus(&self, part: Part) -> bool {
        let (ends, goes_on) = self.narrow(part, "+");
        !ends.is_empty() || !goes_on.is_empty()
    }

    /// Nothing agrees with the level last gone into, `name`: the first topic after all below it that can match.
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

    /// The places of the filters that match the topic gone into.
    fn positions(&self, key: &str, places: &mut Vec<usize>) {
        places.clear();
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
                places.extend(filters.iter().map(|(_, place)| *place));
            }
        }
        places.sort_unstable();
    }
}

fn first_level(key: &str) -> &str {
    key.split(SLASH).next().unwrap_or(key)
}

/// The first number from `from` to `to` of which `holds` is not true, which is true of none after it.
fn bisect(from: usize, to: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (from, to);
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
