//! Replicas that apply one log, each with a node of its own.

use super::node::{Node, Style};
use super::rng::Rng;
use roommq_broker::policy::{LaneHooks, Notice};
use roommq_lane::{
    Act, Batch, BatchHeader, BatchTurn, Entry, Lane, LaneRules, Outcome, QueueLimits,
    RetainedLimits, WallTime, read,
};
use roommq_mqtt::session::MessageNo;
use std::collections::BTreeMap;

/// Entries between two comparisons.
const COMPARED_EVERY: u64 = 64;

/// Entries between two restores, on average.
const RESTORED_EVERY: u64 = 500;

/// Batches of one term, on average.
const TERM: u64 = 5_000;

const LANES: u16 = 16;

const STYLES: [Style; 3] = [Style::Reads, Style::Follows, Style::Clogs];

/// The lanes that apply one log.
pub struct Replicas<'a> {
    hooks: &'a dyn LaneHooks,
    each: Vec<(Lane, Node)>,
    /// Of the first lane: used again for each entry, as a runner does. The others have new ones.
    outcome: Outcome,
    rng: Rng,
    /// The header of the last batch of each writer.
    last: [BatchHeader; 2],
    rules_version: u64,
    pub applied: u64,
    pub restored: u64,
    /// What the first lane has asked for and the writer has not done. By key: generation and time.
    pub timers: BTreeMap<String, (u64, u64)>,
    pub notices: Vec<Notice>,
}

impl<'a> Replicas<'a> {
    pub fn new(hooks: &'a dyn LaneHooks, seed: u64) -> Self {
        let replica = |style| {
            let lane = Lane::new(0, LANES, hooks.open(0));
            (lane, Node::new(style, seed))
        };
        let mut lanes = Replicas {
            hooks,
            each: STYLES.map(replica).into(),
            outcome: Outcome::default(),
            rng: Rng::new(!seed),
            last: [0, 1].map(|writer| BatchHeader {
                writer,
                term: 2,
                number: 0,
                at: 0,
                wall: WallTime(0),
            }),
            rules_version: 0,
            applied: 0,
            restored: 0,
            timers: BTreeMap::new(),
            notices: Vec::new(),
        };
        lanes.change_rules(0, 0);
        lanes
    }

    /// Appends rules whose limits are so few that they are reached.
    pub fn change_rules(&mut self, at: u64, less: u64) {
        let rules = self.hooks.rules();
        let body = LaneRules {
            retained: RetainedLimits {
                messages: if less == 0 { 4 } else { 2 },
                bytes: 1_500,
            },
            queue: QueueLimits {
                messages: 6,
                bytes: 1_000,
                age: 60_000,
            },
            offline_bytes: if less == 0 { 6_000 } else { 4_000 },
            hook: &rules,
        };
        let body = body.to_bytes().unwrap();
        self.rules_version += 1;
        let version = self.rules_version;
        let body = &body;
        self.append(at, WallTime(at), &Entry::Rules { version, body });
    }

    /// The number of the last message that waits for a session.
    pub fn last_message(&self) -> MessageNo {
        self.each[0].0.last_message()
    }

    /// Appends a batch of one entry, by any writer. Some come twice, too early, or of an earlier term.
    pub fn append(&mut self, at: u64, wall: WallTime, entry: &Entry<'_>) {
        let writer = usize::from(self.rng.one_in(3));
        let mut last = self.last[writer];
        if self.rng.one_in(TERM) {
            last.term += 1;
            last.number = 0;
        }
        let number = last.number + 1;
        let header = BatchHeader {
            number,
            at,
            wall,
            ..last
        };
        if self.rng.one_in(10) {
            let expected = number;
            let hole = BatchHeader {
                number: number + 1 + self.rng.below(3),
                ..header
            };
            self.offer(&hole, BatchTurn::Hole { expected }, entry);
        }
        self.offer(&header, BatchTurn::Take, entry);
        self.last[writer] = header;
        if self.rng.one_in(10) {
            let again = BatchHeader {
                number: 1 + self.rng.below(number),
                at: at + 1_000_000,
                ..header
            };
            self.offer(&again, BatchTurn::Duplicate, entry);
        }
        if self.rng.one_in(10) {
            let late = BatchHeader {
                term: header.term - 1,
                ..header
            };
            self.offer(&late, BatchTurn::Fenced, entry);
        }
        self.applied += 1;
        if self.applied.is_multiple_of(COMPARED_EVERY) {
            self.compare();
        }
        if self.rng.one_in(RESTORED_EVERY) {
            self.restore();
        }
    }

    /// Offers a batch to all lanes: to the first as it is, to the others by bytes.
    fn offer(&mut self, header: &BatchHeader, expected: BatchTurn, entry: &Entry<'_>) {
        let sealed = Batch::of(entry).seal(header);
        let mut expected_texts = [String::new(), String::new()];
        for (number, (lane, node)) in self.each.iter_mut().enumerate() {
            let turn = lane.begin(header);
            assert_eq!(turn, expected, "lane {number}, {header:?}");
            if turn != BatchTurn::Take {
                continue;
            }
            // A restored lane may list the subscriptions of a filter in another order.
            let as_text = if number == 3 { sorted } else { exact };
            if number == 0 {
                lane.apply(entry, &mut self.outcome);
                expected_texts = [exact(&self.outcome), sorted(&self.outcome)];
                node.perform(lane, entry, &mut self.outcome);
                continue;
            }
            let mut outcome = Outcome::default();
            let (_, entries) = read(&sealed).unwrap();
            let mut text = String::new();
            for entry in entries {
                let entry = entry.unwrap();
                lane.apply(&entry, &mut outcome);
                text = as_text(&outcome);
                node.perform(lane, &entry, &mut outcome);
            }
            assert_eq!(
                text,
                expected_texts[usize::from(number == 3)],
                "after {} entries, lane {number}",
                self.applied
            );
        }
        if expected == BatchTurn::Take {
            for act in self.outcome.acts.drain(..) {
                match act {
                    Act::Wake {
                        key,
                        generation,
                        at,
                    } => drop(self.timers.insert(key, (generation, at))),
                    Act::Tell(notice) => self.notices.push(notice),
                    _ => {}
                }
            }
        }
    }

    pub fn compare(&mut self) {
        for (lane, node) in &mut self.each {
            node.finish_replays(lane);
            node.check_given(lane);
        }
        let [first, others @ ..] = &*self.each else {
            return;
        };
        let (first, node) = first;
        node.check(first);
        let (digest, deliveries) = (first.digest(), node.deliveries.clone());
        for (other, (lane, node)) in (1..).zip(others) {
            node.check(lane);
            assert!(
                node.deliveries == deliveries,
                "after {} entries, lane {other}",
                self.applied
            );
            assert!(
                lane.digest() == digest,
                "after {} entries lane {other} differs from lane 0 in {:?}",
                self.applied,
                first.differing_sections(lane)
            );
        }
        let timers = self.timers.iter();
        let timers = timers.map(|(key, (generation, at))| (&**key, *generation, *at));
        assert!(
            first.timers().into_iter().eq(timers),
            "after {} entries",
            self.applied
        );
    }

    /// Replaces the fourth lane by one that is restored from any of them.
    fn restore(&mut self) {
        let Some(at) = self.rng.index(self.each.len()) else {
            return;
        };
        let (lane, node) = &mut self.each[at];
        node.finish_replays(lane);
        let mut bytes = Vec::new();
        lane.snapshot(&mut bytes);
        let lane = match Lane::restore(&bytes, LANES, self.hooks.open(0)) {
            Ok(lane) => lane,
            Err(error) => panic!("after {} entries: {error}", self.applied),
        };
        let mut again = Vec::new();
        lane.snapshot(&mut again);
        assert!(again == bytes, "after {} entries", self.applied);
        let style = *self.rng.pick(&STYLES).unwrap();
        let node = node.restarted(style, self.applied);
        self.each.truncate(3);
        self.each.push((lane, node));
        self.restored += 1;
    }
}

/// An outcome with all lists in their order.
fn exact(o: &Outcome) -> String {
    let (acts, targets, groups) = (&o.acts, &o.targets, &o.groups);
    format!("{acts:?} {targets:?} {groups:?} {:?} {:?}", o.forms, o.made)
}

/// An outcome whose targets and groups of each message are sorted.
fn sorted(o: &Outcome) -> String {
    let acts = o.acts.iter().map(|act| {
        let Act::Deliver {
            message,
            targets,
            groups,
        } = act
        else {
            return format!("{act:?}");
        };
        let mut groups = o.groups[groups.clone()].to_vec();
        groups.sort_unstable();
        let mut targets = o.targets[targets.clone()].to_vec();
        targets.sort_unstable_by_key(|target| target.slot);
        let targets = targets.iter();
        let targets = targets.map(|t| (t.slot, t.qos, t.retain, o.forms.get(t.form)));
        format!("{message:?} {:?} {groups:?}", targets.collect::<Vec<_>>())
    });
    format!("{:?} {:?}", acts.collect::<Vec<_>>(), o.made)
}
