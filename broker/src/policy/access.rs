//! The questions that the broker asks before it appends an entry, and their answers.

use super::identity::{ConnectRequest, Principal};
use crate::packet::{ReasonCode, TopicFilter, TopicName};
use bytes::Bytes;
use roommq_lane::{Mount, Notice, WallTime};
use roommq_mqtt::Refusal;
use std::future::Future;
use std::pin::Pin;

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers whether a client may connect, subscribe and publish. Asked before an entry is appended.
pub trait Policy: Send + Sync + 'static {
    /// Decides whether the client may connect, and as which user. The answer may take long: password hashes do.
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>>;

    /// Begins an exchange by the authentication method of a CONNECT (5.0, 4.12): at the start of a connection, or later
    /// as a re-authentication. [`AuthExchange`] continues it. A password in `request` proves nothing here.
    ///
    /// # Errors
    /// The policy does not support the method (0x8C) [MQTT-4.12.0-1], or cannot serve it now.
    fn authenticate(
        &self,
        method: &str,
        request: ConnectRequest,
    ) -> Result<Box<dyn AuthExchange>, Refusal> {
        let _ = (method, request);
        let text = "the server supports no authentication method; connect without one";
        Err(Refusal::new(ReasonCode::BadAuthenticationMethod, text))
    }

    /// The Response Information of CONNACK, for a client that asks for it (5.0, 3.1.2.11.6, 3.2.2.3.15).
    fn response_information(&self, who: &Principal) -> Option<String> {
        let _ = who;
        None
    }

    /// Resolves aliases in a filter, such as `inbox/me`. The filters of an UNSUBSCRIBE are resolved by this too.
    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter;

    /// Decides whether `who` may subscribe to `filter`.
    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>>;

    /// The version of the rules, which grows when they change.
    fn version(&self) -> u64 {
        0
    }

    /// Decides whether a client that has logged in may stay. Asked when the [`version`](Self::version) has grown.
    ///
    /// # Errors
    /// Its credentials do not count any more. The server ends the connection for this reason.
    fn recheck(&self, who: &Principal) -> Result<(), Refusal> {
        let _ = who;
        Ok(())
    }

    /// Decides whether `who` may publish to `topic`, without waiting. The caller may reuse a permit for the same topic
    /// and `retain` as long as the session lives and the [`version`](Self::version) is that from before the call.
    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal>;

    /// The error message for a client whose protocol version cannot carry a refusal. None if the client has had enough
    /// of them lately. `now` is in milliseconds of lane time; the message shows `wall`.
    fn notice(
        &self,
        who: &Principal,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        now: u64,
        wall: WallTime,
    ) -> Option<Notice>;
}

/// Permission for a SUBSCRIBE: the subscription that the lane will hold.
#[derive(Debug, Clone)]
pub struct SubscribeGrant {
    /// The filter with aliases resolved: `inbox/me` names the user's own inbox.
    pub filter: TopicFilter,
    /// The renaming of delivered topics for this client, if any.
    pub mount: Option<Mount>,
    /// Whether the lane asks [`LaneHook::may_see`](super::LaneHook::may_see) for each matching message.
    pub guarded: bool,
    /// Facts that the policy found and its own hook needs. They travel in the entry.
    pub proof: Vec<u8>,
}

/// Permission for a PUBLISH. A lane accepts no client's message without one.
#[derive(Debug, Clone, Default)]
pub struct PublishPermit {
    /// The topic with aliases resolved; none if there is no alias in it.
    pub resolved: Option<TopicName>,
}

/// The action that a refusal refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// A SUBSCRIBE to this filter.
    Subscribe(&'a str),
    /// A PUBLISH to this topic.
    Publish(&'a str),
}

/// An authentication exchange by AUTH packets. Dropped when either side gives up.
pub trait AuthExchange: Send + Sync {
    /// Takes the client's next authentication data, empty if the packet has none. The first call takes that of the
    /// CONNECT or AUTH that began the exchange.
    ///
    /// Not called again after [`AuthStep::Done`] or a refusal. The broker drops an exchange that takes longer than a
    /// handshake may.
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>>;
}

/// The result of one step of an [`AuthExchange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// The broker sends this data, empty for none, and awaits the client's answer.
    Continue(Bytes),
    /// The client is authenticated. The data, if any, goes into the last packet.
    Done(Principal, Option<Bytes>),
}
