#![allow(clippy::unwrap_used)]
use super::super::context::NodeContext;
use super::super::entrance::next_frames;
use super::super::scene::lane_with;
use super::super::{Mailboxes, Timers};
use super::*;
use crate::packet::{PacketId, Reply, SubscribeOptions};
use crate::policy::{Actor, AllowAll, EndReason};
use crate::session::{Done, OutboundLimits};
use crate::sessions::Sessions;
use proptest::prelude::*;
use roommq_lane::{DisconnectEntry, DoneEntry, FilterEntry, RetainedLimits};
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

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A message of this QoS, 1 or 2.
    Publish(u8),
    /// The client reads, and acknowledges some of what it has read.
    Acknowledge(usize),
    /// The connection's task sends what waits in the lane.
    CatchUp,
    /// The session tells the lane of finished messages.
    Tell,
    /// The last of these tellings comes once more.
    TellAgain,
    Lose,
    /// The lane hears that the connection was lost.
    Hear,
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..=2_u8).prop_map(Step::Publish),
        6 => (1..4_usize).prop_map(Step::Acknowledge),
        3 => Just(Step::CatchUp),
        2 => Just(Step::Tell),
        1 => Just(Step::TellAgain),
        2 => Just(Step::Lose),
        2 => Just(Step::Hear),
        3 => Just(Step::Resume),
    ];
    prop::collection::vec(step, 0..120)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Connected,
    /// The lane has not heard of it.
    Lost,
    Offline,
}

/// A session with its client, and a lane.
struct Scene {
    running: Running,
    context: NodeContext,
    outbox: Arc<Outbox>,
    connection: u32,
    link: Link,
    told: Option<Done>,
    /// QoS of each message, by its number from 0.
    published: Vec<u8>,
    /// How often the client has received each message, with QoS 2 counted once a packet id.
    received: BTreeMap<usize, usize>,
    first_receipts: Vec<usize>,
    /// Read and not acknowledged: QoS and packet id. QoS 0 stands for PUBREL.
    unacknowledged: VecDeque<(u8, PacketId)>,
    /// Packet ids of QoS 2 messages that are not released.
    unreleased: BTreeSet<PacketId>,
}

impl Scene {
    fn new() -> Self {
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let mut scene = Scene {
            running: Running::new(lane_with(0, Box::new(AllowAll), limits)),
            context: NodeContext {
                sessions: Arc::new(Sessions::new(1, 0)),
                mailboxes: Mailboxes::new(1).0,
                timers: Arc::new(Timers::default()),
                policy: Arc::new(AllowAll),
            },
            outbox: Arc::new(Outbox::connected(Version::V3, LIMITS)),
            connection: 1,
            link: Link::Connected,
            told: None,
            published: Vec::new(),
            received: BTreeMap::new(),
            first_receipts: Vec::new(),
            unacknowledged: VecDeque::new(),
            unreleased: BTreeSet::new(),
        };
        let session = scene.who().session;
        scene.context.sessions.put(session, &scene.outbox);
        scene.apply(&Entry::Subscribe(scene.filters()));
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

    fn apply(&mut self, entry: &Entry<'_>) {
        self.running.apply(entry, &self.context, &mut Vec::new());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(qos) => {
                let number = u16::try_from(self.published.len()).unwrap();
                self.published.push(qos);
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos - 1)];
                let payload = number.to_be_bytes();
                let entry = PublishEntry {
                    qos,
                    ..PublishEntry::of_server("t", &payload)
                };
                self.apply(&Entry::Publish(entry));
            }
            Step::Acknowledge(most) if self.link == Link::Connected => self.acknowledge(most),
            Step::CatchUp if self.link == Link::Connected => self.catch_up(),
            Step::Tell => self.tell(),
            Step::TellAgain => {
                if let Some(done) = self.told.clone() {
                    self.hear_done(done);
                }
            }
            Step::Lose if self.link == Link::Connected => {
                drop(self.outbox.disconnect(None, true, 0));
                self.unacknowledged.clear();
                self.link = Link::Lost;
            }
            Step::Hear if self.link == Link::Lost => {
                self.tell();
                let sent = self.outbox.queue(|out| out.last_handed(0)).unwrap();
                self.apply(&Entry::Disconnected(DisconnectEntry {
                    who: self.who(),
                    reason: EndReason::Orderly,
                    sent,
                    authenticated: false,
                }));
                self.link = Link::Offline;
            }
            Step::Resume if self.link == Link::Offline => {
                self.connection += 1;
                self.apply(&Entry::Resume(self.filters()));
                let connack = Reply::PingResp;
                self.outbox.connect(None, Version::V3, LIMITS, &connack, 0);
                self.link = Link::Connected;
            }
            _ => {}
        }
    }

    /// As `Client::catch_up` does it for one lane.
    fn catch_up(&mut self) {
        while self.outbox.queue(|out| out.wants_waiting()).unwrap() {
            let lane = &self.running.lane;
            for next in next_frames(lane, self.who().session, &self.outbox) {
                self.outbox.queue(|out| {
                    if out.wants_waiting() {
                        out.deliver_waiting(next.tag, &next.frame, next.since, 0);
                    }
                });
            }
        }
    }

    fn tell(&mut self) {
        for (_, done) in self.outbox.queue(Outbound::take_untold).unwrap() {
            self.told = Some(done.clone());
            self.hear_done(done);
        }
    }

    fn hear_done(&mut self, done: Done) {
        let session = self.who().session;
        self.apply(&Entry::Done(DoneEntry { session, done }));
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
                    let number = usize::from(u16::from_be_bytes([body[5], body[6]]));
                    if qos == 1 || self.unreleased.insert(id) {
                        self.note(number);
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

    fn is_done(&self) -> bool {
        let outbox = &self.outbox;
        self.link == Link::Connected && outbox.has_sent_all() && self.unacknowledged.is_empty()
    }
}

/// The lane is locked while its messages are encoded.
#[test]
fn no_more_is_read_of_a_queue_than_the_client_can_be_sent() {
    let mut scene = Scene::new();
    for step in [
        Step::Lose,
        Step::Hear,
        Step::Publish(1),
        Step::Publish(1),
        Step::Resume,
    ] {
        scene.take(step);
    }
    let read =
        |scene: &Scene| next_frames(&scene.running.lane, scene.who().session, &scene.outbox).len();
    assert_eq!(read(&scene), 2);
    (0..10).for_each(|_| scene.take(Step::Publish(1)));
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

    /// The connection is lost, and the lane hears of it late; the client returns and acknowledges some,
    /// at random. In the end each message has come in order: once at QoS 2, at least once at QoS 1.
    #[test]
    fn a_session_receives_each_message_whatever_its_connections_do(steps in steps()) {
        let mut scene = Scene::new();
        for step in steps {
            scene.take(step);
        }
        for _ in 0..1_000 {
            for step in [Step::Hear, Step::Resume, Step::CatchUp, Step::Acknowledge(9)] {
                scene.take(step);
            }
            if scene.is_done() {
                break;
            }
        }
        let all: Vec<usize> = (0..scene.published.len()).collect();
        prop_assert_eq!(&scene.first_receipts, &all);
        for (number, times) in &scene.received {
            prop_assert!(scene.published[*number] == 1 || *times == 1, "{} came {} times", number, times);
        }
        scene.take(Step::Tell);
        prop_assert_eq!(scene.running.lane.stored_messages(), 0);
        prop_assert_eq!(scene.outbox.queue(|out| out.backlog().messages), Some(0));
    }
}
