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
type Number = usize;

const ROOT: Number = 0;

/// Bytes of a topic above which its levels are looked for once, and of a level above which it is seldom looked up.
const LONG: usize = 256;

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Places of nodes that have gone.
    free: Vec<Number>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Number,
    /// The levels from the parent to here. The first tells it from the parent's others.
    way: Box<str>,
    children: HashMap<Box<str>, Number>,
    /// How many children have a long first level, by its length: looking one up costs that.
    long: BTreeMap<usize, usize>,
    /// The child whose way begins with `+`.
    plus: Option<Number>,
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
        let (way, hash) = parts(filter);
        let number = match way {
            Some(way) => self.grow(way),
            None => ROOT,
        };
        self.nodes[number].list_mut(hash)
    }

    /// The subscriptions to this filter.
    pub(super) fn list(&self, filter: &str) -> Option<&[Subscription]> {
        let (way, hash) = parts(filter);
        let node = &self.nodes[self.find(way)?];
        Some(if hash { &node.below } else { &node.here })
    }

    /// Takes the slot's subscription to this filter away; true where there was one.
    pub(super) fn remove(&mut self, filter: &str, slot: Slot) -> bool {
        let (way, hash) = parts(filter);
        let Some(number) = self.find(way) else {
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
        let mut gone_into = 0;
        let topic = Topic::new(topic);
        // Nodes, and where the levels of the topic begin that come after them.
        let mut later: Vec<(Number, usize)> = Vec::new();
        let mut at = Some((ROOT, 0));
        while let Some((number, start)) = at {
            gone_into += 1;
            let node = &self.nodes[number];
            let hidden = number == ROOT && topic.text.starts_with('$');
            // `a/#` matches `a` itself too (4.7.1.2).
            if !hidden {
                node.below.iter().for_each(&mut found);
            }
            at = None;
            if let Some(name) = topic.level(start) {
                let go = |child: &Number| {
                    let next = topic.after(&self.nodes[*child].way, start, name)?;
                    Some((*child, next))
                };
                at = node.named(name).as_ref().and_then(go);
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
        gone_into
    }

    /// Whether nothing, and no place for anything, is left.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.free.is_empty() && self.nodes[ROOT].is_bare()
    }

    fn find(&self, way: Option<&str>) -> Option<Number> {
        let Some(mut rest) = way else {
            return Some(ROOT);
        };
        let mut number = ROOT;
        loop {
            number = self.nodes[number].child(first_level(rest))?;
            let way = &*self.nodes[number].way;
            if rest.len() == way.len() {
                return (rest == way).then_some(number);
            }
            rest = rest.strip_prefix(way)?.strip_prefix('/')?;
        }
    }

    /// The node at the end of a way, made where there is none.
    fn grow(&mut self, way: &str) -> Number {
        let (mut number, mut rest) = (ROOT, way);
        loop {
            let Some(child) = self.nodes[number].child(first_level(rest)) else {
                return self.add(number, rest);
            };
            let alike = alike(&self.nodes[child].way, rest);
            number = if alike < self.nodes[child].way.len() {
                self.part(child, alike)
            } else {
                child
            };
            if alike == rest.len() {
                return number;
            }
            rest = &rest[alike + 1..];
        }
    }

    fn add(&mut self, parent: Number, way: &str) -> Number {
        let node = Node {
            parent,
            way: way.into(),
            ..Node::default()
        };
        let number = if let Some(number) = self.free.pop() {
            self.nodes[number] = node;
            number
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.nodes[parent].adopt(first_level(way), number);
        number
    }

    /// Parts a node's way after `at` bytes: the new node that stands there.
    fn part(&mut self, child: Number, at: usize) -> Number {
        let way = std::mem::take(&mut self.nodes[child].way);
        let middle = self.add(self.nodes[child].parent, &way[..at]);
        let rest = &way[at + 1..];
        self.nodes[child].way = rest.into();
        self.nodes[child].parent = middle;
        self.nodes[middle].adopt(first_level(rest), child);
        middle
    }

    /// Takes nodes away that nothing needs any more, from `number` on upwards.
    fn prune(&mut self, mut number: Number) {
        while number != ROOT {
            let node = &self.nodes[number];
            if !node.here.is_empty() || !node.below.is_empty() {
                break;
            }
            let parent = node.parent;
            let mut children = node.children.values().chain(&node.plus).copied();
            match (children.next(), children.next()) {
                (None, _) => {
                    let way = std::mem::take(&mut self.nodes[number].way);
                    self.nodes[parent].disown(first_level(&way));
                    self.forget(number);
                    number = parent;
                }
                (Some(only), None) => {
                    let way = format!("{}/{}", node.way, self.nodes[only].way);
                    self.nodes[parent].adopt(first_level(&way), only);
                    self.nodes[only].way = way.into();
                    self.nodes[only].parent = parent;
                    self.forget(number);
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

    fn forget(&mut self, number: Number) {
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

    fn child(&self, level: &str) -> Option<Number> {
        match level {
            "+" => self.plus,
            _ => self.named(level),
        }
    }

    /// The child whose first level is this and no wildcard.
    fn named(&self, level: &str) -> Option<Number> {
        let longest = || {
            self.long
                .last_key_value()
                .map_or(LONG, |(longest, _)| *longest)
        };
        let may_be = level.len() <= LONG || level.len() <= longest();
        may_be.then(|| self.children.get(level)).flatten().copied()
    }

    /// Takes a child in, in place of another that begins with this level.
    fn adopt(&mut self, level: &str, child: Number) {
        if level == "+" {
            self.plus = Some(child);
            return;
        }
        let before = self.children.insert(level.into(), child);
        if before.is_none() && level.len() > LONG {
            *self.long.entry(level.len()).or_default() += 1;
        }
    }

    fn disown(&mut self, level: &str) {
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

    /// Where the levels begin that come after a way, which begins at `start`, where the level is `name`; past the end
    /// where there are none. None where the way is another; its first level is `name` or `+`.
    fn after(&self, way: &str, start: usize, name: &str) -> Option<usize> {
        let mut at = start + name.len() + 1;
        // Most ways are of one level, which the caller has compared.
        let first = if way.starts_with('+') { 1 } else { name.len() };
        if way.len() == first {
            return Some(at);
        }
        for level in way[first + 1..].split('/') {
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
fn alike(a: &str, b: &str) -> usize {
    let pairs = a.bytes().zip(b.bytes());
    let same = pairs.take_while(|(a, b)| a == b).count();
    let ends = |way: &str| matches!(way.as_bytes().get(same), None | Some(b'/'));
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
