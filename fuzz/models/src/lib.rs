//! What fuzzing runs: each function takes any bytes, makes of them what a peer could do, and panics where the broker
//! breaks a rule of its own or differs from a simple model of what MQTT asks.
//!
//! The targets in `fuzz/` call these functions; ordinary tests call them with the corpora in the repository, and with
//! steps made up by proptest. Architecture invariant: the same bytes do the same on every machine. No
//! clock, no chance, no I/O is in here.

mod client;
mod decoder;
mod filters;
mod input;
mod lane;
mod names;
mod packets;
mod publishes;
#[cfg(test)]
mod replay;
mod replies;
mod requests;
mod session;

/// A stream of bytes in pieces through the packet reader, or an answer through the encoder.
///
/// The first byte's low two bits say what: a connection of 3.1.1 (0) or of 5.0 (1) past its CONNECT, one before its CONNECT
/// (2), an answer to write (3). For a stream the next three bits choose the packet limit, and a second byte's low
/// three bits say how many bytes follow with the sizes of the pieces. The rest is what the client sends.
///
/// # Panics
/// Where bytes make the reader do what it must not: differ between one piece and many, hold more than the limit, read
/// a packet otherwise than a client's library does; or where a client's library cannot read what the encoder wrote.
pub fn packets(bytes: &[u8]) {
    packets::run(bytes);
}

/// Topic names and filters, alone and in a lane's index, against a reference that is too simple to be wrong.
///
/// After the first byte, which chooses the number of lanes, come texts that end with 0xFF. The first byte of each says what is
/// done with it: subscribe (0), unsubscribe (1), publish (2), nothing (3), by the low two bits, the next three being the
/// subscriber.
///
/// # Panics
/// Where the broker and the reference differ.
pub fn filters(bytes: &[u8]) {
    filters::run(bytes);
}

/// One client's session, both halves, against a model of what MQTT promises: steps of four bytes after a set-up of eight.
///
/// # Panics
/// Where a message is lost, repeated or out of order, where the window, the ids or the bounds are not kept, and where
/// an answer is missing or wrong.
pub fn session(bytes: &[u8]) {
    session::run(bytes);
}
