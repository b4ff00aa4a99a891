//! What the broker asks, and whom: two traits that it owns and others implement.
//!
//! Architecture invariant: the broker knows no rule about any topic. [`Policy`] answers may-I questions
//! before an entry is appended; [`LaneHook`] keeps its owner's state in a lane, is shown each entry in the
//! lane's order, and answers with effects. Neither can block a lane: [`LaneHook`] is synchronous, sees no
//! clock, and is a deterministic function of the entries.

use crate::packet::{ReasonCode, TopicFilter, TopicName};
use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

pub use roommq_mqtt::Refusal;
/// What a hook remembers of an accepted message until its stamps are asked for. Its own business.
pub use roommq_mqtt::session::Mark;

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// For whom a session acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name as it stands in a topic level.
    pub user: Arc<str>,
    /// By which client id, raw; empty until the broker has let the session in.
    pub client_id: ByteString,
    /// Whether credentials were shown.
    pub authenticated: bool,
}

impl Principal {
    /// Somebody whose client id the broker will fill in.
    #[must_use]
    pub fn new(user: impl Into<Arc<str>>, authenticated: bool) -> Principal {
        Principal {
            user: user.into(),
            client_id: ByteString::new(),
            authenticated,
        }
    }
}

/// A CONNECT as policy sees it.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// The client id, never empty (an empty one has been replaced).
    pub client_id: String,
    /// User name, where given.
    pub user_name: Option<String>,
    /// Password, where given. Never logged.
    pub password: Option<Bytes>,
    /// The user whom a verified client certificate names, where the listener takes users from certificates.
    pub certificate_user: Option<String>,
    /// The other end of the connection.
    pub peer: Peer,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address: of the socket, or the one that a trusted proxy has told.
    Address(SocketAddr),
    /// A process of this machine, by a Unix socket.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Local => f.write_str("local"),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer::Address(address)
    }
}

/// A yes to a SUBSCRIBE: the subscription as it will be kept.
#[derive(Debug, Clone)]
pub struct SubscribeGrant {
    /// The filter as topics really are named (an alias like `inbox/me` resolved).
    pub filter: TopicFilter,
    /// How delivered topics are shown to this client, where that differs.
    pub mount: Option<Mount>,
    /// Whether each match must be asked of [`LaneHook::may_see`].
    pub guarded: bool,
    /// What the policy found out, for its own hook; travels in the entry.
    pub proof: Vec<u8>,
}

/// A prefix of topic names that one subscription sees by another name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Prefix of the real name.
    pub real: String,
    /// What stands in its place at the client.
    pub shown: String,
}

/// A yes to a PUBLISH. The lane takes no client's message without one.
#[derive(Debug, Clone)]
pub struct PublishPermit {
    /// Where it really goes.
    pub topic: TopicName,
}

/// A message from the server to tell somebody what no acknowledgement can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where to.
    pub topic: String,
    /// JSON.
    pub payload: Bytes,
}

/// What a refusal was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// A SUBSCRIBE to this filter.
    Subscribe(&'a str),
    /// A PUBLISH to this topic.
    Publish(&'a str),
}

/// A conversation that finds out who somebody is. Dropped where either side gives up.
pub trait AuthExchange: Send + Sync {
    /// Takes what the client says next, empty where it said nothing: first with the CONNECT or the AUTH that
    /// began the conversation. Not asked again after [`AuthStep::Done`] or a refusal, and given up where it takes
    /// longer than a connection may to become one.
    fn step(&mut self, data: Bytes) -> BoxFuture<'_, Result<AuthStep, Refusal>>;
}

/// What comes of what the client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// It is told this, empty for nothing, and is to answer.
    Continue(Bytes),
    /// Who it is, and what it is told at the end, where there is something.
    Done(Principal, Option<Bytes>),
}

/// May-I questions, asked before anything is appended.
pub trait Policy: Send + Sync + 'static {
    /// May this client connect, and as whom? May take long (password hashes).
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>>;

    /// Begins a conversation by the authentication method that a CONNECT names (5.0, 4.12), at the start of a
    /// connection or later in it; [`AuthExchange`] goes on. A password in `request` proves nothing here.
    ///
    /// # Errors
    /// The method is not served (0x8C) [MQTT-4.12.0-1], or cannot be now.
    fn authenticate(
        &self,
        method: &str,
        request: ConnectRequest,
    ) -> Result<Box<dyn AuthExchange>, Refusal> {
        let _ = (method, request);
        Err(Refusal {
            code: ReasonCode::BadAuthenticationMethod,
            reason: "no authentication method is served here; connect without one".to_owned(),
        })
    }

    /// Under which topics `who` is to be answered, told to a client that asks for it (5.0, 3.1.2.11.6, 3.2.2.3.15).
    fn response_information(&self, who: &Principal) -> Option<String> {
        let _ = who;
        None
    }

    /// The filter that `filter` stands for; what an UNSUBSCRIBE names is resolved by this too.
    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter;

    /// May `who` subscribe to `filter`?
    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>>;

    /// May `who` publish to `topic`? A synchronous look-up; the caller may keep a permit for the same
    /// topic and `retain` for as long as the session lives.
    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal>;

    /// How a refusal reaches somebody whose protocol cannot carry it; none where they were told enough
    /// lately. `now` is milliseconds since the Unix epoch.
    fn notice(
        &self,
        who: &Principal,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        now: u64,
    ) -> Option<Notice>;
}

/// A session as lanes know it. The pair is never used twice in the life of a server.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct SessionId {
    /// The client's place: the same for each connection of one user's client id while it lives on.
    pub client: u64,
    /// Grows with each connection of the server's life; entries of a lower one are stale.
    pub incarnation: u64,
}

/// Who did what an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// The session.
    pub session: SessionId,
    /// Its user, as in [`Principal::user`].
    pub user: &'a str,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndReason {
    /// DISCONNECT by the client.
    Orderly,
    /// Anything else, in a few words for people: "connection lost", "keep-alive passed" …
    Lost(String),
}

/// A subscription in the making.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The filter, resolved.
    pub filter: &'a str,
    /// From [`SubscribeGrant::proof`].
    pub proof: &'a [u8],
}

/// A client's PUBLISH in the lane's order.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where to.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// Whether it is to be kept.
    pub retain: bool,
    /// Whether a retained message stands at the topic now.
    pub replaces: bool,
}

/// A judged message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Handed back to [`LaneHook::stamps`].
    pub mark: Mark,
    /// Whether it may be kept, where the sender asked for that.
    pub keep: bool,
    /// What bounds how many are kept.
    pub limit: Limit,
}

/// What bounds the retained messages of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The hook: it counts, and is told of each that ends.
    None,
    /// The hook counts them, and the lane their bytes: they have a share of `limits.retained_bytes` of their own. The hook is
    /// told as of one that [ended](LaneHook::expired) where it finds no room.
    OfBytes,
    /// The lane keeps as many as its share of `limits.retained` and `limits.retained_bytes` allows. What finds no room is
    /// delivered all the same and its sender told; what stood at its topic is gone.
    OfLane,
}

/// User properties that the server sets: a value, or none where the name is only taken away from what
/// the client sent.
pub type Stamps = Vec<(&'static str, Option<String>)>;

/// What a hook wants done; carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publish as the server, in this lane. An empty retained payload clears.
    Publish {
        /// Must belong to this lane.
        topic: String,
        /// What.
        payload: Bytes,
        /// Whether it is kept.
        retain: bool,
    },
    /// Show `key` and `generation` to [`LaneHook::timer`] when the time has come. A later wake for the
    /// same key replaces this one.
    Wake {
        /// The hook's own.
        key: String,
        /// The hook's own: a stale one is to be ignored by it.
        generation: u64,
        /// Milliseconds since the Unix epoch.
        at: u64,
    },
    /// Tell somebody, in another lane; may be dropped under pressure, and is counted then.
    Tell(Notice),
}

/// Where a hook puts its effects, and what it may know.
#[derive(Debug)]
pub struct HookContext<'a> {
    /// The lane's time: milliseconds since the Unix epoch, the greatest seen in an entry.
    pub now: u64,
    /// The entry's place in the lane's log.
    pub position: u64,
    /// Collected here.
    pub effects: &'a mut Vec<Effect>,
}

/// State of its owner beside a lane's subscriptions. What decides has to be answered; what only tells may be
/// left out.
pub trait LaneHook: Send {
    /// May these subscriptions come to be? One answer each, in order. No effect of a yes may show
    /// before [`LaneHook::subscribed`].
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>>;

    /// These were granted; the SUBACK and the retained messages that match are on their way.
    fn subscribed(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _requests: &[Request<'_>]) {}

    /// These subscriptions have gone by the client's wish.
    fn unsubscribed(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _filters: &[&str]) {}

    /// The session's connection has ended; its subscriptions have gone, or wait for it to come back, and
    /// are judged again then. Told once more at the end of a session that did not come back.
    fn disconnected(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _reason: &EndReason) {}

    /// A client's message: take it, or say why not.
    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal>;

    /// The message retained at this topic has ended by itself [MQTT-3.3.2-5], or the one that was to be found no room.
    fn expired(&mut self, _: &mut HookContext<'_>, _topic: &str) {}

    /// What is stamped on an accepted message for 5.0 subscribers. Asked only where one is to be
    /// encoded. `at` is the entry's time.
    fn stamps(&self, _who: Actor<'_>, _topic: &str, _mark: Mark, _at: u64) -> Stamps {
        Stamps::new()
    }

    /// May the holder of a guarded subscription see this topic now?
    fn may_see(&self, who: Actor<'_>, topic: &str) -> bool;

    /// May groups share messages of this topic, each going to one member only? Where not, they get none.
    fn may_share(&self, _topic: &str) -> bool {
        true
    }

    /// A time that was asked for has come.
    fn timer(&mut self, _: &mut HookContext<'_>, _key: &str, _generation: u64) {}
}

/// Makes a hook for each lane.
pub trait LaneHooks: Send + Sync + 'static {
    /// The hook of one lane.
    fn open(&self, lane: u16) -> Box<dyn LaneHook>;
}

/// Lets everybody do everything: the broker's own tests, and a plain MQTT broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        let name = request.certificate_user.or(request.user_name);
        let authenticated = name.is_some();
        let user = name.unwrap_or(request.client_id);
        Box::pin(async move { Ok(Principal::new(user, authenticated)) })
    }

    fn resolve(&self, _: &Principal, filter: &TopicFilter) -> TopicFilter {
        filter.clone()
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        Box::pin(async move {
            Ok(SubscribeGrant {
                filter: filter.clone(),
                mount: None,
                guarded: false,
                proof: Vec::new(),
            })
        })
    }

    fn publish(&self, _: &Principal, topic: &TopicName, _: bool) -> Result<PublishPermit, Refusal> {
        Ok(PublishPermit {
            topic: topic.clone(),
        })
    }

    fn notice(&self, _: &Principal, _: Attempt<'_>, _: &Refusal, _: u64) -> Option<Notice> {
        None
    }
}

impl LaneHooks for AllowAll {
    fn open(&self, _: u16) -> Box<dyn LaneHook> {
        Box::new(AllowAll)
    }
}

impl LaneHook for AllowAll {
    fn judge(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        requests.iter().map(|_| Ok(())).collect()
    }

    fn publish(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        Ok(Verdict {
            mark: Mark::default(),
            keep: message.retain,
            limit: Limit::OfLane,
        })
    }

    fn may_see(&self, _: Actor<'_>, _: &str) -> bool {
        true
    }
}
