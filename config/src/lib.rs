//! The settings of RoomMQ, read from defaults, file, environment and flags into checked types.
//!
//! Call [`load()`]. A later layer wins over an earlier one:
//!
//! 1. the built-in defaults,
//! 2. the TOML file,
//! 3. the environment (`ROOMMQ__SECTION__KEY`),
//! 4. flags of the command line.
//!
//! A layer replaces a list (`[[listener]]`, `[[access]]`, `[[room]]`) as a whole.

mod check;
mod defaults;
mod keys;
mod layer;
mod load;
mod parsed_table;
mod problem;
mod reload;
mod settings;
mod sources;
mod value;

pub use load::{EffectiveValue, Loaded, load};
pub use problem::{ConfigError, Location, Problem};
pub use reload::Changes;
pub use settings::{
    AccessRule, AuthSettings, ClientCertificates, Endpoint, IpNetwork, Lanes, Limits, Listener,
    ListenerLimits, LogFormat, LogSettings, NamePattern, Permission, PresenceSettings, PublishRule,
    RoomAccess, RoomCreation, RoomRule, RoomSettings, Settings, SysReaders, SysSettings, Tls,
    TopicSettings, Transport, UserFrom, WebSocket,
};
pub use sources::{Flags, Sources, check_environment, process_environment};
