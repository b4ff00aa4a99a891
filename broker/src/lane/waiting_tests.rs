#![allow(clippy::unwrap_used)]
use super::super::context::NodeContext;
use super::super::entrance::{WaitingFrame, next_frames};
use super::super::scene::lane_with;
use super::super::{Mailboxes, Timers};
use super::*;
use crate::packet::{PacketId, QoS, Reply, SubscribeOptions};
use crate::policy::{Actor, AllowAll, EndReason};
use crate::session::{Done, MessageNo, OutboundLimits};
use crate::sessions::Sessions;
use proptest::prelude::*;
use roommq_lane::{
    DisconnectEntry, DoneEntry, FilterEntry, LaneRules, QueueLimits, RetainedLimits,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const LIMITS: OutboundLimits = OutboundLimits {
    bytes: 1 << 20,
    messages: 1_000,
    receive_maximum: 3,
    maximum_packet_size: None,
    problem_information: true,
    topic_aliases: 0,
    age: u64::MAX,
};

const VERSIONS: [Version; 2] = [Version::V3, Version::V5];
const LANES: usize = 2;

/// The next event.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A message of this QoS, 1 or 2, in a lane.
    Publish(usize, u8),
    /// The client reads, and acknowledges some of what it has read.
    Acknowledge(usize),
    /// The connection's task reads what waits in the lanes.
    Read,
    /// It sends what it has read, and all that follows.
    CatchUp,
    /// The session tells the lanes of finished messages.
    Tell,
    /// The last of these tellings comes once more.
    TellAgain,
    Lose,
    /// The lanes hear that the connection was lost.
    Hear,
    /// The lanes resume the session.
    Resume,
    /// Its connection begins.
    Connect,
    /// A second connection of the client takes the session over. The server still takes some of the
    /// acknowledgements that the first has sent.
    TakeOver(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..LANES, 1..=2_u8).prop_map(|(lane, qos)| Step::Publish(lane, qos)),
        6 => (1..4_usize).prop_map(Step::Acknowledge),
        2 => Just(Step::Read),
        2 => Just(Step::CatchUp),
        2 => Just(Step::Tell),
        1 => Just(Step::TellAgain),
        2 => Just(Step::Lose),
        2 => Just(Step::Hear),
        2 => Just(Step::Resume),
        3 => Just(Step::Connect),
        1 => (0..3_usize).prop_map(Step::TakeOver),
    ];
    prop::collection::vec(step, 0..150)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Connected,
    /// The lanes have not heard of it.
    Lost,
    Offline,
    /// In the lanes. The connection has not begun.
    Resumed,
}

/// A session with its client, and its lanes.
struct Scene {
    lanes: [Running; LANES],
    context: NodeContext,
    outbox: Arc<Outbox>,
    limits: OutboundLimits,
    connection: u32,
    link: Link,
    /// Messages that the connection's task has read from the lanes and not sent.
    heads: BTreeMap<u16, VecDeque<WaitingFrame>>,
    told: Option<(usize, Done)>,
    /// Lane and QoS of each message, by its number from 0.
    published: Vec<(usize, u8)>,
    /// How often the client has received each message, with QoS 2 counted once a packet id.
    received: BTreeMap<usize, usize>,
    first_receipts: Vec<usize>,
    /// Read and not acknowledged: QoS and packet id. QoS 0 stands for PUBREL.
    unacknowledged: VecDeque<(u8, PacketId)>,
    /// Packet ids of QoS 2 messages that are not released.
    unreleased: BTreeSet<PacketId>,
}

impl Scene {
    /// At most so many messages wait for the client, here and in each lane.
    fn new(messages: usize) -> Self {
        let retained = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let limits = OutboundLimits { messages, ..LIMITS };
        let lane = |number| Running::new(lane_with(number, Box::new(AllowAll), retained));
        let mut scene = Scene {
            lanes: [lane(0), lane(1)],
            context: NodeContext {
                sessions: Arc::new(Sessions::new(1, 0)),
                mailboxes: Mailboxes::new(1).0,
                limits: Arc::default(),
                timers: Arc::new(Timers::default()),
                policy: Arc::new(AllowAll),
            },
            outbox: Arc::new(Outbox::connected(Version::V3, limits)),
            limits,
            connection: 1,
            link: Link::Connected,
            heads: BTreeMap::new(),
            told: None,
            published: Vec::new(),
            received: BTreeMap::new(),
            first_receipts: Vec::new(),
            unacknowledged: VecDeque::new(),
            unreleased: BTreeSet::new(),
        };
        let session = scene.who().session;
        scene.context.sessions.put(session, &scene.outbox);
        let rules = LaneRules {
            retained,
            queue: QueueLimits {
                messages,
                bytes: 1 << 20,
                age: 1_000_000,
            },
            offline_bytes: 1 << 20,
            hook: b"",
        };
        let body = rules.to_bytes().unwrap();
        for lane in 0..LANES {
            scene.apply(
                lane,
                &Entry::Rules {
                    version: 2,
                    body: &body,
                },
            );
            scene.apply(lane, &Entry::Subscribe(scene.filters()));
        }
        scene
    }

    fn who(&self) -> Actor<'static> {
        Actor {
            session: SessionId { term: 1, n: 1 },
            connection: self.connection,
            user: "u",
        }
    }

    fn filters(&self) -> SubscribeEntry<'static> {
        SubscribeEntry {
            who: self.who(),
            request_id: 1,
            keeps: true,
            identifier: 0,
            filters: vec![FilterEntry {
                position: 0,
                filter: "t",
                options: SubscribeOptions::of(QoS::ExactlyOnce),
                mount: None,
                guarded: false,
                proof: b"",
            }],
        }
    }

    fn apply(&mut self, lane: usize, entry: &Entry<'_>) {
        let (running, to_flush) = (&mut self.lanes[lane], &mut Vec::new());
        running
            .apply(
                [entry],
                (&self.context, to_flush),
                &mut usize::MAX.clone(),
                |_| {},
            )
            .unwrap();
        while running.is_unfinished() {
            running.go_on(&self.context, to_flush).unwrap();
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(lane, qos) => {
                let number = u16::try_from(self.published.len()).unwrap();
                self.published.push((lane, qos));
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos - 1)];
                let payload = number.to_be_bytes();
                let entry = PublishEntry {
                    qos,
                    ..PublishEntry::of_server("t", &payload)
                };
                self.apply(lane, &Entry::Publish(entry));
            }
            Step::Acknowledge(most) if self.link == Link::Connected => self.acknowledge(most),
            Step::Read if self.link == Link::Connected => self.read_heads(),
            Step::CatchUp if self.link == Link::Connected => self.catch_up(),
            Step::Tell => self.tell(),
            Step::TellAgain => {
                if let Some((lane, done)) = self.told.clone() {
                    self.hear_done(lane, done);
                }
            }
            Step::Lose if self.link == Link::Connected => {
                drop(self.outbox.disconnect(None, true, 0));
                self.unacknowledged.clear();
                self.heads.clear();
                self.link = Link::Lost;
            }
            Step::Hear if self.link == Link::Lost => {
                self.tell();
                for lane in 0..LANES {
                    self.hear_of_the_end(lane);
                }
                self.link = Link::Offline;
            }
            Step::Resume if self.link == Link::Offline => {
                self.connection += 1;
                for lane in 0..LANES {
                    self.apply(lane, &Entry::Resume(self.filters()));
                }
                self.link = Link::Resumed;
            }
            Step::Connect if self.link == Link::Resumed => {
                let (version, limits) = (self.version(), self.limits);
                self.outbox
                    .connect(None, version, limits, &Reply::PingResp, 0);
                self.link = Link::Connected;
            }
            Step::TakeOver(acknowledged) if self.link == Link::Connected => {
                self.acknowledge(acknowledged);
                for step in [Step::Lose, Step::Hear, Step::Resume] {
                    self.take(step);
                }
                self.connection -= 1;
                // Ignored: the session has a later connection.
                (0..LANES).for_each(|lane| self.hear_of_the_end(lane));
                self.connection += 1;
                self.take(Step::Connect);
            }
            _ => {}
        }
        if self.link == Link::Connected && self.outbox.condition().closing.is_some() {
            self.take(Step::Lose);
        }
    }

    fn version(&self) -> Version {
        VERSIONS[self.connection as usize % 2]
    }

    fn hear_of_the_end(&mut self, lane: usize) {
        let number = u16::try_from(lane).unwrap();
        let sent = self.outbox.queue(|out| out.last_handed(number)).unwrap();
        let end = DisconnectEntry {
            who: self.who(),
            reason: EndReason::Orderly,
            sent,
            authenticated: false,
        };
        self.apply(lane, &Entry::Disconnected(end));
    }

    fn read_heads(&mut self) {
        let behind = |out: &mut Outbound| out.wants_waiting().then(|| out.lanes_behind());
        for lane in self.outbox.queue(behind).flatten().unwrap_or_default() {
            if self.heads.get(&lane).is_none_or(VecDeque::is_empty) {
                let running = &self.lanes[usize::from(lane)];
                let next = next_frames(&running.lane, self.who().session, &self.outbox);
                self.heads.insert(lane, next);
            }
        }
    }

    /// As `Client::catch_up` does it.
    fn catch_up(&mut self) {
        while self.outbox.queue(|out| out.wants_waiting()).unwrap() {
            self.read_heads();
            for head in self.heads.values_mut() {
                while self.outbox.queue(|out| out.wants_waiting()).unwrap()
                    && let Some(next) = head.pop_front()
                {
                    let deliver = |out: &mut Outbound| {
                        out.deliver_waiting(next.tag, &next.frame, next.since, 0);
                    };
                    self.outbox.queue(deliver);
                }
            }
        }
        // It keeps nothing until it is called again.
        self.heads.clear();
    }

    fn tell(&mut self) {
        for (lane, done) in self.outbox.queue(Outbound::take_untold).unwrap() {
            self.told = Some((lane.into(), done.clone()));
            self.hear_done(lane.into(), done);
        }
    }

    fn hear_done(&mut self, lane: usize, done: Done) {
        let session = self.who().session;
        self.apply(lane, &Entry::Done(DoneEntry { session, done }));
    }

    fn acknowledge(&mut self, most: usize) {
        self.read();
        for _ in 0..most {
            let Some((qos, id)) = self.unacknowledged.pop_front() else {
                break;
            };
            self.outbox.queue(|out| match qos {
                0 => out.completed(id, 0).unwrap(),
                1 => out.acked(id, 0).unwrap(),
                _ => out.received(id, 0).unwrap(),
            });
        }
        self.read();
    }

    /// Reads what was sent: PUBLISH packets `t` with a number, and PUBRELs.
    fn read(&mut self) {
        let bytes = self.outbox.take_bytes();
        let mut rest = &bytes[..];
        while let [first, length, after @ ..] = rest {
            let (body, after) = after.split_at(usize::from(*length));
            rest = after;
            let id = |at: usize| PacketId::new(u16::from_be_bytes([body[at], body[at + 1]]));
            match first >> 4 {
                3 => {
                    let (qos, id) = ((first >> 1) & 3, id(3).unwrap());
                    let number = u16::from_be_bytes(body[body.len() - 2..].try_into().unwrap());
                    if qos == 1 || self.unreleased.insert(id) {
                        self.note(number.into());
                    }
                    self.unacknowledged.push_back((qos, id));
                }
                6 => {
                    let id = id(0).unwrap();
                    self.unreleased.remove(&id);
                    self.unacknowledged.push_back((0, id));
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, number: usize) {
        let times = self.received.entry(number).or_default();
        *times += 1;
        if *times == 1 {
            self.first_receipts.push(number);
        }
    }

    /// The client takes and acknowledges all that is left.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            for step in [
                Step::Hear,
                Step::Resume,
                Step::Connect,
                Step::CatchUp,
                Step::Acknowledge(9),
            ] {
                self.take(step);
            }
            let all_sent = self.link == Link::Connected && self.outbox.has_sent_all();
            if all_sent && self.unacknowledged.is_empty() {
                break;
            }
        }
    }

    /// Whether what is counted for an offline session is what is there.
    fn counts_all(&self) -> bool {
        let session = self.who().session;
        let waiting = |r: &Running| r.lane.waiting(session, MessageNo::NONE).count() as u64;
        let in_lanes: u64 = self.lanes.iter().map(waiting).sum();
        let backlog = self.outbox.queue(|out| out.backlog()).unwrap();
        let sent = backlog.messages.checked_sub(in_lanes);
        self.link != Link::Offline || sent.is_some_and(|sent| sent <= backlog.in_flight)
    }
}

/// The lane is locked while its messages are encoded.
#[test]
fn no_more_is_read_of_a_queue_than_the_client_can_be_sent() {
    let mut scene = Scene::new(1_000);
    let publish = Step::Publish(0, 1);
    for step in [
        Step::Lose,
        Step::Hear,
        publish,
        publish,
        Step::Resume,
        Step::Connect,
    ] {
        scene.take(step);
    }
    let read =
        |scene: &Scene| next_frames(&scene.lanes[0].lane, scene.who().session, &scene.outbox).len();
    assert_eq!(read(&scene), 2);
    (0..10).for_each(|_| scene.take(publish));
    assert_eq!(read(&scene), usize::from(LIMITS.receive_maximum));
    scene.catch_up();
    assert!(scene.outbox.queue(|out| out.is_behind()).unwrap());
    assert_eq!(
        read(&scene),
        1,
        "the window is closed, and the session has not caught up"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The connection is lost or taken over, and the lanes hear of it late; the client returns, with the
    /// other version, and acknowledges some, at random. In the end each message has come, or was dropped
    /// for a limit and counted; those of a lane in order: once at QoS 2, at least once at QoS 1.
    #[test]
    fn a_session_receives_each_message_whatever_its_connections_do(
        steps in steps(), messages in prop_oneof![Just(1_000_usize), 1..6_usize],
    ) {
        let mut scene = Scene::new(messages);
        for step in steps {
            scene.take(step);
            prop_assert!(scene.counts_all(), "after {:?}", step);
        }
        scene.finish();
        for lane in 0..LANES {
            let of_lane = scene.first_receipts.iter().filter(|n| scene.published[**n].0 == lane);
            prop_assert!(of_lane.is_sorted(), "{:?}", scene.first_receipts);
        }
        let (received, dropped) = (scene.received.len() as u64, scene.outbox.dropped());
        prop_assert_eq!(received + dropped, scene.published.len() as u64);
        prop_assert!(dropped == 0 || messages < 1_000);
        for (number, times) in &scene.received {
            prop_assert!(scene.published[*number].1 == 1 || *times == 1, "{} came {} times", number, times);
        }
        scene.take(Step::Tell);
        prop_assert!(scene.lanes.iter().all(|running| running.lane.stored_messages() == 0));
        prop_assert_eq!(scene.outbox.queue(|out| out.backlog().messages), Some(0));
    }
}
