#![allow(clippy::unwrap_used)]
use super::tests::{LIMITS, frame, id, publish1, sent};
use super::*;
use crate::packet::QoS;
use crate::session::Mark;
use crate::session::OutboundLimits;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// As it comes by `$share/g/t` of a lane.
fn shared(qos: QoS, lane: u16, payload: &[u8]) -> Frame {
    Frame {
        share: Some(Arc::new(Share {
            lane,
            group: "$share/g/t".into(),
            entry: payload.to_vec().into(),
            mark: Mark::default(),
            wall: 0,
        })),
        ..frame(qos, payload)
    }
}

fn window(receive_maximum: u16) -> OutboundLimits {
    OutboundLimits {
        receive_maximum,
        messages: 1_000,
        ..LIMITS
    }
}

fn reconnect(out: &mut Outbound, limits: OutboundLimits) {
    out.reconnect(Version::V3, limits, &Reply::PingResp, 0);
    assert_eq!(sent_bytes(out)[..2], [0xD0, 0]);
}

/// However many pieces they are in.
fn sent_bytes(out: &mut Outbound) -> Vec<u8> {
    let mut all = Vec::new();
    while !out.queue().is_empty() {
        all.extend(sent(out));
    }
    all
}

fn payloads(taken: &[Taken]) -> Vec<u8> {
    taken.iter().map(|t| t.share.entry[0]).collect()
}

/// It is never sent again, so only what another member may take over needs its frame.
#[test]
fn a_session_that_ends_with_its_connection_keeps_only_shared_messages() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.set_resumable(false);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"own"), 0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 0, b"a"), 0);
    let kept: Vec<bool> = out.in_flight.iter().map(|m| m.frame().is_some()).collect();
    assert_eq!(kept, [false, true]);
    assert_eq!((out.backlog().messages, out.backlog().payload), (2, 4));
    out.disconnect(0);
    out.end();
    assert_eq!((out.backlog().messages, out.backlog().payload), (1, 1));
    assert_eq!(payloads(&out.take_shared(0, &|_| true)), b"a");
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.set_resumable(false);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"own"), 0);
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert_eq!(out.backlog(), Backlog::default());
}

#[test]
fn a_group_takes_back_all_but_qos_2_on_its_way() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.deliver(0, &shared(QoS::ExactlyOnce, 0, b"a"), 0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 0, b"b"), 0);
    out.deliver(0, &shared(QoS::ExactlyOnce, 0, b"c"), 0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 9, b"d"), 0);
    out.disconnect(0);
    let taken = out.take_shared(0, &|_| true);
    assert_eq!(payloads(&taken), b"bc");
    assert_eq!((out.backlog().messages, out.waiting.len()), (2, 1));
    // As if they had not been taken out.
    out.put_back(0, taken, 0);
    let ids: Vec<u16> = out.in_flight.iter().map(|m| m.id.get()).collect();
    assert_eq!((ids, out.waiting.len()), (vec![1, 2], 2));
    assert_eq!(out.backlog().messages, 4);
    let taken = out.take_shared(0, &|_| true);
    out.drop_taken(0, &taken, 0);
    assert_eq!(out.dropped(), 2);
    reconnect(&mut out, LIMITS);
    assert_eq!(out.in_flight.len(), 2, "QoS 2 on its way, and another's");
}

#[test]
fn a_session_that_is_over_keeps_only_what_others_may_take() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    // Both sent; the first is for nobody else.
    out.deliver(0, &shared(QoS::ExactlyOnce, 0, b"a"), 0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 0, b"b"), 0);
    out.disconnect(0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"own"), 0);
    out.deliver(0, &shared(QoS::ExactlyOnce, 0, b"c"), 0);
    out.end();
    assert_eq!((out.backlog().messages, out.backlog().payload), (2, 2));
    assert_eq!(payloads(&out.take_shared(0, &|_| true)), b"bc");
}

/// Each of two lanes takes out its own and puts it back; the ids have begun again at 1, past one that is in use.
#[test]
fn what_nobody_took_is_sent_again_in_the_order_in_which_it_was_sent() {
    let mut out = Outbound::new(Version::V3, window(10));
    out.skip_ids_to(0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 0, b"0"), 0);
    out.skip_ids_to(u16::MAX - 2);
    for n in 1..6 {
        out.deliver(n % 2, &shared(QoS::AtLeastOnce, n % 2, b"x"), 0);
    }
    out.disconnect(0);
    let [even, odd] = [0, 1].map(|lane| out.take_shared(lane, &|_| true));
    assert_eq!((even.len(), odd.len(), out.in_flight.len()), (3, 3, 0));
    out.put_back(1, odd, 0);
    out.put_back(0, even, 0);
    let ids: Vec<u16> = out.in_flight.iter().map(|m| m.id.get()).collect();
    assert_eq!(ids, [1, 65_534, 65_535, 2, 3, 4]);
}

#[test]
fn while_a_lane_offers_some_of_it_nothing_that_waits_is_sent() {
    let mut out = Outbound::new(Version::V3, window(1));
    out.deliver(0, &frame(QoS::AtLeastOnce, b"a"), 0);
    out.deliver(0, &shared(QoS::AtLeastOnce, 0, b"b"), 0);
    out.deliver(0, &frame(QoS::AtLeastOnce, b"c"), 0);
    assert_eq!(sent(&mut out), publish1(1, b"a"));
    let taken = out.take_shared(0, &|_| true);
    assert_eq!(out.acked(id(1), 0), Ok(true));
    assert!(sent(&mut out).is_empty() && !out.has_sent_all());
    out.put_back(0, taken, 0);
    assert_eq!(sent(&mut out), publish1(2, b"b"));
    assert_eq!(out.acked(id(2), 0), Ok(true));
    assert_eq!(sent(&mut out), publish1(3, b"c"));
    // Where there is nothing to offer nothing is held up.
    assert!(out.take_shared(0, &|_| true).is_empty());
    assert_eq!(out.acked(id(3), 0), Ok(true));
    out.deliver(0, &frame(QoS::AtLeastOnce, b"d"), 0);
    assert_eq!(sent(&mut out), publish1(4, b"d"));
}

#[test]
fn what_is_offered_keeps_its_room() {
    let mut out = Outbound::new(Version::V3, LIMITS);
    out.disconnect(0);
    for payload in [b"a", b"b", b"c"] {
        out.deliver(0, &shared(QoS::AtLeastOnce, 0, payload), 0);
    }
    let taken = out.take_shared(0, &|_| true);
    let other = shared(QoS::AtLeastOnce, 1, b"d");
    assert!(!out.meets(Need::Capacity, &other) && !out.may_meet(Need::Capacity, 1));
    // Whatever else comes is let in, and the oldest goes for it once it is known which that is.
    out.deliver(1, &other, 0);
    assert_eq!((out.waiting.len(), out.dropped()), (1, 0));
    out.put_back(0, taken, 0);
    assert_eq!((out.waiting.len(), out.dropped()), (3, 1));
    let left = out.waiting.iter().map(|w| w.frame.share.clone().unwrap());
    let left: Vec<u8> = left.map(|share| share.entry[0]).collect();
    assert_eq!(left, b"bcd");
}

#[test]
fn nobody_is_closed_for_what_an_offer_holds_up() {
    for acknowledged in [true, false] {
        let mut out = Outbound::new(Version::V3, LIMITS);
        for n in 0..4 {
            out.deliver(0, &shared(QoS::AtLeastOnce, 0, &[n]), 0);
        }
        assert_eq!((out.in_flight.len(), out.waiting.len()), (2, 2));
        let taken = out.take_shared(0, &|_| true);
        for n in 4..6 {
            out.deliver(1, &frame(QoS::AtLeastOnce, &[n]), 0);
        }
        if acknowledged {
            assert_eq!(out.acked(id(1), 0), Ok(true));
        }
        assert!(!out.overflowed());
        out.put_back(0, taken, 0);
        assert_eq!(out.overflowed(), !acknowledged);
        assert_eq!(out.dropped(), u64::from(!acknowledged));
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Deliver { lane: u16, shared: bool },
    Take { lane: u16 },
    Return { lane: u16, which: u64 },
    Acknowledge,
    Sleep,
    Wake,
    Ask,
    Answer { lane: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let lane = 0..2_u16;
    prop_oneof![
        6 => (lane.clone(), any::<bool>()).prop_map(|(lane, shared)| Step::Deliver { lane, shared }),
        2 => lane.clone().prop_map(|lane| Step::Take { lane }),
        2 => (lane.clone(), any::<u64>()).prop_map(|(lane, which)| Step::Return { lane, which }),
        3 => Just(Step::Acknowledge),
        1 => Just(Step::Sleep),
        2 => Just(Step::Wake),
        1 => Just(Step::Ask),
        2 => lane.prop_map(|lane| Step::Answer { lane }),
    ]
}

/// One session that two lanes deliver to, all at QoS 1, and that sometimes is asked for an answer by both.
struct Trial {
    out: Outbound,
    limits: OutboundLimits,
    count: u8,
    /// By lane: what it has taken out.
    taken: HashMap<u16, Vec<Taken>>,
    /// Those that others have.
    gone: Vec<u8>,
    /// The last number of each lane that was sent for the first time.
    last: [Option<u8>; 2],
    /// Packet ids on this connection, the oldest first, and what came with them.
    unacknowledged: VecDeque<(u16, u8)>,
    acknowledged: Vec<u8>,
    /// Of the last request: its request id, and the lanes that have not answered.
    pending: (u32, Vec<u16>),
}

impl Trial {
    fn new(receive_maximum: u16) -> Self {
        let limits = window(receive_maximum);
        Trial {
            out: Outbound::new(Version::V3, limits),
            limits,
            count: 0,
            taken: HashMap::new(),
            gone: Vec::new(),
            last: [None; 2],
            unacknowledged: VecDeque::new(),
            acknowledged: Vec::new(),
            pending: (0, Vec::new()),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { lane, shared: by } => {
                // The lane's number is the lowest bit.
                let payload = [self.count * 2 + u8::try_from(lane).unwrap()];
                self.count += 1;
                let message = if by {
                    shared(QoS::AtLeastOnce, lane, &payload)
                } else {
                    frame(QoS::AtLeastOnce, &payload)
                };
                assert!(self.out.deliver(lane, &message, 0));
            }
            Step::Take { lane } if !self.taken.contains_key(&lane) => {
                let taken = self.out.take_shared(lane, &|_| true);
                self.taken.insert(lane, taken);
            }
            Step::Return { lane, which } => {
                if let Some(taken) = self.taken.remove(&lane).filter(|t| !t.is_empty()) {
                    let mut nth = 0..;
                    let stays = |_: &Taken| which >> (nth.next().unwrap() % 64) & 1 == 0;
                    let (left, gone): (Vec<_>, Vec<_>) = taken.into_iter().partition(stays);
                    self.gone.extend(payloads(&gone));
                    self.out.put_back(lane, left, 0);
                }
            }
            Step::Acknowledge => {
                if let Some((n, payload)) = self.unacknowledged.pop_front() {
                    assert_eq!(self.out.acked(id(n), 0), Ok(true));
                    self.acknowledged.push(payload);
                }
            }
            Step::Sleep if !self.out.offline => {
                self.out.disconnect(0);
                self.unacknowledged.clear();
                self.pending.1.clear();
            }
            // A lane that offers has not answered yet.
            Step::Wake if self.out.offline && self.taken.is_empty() => {
                self.out
                    .reconnect(Version::V3, self.limits, &Reply::PingResp, 0);
            }
            Step::Ask if !self.out.offline && self.pending.1.is_empty() => {
                self.pending = (self.pending.0 + 1, vec![0, 1]);
                let kind = Answer::UnsubAck(id(9));
                self.out
                    .expect_answer(self.pending.0, kind, Vec::new(), None, 2, 0);
            }
            Step::Answer { lane } => {
                let before = self.pending.1.len();
                self.pending.1.retain(|l| *l != lane);
                if self.pending.1.len() < before {
                    self.out.answer(self.pending.0, lane, [], 0);
                }
            }
            Step::Take { .. } | Step::Sleep | Step::Wake | Step::Ask => {}
        }
        self.read();
    }

    /// What has gone to the client.
    fn read(&mut self) {
        let bytes = sent_bytes(&mut self.out);
        let mut rest = &bytes[..];
        while let [first, length, body @ ..] = rest {
            let (body, others) = body.split_at(usize::from(*length));
            rest = others;
            if first >> 4 != 3 {
                continue;
            }
            let n = u16::from_be_bytes([body[3], body[4]]);
            let payload = *body.last().unwrap();
            if first & 8 == 0 {
                let last = &mut self.last[usize::from(payload & 1)];
                assert!(*last < Some(payload), "{payload} after {last:?}");
                *last = Some(payload);
            } else {
                let before = self.unacknowledged.back();
                assert!(before.is_none_or(|(_, b)| b & 1 != payload & 1 || *b < payload));
            }
            self.unacknowledged.push_back((n, payload));
        }
    }
}

proptest! {
    /// What others do not have the client gets, once each and in the order of its lane, whatever lanes take out and put
    /// back meanwhile.
    #[test]
    fn what_is_put_back_is_as_if_it_had_not_been_taken(
        steps in prop::collection::vec(step(), 0..120),
        receive_maximum in 1..5_u16,
    ) {
        let mut trial = Trial::new(receive_maximum);
        for step in steps {
            trial.step(step);
        }
        for lane in 0..2 {
            trial.step(Step::Return { lane, which: 0 });
            trial.step(Step::Answer { lane });
        }
        trial.step(Step::Wake);
        while !trial.unacknowledged.is_empty() {
            trial.step(Step::Acknowledge);
        }
        prop_assert!(trial.out.has_sent_all());
        let mut all = trial.acknowledged;
        all.extend(&trial.gone);
        all.sort_unstable();
        let lanes_of = |n: u8| [n * 2, n * 2 + 1];
        prop_assert_eq!(all.len(), usize::from(trial.count));
        prop_assert!((0..trial.count).all(|n| lanes_of(n).iter().filter(|p| all.contains(p)).count() == 1));
        prop_assert_eq!(trial.out.dropped(), 0);
    }
}
