//! Settings of RoomMQ: defaults, file, environment and flags, checked into types in which only valid values exist.
//!
//! [`load()`] is the way in. A later layer wins: built-in defaults, the TOML file, the environment
//! (`ROOMMQ__SECTION__KEY`), flags. A list (`[[listener]]`, `[[access]]`, `[[room]]`) is replaced as a whole.

mod check;
mod defaults;
mod entry;
mod keys;
mod layer;
mod load;
mod problem;
mod settings;
mod source;
mod value;

pub use load::{Loaded, Origin, load};
pub use problem::{ConfigError, Place, Problem};
pub use settings::{
    Access, AccessRule, Auth, ClientCertificates, Create, Endpoint, Lanes, Limits, Listener,
    ListenerLimits, Log, LogFormat, OutsideRooms, Permission, Presence, PublishRule, RoomPattern,
    RoomRule, Rooms, Settings, Sys, SysReaders, Tls, Topics, Transport, UserFrom, UserPattern,
    WebSocket,
};
pub use source::{Flags, Source, process_environment};
