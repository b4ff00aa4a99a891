//! The node of a replica: it performs the outcomes of its lane, in its own way.

use super::rng::Rng;
use roommq_broker::policy::SessionId;
use roommq_lane::{Act, Lane, Outcome, Slot};
use std::collections::BTreeMap;

/// How a node differs from others. Its lane must not depend on it.
#[derive(Debug, Clone, Copy)]
pub enum Style {
    /// Every session is connected here, and its client reads all.
    Reads,
    /// No session is connected here.
    Follows,
    /// Every second session is connected here. Its queue is small, and its client reads rarely.
    Clogs,
}

/// Messages that fit into the queue of a client that reads rarely.
const CAPACITY: usize = 3;

/// Above so many, a node forgets the turns of groups that are no more.
const GROUPS: usize = 32;

/// Links, queues and the turns of groups, as a runner has them.
#[derive(Debug, Clone)]
pub struct Node {
    style: Style,
    rng: Rng,
    links: BTreeMap<Slot, SessionId>,
    /// How many messages wait in the queue of a session.
    queues: BTreeMap<SessionId, usize>,
    /// The member of a group that is asked first.
    turns: BTreeMap<Slot, usize>,
}

impl Node {
    pub fn new(style: Style, seed: u64) -> Self {
        Node {
            style,
            rng: Rng::new(seed),
            links: BTreeMap::new(),
            queues: BTreeMap::new(),
            turns: BTreeMap::new(),
        }
    }

    /// The same links on another node.
    pub fn restarted(&self, style: Style, seed: u64) -> Self {
        let links = self.links.clone();
        Node {
            links,
            ..Node::new(style, seed)
        }
    }

    /// Performs what follows from an entry.
    ///
    /// # Panics
    /// An act names a slot that has no session, or takes one that has.
    pub fn perform(&mut self, lane: &Lane, outcome: &Outcome) {
        for act in &outcome.acts {
            match act {
                Act::Linked { slot, session } => {
                    assert_eq!(self.links.insert(*slot, *session), None, "{act:?}");
                }
                Act::Unlinked { slot, session } => {
                    assert_eq!(self.links.remove(slot), Some(*session), "{act:?}");
                    self.queues.remove(session);
                }
                Act::Deliver {
                    targets, groups, ..
                } => {
                    for target in &outcome.targets[targets.clone()] {
                        self.give(target.slot);
                    }
                    for group in &outcome.groups[groups.clone()] {
                        self.share(lane, *group);
                    }
                }
                _ => {}
            }
        }
        if self.turns.len() > GROUPS {
            let groups = lane.subscriptions();
            self.turns
                .retain(|group, _| groups.group_at(*group).is_some());
        }
        if matches!(self.style, Style::Clogs) && self.rng.one_in(16) {
            self.queues.clear();
        }
    }

    /// Each link is to the slot that the lane has given to the session.
    pub fn check(&self, lane: &Lane) {
        for (slot, session) in &self.links {
            assert_eq!(lane.slot_of(*session), Some(*slot), "{session:?}");
        }
    }

    /// Gives a message to the session at a slot. False if it is not connected here, or if its queue
    /// is full.
    fn give(&mut self, slot: Slot) -> bool {
        let session = self.links[&slot];
        match self.style {
            Style::Reads => true,
            Style::Clogs if session.n % 2 == 1 => {
                let queue = self.queues.entry(session).or_default();
                let fits = *queue < CAPACITY;
                *queue += usize::from(fits);
                fits
            }
            Style::Follows | Style::Clogs => false,
        }
    }

    /// Gives a message to the first member of a group that takes it, in turn.
    fn share(&mut self, lane: &Lane, group: Slot) {
        let Some(group) = lane.subscriptions().group_at(group) else {
            return;
        };
        let members = group.members();
        let first = self.turns.get(&group.slot).copied().unwrap_or_default();
        for at in (first..).take(members.len()) {
            if self.give(members[at % members.len()].slot) {
                self.turns.insert(group.slot, at + 1);
                return;
            }
        }
    }
}
