//! The options of `roommq bench`.

use crate::options::LoginArgs;
use clap::{Args, ValueEnum};

/// Measure an MQTT server on this machine: throughput, latency, loss, order, CPU and memory.
///
/// Works against any MQTT 3.1.1 or 5.0 server. The exit code is 1 when a message was lost at QoS 1.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    pub scenario: Scenario,
    #[command(flatten)]
    pub login: LoginArgs,
    /// Allow a server on another machine: the load can bring it down
    #[arg(long)]
    pub i_own_this_server: bool,
    /// Process id of the server: adds its CPU time and memory (Linux)
    #[arg(long)]
    pub pid: Option<u32>,
    /// MQTT version: 3 (3.1.1) or 5
    #[arg(long, value_parser = clap::value_parser!(u8).range(3..=5), default_value_t = 3)]
    pub protocol: u8,
    /// Quality of service of publishers and subscribers
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1), default_value_t = 0)]
    pub qos: u8,
    /// Rooms [default: fanout 1, paced 1, rooms 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rooms: Option<u32>,
    /// Members of each room [default: fanout 100, paced 10, rooms 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: Option<u32>,
    /// Publishers of each room (fanout, paced)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 1)]
    pub publishers: u32,
    /// Rooms that one connection joins (rooms)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 1)]
    pub rooms_per_connection: u32,
    /// Clients that connect (connect)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value_t = 1000)]
    pub clients: u32,
    /// Bytes of payload
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..=16_000_000), default_value_t = 64)]
    pub payload: u32,
    /// Messages that a publisher may have in flight (fanout, rooms)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), default_value_t = 16)]
    pub window: u16,
    /// Publishes a second, of all publishers together (paced)
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// Seconds that are measured, after a warm-up of up to one second
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Messages of each publisher, all measured, instead of --seconds (fanout)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages: Option<u32>,
    /// Topic to publish and subscribe to; {room} is replaced by the room's name
    #[arg(long, default_value = "rooms/bench-{room}/chat")]
    pub topic: String,
}

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Publishers into rooms with many members, as fast as the window allows
    Fanout,
    /// A fixed rate: the latency that members see
    Paced,
    /// One publisher to many rooms in turn
    Rooms,
    /// Many clients connect and subscribe at once; then the memory of idle connections
    Connect,
    /// All of them, in about half a minute
    All,
}
