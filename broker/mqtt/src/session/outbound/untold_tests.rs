#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn own(lane: u16, number: u64) -> Tag {
    Tag {
        lane,
        group: None,
        number: MessageNo(number),
    }
}

#[test]
fn a_tag_is_small() {
    assert_eq!(size_of::<Tag>(), 16);
    assert_eq!(size_of::<Option<Tag>>(), 24);
    assert_eq!(size_of::<Untold>(), 64);
}

#[test]
fn what_is_acknowledged_out_of_order_is_told_in_ranges() {
    let mut untold = Untold::default();
    (4..=9).for_each(|number| untold.handed(own(3, number)));
    for number in [4, 5, 8] {
        untold.finished(own(3, number), 10);
    }
    let done = untold.take(|_| Some(MessageNo(6)));
    let expected = Done {
        up_to: MessageNo(5),
        also: [8].into_iter().collect(),
    };
    assert_eq!(done, [(3, expected)]);
    assert!(untold.is_empty());
    assert_eq!(untold.take(|_| Some(MessageNo(6))), [], "once");

    for number in [6, 7, 9] {
        untold.finished(own(3, number), 10);
    }
    let done = untold.take(|_| None);
    assert_eq!(done[0].1.up_to, MessageNo(9), "8 included");
    assert!(done[0].1.also.is_empty());
}

#[test]
fn messages_that_wait_in_the_lane_are_not_done() {
    let mut untold = Untold::default();
    untold.handed(own(0, 7));
    untold.finished(own(0, 7), 1);
    // The lane has 8 and 9 for the session, and has not handed them.
    assert_eq!(untold.take(|_| None)[0].1.up_to, MessageNo(7));
    assert_eq!(untold.last_handed(0), MessageNo(7));
    assert_eq!(untold.last_handed(1), MessageNo::NONE, "an unknown lane");
}

#[test]
fn messages_that_waited_at_a_disconnect_were_not_handed() {
    let mut untold = Untold::default();
    (1..=9).for_each(|number| untold.handed(own(0, number)));
    // 1 to 4 are in flight, 5 is too large for the client, 6 to 9 wait.
    untold.finished(own(0, 5), 1);
    untold.disconnect(|_| Some(MessageNo(6)));
    assert_eq!(untold.last_handed(0), MessageNo(5));
    for number in 1..=4 {
        untold.finished(own(0, number), 1);
    }
    assert_eq!(untold.take(|_| None)[0].1.up_to, MessageNo(5));
}

#[test]
fn messages_of_groups_are_apart() {
    let mut untold = Untold::default();
    let group = NonZeroU32::new(2).map(GroupId);
    let of_group = Tag {
        group,
        ..own(0, 100)
    };
    untold.handed(of_group);
    untold.finished(of_group, 1);
    assert!(untold.is_empty());
    assert_eq!(untold.last_handed(0), MessageNo::NONE);
    assert_eq!(untold.take_groups(), [of_group]);
    assert_eq!(untold.take_groups(), []);
}

#[test]
fn an_eighth_of_a_limit_is_much() {
    let mut untold = Untold::default();
    for number in 1..=10 {
        untold.handed(own(0, number));
        untold.finished(own(0, number), 100);
    }
    assert!(!untold.is_much(80, 8_000));
    assert!(untold.is_much(79, 8_000), "10 of 79 messages");
    assert!(untold.is_much(80, 7_999), "1,000 of 7,999 bytes");
    untold.take(|_| None);
    assert!(!untold.is_much(0, 0));
}

/// What one lane has for the session.
#[derive(Debug, Default)]
struct Model {
    /// In the lane: not done, as far as it has heard.
    pending: BTreeSet<u64>,
    last: u64,
    /// Handed and not finished.
    unfinished: BTreeSet<u64>,
    /// Not handed.
    behind: BTreeSet<u64>,
}

proptest! {
    /// However acknowledgements, disconnects and `Done` are mixed, and even if each `Done` comes twice and late, the lanes keep what the
    /// session has not finished with, and drop the rest.
    #[test]
    fn lanes_keep_exactly_what_is_not_finished(
        steps in prop::collection::vec((0..3_u16, 0..7_u8, any::<prop::sample::Index>()), 0..200),
    ) {
        let mut untold = Untold::default();
        let mut lanes: BTreeMap<u16, Model> = (0..3).map(|lane| (lane, Model::default())).collect();
        let mut log: Vec<(u16, Done)> = Vec::new();
        for (lane, step, which) in steps {
            let model = lanes.get_mut(&lane).unwrap();
            match step {
                // The lane numbers messages of others as well.
                0 | 1 => {
                    model.last += 1 + which.index(3) as u64;
                    model.pending.insert(model.last);
                    model.behind.insert(model.last);
                }
                2 => if let Some(next) = model.behind.pop_first() {
                    untold.handed(own(lane, next));
                    model.unfinished.insert(next);
                },
                3 | 4 => if !model.unfinished.is_empty() {
                    let all: Vec<u64> = model.unfinished.iter().copied().collect();
                    let number = *which.get(&all);
                    model.unfinished.remove(&number);
                    untold.finished(own(lane, number), 1);
                },
                // The connection ends: what waited behind the sent ones is the lane's again.
                5 => {
                    let mut waiting = BTreeMap::new();
                    for (lane, model) in &mut lanes {
                        let all: Vec<u64> = model.unfinished.iter().copied().collect();
                        let sent = which.index(all.len() + 1);
                        let back = all.get(sent).map(|first| model.unfinished.split_off(first));
                        let back = back.unwrap_or_default();
                        waiting.insert(*lane, back.first().map(|n| MessageNo(*n)));
                        model.behind.extend(back);
                    }
                    untold.disconnect(|lane| waiting[&lane]);
                    for (lane, model) in &lanes {
                        let sent = untold.last_handed(*lane);
                        prop_assert!(model.unfinished.iter().all(|n| *n <= sent.0));
                        prop_assert!(model.behind.iter().all(|n| *n > sent.0));
                    }
                }
                _ => {
                    let lowest = |lane| lanes[&lane].unfinished.first().map(|n| MessageNo(*n));
                    let done = untold.take(lowest);
                    log.extend(done.clone());
                    let again = (!log.is_empty()).then(|| which.get(&log).clone());
                    for (lane, done) in done.into_iter().chain(again) {
                        let pending = &mut lanes.get_mut(&lane).unwrap().pending;
                        pending.retain(|number| !done.contains(MessageNo(*number)));
                    }
                    prop_assert!(untold.is_empty());
                    for (lane, model) in &lanes {
                        let kept: BTreeSet<u64> = model.unfinished.union(&model.behind).copied().collect();
                        prop_assert_eq!(&model.pending, &kept, "lane {}", lane);
                    }
                }
            }
        }
    }
}
