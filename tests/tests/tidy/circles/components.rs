//! The strongly connected components of a graph.

use std::collections::BTreeSet;

/// Groups of two or more of the nodes `0..nodes`, in which each node reaches each other along `edges`.
pub fn strongly_connected(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut next = vec![Vec::new(); nodes];
    for (from, to) in edges {
        next[*from].push(*to);
    }
    let reached: Vec<BTreeSet<usize>> = (0..nodes).map(|node| reached(node, &next)).collect();
    let mut components = Vec::new();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for node in 0..nodes {
        let others = reached[node].iter().copied();
        let component: Vec<usize> = others
            .filter(|other| reached[*other].contains(&node))
            .collect();
        if component.len() > 1 && !taken.contains(&node) {
            taken.extend(&component);
            components.push(component);
        }
    }
    components
}

fn reached(from: usize, next: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut waiting = next[from].clone();
    while let Some(node) = waiting.pop() {
        if reached.insert(node) {
            waiting.extend(&next[node]);
        }
    }
    reached
}

#[test]
fn groups_that_reach_each_other_are_found() {
    let edges = [
        (0, 1),
        (1, 2),
        (2, 0),
        (2, 3),
        (3, 4),
        (4, 3),
        (4, 5),
        (6, 6),
    ];
    assert_eq!(strongly_connected(7, &edges), [vec![0, 1, 2], vec![3, 4]]);
    assert!(strongly_connected(3, &[(0, 1), (1, 2), (0, 2)]).is_empty());
}
