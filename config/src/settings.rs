//! Settings as checked values: what does not hold cannot be built by the loader.

mod access;
mod listener;

pub use access::{AccessRule, Permission, UserPattern};
pub use listener::{
    ClientCertificates, Endpoint, Listener, ListenerLimits, Tls, Transport, UserFrom, WebSocket,
};

use globset::GlobMatcher;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that a running server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Who may connect.
    pub auth: AuthSettings,
    /// Topics that are no rooms.
    pub topics: TopicSettings,
    /// Rules for topics that are no rooms; the first that decides wins.
    pub access_rules: Vec<AccessRule>,
    /// Rules for rooms by name; the first that matches wins.
    pub room_rules: Vec<RoomRule>,
    /// What holds for a room that no rule matches.
    pub rooms: RoomSettings,
    /// Times of presence.
    pub presence: PresenceSettings,
    /// Sizes, counts and times that bound what a peer can cost.
    pub limits: Limits,
    /// The ordered logs that all traffic passes.
    pub lanes: Lanes,
    /// What the server tells of itself.
    pub sys: SysSettings,
    /// How the log is written.
    pub log: LogSettings,
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether a client without credentials is let in, as `~<client id>`.
    pub anonymous: bool,
    /// The file that `roommq passwd` writes.
    pub users_file: Option<PathBuf>,
    /// What a password costs whoever logs in by SCRAM-SHA-256: iterations of PBKDF2, 4,096 at least.
    pub scram_iterations: u32,
}

/// Topics besides `rooms/` and `inbox/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Whether they are served, where no rule decides.
    pub outside_rooms: Permission,
    /// The same of those that start with `$`, where others are served; never of `$SYS`, which is the server's.
    pub dollar: Permission,
}

/// What holds for the rooms whose names match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule {
    /// The glob on the room's name, as written and as it matches.
    pub pattern: RoomPattern,
    /// Who may join.
    pub access: RoomAccess,
    /// How many users may be in at once; none: no limit.
    pub max_members: Option<NonZeroU32>,
    /// Who may publish.
    pub publish: PublishRule,
}

/// A glob on a room name.
#[derive(Debug, Clone)]
pub struct RoomPattern {
    /// As it stands in the file.
    pub text: String,
    /// As it matches.
    pub matcher: GlobMatcher,
}

/// Two patterns are the same when they are written the same.
impl PartialEq for RoomPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RoomPattern {}

/// Who may join a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomAccess {
    /// Whoever may connect.
    Open,
    /// These users only.
    List(BTreeSet<String>),
}

/// Who may publish into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishRule {
    /// Whoever may join.
    Anyone,
    /// Only who has joined.
    Members,
}

/// What holds for rooms that no rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSettings {
    /// Who brings such a room to life by joining.
    pub create: RoomCreation,
}

/// Who may bring a room to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomCreation {
    /// Whoever may connect.
    Anyone,
    /// Users with credentials.
    Authenticated,
    /// Only rooms that a rule names exist.
    Nobody,
}

/// Times of presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceSettings {
    /// From `lost` to `left`.
    pub grace: Duration,
}

/// Bounds on what a peer can cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, all listeners together.
    pub connections: usize,
    /// The largest packet taken, in bytes, fixed header included.
    pub packet_bytes: u32,
    /// Bytes that may wait for one session's socket, for its window, and for a client that is away.
    pub outbox_bytes: usize,
    /// QoS 1 and 2 messages that may wait for one session's in-flight window, or for a client that is away.
    pub outbox_messages: usize,
    /// QoS 1 and 2 messages on the way to one session at once.
    pub inflight: u16,
    /// Filters one session may hold.
    pub subscriptions: usize,
    /// Bytes of all filters that one session may hold.
    pub subscription_bytes: usize,
    /// Retained messages outside rooms; each lane keeps its equal part of them.
    pub retained: usize,
    /// Bytes of their topics, payloads and properties; each lane keeps its equal part.
    pub retained_bytes: usize,
    /// Topic aliases that a client may set in one connection; 0: none.
    pub topic_aliases: u16,
    /// Rooms that live at one time, those that rules name among them. Each lane has an equal share.
    pub rooms: usize,
    /// Retained messages of the application in one room.
    pub room_retained: usize,
    /// From accept to a whole CONNECT.
    pub connect_time: Duration,
    /// A started packet must be whole after this time.
    pub packet_time: Duration,
    /// A socket that takes nothing for so long is closed.
    pub write_stall: Duration,
    /// The longest keep-alive granted; 0 (never) becomes this.
    pub keep_alive: Duration,
    /// The longest that a session outlives its connection; 0 keeps none, none: as long as its client asks.
    pub session_expiry: Option<Duration>,
    /// Sessions that may wait for their clients at one time; past it the longest absent ends.
    pub kept_sessions: usize,
    /// Bytes that wait in the queues of all sessions whose clients are away; before it is reached, sessions end.
    pub kept_bytes: usize,
    /// A QoS 1 or 2 message that has waited longer is dropped.
    pub queue_age: Duration,
    /// From the signal to the end of the process.
    pub shutdown_time: Duration,
    /// Password checks at one time.
    pub password_checks: usize,
}

/// The ordered logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// How many; the same on every node of a deployment. At least 1.
    pub count: u16,
    /// Threads that apply entries; 0: as many as cores.
    pub keepers: u16,
    /// Threads that serve sockets; 0: as many as cores.
    pub io_threads: u16,
    /// Bytes of entries that a lane may hold unread.
    pub credit_bytes: u32,
}

/// The topics under `$SYS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysSettings {
    /// From one update to the next; 0: there are none.
    pub interval: Duration,
    /// Who may subscribe to them.
    pub read: SysReaders,
}

/// Who may see what the server tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysReaders {
    /// Whoever may connect.
    Anyone,
    /// Users with credentials.
    Authenticated,
    /// Nobody.
    Nobody,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing directives.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on one line.
    Human,
    /// One JSON object on one line.
    Json,
}
