//! Applying one batch to a lane.

use super::context::NodeContext;
use super::log::LogError;
use super::perform::Running;
use super::table::SharedLane;
use crate::lane::state::{self, BatchError};
use crate::outbox::Outbox;
use crate::packet::ReasonCode;
use crate::session::Close;
use parking_lot::MutexGuard;
use std::sync::Arc;

/// Applies all entries of a batch to a lane that the caller has locked, in order.
///
/// An entry that cannot be read stops the lane: nothing after it is applied. The connections of its
/// subscribers are closed, since they would hear nothing and not know why. All other lanes go on.
///
/// Outboxes that have to be flushed after the batch are added to `to_flush`.
pub(super) fn apply_batch(
    number: u16,
    shared: &SharedLane,
    running: &mut MutexGuard<'_, Running>,
    batch: &[u8],
    context: &NodeContext,
    to_flush: &mut Vec<Arc<Outbox>>,
) {
    if shared.has_stopped() {
        return;
    }
    if let Err(error) = apply_entries(running, batch, context, to_flush) {
        shared.stop(running);
        tracing::error!(lane = number, %error, "a lane has stopped; the others go on");
        for outbox in running.links.iter() {
            outbox.close(Close {
                reason: ReasonCode::UnspecifiedError,
                text: LogError::Stopped.to_string(),
            });
        }
    }
    shared.store_counts(running.lane.counts());
}

fn apply_entries(
    running: &mut Running,
    batch: &[u8],
    context: &NodeContext,
    to_flush: &mut Vec<Arc<Outbox>>,
) -> Result<(), BatchError> {
    for entry in state::read_batch(batch)? {
        running.apply(&entry?, context, to_flush);
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
    use crate::lane::{
        Batch, Entry, FilterEntry, Lane, LaneTable, Mailboxes, PublishEntry, RetainedLimits,
        SubscribeEntry, Timers,
    };
    use crate::packet::{QoS, SubscribeOptions, Version};
    use crate::policy::{Actor, AllowAll};
    use crate::session::OutboundLimits;
    use crate::sessions::{Registration, Sessions};

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
            let lane = |lane| Lane::new(lane, Box::new(AllowAll), limits);
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
            let running = &mut shared.state.lock();
            apply_batch(
                number,
                shared,
                running,
                batch,
                &self.context,
                &mut Vec::new(),
            );
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
    fn the_error_says_what_was_read_and_what_to_do() {
        let error = state::read_batch(&[9]).err().unwrap().to_string();
        assert_eq!(
            error,
            "a batch has format 9, and this version reads format 2; \
             restart the server with the version that wrote the batch"
        );
    }
}
