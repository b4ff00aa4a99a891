//! The filters of a tree, for a snapshot.

use super::{NodeIndex, ROOT, Tree};
use crate::subscription::Subscription;

impl Tree {
    /// Every filter with its subscriptions, in no order.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (String, &[Subscription])> {
        let Tree {
            nodes,
            free: _, // unused nodes are bare
        } = self;
        (0..).zip(nodes).flat_map(|(number, node)| {
            let mut filters = Vec::new();
            if !node.here.is_empty() {
                filters.push((self.path(number, None), &*node.here));
            }
            if !node.below.is_empty() {
                filters.push((self.path(number, Some("#")), &*node.below));
            }
            filters
        })
    }

    /// The levels from the root to a node, and one more.
    fn path(&self, mut number: NodeIndex, last: Option<&str>) -> String {
        let mut levels: Vec<&str> = last.into_iter().collect();
        while number != ROOT {
            let node = &self.nodes[number];
            levels.push(&node.path);
            number = node.parent;
        }
        levels.reverse();
        levels.join("/")
    }
}
