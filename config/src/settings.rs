//! The settings as checked values. The loader builds no invalid ones.

mod access;
mod listener;
mod network;

pub use access::{AccessRule, Permission};
pub use listener::{
    ClientCertificates, Endpoint, Listener, ListenerLimits, Tls, Transport, UserFrom, WebSocket,
};

pub use network::IpNetwork;

use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect. There is at least one.
    pub listeners: Vec<Listener>,
    /// Who may connect.
    pub auth: AuthSettings,
    /// Tokens as passwords.
    pub jwt: JwtSettings,
    /// Topics outside rooms and inboxes.
    pub topics: TopicSettings,
    /// Rules for topics outside rooms and inboxes. The first that applies wins.
    pub access_rules: Vec<AccessRule>,
    /// Rules for rooms by name. The first that matches wins.
    pub room_rules: Vec<RoomRule>,
    /// Settings of the rooms that no rule matches.
    pub rooms: RoomSettings,
    /// Presence in rooms.
    pub presence: PresenceSettings,
    /// Limits on the resources that a peer can use.
    pub limits: Limits,
    /// The ordered logs of all messages and subscriptions.
    pub lanes: Lanes,
    /// The `$SYS` topics.
    pub sys: SysSettings,
    /// The log.
    pub log: LogSettings,
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether a client without credentials may connect, as the user `~<client id>`.
    pub anonymous: bool,
    /// The file that `roommq passwd` writes.
    pub users_file: Option<PathBuf>,
    /// Iterations of PBKDF2 for a password of SCRAM-SHA-256, at least 4,096.
    pub scram_iterations: u32,
}

/// JSON Web Tokens that clients send as passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwtSettings {
    /// The keys that sign them: a JWK Set, a JWK, or a public key as PEM. None: no token is valid.
    pub keys: Option<PathBuf>,
    /// The `iss` that they must have. None: any, or none.
    pub issuer: Option<String>,
    /// The `aud` that they must have. None: they must have none.
    pub audience: Option<String>,
}

/// Topics besides `rooms/` and `inbox/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Whether clients may use them if no rule applies.
    pub outside_rooms: Permission,
    /// Whether clients may use topics that start with `$`, if they may use others. `$SYS` is
    /// excepted: it is the server's.
    pub dollar: Permission,
}

/// A rule for the rooms whose names match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule {
    /// The glob that matches the room's name.
    pub pattern: NamePattern,
    /// Who may join.
    pub access: RoomAccess,
    /// The most members at once. None: no limit.
    pub max_members: Option<NonZeroU32>,
    /// Who may publish.
    pub publish: PublishRule,
}

/// A glob that matches names of rooms or users.
#[derive(Debug, Clone)]
pub struct NamePattern {
    /// The glob as written.
    pub text: String,
    /// The compiled glob.
    pub matcher: GlobMatcher,
}

impl NamePattern {
    /// A glob of user names.
    ///
    /// # Errors
    /// The text is no glob.
    pub fn of_users(text: &str) -> Result<NamePattern, globset::Error> {
        // A user name may contain a backslash. `[*]` matches an asterisk instead of `\\*`.
        let glob = GlobBuilder::new(text).backslash_escape(false).build()?;
        Ok(NamePattern {
            text: text.to_owned(),
            matcher: glob.compile_matcher(),
        })
    }
}

/// Two patterns are equal if they are written the same.
impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

/// Who may join a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomAccess {
    /// Everybody who may connect.
    Open,
    /// Only these users.
    List(BTreeSet<String>),
}

/// Who may publish into a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PublishRule {
    /// Everybody who may join.
    #[default]
    Anyone,
    /// Only members.
    Members,
}

/// Settings of the rooms that no rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSettings {
    /// Who creates such a room by joining it.
    pub create: RoomCreation,
    /// Rooms that one user may create, by a join or a retained message.
    pub per_user: usize,
    /// The time after which a room ends that has no members and in which its creator publishes
    /// nothing. Its retained messages end with it.
    pub empty_after: Duration,
    /// The shortest time from one `_info` of a room to the next. 0: each change is published.
    pub info_interval: Duration,
    /// How often a user may join and leave a room within 10 s. 0: no limit.
    pub changes: u32,
}

/// Who may create a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomCreation {
    /// Everybody who may connect.
    Anyone,
    /// Users with credentials.
    Authenticated,
    /// Nobody: the only rooms are those that a rule matches.
    Nobody,
}

/// Presence in rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceSettings {
    /// The time from `lost` to `left`.
    pub grace: Duration,
}

/// Limits on the resources that a peer can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all listeners.
    pub connections: usize,
    /// Connections of one address at one time. 0: no limit.
    pub connections_per_address: u32,
    /// Connections of one user at one time. 0: no limit.
    pub connections_per_user: u32,
    /// Connects a second of one address. 0: no limit.
    pub connects_per_address: u32,
    /// Connects a second of one user. 0: no limit.
    pub connects_per_user: u32,
    /// Connects a minute of one client. 0: no limit.
    pub flapping: u32,
    /// The largest packet accepted, in bytes, with its fixed header.
    pub packet_bytes: u32,
    /// Bytes that may be queued for one session, connected or offline.
    pub outbox_bytes: usize,
    /// QoS 1 and 2 messages that may be queued for one session's in-flight window, or while it is
    /// offline.
    pub outbox_messages: usize,
    /// QoS 1 and 2 messages in flight to one session.
    pub inflight: u16,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Filters of one session with a wildcard in their first two levels.
    pub spanning_subscriptions: usize,
    /// Shared subscriptions of one session.
    pub shared_subscriptions: usize,
    /// Bytes of the topic filters of one session.
    pub subscription_bytes: usize,
    /// Levels of a topic or filter.
    pub topic_levels: usize,
    /// User properties of one packet, and of one will.
    pub user_properties: u16,
    /// Bytes of a will: topic, payload and properties, with their overhead.
    pub will_bytes: usize,
    /// Retained messages outside rooms. Each lane has an equal share.
    pub retained: usize,
    /// Bytes of their topics, payloads and properties. Each lane has an equal share.
    pub retained_bytes: usize,
    /// Topic aliases that a client may set in one connection. 0: none.
    pub topic_aliases: u16,
    /// Rooms that exist at one time, those that rules match included. Each lane has an equal share.
    pub rooms: usize,
    /// Retained messages of the application in one room.
    pub room_retained: usize,
    /// The time from accept to a whole CONNECT.
    pub connect_time: Duration,
    /// The time over which the pace of an incomplete packet is averaged.
    pub packet_time: Duration,
    /// The least bytes a second that an incomplete packet must bring.
    pub packet_pace: u32,
    /// An incomplete packet that keeps the pace suspends the keep-alive for this time at most.
    pub packet_longest: Duration,
    /// The least bytes a second that a client must read while bytes wait for its socket.
    pub write_pace: u32,
    /// The time over which that pace is averaged.
    pub write_stall: Duration,
    /// PUBLISH packets a second of one client. 0: no limit.
    pub message_rate: u32,
    /// Bytes a second of one client. 0: no limit.
    pub byte_rate: u32,
    /// The keep alive of a client that asks for none. 0: none.
    pub keep_alive_default: Duration,
    /// The longest keep alive granted. A client's 0 (none) becomes this.
    pub keep_alive: Duration,
    /// The longest session expiry interval granted. 0: no session outlives its connection. None: as
    /// the client asks.
    pub session_expiry: Option<Duration>,
    /// Offline sessions. Above it the server evicts one of the user who has most of them.
    pub kept_sessions: usize,
    /// Bytes queued for all offline sessions. The server evicts sessions before it is reached.
    pub kept_bytes: usize,
    /// The server drops a QoS 1 or 2 message that has been queued for longer.
    pub queue_age: Duration,
    /// The time from the signal to the end of the process.
    pub shutdown_time: Duration,
    /// Password checks at one time.
    pub password_checks: usize,
    /// Verified passwords that the server remembers. 0: none.
    pub password_cache: usize,
    /// The longest that a login waits for its turn, and its check takes.
    pub login_time: Duration,
    /// Logins that wait for their turn.
    pub login_queue: usize,
    /// Failed logins of one user from one address in a minute, before further ones wait. 0: no limit.
    pub login_failures: u32,
    /// Failed logins from one address in a minute. 0: no limit.
    pub login_failures_address: u32,
    /// Failed logins of one user in a minute, before those from unknown addresses wait. 0: no limit.
    pub login_failures_user: u32,
}

/// The ordered logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// How many lanes, at least 1. The same on every server of a deployment.
    pub count: u16,
    /// Threads that apply entries. 0: as many as cores.
    pub keepers: u16,
    /// Threads that serve sockets. 0: as many as cores.
    pub io_threads: u16,
    /// Bytes of entries that a lane may hold before they are applied.
    pub credit_bytes: u32,
}

/// The topics under `$SYS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysSettings {
    /// The time from one update to the next. 0: no updates.
    pub interval: Duration,
    /// Who may subscribe to them.
    pub read: SysReaders,
}

/// Who may subscribe to `$SYS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysReaders {
    /// Everybody who may connect.
    Anyone,
    /// Users with credentials.
    Authenticated,
    /// Nobody.
    Nobody,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing directives.
    pub level: String,
    /// The form of its lines.
    pub format: LogFormat,
    /// The file that lines are appended to, opened again on SIGHUP. None: stderr.
    pub file: Option<PathBuf>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on one line.
    Human,
    /// One JSON object on one line.
    Json,
}
