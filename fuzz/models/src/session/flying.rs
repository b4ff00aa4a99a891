//! The messages of QoS 1 and 2 that have come out and are not acknowledged to the end, over all connections of a session.

use super::actions::Ack;
use super::published::Published;
use roommq_mqtt::packet::{PacketId, QoS};
use roommq_mqtt::session::OutboundLimits;

/// One whose PUBLISH is not acknowledged.
#[derive(Debug)]
pub(super) struct Flying {
    pub id: PacketId,
    pub qos: QoS,
    pub serial: u32,
    pub size: Size,
    /// Where its PUBLISH ends in the stream of this connection; none: it has not been sent on it.
    pub end: Option<usize>,
}

/// Bytes that a message has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// As the broker keeps it.
    pub kept: usize,
    /// On the wire in 5.0.
    pub in_v5: usize,
}

/// All of them.
pub(super) struct InFlight {
    pub limits: OutboundLimits,
    /// In the order in which they first came out.
    messages: Vec<Flying>,
    /// PUBREL sent, in the order of the PUBRECs.
    released: Vec<PacketId>,
}

impl InFlight {
    pub(super) fn new(limits: OutboundLimits) -> Self {
        InFlight {
            limits,
            messages: Vec::new(),
            released: Vec::new(),
        }
    }

    pub(super) fn messages(&self) -> &[Flying] {
        &self.messages
    }

    pub(super) fn released(&self) -> &[PacketId] {
        &self.released
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.released.is_empty()
    }

    /// Whether the client takes no packet of this size; only 5.0 has a limit [MQTT-3.1.2-24].
    pub(super) fn is_too_large(&self, size: Size) -> bool {
        let largest = self.limits.maximum_packet_size;
        largest.is_some_and(|m| size.in_v5 > m as usize)
    }

    fn on_this_connection(&self) -> usize {
        let sent = self.messages.iter().filter(|m| m.end.is_some()).count();
        sent + self.released.len()
    }

    /// A message came out for the first time.
    pub(super) fn begin(&mut self, published: &Published, qos: QoS, serial: u32, size: Size) {
        let Some(id) = published.id else {
            return assert_eq!(qos, QoS::AtMostOnce);
        };
        let used = self.messages.iter().any(|m| m.id == id) || self.released.contains(&id);
        assert!(!used, "id {id} is in use [MQTT-2.2.1-3]");
        let all_again = self.messages.iter().all(|m| m.end.is_some());
        assert!(
            all_again,
            "{serial} before what was sent earlier [MQTT-4.6.0-1]"
        );
        self.messages.push(Flying {
            id,
            qos,
            serial,
            size,
            end: Some(published.end),
        });
        self.within_window();
        let kept: usize = self.messages.iter().map(|m| m.size.kept).sum();
        let few = self.messages.len() == 1;
        assert!(few || kept <= self.limits.bytes, "{kept} bytes on the way");
    }

    /// One came out again: the first that an earlier connection left [MQTT-4.4.0-1, MQTT-4.6.0-1].
    pub(super) fn again(&mut self, published: &Published, serial: u32) {
        let first = self.messages.iter_mut().find(|m| m.end.is_none());
        match first {
            Some(first) if Some(first.id) == published.id && first.serial == serial => {
                assert_eq!(first.qos as u8, published.qos);
                first.end = Some(published.end);
            }
            first => panic!("{published:?}, and {first:?} was to come again"),
        }
        self.within_window();
    }

    fn within_window(&self) {
        let window = usize::from(self.limits.receive_maximum);
        let sent = self.on_this_connection();
        assert!(
            sent <= window,
            "{sent} on the way, {window} allowed [MQTT-3.3.4-9]"
        );
    }

    /// Whether a message of so many bytes may come out now.
    pub(super) fn is_open(&self, length: usize) -> bool {
        let kept: usize = self.messages.iter().map(|m| m.size.kept).sum();
        let many = self.on_this_connection() >= usize::from(self.limits.receive_maximum);
        let large = kept + length > self.limits.bytes && !self.messages.is_empty();
        let again = self.messages.iter().any(|m| m.end.is_none());
        !many && !large && !again
    }

    /// Takes out what was to be sent again and is more than this client takes [MQTT-3.1.2-25]; how many.
    pub(super) fn give_up(&mut self) -> u64 {
        let mut gone = 0;
        while self.on_this_connection() < usize::from(self.limits.receive_maximum)
            && let Some(at) = self.messages.iter().position(|m| m.end.is_none())
            && self.is_too_large(self.messages[at].size)
        {
            self.messages.remove(at);
            gone += 1;
        }
        gone
    }

    /// What should have been sent again, and could have been.
    pub(super) fn holds(&self) {
        let open = self.on_this_connection() < usize::from(self.limits.receive_maximum);
        let again = self.messages.iter().find(|m| m.end.is_none());
        assert!(!open || again.is_none(), "not sent again: {again:?}");
    }

    /// The connection is over.
    pub(super) fn lose(&mut self) {
        for message in &mut self.messages {
            message.end = None;
        }
    }

    /// Whether the message waits for an acknowledgement of another kind. PUBREC may come again.
    pub(super) fn is_wrong(&self, ack: Ack, id: PacketId) -> bool {
        let message = self.messages.iter().find(|m| m.id == id);
        match message.map(|m| m.qos) {
            Some(QoS::ExactlyOnce) => ack != Ack::Received,
            Some(_) => ack != Ack::Taken,
            None => ack == Ack::Taken && self.released.contains(&id),
        }
    }

    pub(super) fn acked(&mut self, id: PacketId) -> bool {
        self.over(id, QoS::AtLeastOnce)
    }

    pub(super) fn refused(&mut self, id: PacketId) -> bool {
        self.over(id, QoS::ExactlyOnce)
    }

    /// PUBREC: whether the message is known, so that PUBREL says success.
    pub(super) fn received(&mut self, id: PacketId) -> bool {
        if self.over(id, QoS::ExactlyOnce) {
            self.released.push(id);
        }
        self.released.contains(&id)
    }

    pub(super) fn completed(&mut self, id: PacketId) -> bool {
        let before = self.released.len();
        self.released.retain(|r| *r != id);
        before > self.released.len()
    }

    fn over(&mut self, id: PacketId, qos: QoS) -> bool {
        let before = self.messages.len();
        self.messages.retain(|m| m.id != id || m.qos != qos);
        before > self.messages.len()
    }
}
