//! Applying one batch to a lane.

use super::context::NodeHost;
use super::log::LogError;
use super::table::SharedLane;
use crate::lane::state::{self, BatchError, Lane};
use crate::packet::ReasonCode;
use crate::session::Close;
use parking_lot::MutexGuard;

/// Applies all entries of a batch to a lane that the caller has locked, in order.
///
/// An entry that cannot be read stops the lane: nothing after it is applied. The connections of its
/// subscribers are closed, since they would hear nothing and not know why. All other lanes go on.
pub(super) fn apply_batch(
    number: u16,
    shared: &SharedLane,
    lane: &mut MutexGuard<'_, Lane>,
    batch: &[u8],
    host: &mut NodeHost<'_>,
) {
    if shared.has_stopped() {
        return;
    }
    if let Err(error) = apply_entries(lane, batch, host) {
        shared.stop(lane);
        tracing::error!(lane = number, %error, "a lane has stopped; the others go on");
        for outbox in lane.outboxes() {
            outbox.close(Close {
                reason: ReasonCode::UnspecifiedError,
                text: LogError::Stopped.to_string(),
            });
        }
    }
    shared.store_counts(lane.counts());
}

fn apply_entries(lane: &mut Lane, batch: &[u8], host: &mut NodeHost<'_>) -> Result<(), BatchError> {
    for entry in state::read_batch(batch)? {
        lane.apply(&entry?, host);
        lane.check_rules()?;
    }
    Ok(())
}

/// Aborts the process if it is dropped by a panic.
///
/// A server without an applier would accept connections and deliver nothing. A lane with half an
/// entry applied would have a state that no log produces.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a lane has panicked: the server cannot go on");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock;
    use crate::lane::run::context::NodeContext;
    use crate::lane::state::lane_with;
    use crate::lane::{
        Batch, Entry, FilterEntry, LaneTable, Mailboxes, PublishEntry, RetainedLimits,
        SubscribeEntry, Timers,
    };
    use crate::outbox::Outbox;
    use crate::packet::{QoS, SubscribeOptions, Version};
    use crate::policy::{Actor, AllowAll};
    use crate::session::OutboundLimits;
    use crate::sessions::{Registration, Sessions};
    use std::sync::Arc;

    const LIMITS: OutboundLimits = OutboundLimits {
        bytes: 1 << 20,
        messages: 10,
        receive_maximum: 10,
        maximum_packet_size: None,
        problem_information: true,
        topic_aliases: 0,
        age: 1_000,
    };

    /// Two lanes, and what they reach.
    struct Scene {
        lanes: LaneTable,
        context: NodeContext,
    }

    impl Scene {
        fn new() -> Self {
            let limits = RetainedLimits {
                messages: 1,
                bytes: 1,
            };
            let lane = |lane| lane_with(lane, Box::new(AllowAll), limits);
            Scene {
                lanes: LaneTable::new((0..2).map(lane), lane(2)),
                context: NodeContext {
                    sessions: Arc::new(Sessions::new(1, 0)),
                    mailboxes: Mailboxes::new(2).0,
                    timers: Arc::new(Timers::default()),
                    policy: Arc::new(AllowAll),
                },
            }
        }

        fn apply(&self, number: u16, batch: &[u8]) {
            let shared = self.lanes.get(number).unwrap();
            let mut to_flush = Vec::new();
            let mut host = NodeHost {
                context: &self.context,
                to_flush: &mut to_flush,
            };
            apply_batch(number, shared, &mut shared.state.lock(), batch, &mut host);
        }

        /// A connected client that subscribes to `t` in a lane.
        fn subscriber(&self, lane: u16) -> Arc<Outbox> {
            let outbox = Arc::new(Outbox::connected(Version::V5, LIMITS));
            let (user, client_id) = ("u".into(), format!("c{lane}").into());
            let sessions = &self.context.sessions;
            let registering = sessions.register(&user, &client_id, &outbox, false, clock::now_ms);
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let registered = runtime.unwrap().block_on(registering);
            let Registration::New(session) = registered else {
                panic!("the client id is taken");
            };
            let filter = FilterEntry {
                position: 0,
                filter: "t",
                options: SubscribeOptions::of(QoS::AtMostOnce),
                mount: None,
                guarded: false,
                proof: b"",
            };
            let entry = Entry::Subscribe(SubscribeEntry {
                at: 1,
                who: Actor {
                    session,
                    connection: 1,
                    user: "u",
                },
                request_id: 1,
                identifier: 0,
                filters: vec![filter],
            });
            self.apply(lane, &Batch::of(&entry).into_bytes());
            outbox.take_bytes();
            outbox
        }
    }

    fn message() -> Vec<u8> {
        let entry = PublishEntry::of_server(1, "t", b"hi");
        Batch::of(&Entry::Publish(entry)).into_bytes().to_vec()
    }

    #[test]
    fn a_batch_that_cannot_be_read_stops_its_lane_only() {
        let newer = vec![9, 1, 2];
        let damaged = [message(), vec![0xFF]].concat();
        for (unreadable, before) in [(newer, 0), (damaged, 1), (Vec::new(), 0)] {
            let scene = Scene::new();
            let (here, elsewhere) = (scene.subscriber(0), scene.subscriber(1));
            scene.apply(0, &unreadable);
            scene.apply(0, &message());
            scene.apply(1, &message());
            let heard = |outbox: &Outbox| {
                let bytes = outbox.take_bytes();
                bytes.windows(2).filter(|pair| pair == b"hi").count()
            };

            assert!(scene.lanes.get(0).unwrap().has_stopped());
            let close = here.condition().closing.unwrap();
            assert_eq!(close.reason, ReasonCode::UnspecifiedError);
            assert_eq!(close.text, LogError::Stopped.to_string());
            assert_eq!(heard(&here), before, "nothing behind the damage");

            assert!(!scene.lanes.get(1).unwrap().has_stopped());
            assert!(elsewhere.condition().closing.is_none());
            assert_eq!(heard(&elsewhere), 1);
        }
    }

    #[test]
    fn rules_that_cannot_be_read_stop_their_lane_only() {
        let scene = Scene::new();
        let (here, elsewhere) = (scene.subscriber(0), scene.subscriber(1));
        let rules = Entry::Rules {
            version: 2,
            body: b"",
        };
        let behind = PublishEntry::of_server(1, "t", b"hi");
        let batch = Batch::all_of([rules, Entry::Publish(behind)].into_iter());
        scene.apply(0, &batch.into_iter().next().unwrap().into_bytes());
        assert!(scene.lanes.get(0).unwrap().has_stopped());
        let close = here.condition().closing.unwrap();
        assert_eq!(close.text, LogError::Stopped.to_string());
        assert!(!here.take_bytes().ends_with(b"hi"), "nothing behind it");
        assert!(elsewhere.condition().closing.is_none());
    }

    #[test]
    fn the_error_says_what_was_read_and_what_to_do() {
        let error = state::read_batch(&[9]).err().unwrap().to_string();
        assert_eq!(
            error,
            "a batch has format 9, and this version reads format 2; \
             restart the server with the version that wrote the batch"
        );
    }
}
