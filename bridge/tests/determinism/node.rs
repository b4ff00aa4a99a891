//! The node of a replica: it performs the outcomes of its lane, in its own way.

use super::rng::Rng;
use roommq_broker::policy::SessionId;
use roommq_lane::{
    Act, Cursor, Entry, Lane, Outcome, Outgoing, Slot, Source, WalkFilters, topic_of,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

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

impl Style {
    /// Targets of a message that are served in one slice.
    fn slice(self) -> usize {
        match self {
            Style::Reads => 10_000,
            Style::Follows => 1,
            Style::Clogs => 7,
        }
    }

    /// Topics and filters that replays look at after an entry, and after a slice.
    fn speed(self, rng: &mut Rng) -> usize {
        match self {
            Style::Reads => usize::MAX,
            Style::Follows => 1,
            Style::Clogs => rng.index(20).unwrap_or_default(),
        }
    }
}

/// Links, queues, replays and the turns of groups, as a runner has them.
#[derive(Debug)]
pub struct Node {
    style: Style,
    slice: usize,
    rng: Rng,
    links: BTreeMap<Slot, SessionId>,
    /// How many messages wait in the queue of a session.
    queues: BTreeMap<SessionId, usize>,
    /// The member of a group that is asked first.
    turns: BTreeMap<Slot, usize>,
    /// The entries so far.
    position: u64,
    /// Replays that have not ended, with the session of each.
    replays: Vec<(SessionId, Box<Cursor>)>,
    /// What each session was given, live or as retained: topics, each with the entry that set it.
    given: BTreeMap<SessionId, BTreeSet<(String, u64)>>,
    /// A digest of the deliveries to each session, in their order.
    pub deliveries: BTreeMap<SessionId, u64>,
}

impl Node {
    pub fn new(style: Style, seed: u64) -> Self {
        Node {
            style,
            slice: style.slice(),
            rng: Rng::new(seed),
            links: BTreeMap::new(),
            queues: BTreeMap::new(),
            turns: BTreeMap::new(),
            position: 0,
            replays: Vec::new(),
            given: BTreeMap::new(),
            deliveries: BTreeMap::new(),
        }
    }

    /// The same links on another node, whose clients have heard the same. Replays end with the process,
    /// so [finish](Self::finish_replays) them first.
    pub fn restarted(&self, style: Style, seed: u64) -> Self {
        Node {
            slice: 1_024,
            links: self.links.clone(),
            position: self.position,
            given: self.given.clone(),
            deliveries: self.deliveries.clone(),
            ..Node::new(style, seed)
        }
    }

    /// Performs what follows from an entry. Cursors move on between slices, and behind the entry.
    ///
    /// # Panics
    /// An act names a slot that has no session, or takes one that has.
    pub fn perform(&mut self, lane: &Lane, entry: &Entry<'_>, outcome: &mut Outcome) {
        self.position += 1;
        for act in &mut outcome.acts {
            match act {
                Act::Linked { slot, session } => {
                    assert_eq!(self.links.insert(*slot, *session), None, "{slot}");
                }
                Act::Unlinked { slot, session } => {
                    assert_eq!(self.links.remove(slot), Some(*session), "{slot}");
                    self.queues.remove(session);
                }
                Act::Answer {
                    session, replay, ..
                } => self.replays.extend(replay.take().map(|r| (*session, r))),
                Act::Deliver {
                    message,
                    targets,
                    groups,
                } => {
                    let topic = topic(message, entry, &outcome.made);
                    for slice in outcome.targets[targets.clone()].chunks(self.slice) {
                        for target in slice {
                            self.give(target.slot);
                            let session = self.links[&target.slot];
                            let given = self.given.entry(session).or_default();
                            given.insert((topic.clone(), self.position));
                            let digest = self.deliveries.entry(session).or_default();
                            let form = outcome.forms.get(target.form);
                            let kind = (target.qos, target.retain, target.kept);
                            let delivery = format!("{digest} {topic} {kind:?} {form:?}");
                            *digest = roommq_mqtt::hash::fnv1a(delivery.bytes());
                        }
                        let speed = self.style.speed(&mut self.rng);
                        self.read(lane, speed);
                    }
                    for group in &outcome.groups[groups.clone()] {
                        self.share(lane, *group);
                    }
                }
                _ => {}
            }
        }
        let speed = self.style.speed(&mut self.rng);
        self.read(lane, speed);
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

    /// Moves the oldest replays on.
    fn read(&mut self, lane: &Lane, mut budget: usize) {
        let given = &mut self.given;
        while budget > 0
            && let Some((session, cursor)) = self.replays.first_mut()
        {
            let given = given.entry(*session).or_default();
            let at_end = lane.replay(cursor, None, &mut budget, |topic, message, _| {
                given.insert((topic.to_owned(), message.position));
                ControlFlow::Continue(())
            });
            if at_end {
                self.replays.remove(0);
            }
        }
    }

    /// Moves all replays on to their ends.
    pub fn finish_replays(&mut self, lane: &Lane) {
        self.read(lane, usize::MAX);
        assert!(self.replays.is_empty());
    }

    /// Each session was given every retained message that its filters match, however fast it has read
    /// and whatever came between. A guarded filter shows what was visible when it was read, and with
    /// "no local" a session does not receive its own messages.
    pub fn check_given(&self, lane: &Lane) {
        let all = WalkFilters::new(["#"].into_iter());
        let (mut place, mut budget) = (String::new(), usize::MAX);
        let check = |key: &str, message: &roommq_lane::RetainedMessage, _: &[usize]| {
            let set = (topic_of(key), message.position);
            let found = |s: &roommq_lane::Subscription| {
                let session = &self.links[&s.slot];
                let has = self.given.get(session).is_some_and(|g| g.contains(&set));
                assert!(
                    has || s.guarded || s.options.no_local,
                    "{session:?} {set:?}"
                );
            };
            lane.subscriptions().matches(&set.0, found, |_| ());
            ControlFlow::Continue(())
        };
        let retained = lane.retained();
        retained.walk(&all, &mut place, &mut budget, lane.now(), check);
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

/// The topic of a message.
fn topic(message: &Outgoing, entry: &Entry<'_>, made: &[roommq_lane::Made]) -> String {
    match (message.source, entry) {
        (Source::Made(at), _) => made[at].topic.clone(),
        (Source::Entry, Entry::Publish(publish)) => publish.topic.to_owned(),
        (Source::Entry, _) => panic!("{entry:?}"),
    }
}
