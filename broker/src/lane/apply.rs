//! Applying batches to a lane that the caller has locked.
//!
//! A batch that is out of turn or cannot be read stops the lane: nothing after it is applied. The
//! connections of its subscribers are closed, since they would hear nothing and not know why. All
//! other lanes go on.
//!
//! Outboxes that have to be flushed are added to `to_flush`.

use super::context::NodeContext;
use super::log::LogError;
use super::perform::Running;
use super::table::SharedLane;
use crate::outbox::Outbox;
use crate::packet::ReasonCode;
use crate::session::Close;
use bytes::Bytes;
use roommq_lane::{BatchError, BatchHeader, BatchTurn, Entry, read};
use std::borrow::Borrow;
use std::sync::Arc;

/// Applies a batch in place. If an outcome is too large for one turn of the lock, the rest of the batch
/// is left to the lane's applier. `applied` is called after each entry before that: whether its PUBLISH
/// matched a subscription. Returns false if the steps in `work` are used up and entries are left over
/// that are in no batch.
pub(super) fn apply_in_place<'a>(
    shared: &SharedLane,
    running: &mut Running,
    header: &BatchHeader,
    entries: impl IntoIterator<Item: Borrow<Entry<'a>>>,
    node: (&NodeContext, &mut Vec<Arc<Outbox>>),
    work: &mut usize,
    applied: impl FnMut(bool),
) -> bool {
    let result = match running.lane.begin(header) {
        BatchTurn::Take => running.apply(entries, node, work, applied),
        _ => Err(BatchError::OutOfTurn(header.number)),
    };
    settle(shared, running, result).unwrap_or(true)
}

/// Begins a batch of the log; [`go_on`] applies its entries. Returns whether the log is done with it: if
/// the engine keeps its log, a batch that is out of turn is ignored instead. Then it has come before, or
/// comes again when the one before it has.
pub(super) fn begin(shared: &SharedLane, running: &mut Running, batch: &Bytes) -> bool {
    if shared.has_stopped() {
        return true;
    }
    let begun = begin_in_turn(shared, running, batch);
    settle(shared, running, begun).unwrap_or(true)
}

fn begin_in_turn(
    shared: &SharedLane,
    running: &mut Running,
    batch: &Bytes,
) -> Result<bool, BatchError> {
    let (header, entries) = read(batch)?;
    match running.lane.begin(&header) {
        BatchTurn::Take => {
            running.begin(batch.slice_ref(entries.as_bytes()));
            return Ok(true);
        }
        _ if !shared.sequence.keeps() => return Err(BatchError::OutOfTurn(header.number)),
        BatchTurn::Hole { expected } => shared.sequence.miss(&header, expected),
        BatchTurn::Duplicate | BatchTurn::Fenced => {}
    }
    Ok(false)
}

/// Goes on for one turn of the lock with the batch that the lane is in the midst of.
pub(super) fn go_on(
    shared: &SharedLane,
    running: &mut Running,
    context: &NodeContext,
    to_flush: &mut Vec<Arc<Outbox>>,
) {
    let applied = running.go_on(context, to_flush);
    settle(shared, running, applied);
}

/// Stops the lane after an error, and publishes the lane's numbers.
fn settle<T>(
    shared: &SharedLane,
    running: &mut Running,
    result: Result<T, BatchError>,
) -> Option<T> {
    if let Err(error) = &result {
        shared.stop(running);
        running.abandon();
        let lane = running.lane.number();
        tracing::error!(lane, %error, "a lane has stopped; the others go on");
        for outbox in running.links.iter() {
            outbox.close(Close {
                reason: ReasonCode::UnspecifiedError,
                text: LogError::Stopped.to_string(),
            });
        }
    }
    shared.store_counts(running.lane.counts());
    result.ok()
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
    use crate::lane::scene::lane_with;
    use crate::lane::{Embedded, LaneTable, Mailboxes, Timers};
    use crate::packet::{QoS, SubscribeOptions, Version};
    use crate::policy::{Actor, AllowAll};
    use crate::session::OutboundLimits;
    use crate::sessions::{Registration, Sessions};
    use roommq_lane::{Batch, FilterEntry, PublishEntry, RetainedLimits, SubscribeEntry, WallTime};

    const TERM: u64 = 7;

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
            let log = Embedded::start(2, 1 << 10);
            Scene {
                lanes: LaneTable::new(TERM, &log, 1, (0..2).map(lane), lane(2)).unwrap(),
                context: NodeContext {
                    sessions: Arc::new(Sessions::new(1, 0)),
                    mailboxes: Mailboxes::new(2).0,
                    limits: Arc::default(),
                    timers: Arc::new(Timers::default()),
                    policy: Arc::new(AllowAll),
                },
            }
        }

        /// Applies sealed bytes.
        fn apply(&self, number: u16, batch: &[u8]) {
            let shared = self.lanes.get(number).unwrap();
            let running = &mut shared.state.lock();
            begin(shared, running, &Bytes::copy_from_slice(batch));
            while running.is_unfinished() {
                go_on(shared, running, &self.context, &mut Vec::new());
            }
        }

        /// A connected client that subscribes to `t` in a lane.
        fn subscriber(&self, lane: u16) -> Arc<Outbox> {
            let outbox = Arc::new(Outbox::connected(Version::V5, LIMITS));
            let (user, client_id) = ("u".into(), format!("c{lane}").into());
            let sessions = &self.context.sessions;
            let registering = sessions.register(&user, &client_id, &outbox, false, clock::lane_ms);
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
                who: Actor {
                    session,
                    connection: 1,
                    user: "u",
                },
                request_id: 1,
                keeps: false,
                identifier: 0,
                filters: vec![filter],
            });
            self.apply(lane, &seal(1, &entry));
            outbox.take_bytes();
            outbox
        }
    }

    /// A batch of one entry with this number.
    fn seal(number: u64, entry: &Entry<'_>) -> Bytes {
        Batch::of(entry).seal(&header(number))
    }

    fn header(number: u64) -> BatchHeader {
        BatchHeader {
            writer: 0,
            term: TERM,
            number,
            at: 1,
            wall: WallTime(1),
        }
    }

    /// The same for a message.
    fn message(number: u64) -> Bytes {
        let entry = PublishEntry::of_server("t", b"hi");
        seal(number, &Entry::Publish(entry))
    }

    fn heard(outbox: &Outbox) -> usize {
        let bytes = outbox.take_bytes();
        bytes.windows(2).filter(|pair| pair == b"hi").count()
    }

    /// Lane 0 gets this batch, which stops it. Lane 1 goes on.
    fn stops_its_lane_only(batch: &[u8]) {
        let scene = Scene::new();
        let (here, elsewhere) = (scene.subscriber(0), scene.subscriber(1));
        scene.apply(0, batch);
        scene.apply(0, &message(2));
        scene.apply(1, &message(2));

        assert!(scene.lanes.get(0).unwrap().has_stopped());
        let close = here.condition().closing.unwrap();
        assert_eq!(close.reason, ReasonCode::UnspecifiedError);
        assert_eq!(close.text, LogError::Stopped.to_string());
        assert_eq!(heard(&here), 0);

        assert!(!scene.lanes.get(1).unwrap().has_stopped());
        assert!(elsewhere.condition().closing.is_none());
        assert_eq!(heard(&elsewhere), 1);
    }

    #[test]
    fn a_batch_of_a_newer_format_stops_its_lane() {
        let mut newer = message(2).to_vec();
        (newer[0], newer[1]) = (9, 9);
        stops_its_lane_only(&newer);
    }

    #[test]
    fn a_damaged_batch_stops_its_lane() {
        let mut damaged = message(2).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        stops_its_lane_only(&damaged);
        stops_its_lane_only(&[]);
    }

    /// Nobody else writes to this log, and it repeats and loses nothing: this is a bug.
    #[test]
    fn a_batch_that_is_out_of_turn_stops_its_lane() {
        stops_its_lane_only(&message(1));
        stops_its_lane_only(&message(3));
    }

    /// The checksum is right, so the server itself has written nonsense.
    #[test]
    fn an_invalid_entry_stops_its_lane_behind_those_before_it() {
        let scene = Scene::new();
        let subscriber = scene.subscriber(0);
        let mut batch = message(2).to_vec();
        batch.push(0xFF);
        // The checksum covers the entries, then the header up to its own place.
        let sum = crc32c::crc32c_append(crc32c::crc32c(&batch[42..]), &batch[..38]);
        batch[38..42].copy_from_slice(&sum.to_le_bytes());
        scene.apply(0, &batch);
        scene.apply(0, &message(3));
        assert!(scene.lanes.get(0).unwrap().has_stopped());
        assert_eq!(heard(&subscriber), 1);
    }

    #[test]
    fn rules_that_cannot_be_read_stop_their_lane_only() {
        let scene = Scene::new();
        let (here, elsewhere) = (scene.subscriber(0), scene.subscriber(1));
        let rules = Entry::Rules {
            version: 2,
            body: b"",
        };
        let behind = PublishEntry::of_server("t", b"hi");
        let batch = Batch::all_of([rules, Entry::Publish(behind)]);
        scene.apply(0, &batch.into_iter().next().unwrap().seal(&header(2)));
        assert!(scene.lanes.get(0).unwrap().has_stopped());
        let close = here.condition().closing.unwrap();
        assert_eq!(close.text, LogError::Stopped.to_string());
        assert!(!here.take_bytes().ends_with(b"hi"), "nothing behind it");
        assert!(elsewhere.condition().closing.is_none());
    }
}
