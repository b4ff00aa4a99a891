//! Filters with wildcards, in a tree whose edges are runs of levels (a radix tree).
//!
//! ```text
//!   filters: a/b/+/d   a/b/+/c/#   a/x/#
//!
//!   (root) -- a --+-- b/+ --+-- d     here:  a/b/+/d
//!                 |         +-- c     below: a/b/+/c/#
//!                 +-- x               below: a/x/#
//! ```
//!
//! A node exists only where a filter ends or where filters diverge. There are therefore at most
//! twice as many nodes as filters, however many levels a filter has, and memory grows with the
//! bytes of the filters. Finding the filters of a topic visits each node at most once, and compares
//! it with its own part of the topic. This holds even for filters with `+` at every level.
//!
//! Nodes refer to each other by index. Nothing here recurses, neither walking nor dropping, so a
//! filter with thousands of levels cannot exhaust the stack.

use super::levels::{LONG, Topic, common_prefix, first_level};
use super::subscription::{Slot, Subscription, take_slot};
use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};

mod snapshot;

/// The index of a node in [`Tree::nodes`].
type NodeIndex = usize;

const ROOT: NodeIndex = 0;

/// Subscriptions to filters with `+` or `#`.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<TreeNode>,
    /// Indexes of nodes that are unused.
    free: Vec<NodeIndex>,
}

#[derive(Debug, Default)]
struct TreeNode {
    parent: NodeIndex,
    /// The levels between the parent and this node. No two children of a node have the same first
    /// level.
    path: Box<str>,
    /// By the first level of their paths.
    children: HashMap<Box<str>, NodeIndex>,
    /// How many children have a first level of more than [`LONG`] bytes, by its length. A topic's
    /// level that is longer than all of them is not hashed.
    long: BTreeMap<usize, usize>,
    /// The child whose path begins with `+`.
    plus: Option<NodeIndex>,
    /// Subscriptions to the filter that ends here.
    here: Vec<Subscription>,
    /// Subscriptions to the filter that continues with `#`.
    below: Vec<Subscription>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            nodes: vec![TreeNode::default()],
            free: Vec::new(),
        }
    }
}

impl Tree {
    /// The subscriptions to this filter. If there are none yet, the caller must add one: an empty
    /// list would leave a node without a use.
    pub(super) fn list_mut(&mut self, filter: &str) -> &mut Vec<Subscription> {
        let (path, hash) = parts(filter);
        let number = match path {
            Some(path) => self.grow(path),
            None => ROOT,
        };
        self.nodes[number].list_mut(hash)
    }

    /// The subscriptions to exactly this filter.
    pub(super) fn list(&self, filter: &str) -> Option<&[Subscription]> {
        let (path, hash) = parts(filter);
        let node = &self.nodes[self.find(path)?];
        Some(if hash { &node.below } else { &node.here })
    }

    /// Removes the slot's subscription to exactly this filter. True if there was one.
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

    /// Calls `found` with every subscription that matches a topic, and returns how many nodes it
    /// visited. A wildcard at the first level does not match a topic with a leading `$`
    /// [MQTT-4.7.2-1].
    pub(super) fn matches<'a>(
        &'a self,
        topic: &str,
        mut found: impl FnMut(&'a Subscription),
    ) -> usize {
        let mut visited = 0;
        let topic = Topic::new(topic);
        // Nodes still to visit, each with the byte at which the rest of the topic begins for it.
        let mut later: Vec<(NodeIndex, usize)> = Vec::new();
        let mut at = Some((ROOT, 0));
        while let Some((number, start)) = at {
            visited += 1;
            let node = &self.nodes[number];
            let hidden = number == ROOT && topic.text.starts_with('$');
            // `a/#` also matches `a` (4.7.1.2).
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

    /// Whether no subscription is left, nor any memory that held one.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.free.is_empty() && self.nodes[ROOT].is_bare()
    }

    /// The node at the end of a path; no path: the root.
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

    /// The node at the end of a path. It is created if it does not exist.
    fn grow(&mut self, path: &str) -> NodeIndex {
        let (mut number, mut rest) = (ROOT, path);
        loop {
            let Some(child) = self.nodes[number].child(first_level(rest)) else {
                return self.add(number, rest);
            };
            let common = common_prefix(&self.nodes[child].path, rest);
            number = if common < self.nodes[child].path.len() {
                self.split(child, common)
            } else {
                child
            };
            if common == rest.len() {
                return number;
            }
            rest = &rest[common + 1..];
        }
    }

    /// Adds a child that nothing of the parent's leads to yet.
    fn add(&mut self, parent: NodeIndex, path: &str) -> NodeIndex {
        let node = TreeNode {
            parent,
            path: path.into(),
            ..TreeNode::default()
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

    /// Splits the path to a node after `at` bytes, and returns the new node in the middle.
    fn split(&mut self, child: NodeIndex, at: usize) -> NodeIndex {
        let path = std::mem::take(&mut self.nodes[child].path);
        let middle = self.add(self.nodes[child].parent, &path[..at]);
        let rest = &path[at + 1..];
        self.nodes[child].path = rest.into();
        self.nodes[child].parent = middle;
        self.nodes[middle].set_child(first_level(rest), child);
        middle
    }

    /// Removes nodes that have no use any more, from `number` upwards. A node with one child and no
    /// subscription is merged into the child.
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

    /// Empties a node, so that its index can be used again.
    fn release(&mut self, number: NodeIndex) {
        self.nodes[number] = TreeNode::default();
        self.free.push(number);
    }
}

impl TreeNode {
    fn list_mut(&mut self, hash: bool) -> &mut Vec<Subscription> {
        if hash {
            &mut self.below
        } else {
            &mut self.here
        }
    }

    /// The child whose path begins with this level of a filter.
    fn child(&self, level: &str) -> Option<NodeIndex> {
        match level {
            "+" => self.plus,
            _ => self.literal_child(level),
        }
    }

    /// The child whose path begins with this level, which is no wildcard.
    fn literal_child(&self, level: &str) -> Option<NodeIndex> {
        let longest = || {
            self.long
                .last_key_value()
                .map_or(LONG, |(longest, _)| *longest)
        };
        if level.len() > LONG && level.len() > longest() {
            return None;
        }
        self.children.get(level).copied()
    }

    /// Sets the child whose path begins with this level. It replaces one that begins so.
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

    fn is_bare(&self) -> bool {
        self.children.is_empty()
            && self.long.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }
}

/// The levels of a filter before `#`, if any, and whether it ends with `#`.
fn parts(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some(before) => (before.strip_suffix('/'), true),
        None => (Some(filter), false),
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
