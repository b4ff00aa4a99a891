//! Compares two globs, of room or user names.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Bytes;

/// The most pairs of states that a comparison visits.
const MOST_PAIRS: usize = 4_096;

/// Whether `general` matches every name that `special` matches.
///
/// It is false if the comparison would take too long, or if a glob contains what only paths need
/// (`**/`), or a class with characters beyond ASCII.
pub(crate) fn covers(general: &str, special: &str) -> bool {
    let (Some(general), Some(special)) = (Automaton::of(general), Automaton::of(special)) else {
        return false;
    };
    let sets: Vec<&ByteSet> = general.sets().chain(special.sets()).collect();
    let bytes = representatives(&sets);
    let first = (special.closed([0]), general.closed([0]));
    let mut seen = BTreeSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some((ours, theirs)) = open.pop() {
        if special.accepts(&ours) && !general.accepts(&theirs) || seen.len() > MOST_PAIRS {
            return false;
        }
        for byte in &bytes {
            let next = (special.step(&ours, *byte), general.step(&theirs, *byte));
            if !next.0.is_empty() && seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    true
}

/// A set of bytes. globset matches bytes: `?` is one byte of `ä`.
type ByteSet = BTreeSet<u8>;

/// One byte of each group that is in the same `sets`.
fn representatives(sets: &[&ByteSet]) -> Vec<u8> {
    let mut groups: BTreeSet<Vec<bool>> = BTreeSet::new();
    let member = |byte: &u8| sets.iter().map(|set| set.contains(byte)).collect();
    let is_new = |byte: &u8| groups.insert(member(byte));
    (0..=u8::MAX).filter(is_new).collect()
}

type States = BTreeSet<usize>;

/// A nondeterministic automaton. It starts in state 0.
#[derive(Default)]
struct Automaton {
    states: Vec<State>,
    end: usize,
}

#[derive(Default)]
struct State {
    /// The next states that need no byte.
    free: Vec<usize>,
    /// The next states for a byte of a set.
    steps: Vec<(ByteSet, usize)>,
}

impl Automaton {
    /// None: the glob has no automaton here.
    fn of(glob: &str) -> Option<Automaton> {
        let mut automaton = Automaton::default();
        let start = automaton.state();
        let mut rest = glob.bytes().peekable();
        if glob.contains("**") && glob.contains('/') {
            return None;
        }
        (automaton.end, _) = automaton.sequence(start, &mut rest, false)?;
        Some(automaton)
    }

    fn state(&mut self) -> usize {
        self.states.push(State::default());
        self.states.len() - 1
    }

    fn free(&mut self, from: usize, to: usize) {
        self.states[from].free.push(to);
    }

    /// Adds a state that a byte of `set` leads to.
    fn byte(&mut self, from: usize, set: ByteSet) -> usize {
        let to = self.state();
        self.states[from].steps.push((set, to));
        to
    }

    /// Reads to the end, or to the end of an alternative. Returns the last state, and whether the
    /// sequence is empty.
    fn sequence(
        &mut self,
        mut at: usize,
        rest: &mut Peekable<Bytes<'_>>,
        nested: bool,
    ) -> Option<(usize, bool)> {
        let mut empty = true;
        while let Some(byte) = rest.next_if(|byte| !nested || !b",}".contains(byte)) {
            match byte {
                b'*' => {
                    let many = self.state();
                    self.free(at, many);
                    self.states[many].steps.push((all(), many));
                    at = many;
                }
                b'?' => at = self.byte(at, all()),
                b'[' => at = self.byte(at, class(rest)?),
                b'{' => {
                    let (end, nothing) = self.alternatives(at, rest)?;
                    at = end;
                    empty &= nothing;
                    continue;
                }
                literal => at = self.byte(at, ByteSet::from([literal])),
            }
            empty = false;
        }
        Some((at, empty))
    }

    /// Reads alternatives and their closing brace. globset leaves empty ones out.
    fn alternatives(
        &mut self,
        from: usize,
        rest: &mut Peekable<Bytes<'_>>,
    ) -> Option<(usize, bool)> {
        let end = self.state();
        let mut all_empty = true;
        loop {
            let start = self.state();
            let (last, empty) = self.sequence(start, rest, true)?;
            if !empty {
                self.free(from, start);
                self.free(last, end);
                all_empty = false;
            }
            if rest.next()? == b'}' {
                break;
            }
        }
        if all_empty {
            self.free(from, end);
        }
        Some((end, all_empty))
    }

    fn sets(&self) -> impl Iterator<Item = &ByteSet> {
        let steps = self.states.iter().flat_map(|state| &state.steps);
        steps.map(|(set, _)| set)
    }

    /// These states, and those that they lead to without a byte.
    fn closed(&self, states: impl IntoIterator<Item = usize>) -> States {
        let mut open: Vec<usize> = states.into_iter().collect();
        let mut closed = States::new();
        while let Some(state) = open.pop() {
            if closed.insert(state) {
                open.extend(&self.states[state].free);
            }
        }
        closed
    }

    fn step(&self, states: &States, byte: u8) -> States {
        let steps = states.iter().flat_map(|state| &self.states[*state].steps);
        let next = steps.filter(|(set, _)| set.contains(&byte));
        self.closed(next.map(|(_, to)| *to))
    }

    fn accepts(&self, states: &States) -> bool {
        states.contains(&self.end)
    }
}

fn all() -> ByteSet {
    (0..=u8::MAX).collect()
}

/// Reads a class behind its `[`, as globset does.
fn class(rest: &mut Peekable<Bytes<'_>>) -> Option<ByteSet> {
    let negated = rest.next_if(|byte| b"!^".contains(byte)).is_some();
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    let mut in_range = false;
    loop {
        let byte = rest.next().filter(u8::is_ascii)?;
        match (byte, ranges.last_mut()) {
            (b']', Some(_)) => break,
            (b'-', Some(_)) if !in_range => {
                in_range = true;
                continue;
            }
            (end, Some(last)) if in_range => last.1 = end,
            (byte, _) => ranges.push((byte, byte)),
        }
        in_range = false;
    }
    if in_range {
        ranges.push((b'-', b'-'));
    }
    let within = |byte: &u8| ranges.iter().any(|(a, b)| (a..=b).contains(&byte));
    Some(all().into_iter().filter(|b| within(b) != negated).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use globset::GlobBuilder;
    use proptest::prelude::*;

    #[test]
    fn globs_that_cover_others() {
        for (general, special, wanted) in [
            ("*", "staff-*", true),
            ("*", "lobby", true),
            ("staff-*", "*", false),
            ("staff-*", "staff-a*", true),
            ("staff-*", "staff-", true),
            ("staff-?*", "staff-*", false),
            ("r[0-9]", "r7", true),
            ("r[0-9]", "r[2-4]", true),
            ("r[!0-9]", "r7", false),
            ("r?", "r[!0-9]", true),
            ("{a,b}*", "a-{x,y}", true),
            ("{a,b}", "{a,b,c}", false),
            ("a*b", "a*c*b", true),
            ("a*c*b", "a*b", false),
            ("~*", "~{phone,tablet}-*", true),
            ("*{x,y}*", "[xy]", true),
        ] {
            assert_eq!(covers(general, special), wanted, "{general} {special}");
        }
    }

    #[test]
    fn hostile_globs_end() {
        let many = "*a?".repeat(40);
        let _ = covers(&many, &"*b?".repeat(40));
        let _ = covers(&"{".repeat(60), "{{{}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_covering_glob_matches_what_the_covered_one_matches(
            globs in prop::collection::vec("([ab]|[*?]|\\[[!^]?[ab-]{1,3}\\]|\\{[ab*]{0,2}(,[ab?]{0,2}){0,2}\\}){0,4}", 2),
            names in prop::collection::vec("[abc-]{0,5}", 100),
        ) {
            let matcher = |glob: &str| {
                let glob = GlobBuilder::new(glob).backslash_escape(false).build();
                glob.map(|glob| glob.compile_matcher())
            };
            let (Ok(general), Ok(special)) = (matcher(&globs[0]), matcher(&globs[1])) else {
                return Ok(());
            };
            let counter = names.iter().find(|n| special.is_match(n) && !general.is_match(n));
            if covers(&globs[0], &globs[1]) {
                prop_assert_eq!(counter, None);
            }
            // Each name is a glob of itself.
            for name in names.iter().filter(|n| !n.is_empty()) {
                prop_assert_eq!(covers(&globs[0], name), general.is_match(name), "{} {}", &globs[0], name);
            }
        }
    }
}
