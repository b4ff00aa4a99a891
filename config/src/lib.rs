//! Settings of RoomMQ: defaults, file, environment and flags, checked into types in which only valid values exist.
//!
//! [`load()`] is the way in. A later layer wins: built-in defaults, the TOML file, the environment
//! (`ROOMMQ__SECTION__KEY`), flags. A list (`[[listener]]`, `[[access]]`, `[[room]]`) is replaced as a whole.

mod check;
mod defaults;
mod keys;
mod layer;
mod load;
mod parsed_table;
mod problem;
mod settings;
mod sources;
mod value;

pub use load::{EffectiveValue, Loaded, load};
pub use problem::{ConfigError, Location, Problem};
pub use settings::{
    AccessRule, AuthSettings, ClientCertificates, Endpoint, Lanes, Limits, Listener,
    ListenerLimits, LogFormat, LogSettings, Permission, PresenceSettings, PublishRule, RoomAccess,
    RoomCreation, RoomPattern, RoomRule, RoomSettings, Settings, SysReaders, SysSettings, Tls,
    TopicSettings, Transport, UserFrom, UserPattern, WebSocket,
};
pub use sources::{Flags, Sources, process_environment};
