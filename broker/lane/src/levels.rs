//! The levels of a topic, and how the tree of filters compares them.

/// Topics with more bytes than this are cut into levels once, and levels with more bytes are rarely
/// hashed: else the cost of a long topic would be multiplied by the number of nodes that it visits.
pub(super) const LONG: usize = 256;

/// The first of some levels: everything before the first `/`.
pub(super) fn first_level(levels: &str) -> &str {
    levels.split_once('/').map_or(levels, |(first, _)| first)
}

/// A topic that is compared with many nodes.
pub(super) struct Topic<'t> {
    pub text: &'t str,
    /// The ends of its levels, if it has more than [`LONG`] bytes.
    ends: Option<Vec<usize>>,
}

impl<'t> Topic<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = || {
            let slashes = text.match_indices('/').map(|(at, _)| at);
            slashes.chain([text.len()]).collect()
        };
        let ends = (text.len() > LONG).then(ends);
        Topic { text, ends }
    }

    /// The level that begins at byte `start`; none past the end.
    pub(super) fn level(&self, start: usize) -> Option<&'t str> {
        let rest = self.text.get(start..)?;
        let Some(ends) = &self.ends else {
            return Some(first_level(rest));
        };
        let end = ends.get(ends.partition_point(|end| *end < start))?;
        self.text.get(start..*end)
    }

    /// Compares the topic, from byte `start` on, with a node's path. Returns the byte at which the
    /// next level begins, which is past the end if there is none. None if the path does not match.
    ///
    /// The caller passes the topic's level at `start` as `name`, and has compared it: the path
    /// begins with `name` or with `+`.
    pub(super) fn after(&self, path: &str, start: usize, name: &str) -> Option<usize> {
        let mut at = start + name.len() + 1;
        // Most paths have one level, and need no further comparison.
        let first = if path.starts_with('+') { 1 } else { name.len() };
        if path.len() == first {
            return Some(at);
        }
        for level in path[first + 1..].split('/') {
            let name = self.level(at)?;
            if level != "+" && level != name {
                return None;
            }
            at += name.len() + 1;
        }
        Some(at)
    }
}

/// How many bytes two paths have in common, counted in whole levels. Their first level is the same.
///
/// For `b/+/c` and `b/+/cd` that is 3, the length of `b/+`.
pub(super) fn common_prefix(a: &str, b: &str) -> usize {
    let pairs = a.bytes().zip(b.bytes());
    let same = pairs.take_while(|(a, b)| a == b).count();
    let ends = |path: &str| matches!(path.as_bytes().get(same), None | Some(b'/'));
    if ends(a) && ends(b) {
        return same;
    }
    a.as_bytes()[..same]
        .iter()
        .rposition(|byte| *byte == b'/')
        .unwrap_or(same)
}
