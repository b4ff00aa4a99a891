//! What the server holds of a connected client: its user, its session, and what it has asked for that is under way.
//!
//! The connection's task owns one [`Client`]; the steps that a packet takes (`publishing`, `subscribing`, `ending` and so on)
//! are functions on it.

use super::pending::Pending;
use crate::clock;
use crate::lane::{LogError, Origin};
use crate::node::Node;
use crate::outbox::Outbox;
use crate::packet::{ReasonCode, TopicName};
use crate::policy::{Attempt, Notice, Peer, Principal, PublishPermit, Refusal, SessionId};
use crate::session::{Answer, Close, Filters, Outbound, Session, WrongKind};
use bytestring::ByteString;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The server has room for so many notices after a read: a burst must not cost memory for the connection's whole life.
const NOTICES_CAPACITY: usize = 8;

/// A client whose CONNECT was accepted.
#[allow(clippy::struct_field_names)] // client id is the standard's word
pub(super) struct Client {
    pub node: Arc<Node>,
    pub who: Principal,
    pub session_id: SessionId,
    /// The client id, raw; one of the server's where the client gave none.
    pub client_id: ByteString,
    pub peer: Peer,
    /// What each packet means after those before it.
    pub session: Session,
    /// What waits for the client.
    pub outbox: Arc<Outbox>,
    /// Lanes in which the session has had something.
    pub lanes: BTreeSet<u16>,
    /// As the client named them.
    pub filters: Filters,
    /// Number of the last SUBSCRIBE or UNSUBSCRIBE, by which lanes answer it.
    pub request_id: u32,
    /// The answer of the policy for the topic that was published to last.
    pub permit: Option<CachedPermit>,
    /// Entries of this read, and the acknowledgements that follow them.
    pub pending: Pending,
    /// Notices that go out after those.
    pub notices: Vec<Notice>,
    /// Lanes and registry know that the connection has ended.
    pub ended: bool,
}

/// A permit, and what it was asked for.
pub(super) struct CachedPermit {
    pub topic: TopicName,
    pub retain: bool,
    pub permit: PublishPermit,
}

impl Client {
    /// Whom an entry is from.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin {
            session: self.session_id,
            user: &self.who.user,
        }
    }

    /// Appends what this read has brought so far, and acknowledges it.
    pub(super) async fn append_all(&mut self) -> Result<(), LogError> {
        self.pending
            .append_all(&self.node.entrance, &self.outbox)
            .await
    }

    /// Sends what could not be acknowledged to the inboxes that it is for.
    pub(super) fn send_notices(&mut self) {
        for notice in self.notices.drain(..) {
            self.node.mailboxes.send(notice);
        }
        self.notices.shrink_to(NOTICES_CAPACITY);
    }

    /// Tells the client of a refusal that no acknowledgement can carry, where the policy has a way to.
    pub(super) fn notify(&mut self, attempt: Attempt<'_>, refusal: &Refusal) {
        let policy = &self.node.policy;
        let notice = policy.notice(&self.who, attempt, refusal, clock::now_ms());
        self.notices.extend(notice);
    }

    /// Numbers a request of the client's, which it is answered when `pieces` answers have come from lanes: how lanes are to
    /// name it.
    pub(super) fn next_request(
        &mut self,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        pieces: usize,
    ) -> u32 {
        self.request_id = self.request_id.wrapping_add(1);
        let (request_id, now) = (self.request_id, clock::now_ms());
        self.outbox
            .queue(|out| out.owe(request_id, kind, codes, reason, pieces, now));
        request_id
    }

    /// Counts filters that were just asked of a lane; see [`Pending::count_filters`].
    pub(super) async fn count_filters(&mut self, filters: usize) -> Result<(), LogError> {
        self.pending
            .count_filters(filters, &self.node.entrance, &self.outbox)
            .await
    }

    /// Removes the filters that lanes refused: they do not count as the session's.
    pub(super) fn remove_refused_filters(&mut self) {
        let refused = self.outbox.queue(Outbound::take_refused);
        for filter in refused.unwrap_or_default() {
            self.filters.remove(&filter);
        }
    }

    /// Takes an acknowledgement of the client's. An unknown packet id changes nothing.
    pub(super) fn acknowledged(
        &self,
        fill: impl FnOnce(&mut Outbound) -> Result<bool, WrongKind>,
    ) -> Result<(), Close> {
        match self.outbox.queue(fill) {
            Some(Err(wrong)) => Err(Close {
                reason: ReasonCode::ProtocolError,
                text: wrong.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// The log did not take what the client sent.
pub(super) fn not_logged(error: &LogError) -> Close {
    Close {
        reason: ReasonCode::UnspecifiedError,
        text: error.to_string(),
    }
}
