#![allow(clippy::unwrap_used)]
use super::super::messages::tests::stored;
use super::super::pending::{Queue, QueueContext, QueueForm, QueueLimits, Ref};
use super::*;
use crate::messages::Presence;
use proptest::prelude::*;
use roommq_mqtt::packet::QoS;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const LIMITS: QueueLimits = QueueLimits {
    messages: 1_000,
    bytes: 1 << 20,
    age: u64::MAX,
};

/// Offline sessions of a lane, by slot.
#[derive(Default)]
struct Scene {
    messages: Messages,
    share: OfflineShare,
    sessions: BTreeMap<Slot, (Queue, Place)>,
    ended: Vec<Slot>,
}

fn waits(queue: &Queue) -> Waits {
    Waits {
        references: queue.references(),
        bytes: queue.bytes(),
    }
}

impl Scene {
    fn with_limit(limit: u64) -> Self {
        let mut scene = Scene::default();
        scene.share.set_limit(limit);
        scene
    }

    fn go_offline(&mut self, slot: Slot, since: u64, authenticated: bool, filters: &[&str]) {
        let queue = Queue::new(Presence::Offline);
        let own = own_cost(filters.iter().copied());
        let place = self
            .share
            .add(slot, since, authenticated, own, waits(&queue));
        self.sessions.insert(slot, (queue, place));
        self.reserve(0);
    }

    fn reserve(&mut self, more: u64) -> bool {
        let (sessions, ended) = (&mut self.sessions, &mut self.ended);
        self.share
            .reserve(more, &mut self.messages, |slot, messages| {
                let (queue, place) = sessions.remove(&slot)?;
                queue.end(messages);
                ended.push(slot);
                Some(place)
            })
    }

    /// Publishes a message for these sessions. False if it is not kept.
    fn publish(&mut self, payload: usize, to: &[Slot]) -> bool {
        let number = self.messages.open(stored(0, payload));
        let more = self.messages.open_cost() + (to.len() * REF_COST) as u64;
        let fits = self.reserve(more);
        for slot in to.iter().filter(|_| fits) {
            let Some((queue, place)) = self.sessions.get_mut(slot) else {
                continue;
            };
            let mut cx = QueueContext {
                messages: &mut self.messages,
                limits: LIMITS,
                now: 0,
                dropped: &mut |_, _| (),
            };
            let new = Ref::new(number, QoS::AtLeastOnce, false);
            queue.push(new, &QueueForm::default(), &mut cx);
            self.share.update(place, waits(queue));
        }
        self.messages.close();
        fits
    }

    fn used(&self) -> u64 {
        self.share.used(&self.messages)
    }
}

const EMPTY: u64 = LANE_COST as u64;

#[test]
fn sessions_filters_references_and_messages_count() {
    let mut scene = Scene::with_limit(1 << 20);
    scene.go_offline(0, 0, true, &["a/b", "c"]);
    assert_eq!(scene.used(), 300 + 2 * 350 + 4);
    for slot in 1..=3 {
        scene.go_offline(slot, 0, true, &[]);
    }
    let before = scene.used();
    assert!(scene.publish(100, &[1, 2, 3]));
    let message = 128 + (1 + 64) + (100 + 64);
    assert_eq!(scene.used() - before, message + 3 * 16, "once");
    let (_, place) = scene.sessions.remove(&0).unwrap();
    scene.share.remove(&place);
    assert_eq!(scene.used(), 3 * EMPTY + message + 3 * 16);
}

#[test]
fn the_order_is_credentials_then_size_then_time() {
    let mut scene = Scene::with_limit(1 << 20);
    scene.go_offline(0, 1, true, &[]);
    scene.go_offline(1, 3, false, &[]);
    scene.go_offline(2, 2, false, &[]);
    scene.go_offline(3, 4, false, &[]);
    scene.publish(5_000, &[3]);
    scene.publish(50_000, &[0]);
    scene.share.set_limit(1);
    scene.reserve(0);
    assert_eq!(scene.ended, [3, 2, 1, 0]);
    assert_eq!((scene.used(), scene.messages.count()), (0, 0));
}

#[test]
fn an_eighth_is_free_after_sessions_have_ended() {
    let mut scene = Scene::with_limit(80 * EMPTY);
    for slot in 0..80 {
        scene.go_offline(slot, slot.into(), false, &[]);
    }
    assert!(scene.ended.is_empty(), "exactly so much is allowed");
    scene.go_offline(80, 80, false, &[]);
    let first: Vec<Slot> = (0..11).collect();
    assert_eq!(scene.ended, first);
    assert_eq!(scene.used(), 70 * EMPTY);
}

#[test]
fn an_entry_ends_a_thousand_and_the_message_is_not_kept_if_that_is_not_enough() {
    let mut scene = Scene::with_limit(3_000 * EMPTY);
    for slot in 0..3_000 {
        scene.go_offline(slot, slot.into(), false, &[]);
    }
    let half = 1_500 * 300;
    assert!(!scene.publish(half, &[2_999]));
    assert_eq!(scene.ended.len(), ENDS_AT_ONCE);
    assert_eq!((scene.used(), scene.messages.count()), (2_000 * EMPTY, 0));
    assert!(scene.publish(half, &[2_999]), "the next entry ends more");
    assert!(scene.used() <= 3_000 * EMPTY);
}

#[test]
fn nothing_ends_for_a_message_larger_than_the_share() {
    let mut scene = Scene::with_limit(1_000);
    scene.go_offline(0, 0, false, &[]);
    assert!(!scene.publish(1_000, &[0]));
    assert!(scene.ended.is_empty());
}

#[test]
fn a_place_is_small() {
    assert_eq!((size_of::<Rank>(), size_of::<Place>()), (16, 32));
}

/// The same by plain lists.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<Slot, Plain>,
    /// Payload bytes of each message.
    payloads: Vec<u64>,
}

struct Plain {
    authenticated: bool,
    since: u64,
    own: u64,
    waits: Vec<usize>,
}

const LIMIT: u64 = 40_000;
/// Bytes that a message takes beside its payload.
const MESSAGE: u64 = 128 + 65 + 64;

impl Model {
    fn used(&self) -> u64 {
        let own: u64 = self.sessions.values().map(|s| s.own).sum();
        let mut waits: Vec<usize> = self
            .sessions
            .values()
            .flat_map(|s| s.waits.clone())
            .collect();
        let references = waits.len() as u64 * 16;
        waits.sort_unstable();
        waits.dedup();
        let messages = waits.iter().map(|n| self.payloads[*n] + MESSAGE);
        own + references + messages.sum::<u64>()
    }

    fn first(&self) -> Option<Slot> {
        let order = |(slot, session): &(&Slot, &Plain)| {
            let messages = session
                .waits
                .iter()
                .map(|n| self.payloads[*n] + 10 + 16 + 128);
            let power = (session.own + messages.sum::<u64>()).ilog2();
            (session.authenticated, Reverse(power), session.since, **slot)
        };
        self.sessions
            .iter()
            .min_by_key(order)
            .map(|(slot, _)| *slot)
    }

    fn reserve(&mut self, more: u64, ended: &mut Vec<Slot>) -> bool {
        let low_mark = LIMIT - LIMIT / 8;
        if self.used() + more > LIMIT && more <= low_mark {
            while self.used() + more > low_mark
                && let Some(first) = self.first()
            {
                self.sessions.remove(&first);
                ended.push(first);
            }
        }
        self.used() + more <= LIMIT
    }
}

proptest! {
    /// Sessions that go offline, return and get messages at random.
    #[test]
    fn sessions_end_in_the_order_of_a_plain_list(
        steps in prop::collection::vec((0..6_u8, 0..12_u32, any::<bool>(), 0..9_000_usize), 0..150),
    ) {
        let mut scene = Scene::with_limit(LIMIT);
        let (mut model, mut ended) = (Model::default(), Vec::new());
        for (step, slot, authenticated, payload) in steps {
            let since = payload as u64 % 50;
            if step > 1 {
                let to = model.sessions.keys().copied().filter(|s| s % 3 == slot % 3);
                let to: Vec<Slot> = to.collect();
                let more = payload as u64 + MESSAGE + to.len() as u64 * 16;
                let fits = model.reserve(more, &mut ended);
                prop_assert_eq!(scene.publish(payload, &to), fits);
                model.payloads.push(payload as u64);
                for slot in to.iter().filter(|_| fits) {
                    if let Some(session) = model.sessions.get_mut(slot) {
                        session.waits.push(model.payloads.len() - 1);
                    }
                }
            } else if model.sessions.remove(&slot).is_some() {
                let (queue, place) = scene.sessions.remove(&slot).unwrap();
                queue.end(&mut scene.messages);
                scene.share.remove(&place);
            } else {
                let filters = &["a/b/c", "d"][..payload % 3];
                let own = own_cost(filters.iter().copied());
                model.sessions.insert(slot, Plain { authenticated, since, own, waits: Vec::new() });
                model.reserve(0, &mut ended);
                scene.go_offline(slot, since, authenticated, filters);
            }
            prop_assert_eq!(&scene.ended, &ended);
            prop_assert_eq!(scene.used(), model.used());
            prop_assert!(scene.sessions.keys().eq(model.sessions.keys()));
            prop_assert_eq!(scene.share.order.len(), model.sessions.len());
        }
        let mut restored = OfflineShare::default();
        restored.set_limit(scene.share.limit);
        for (slot, (queue, place)) in &scene.sessions {
            let again = restored.restore(*slot, place.snapshot(), waits(queue)).unwrap();
            prop_assert_eq!(&again, place);
        }
        prop_assert_eq!(restored, scene.share);
    }
}
