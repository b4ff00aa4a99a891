//! Opens listening sockets, accepts connections, and hands each to a thread that serves it. Nothing here waits for a
//! peer.

mod accept;
mod bind;
mod socket;

pub(crate) use accept::{ConnectionLimit, IoThread, accept};
pub use bind::{BindError, check_listeners};
pub(crate) use bind::{BoundListener, bind};
pub(crate) use socket::SocketFile;
