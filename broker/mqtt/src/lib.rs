//! MQTT 3.1.1 and 5.0 without input and output: packets, topic names and filters, the session state machine, and the
//! queue of bytes to write.
//!
//! Architecture invariant: this crate has no socket, no clock, no task and no lock, and takes limits as arguments. Whoever
//! uses it reads and writes bytes, passes the time in (`now`, milliseconds of a clock that never goes back), and decides what
//! is allowed.
//!
//! # The two halves of a session
//!
//! A session has a half for each direction. They share no state, so that the task that reads a socket need
//! not wait for the threads that deliver to it.
//!
//! - [`Session`](session::Session) takes the packets that a client sends. It resolves topic aliases, finds
//!   duplicates of QoS 2, and says what is to be done: a [`Step`](session::Step), or a [`Close`](session::Close). It lasts
//!   as long as a connection.
//! - [`Outbound`](session::Outbound) takes messages for the client, and the client's acknowledgements. It assigns
//!   packet ids, keeps the in-flight window, queues what exceeds it, and writes bytes into a
//!   [`WriteQueue`](write_queue::WriteQueue). It lasts as long as the session, also while the client is offline.
//!
//! # Order of calls
//!
//! 1. [`Framer::add`](framing::Framer::add) takes the bytes of a read, [`Framer::next`](framing::Framer::next) makes packets of
//!    them with a [`Decoder`](packet::Decoder), one for each connection. The first packet is CONNECT.
//! 2. `Session::new` with what the CONNECT said; `Outbound::new`, or the one that the client's session has kept.
//! 3. `Session::step` for each packet that follows. The caller carries the step out and
//!    answers with `Outbound::reply`, or, for acknowledgements, hands it to `acked`, `received`, `refused` or `completed`.
//! 4. `Outbound::deliver` for each message to the client, at any time.
//! 5. After any of these, the caller writes what is in `Outbound::queue` to the socket, and looks at
//!    `Outbound::overflowed` and `Outbound::has_unsendable_reply`, which mean that the connection has to end.
//! 6. At the end of the connection, `Session::take_will` and `Session::take_unreleased`, and `Outbound::disconnect`;
//!    `Outbound::reconnect` on the next connection.
//!
//! # Example
//!
//! A client that publishes at QoS 1, and the server's PUBACK:
//!
//! ```
//! use bytes::Bytes;
//! use roommq_mqtt::packet::{Decoder, Packet, ReasonCode, Reply, Version};
//! use roommq_mqtt::session::{Outbound, OutboundLimits, Session, Start, Step};
//!
//! // CONNECT of 3.1.1 with client id "c"; PUBLISH of "hi" to "at" with QoS 1 and packet id 7.
//! let mut read = Bytes::from_static(
//!     b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c\x32\x08\x00\x02at\x00\x07hi",
//! );
//! let mut decoder = Decoder::new(65_536);
//! let Some(Packet::Connect(connect)) = decoder.decode(&mut read)? else {
//!     panic!("the first packet is CONNECT")
//! };
//! let mut session = Session::new(Start {
//!     version: connect.version,
//!     will: connect.will,
//!     expiry: 0,
//!     expiry_requested: false,
//!     alias_maximum: 0,
//!     receive_maximum: 1_024,
//!     unreleased: Default::default(),
//! });
//! let mut outbound = Outbound::new(Version::V3, OutboundLimits {
//!     bytes: 1 << 20,
//!     messages: 1_000,
//!     receive_maximum: 65_535,
//!     maximum_packet_size: None,
//!     problem_information: true,
//!     topic_aliases: 0,
//!     age: 60_000,
//! });
//!
//! let packet = decoder.decode(&mut read)?.expect("a whole packet");
//! let Step::Publish(message) = session.step(packet)? else {
//!     panic!("a PUBLISH")
//! };
//! assert_eq!((message.topic.as_str(), &message.payload[..]), ("at", &b"hi"[..]));
//! if let Some(id) = message.packet_id {
//!     outbound.reply(&Reply::PubAck(id, ReasonCode::Success, None));
//! }
//! assert_eq!(outbound.queue().single(), Some(&b"\x40\x02\x00\x07"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cost;
pub mod framing;
pub mod hash;
pub mod packet;
mod refusal;
pub mod session;
pub mod write_queue;

pub use refusal::Refusal;
