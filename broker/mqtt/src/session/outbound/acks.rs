//! The client's acknowledgements (4.3.2, 4.3.3).

use super::Outbound;
use crate::packet::{PacketId, QoS, ReasonCode, Reply};
use crate::session::UNKNOWN_ID;

/// An acknowledgement of the wrong kind, such as PUBACK for a message with QoS 2: a protocol error [3.1.1 MQTT-4.8.0-1, 5.0 MQTT-4.13.1-1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "packet id {0} is acknowledged by a packet of the wrong kind; PUBACK is for QoS 1, PUBREC and then PUBCOMP for QoS 2 (4.3)"
)]
pub struct WrongKind(pub PacketId);

impl Outbound {
    /// PUBACK, with any reason: the message is delivered [5.0 MQTT-4.4.0-2], for a shared group as well [5.0 MQTT-4.8.2-6]. False
    /// if no message with this id is in flight [5.0 MQTT-4.3.2-3].
    ///
    /// # Errors
    /// The message has QoS 2.
    pub fn acked(&mut self, id: PacketId, now: u64) -> Result<bool, WrongKind> {
        let known = self.take_in_flight(id, QoS::AtLeastOnce)?;
        if known {
            self.refill(now);
        } else if self.released.contains(&id) {
            return Err(WrongKind(id));
        }
        Ok(known)
    }

    /// PUBREC with an error: the message is dropped, no PUBREL follows [5.0 MQTT-4.4.0-2]. False if no message with this id is in
    /// flight.
    ///
    /// # Errors
    /// The message has QoS 1.
    pub fn refused(&mut self, id: PacketId, now: u64) -> Result<bool, WrongKind> {
        let known = self.take_in_flight(id, QoS::ExactlyOnce)?;
        if known {
            self.refill(now);
        }
        Ok(known)
    }

    /// PUBREC with a reason below 0x80, perhaps not for the first time: answers PUBREL, with 0x92 if the id is not
    /// known [5.0 MQTT-4.3.3-4]. The message is dropped [5.0 MQTT-4.3.3-6], its id awaits PUBCOMP [5.0 MQTT-4.3.3-5]. False if the
    /// id is not known.
    ///
    /// # Errors
    /// The message has QoS 1.
    pub fn received(&mut self, id: PacketId, now: u64) -> Result<bool, WrongKind> {
        if self.take_in_flight(id, QoS::ExactlyOnce)? {
            self.released.push_back(id);
        }
        let known = self.released.contains(&id);
        let (reason, text) = if known {
            (ReasonCode::Success, None)
        } else {
            (ReasonCode::PacketIdentifierNotFound, Some(UNKNOWN_ID))
        };
        self.reply(&Reply::PubRel(id, reason, text.map(Into::into)));
        self.refill(now);
        Ok(known)
    }

    /// PUBCOMP: the id is free again. False if none was awaited.
    ///
    /// # Errors
    /// The message awaits PUBACK or PUBREC.
    pub fn completed(&mut self, id: PacketId, now: u64) -> Result<bool, WrongKind> {
        let Some(at) = self.released.iter().position(|r| *r == id) else {
            return match self.find(id) {
                Some(_) => Err(WrongKind(id)),
                None => Ok(false),
            };
        };
        self.released.remove(at);
        self.refill(now);
        Ok(true)
    }

    /// Takes a message that was sent with `qos` out of those in flight; false if there is none with this id.
    fn take_in_flight(&mut self, id: PacketId, qos: QoS) -> Result<bool, WrongKind> {
        let Some(at) = self.find(id) else {
            return Ok(false);
        };
        if self.in_flight.get(at).is_none_or(|f| f.qos != qos) {
            return Err(WrongKind(id));
        }
        if let Some(taken) = self.remove_in_flight(at) {
            self.finished(taken.tag(), taken.payload as usize);
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > 64 {
            self.in_flight = std::collections::VecDeque::new();
        }
        Ok(true)
    }
}
