//! The owner of a lane's rules: it sees each entry in the lane's order and answers with effects.

use super::actor::{Actor, SessionId};
use super::errors::{RestoreError, RulesError};
use super::wall_time::WallTime;
use bytes::Bytes;
use roommq_mqtt::Refusal;
use roommq_mqtt::session::Mark;

/// State of its owner beside a lane's subscriptions. Methods that decide must be implemented; methods that only inform
/// may be left out.
pub trait LaneHook: Send {
    /// Takes the rules of the configuration, from [`LaneHooks::rules`], which hold from here on. Called before any method
    /// that decides, and again after each change. `version` grows with each call. A hook without rules ignores them.
    ///
    /// # Errors
    /// The rules cannot be read. The hook has not changed, and the lane stops.
    fn rules(
        &mut self,
        _: &mut HookContext<'_>,
        _version: u64,
        _rules: &[u8],
    ) -> Result<(), RulesError> {
        Ok(())
    }

    /// Decides whether these subscriptions may be made. The result has one answer for each request, in order. Effects of
    /// a yes must not show before [`LaneHook::subscribed`].
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>>;

    /// The lane has made these subscriptions. The SUBACK and the matching retained messages are on their way.
    fn subscribed(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _requests: &[Request<'_>]) {}

    /// The client has removed these subscriptions.
    fn unsubscribed(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _filters: &[&str]) {}

    /// The session's connection has ended. Its subscriptions are removed, or stay while the session is offline and are
    /// judged again when the client resumes it. Called once more when an offline session ends.
    fn disconnected(&mut self, _: &mut HookContext<'_>, _who: Actor<'_>, _reason: &EndReason) {}

    /// Accepts or refuses a client's message.
    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal>;

    /// The retained message at this topic has expired [MQTT-3.3.2-5], or exceeded its [`Limit::OfBytes`] and is not
    /// retained.
    fn expired(&mut self, _: &mut HookContext<'_>, _topic: &str) {}

    /// The stamps of an accepted message for 5.0 subscribers. Called only if a subscriber needs them, maybe later
    /// than other entries. `wall` is that of the message.
    fn stamps(&self, _who: Actor<'_>, _topic: &str, _mark: Mark, _wall: WallTime) -> Stamps {
        Stamps::new()
    }

    /// Decides whether the holder of a guarded subscription may see a message of this topic now.
    fn may_see(&self, who: Actor<'_>, topic: &str) -> bool;

    /// Calls `each` with every session whose actor [may see](Self::may_see) messages of this topic now, and perhaps
    /// with others, in any order. False, and `each` was not called, if the hook does not know them, or if they are
    /// more than `most`: then the lane asks for each session that has a guarded subscription.
    fn audience(&self, _topic: &str, _most: usize, _each: &mut dyn FnMut(SessionId)) -> bool {
        false
    }

    /// Decides whether shared subscriptions receive messages of this topic. If not, their groups get none.
    fn may_share(&self, _topic: &str) -> bool {
        true
    }

    /// A timer that [`Effect::Wake`] set has fired.
    fn timer(&mut self, _: &mut HookContext<'_>, _key: &str, _generation: u64) {}

    /// Appends the hook's state to `out`, and returns the version of the format. Hooks with equal states append equal
    /// bytes: nothing may depend on the order of a hash map. Rules are no state.
    fn snapshot(&self, out: &mut Vec<u8>) -> u16;

    /// Replaces the hook's state by one that [`snapshot`](Self::snapshot) wrote. The lane has called
    /// [`rules`](Self::rules) before.
    ///
    /// # Errors
    /// The version is unknown, or the bytes are no state. The hook's state is as it was.
    fn restore(&mut self, version: u16, bytes: &[u8]) -> Result<(), RestoreError>;
}

/// Makes a hook for each lane.
pub trait LaneHooks: Send + Sync + 'static {
    /// Makes the hook of one lane. Lanes are numbered from 0; the last is the lane of the node, with the topics under
    /// `$SYS`.
    fn open(&self, lane: u16) -> Box<dyn LaneHook>;

    /// The part of the configuration that decides outcomes in the hooks, encoded for [`LaneHook::rules`]. It travels in an
    /// entry, so equal configurations should give equal bytes.
    fn rules(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// The time and position of an entry, and the list that takes the hook's effects.
#[derive(Debug)]
pub struct HookContext<'a> {
    /// The lane's time, in milliseconds: the greatest of any batch so far. Everything that lasts goes by it.
    pub now: u64,
    /// The time of the entry as people see it. Nothing may last until a wall time.
    pub wall: WallTime,
    /// The entry's position in the lane's log.
    pub position: u64,
    /// The lane performs these in order.
    pub effects: &'a mut Vec<Effect>,
}

/// An action that a hook asks the lane for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Publishes as the server, in this lane. An empty retained payload clears the topic.
    Publish {
        /// A topic of this lane.
        topic: String,
        /// The message's payload.
        payload: Bytes,
        /// Whether the message is retained.
        retain: bool,
    },
    /// Calls [`LaneHook::timer`] with `key` and `generation` at a later time. A second timer with the same key replaces
    /// the first.
    Wake {
        /// Chosen by the hook.
        key: String,
        /// Chosen by the hook. A timer that was replaced by one of another generation does not fire.
        generation: u64,
        /// In milliseconds of lane time.
        at: u64,
    },
    /// Tells the sender of the entry that the lane has not done all that it asked for. The server sends an error message,
    /// unless it has sent the user many of them lately.
    Refuse(Refusal),
    /// Removes the retained messages of a topic and of all topics below it. No subscriber receives anything, and the hook
    /// does not hear of them as [expired](LaneHook::expired).
    ClearBelow {
        /// A topic of this lane.
        topic: String,
    },
    /// Counts that a limit of the hook has acted, by its name in `$SYS/broker/limits/<name>`.
    Count(&'static str),
    /// Sends an error message, maybe by another lane. The server drops and counts it if too many wait.
    Tell(Notice),
}

/// A subscription that a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The resolved filter.
    pub filter: &'a str,
    /// What the policy found out and the hook needs. Only they read it.
    pub proof: &'a [u8],
    /// The session holds the filter already, and a new connection resumes it.
    pub resumed: bool,
}

/// A client's PUBLISH, in the lane's order.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The message's topic, resolved.
    pub topic: &'a str,
    /// The message's payload.
    pub payload: &'a [u8],
    /// Whether the client asked to retain the message.
    pub retain: bool,
    /// Whether `retain` is set and the topic has a retained message now.
    pub replaces: bool,
}

/// An accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Passed to [`LaneHook::stamps`] later.
    pub mark: Mark,
    /// Whether the message is retained. False unless [`Message::retain`] is set.
    pub keep: bool,
    /// The limit that a retained message counts towards.
    pub limit: Limit,
}

/// The limit that a retained message counts towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Limit {
    /// The hook counts such messages itself, and hears of each one that [expires](LaneHook::expired).
    None,
    /// The hook counts the messages, the lane counts their bytes: they have a second share of `limits.retained_bytes` to
    /// themselves. A message above it counts as [expired](LaneHook::expired).
    OfBytes,
    /// The lane's share of `limits.retained` and `limits.retained_bytes`. A message above it is delivered but not
    /// retained, its sender receives an error message, and the topic's earlier retained message is removed.
    OfLane,
}

/// User properties that the server sets: a name and its value. Without a value the server only removes the name from the
/// client's own properties.
pub type Stamps = Vec<(&'static str, Option<String>)>;

/// The reason that a connection or a session ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndReason {
    /// The client sent DISCONNECT.
    Orderly,
    /// Any other reason, in a few words for people: "connection lost", "keep-alive passed" …
    Lost(String),
}

/// A message of the server that tells a client what no acknowledgement can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The topic to publish to.
    pub topic: String,
    /// JSON.
    pub payload: Bytes,
}
