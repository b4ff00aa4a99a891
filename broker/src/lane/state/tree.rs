//! Filters with wildcards, in a tree whose branches are runs of levels.
//!
//! A node stands where filters end or part, so there are at most twice as many as filters, however many levels these
//! have: memory follows the bytes of the filters, and so does the work done for a topic, since each node is gone into
//! once at most and compared with its own part of the topic. That holds for `+` at every level too. Nodes are numbered
//! and nothing here is recursive, neither walking nor dropping.

use super::subscription::{Slot, Subscription, take_slot};
use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};

/// The place of a node.
type NodeIndex = usize;

const ROOT: NodeIndex = 0;

/// Bytes of a topic above which its levels are looked for once, and of a level above which it is seldom looked up.
const LONG: usize = 256;

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Places of nodes that have gone.
    free: Vec<NodeIndex>,
}

#[derive(Debug, Default)]
struct Node {
    parent: NodeIndex,
    /// The levels from the parent to here. The first tells it from the parent's others.
    path: Box<str>,
    children: HashMap<Box<str>, NodeIndex>,
    /// How many children have a long first level, by its length: looking one up costs that.
    long: BTreeMap<usize, usize>,
    /// The child whose path begins with `+`.
    plus: Option<NodeIndex>,
    /// Filters that end here.
    here: Vec<Subscription>,
    /// Filters that end with `#` below here.
    below: Vec<Subscription>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            nodes: vec![Node::default()],
            free: Vec::new(),
        }
    }
}

impl Tree {
    /// The subscriptions to this filter. Where there are none some have to be put there.
    pub(super) fn list_mut(&mut self, filter: &str) -> &mut Vec<Subscription> {
        let (path, hash) = parts(filter);
        let number = match path {
            Some(path) => self.grow(path),
            None => ROOT,
        };
        self.nodes[number].list_mut(hash)
    }

    /// The subscriptions to this filter.
    pub(super) fn list(&self, filter: &str) -> Option<&[Subscription]> {
        let (path, hash) = parts(filter);
        let node = &self.nodes[self.find(path)?];
        Some(if hash { &node.below } else { &node.here })
    }

    /// Takes the slot's subscription to this filter away; true where there was one.
    pub(super) fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let (path, hash) = parts(filter);
        let Some(number) = self.find(path) else {
            return false;
        };
        let had = take_slot(self.nodes[number].list_mut(hash), slot);
        if had {
            self.prune(number);
        }
        had
    }

    /// Calls `found` with all that reach a topic, and says how many nodes were gone into. A wildcard at the first level
    /// does not match a leading `$` [MQTT-4.7.2-1].
    pub(super) fn matches<'a>(
        &'a self,
        topic: &str,
        mut found: impl FnMut(&'a Subscription),
    ) -> usize {
        let mut visited = 0;
        let topic = Topic::new(topic);
        // Nodes, and where the levels of the topic begin that come after them.
        let mut later: Vec<(NodeIndex, usize)> = Vec::new();
        let mut at = Some((ROOT, 0));
        while let Some((number, start)) = at {
            visited += 1;
            let node = &self.nodes[number];
            let hidden = number == ROOT && topic.text.starts_with('$');
            // `a/#` matches `a` itself too (4.7.1.2).
            if !hidden {
                node.below.iter().for_each(&mut found);
            }
            at = None;
            if let Some(name) = topic.level(start) {
                let go = |child: &NodeIndex| {
                    let next = topic.after(&self.nodes[*child].path, start, name)?;
                    Some((*child, next))
                };
                at = node.literal_child(name).as_ref().and_then(go);
                let plus = node.plus.as_ref().filter(|_| !hidden).and_then(go);
                if at.is_some() {
                    later.extend(plus);
                } else {
                    at = plus;
                }
            } else {
                node.here.iter().for_each(&mut found);
            }
            at = at.or_else(|| later.pop());
        }
        visited
    }

    /// Whether nothing, and no place for anything, is left.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.free.is_empty() && self.nodes[ROOT].is_bare()
    }

    fn find(&self, path: Option<&str>) -> Option<NodeIndex> {
        let Some(mut rest) = path else {
            return Some(ROOT);
        };
        let mut number = ROOT;
        loop {
            number = self.nodes[number].child(first_level(rest))?;
            let path = &*self.nodes[number].path;
            if rest.len() == path.len() {
                return (rest == path).then_some(number);
            }
            rest = rest.strip_prefix(path)?.strip_prefix('/')?;
        }
    }

    /// The node at the end of a path, made where there is none.
    fn grow(&mut self, path: &str) -> NodeIndex {
        let (mut number, mut rest) = (ROOT, path);
        loop {
            let Some(child) = self.nodes[number].child(first_level(rest)) else {
                return self.add(number, rest);
            };
            let common_levels = common_levels(&self.nodes[child].path, rest);
            number = if common_levels < self.nodes[child].path.len() {
                self.split(child, common_levels)
            } else {
                child
            };
            if common_levels == rest.len() {
                return number;
            }
            rest = &rest[common_levels + 1..];
        }
    }

    fn add(&mut self, parent: NodeIndex, path: &str) -> NodeIndex {
        let node = Node {
            parent,
            path: path.into(),
            ..Node::default()
        };
        let number = if let Some(number) = self.free.pop() {
            self.nodes[number] = node;
            number
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.nodes[parent].set_child(first_level(path), number);
        number
    }

    /// Parts a node's path after `at` bytes: the new node that stands there.
    fn split(&mut self, child: NodeIndex, at: usize) -> NodeIndex {
        let path = std::mem::take(&mut self.nodes[child].path);
        let middle = self.add(self.nodes[child].parent, &path[..at]);
        let rest = &path[at + 1..];
        self.nodes[child].path = rest.into();
        self.nodes[child].parent = middle;
        self.nodes[middle].set_child(first_level(rest), child);
        middle
    }

    /// Takes nodes away that nothing needs any more, from `number` on upwards.
    fn prune(&mut self, mut number: NodeIndex) {
        while number != ROOT {
            let node = &self.nodes[number];
            if !node.here.is_empty() || !node.below.is_empty() {
                break;
            }
            let parent = node.parent;
            let mut children = node.children.values().chain(&node.plus).copied();
            match (children.next(), children.next()) {
                (None, _) => {
                    let path = std::mem::take(&mut self.nodes[number].path);
                    self.nodes[parent].remove_child(first_level(&path));
                    self.release(number);
                    number = parent;
                }
                (Some(only), None) => {
                    let path = format!("{}/{}", node.path, self.nodes[only].path);
                    self.nodes[parent].set_child(first_level(&path), only);
                    self.nodes[only].path = path.into();
                    self.nodes[only].parent = parent;
                    self.release(number);
                    break;
                }
                _ => break,
            }
        }
        if self.free.len() + 1 == self.nodes.len() {
            self.nodes.truncate(1);
            self.nodes.shrink_to_fit();
            self.free = Vec::new();
        }
    }

    fn release(&mut self, number: NodeIndex) {
        self.nodes[number] = Node::default();
        self.free.push(number);
    }
}

impl Node {
    fn list_mut(&mut self, hash: bool) -> &mut Vec<Subscription> {
        if hash {
            &mut self.below
        } else {
            &mut self.here
        }
    }

    fn child(&self, level: &str) -> Option<NodeIndex> {
        match level {
            "+" => self.plus,
            _ => self.literal_child(level),
        }
    }

    /// The child whose first level is this and no wildcard.
    fn literal_child(&self, level: &str) -> Option<NodeIndex> {
        let longest = || {
            self.long
                .last_key_value()
                .map_or(LONG, |(longest, _)| *longest)
        };
        let may_be = level.len() <= LONG || level.len() <= longest();
        may_be.then(|| self.children.get(level)).flatten().copied()
    }

    /// Takes a child in, in place of another that begins with this level.
    fn set_child(&mut self, level: &str, child: NodeIndex) {
        if level == "+" {
            self.plus = Some(child);
            return;
        }
        let before = self.children.insert(level.into(), child);
        if before.is_none() && level.len() > LONG {
            *self.long.entry(level.len()).or_default() += 1;
        }
    }

    fn remove_child(&mut self, level: &str) {
        if level == "+" {
            self.plus = None;
            return;
        }
        let had = self.children.remove(level).is_some();
        if let Entry::Occupied(mut count) = self.long.entry(level.len())
            && had
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn is_bare(&self) -> bool {
        self.children.is_empty()
            && self.long.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }
}

/// The levels before `#`, where there are any, and whether there is one.
fn parts(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some(before) => (before.strip_suffix('/'), true),
        None => (Some(filter), false),
    }
}

fn first_level(levels: &str) -> &str {
    levels.split_once('/').map_or(levels, |(first, _)| first)
}

/// A topic that is looked at from many nodes.
struct Topic<'t> {
    text: &'t str,
    /// Where its levels end, if it is so long that looking for that again and again would cost.
    ends: Option<Vec<usize>>,
}

impl<'t> Topic<'t> {
    fn new(text: &'t str) -> Self {
        let ends = || {
            let slashes = text.match_indices('/').map(|(at, _)| at);
            slashes.chain([text.len()]).collect()
        };
        let ends = (text.len() > LONG).then(ends);
        Topic { text, ends }
    }

    /// The level that begins at `start`; none past the end.
    fn level(&self, start: usize) -> Option<&'t str> {
        let rest = self.text.get(start..)?;
        let Some(ends) = &self.ends else {
            return Some(first_level(rest));
        };
        let end = ends.get(ends.partition_point(|end| *end < start))?;
        self.text.get(start..*end)
    }

    /// Where the levels begin that come after a path, which begins at `start`, where the level is `name`; past the end
    /// where there are none. None where the path is another; its first level is `name` or `+`.
    fn after(&self, path: &str, start: usize, name: &str) -> Option<usize> {
        let mut at = start + name.len() + 1;
        // Most ways are of one level, which the caller has compared.
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

/// How many bytes of whole levels two ways, whose first level is the same, have in common.
fn common_levels(a: &str, b: &str) -> usize {
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

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
