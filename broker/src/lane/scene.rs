//! A lane with a log, the lane of the node, and what they reach, for tests.
#![allow(clippy::unwrap_used)]

use super::log::{LaneLog, LogError, Position};
use super::{Applier, ApplierStop, Entrance, LaneTable, Mailboxes, NodeContext, Timers};
use crate::outbox::Outbox;
use crate::packet::{QoS, SubscribeOptions, Version};
use crate::policy::{
    Actor, AllowAll, HookContext, LaneHook, Limit, Mark, Message, Refusal, Request, RestoreError,
    SessionId, Verdict,
};
use crate::session::OutboundLimits;
use crate::sessions::Sessions;
use futures_util::FutureExt;
use parking_lot::Mutex;
use roommq_lane::{
    Entry, FilterEntry, Lane, LaneRules, Outcome, PublishEntry, QueueLimits, RetainedLimits,
    SubscribeEntry,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The term of the node.
pub(super) const TERM: u64 = 7;

/// A client, for [`append`].
pub(super) const CLIENT: u64 = 1;

/// The numbers that each client has sent, in the lane's order.
type Notes = Arc<Mutex<HashMap<u64, Vec<u32>>>>;

/// A message by which a client sends a number.
pub(super) fn message(client: u64, number: &[u8; 4]) -> Entry<'_> {
    Entry::Publish(PublishEntry {
        origin: Some(Actor {
            session: SessionId { term: 1, n: client },
            connection: 1,
            user: "u",
        }),
        topic: "t",
        payload: number,
        qos: QoS::AtMostOnce,
        retain: false,
        properties: None,
    })
}

/// Appends it to a lane.
pub(super) async fn append(
    entrance: &Entrance,
    lane: u16,
    client: u64,
    number: u32,
) -> Result<(), LogError> {
    let number = number.to_be_bytes();
    entrance.append(lane, [message(client, &number)]).await
}

/// The lanes 0, which has a log, and 1, which is the node's.
pub(super) struct Scene {
    pub(super) lanes: Arc<LaneTable>,
    context: Arc<NodeContext>,
    notes: Notes,
}

impl Scene {
    pub(super) fn new(log: &dyn LaneLog) -> Self {
        let notes = Notes::default();
        let limits = RetainedLimits {
            messages: 1,
            bytes: 1,
        };
        let lane = |number| lane_with(number, Box::new(NotingHook(notes.clone())), limits);
        let lanes = LaneTable::new(TERM, log, 1, (0..1).map(lane), lane(1));
        Scene {
            lanes: Arc::new(lanes.unwrap()),
            context: Arc::new(NodeContext {
                sessions: Arc::new(Sessions::new(TERM, 0)),
                mailboxes: Mailboxes::new(1).0,
                limits: Arc::default(),
                timers: Arc::new(Timers::default()),
                policy: Arc::new(AllowAll),
            }),
            notes,
        }
    }

    pub(super) fn entrance(&self) -> Entrance {
        Entrance::new(self.lanes.clone(), self.context.clone())
    }

    pub(super) fn start_applier(&self, log: &dyn LaneLog) -> RunningApplier {
        let follower = log.follower(&[(0, Position::default())]).unwrap();
        let applier = Applier::new(self.lanes.clone(), vec![0], follower, self.context.clone());
        RunningApplier {
            lanes: self.lanes.clone(),
            stop: applier.stop_handle(),
            thread: std::thread::spawn(|| applier.run()),
        }
    }

    /// A connected client that subscribes to the topic of [`message`] in lane 0.
    pub(super) fn hearer(&self, n: u64) -> Arc<Outbox> {
        let limits = OutboundLimits {
            bytes: 1 << 20,
            messages: 1,
            receive_maximum: 1,
            maximum_packet_size: None,
            problem_information: true,
            topic_aliases: 0,
            age: 0,
        };
        let session = SessionId { term: TERM, n };
        let outbox = Arc::new(Outbox::connected(Version::V3, limits));
        self.context.sessions.put(session, &outbox);
        let subscribe = Entry::Subscribe(SubscribeEntry {
            who: Actor {
                session,
                connection: 1,
                user: "u",
            },
            request_id: 1,
            keeps: false,
            identifier: 0,
            filters: vec![FilterEntry {
                position: 0,
                filter: "t",
                options: SubscribeOptions::of(QoS::AtMostOnce),
                mount: None,
                guarded: false,
                proof: &[],
            }],
        });
        let subscribed = self.entrance().append(0, [subscribe]).now_or_never();
        assert!(matches!(subscribed, Some(Ok(()))));
        outbox
    }

    /// The numbers of a client's messages, as they were applied.
    pub(super) fn applied(&self, client: u64) -> Vec<u32> {
        self.notes.lock().get(&client).cloned().unwrap_or_default()
    }
}

/// A thread that applies lane 0.
pub(super) struct RunningApplier {
    lanes: Arc<LaneTable>,
    stop: ApplierStop,
    thread: JoinHandle<()>,
}

impl RunningApplier {
    /// Lets it apply all that was appended, and stops it.
    pub(super) fn finish(self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(self.lanes.wait_until_applied(deadline));
        self.stop.stop().unwrap();
        self.thread.join().unwrap();
    }
}

struct NotingHook(Notes);

impl LaneHook for NotingHook {
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        AllowAll.judge(cx, who, requests)
    }
    fn publish(
        &mut self,
        _: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        let number = u32::from_be_bytes(message.payload.try_into().unwrap());
        let mut notes = self.0.lock();
        notes.entry(who.session.n).or_default().push(number);
        Ok(Verdict {
            mark: Mark::default(),
            keep: false,
            limit: Limit::None,
        })
    }
    fn may_see(&self, _: Actor<'_>, _: &str) -> bool {
        true
    }
    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }
    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// A lane with rules: these limits, and nothing for its hook.
pub(super) fn lane_with(number: u16, hook: Box<dyn LaneHook>, retained: RetainedLimits) -> Lane {
    let mut lane = Lane::new(number, 1, hook);
    let body = LaneRules {
        retained,
        queue: QueueLimits {
            messages: 1_000,
            bytes: 1 << 20,
            age: 1_000_000,
        },
        offline_bytes: 1 << 20,
        hook: b"",
    };
    let body = body.to_bytes().unwrap();
    let rules = Entry::Rules {
        version: 1,
        body: &body,
    };
    lane.apply(&rules, &mut Outcome::default());
    lane
}
