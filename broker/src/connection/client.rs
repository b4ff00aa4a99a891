//! A connected client, as its connection's task holds it.
//!
//! The steps of a packet (`publishing`, `subscribing`, `ending` and so on) are functions on a
//! [`Client`].

use super::deadlines::Deadlines;
use super::pending::Pending;
use crate::clock;
use crate::fairness::{FILTERS, others_first};
use crate::lane::{LogError, UNTOLD};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::packet::{ReasonCode, TopicName};
use crate::policy::{Attempt, Notice, Peer, Principal, Refusal, SessionId};
use crate::session::{Answer, Close, Filters, Outbound, Session};
use roommq_lane::Entry;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Notices for which memory stays allocated after a read: a burst must not cost memory for the rest
/// of the connection.
const NOTICES_CAPACITY: usize = 8;

/// A client whose CONNECT was accepted.
///
/// One read from the socket brings several packets. Handling them collects messages,
/// acknowledgements and notices; after the last packet they go out in this order:
///
/// ```text
/// read -> packet -> publish, ... -> pending, notices
///      -> packet -> subscribe, ...   append_all first, then their own entries
///      -> append_all      appends the messages to their lanes, then acknowledges
///      -> send_notices
/// ```
pub(super) struct Client {
    pub node: Arc<Node>,
    /// With the client id of CONNECT, or one that the server assigned.
    pub who: Principal,
    pub session_id: SessionId,
    /// The number of this connection among those of its session, from 1.
    pub connection: u32,
    pub peer: Peer,
    /// The protocol state: QoS handshakes, packet ids, topic aliases, the will.
    pub session: Session,
    /// Whether the session may outlive this connection.
    pub keeps: bool,
    /// Packets to the client. It belongs to the session, not to this connection.
    pub outbox: Arc<Outbox>,
    /// Lanes that know the session.
    pub lanes: BTreeSet<u16>,
    /// The subscribed filters, by the client's own names.
    pub filters: Filters,
    /// Request id of the last SUBSCRIBE or UNSUBSCRIBE. Lanes answer by it.
    pub request_id: u32,
    /// The policy's answer for the topic of the last PUBLISH that it permitted. Boxed, since most clients only
    /// receive.
    pub permit: Option<Box<CachedPermit>>,
    /// Messages and acknowledgements of this read.
    pub pending: Pending,
    /// Filters appended since the task last yielded for them.
    pub filters_appended: u32,
    /// Error messages of this read for the user's inbox.
    pub notices: Vec<Notice>,
    /// The server is shutting down: acknowledgements count, new messages do not.
    pub draining: bool,
    /// The end of the connection has begun: `ending` tells the lanes and the registry.
    pub ended: bool,
}

/// A permit, and the topic and retain flag that it is for.
#[derive(Default)]
pub(super) struct CachedPermit {
    /// That of the policy's rules.
    pub version: u64,
    pub topic: String,
    pub retain: bool,
    /// The topic with aliases resolved, if there are any in it.
    pub resolved: Option<TopicName>,
    /// The lane of the message.
    pub lane: u16,
}

impl Client {
    /// The deadlines of a connection that begins now. `keep_alive` is in seconds.
    pub(super) fn deadlines(&self, keep_alive: u16) -> Deadlines {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(keep_alive, &self.node.limits, now);
        deadlines.expire_in(now, self.credentials_left());
        deadlines
    }

    /// The time until the client's credentials end. None: they do not.
    pub(super) fn credentials_left(&self) -> Option<Duration> {
        let end = self.who.credential.as_ref()?.expires?;
        Some(Duration::from_millis(
            end.0.saturating_sub(clock::wall_time().0),
        ))
    }

    /// Appends the messages collected so far to their lanes, then acknowledges them.
    pub(super) fn append_all(&mut self) -> impl Future<Output = Result<(), LogError>> {
        let who = self.who.actor(self.session_id, self.connection);
        self.pending
            .append_all(who, &self.node.entrance, &self.outbox)
    }

    /// [`append_all`](Self::append_all), then yields to the other tasks.
    pub(super) async fn append_and_yield(&mut self) -> Result<(), LogError> {
        self.append_all().await?;
        others_first().await;
        Ok(())
    }

    /// Sends the collected notices to their inboxes.
    pub(super) fn send_notices(&mut self) {
        for notice in self.notices.drain(..) {
            self.node.mailboxes.send(notice);
        }
        self.notices.shrink_to(NOTICES_CAPACITY);
    }

    /// Collects a notice of a refusal that no acknowledgement can carry, if the policy makes one.
    pub(super) fn notify(&mut self, attempt: Attempt<'_>, refusal: &Refusal) {
        let policy = &self.node.policy;
        let (now, wall) = (clock::lane_ms(), clock::wall_time());
        let notice = policy.notice(&self.who, attempt, refusal, now, wall);
        match notice {
            Some(notice) => self.notices.push(notice),
            None => self.node.limit_counts.count(UNTOLD),
        }
    }

    /// Begins a request to lanes. The client is answered once they have sent `pieces` answers, with
    /// the `codes` that are known already and `reason`. Returns the request id, by which lanes
    /// answer.
    pub(super) fn next_request(
        &mut self,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        pieces: usize,
    ) -> u32 {
        self.request_id = self.request_id.wrapping_add(1);
        let (request_id, now) = (self.request_id, clock::lane_ms());
        self.outbox
            .queue(|out| out.expect_answer(request_id, kind, codes, reason, pieces, now));
        request_id
    }

    /// Appends an entry of so many filters behind all that is pending. Now and then this yields to
    /// the other tasks: each filter may bring retained messages, and one packet may name thousands.
    pub(super) async fn append_filters(
        &mut self,
        lane: u16,
        entry: &Entry<'_>,
        filters: usize,
    ) -> Result<(), LogError> {
        self.append_all().await?;
        self.node.entrance.append(lane, [entry]).await?;
        let filters = u32::try_from(filters).unwrap_or(u32::MAX);
        self.filters_appended = self.filters_appended.saturating_add(filters);
        if self.filters_appended as usize >= FILTERS {
            self.filters_appended = 0;
            others_first().await;
        }
        Ok(())
    }

    /// Removes the filters that lanes have refused from the session's filters.
    pub(super) fn remove_refused_filters(&mut self) {
        let refused = self.outbox.queue(Outbound::take_refused);
        for filter in refused.unwrap_or_default() {
            self.filters.remove(&filter);
        }
    }
}

/// The log did not take an entry: the connection must be closed.
impl From<LogError> for Close {
    fn from(error: LogError) -> Self {
        let (reason, text) = (ReasonCode::UnspecifiedError, error.to_string());
        Close { reason, text }
    }
}
