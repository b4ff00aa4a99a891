//! The packets of one read: `take_packets` handles all of them, `take_packet` handles one.

use super::Connection;
use super::authentication::reauthenticate;
use super::ending::Ending;
use super::publishing::publish;
use super::subscribing::{subscribe, unsubscribe};
use crate::clock::now_ms;
use crate::packet::Reply;
use crate::session::{Close, Step, UNKNOWN_ID};
use futures_util::future::BoxFuture;

impl Connection {
    /// Handles all complete packets that have been read; then appends, acknowledges and flushes.
    pub(super) async fn take_packets(&mut self) -> Result<(), Ending> {
        let ended = loop {
            let taken = match self.take_packet() {
                Ok(NextPacket::Nothing) => break None,
                Ok(NextPacket::Packet) => Ok(()),
                Ok(NextPacket::Request(request)) => request.await,
                Err(ending) => break Some(ending),
            };
            if let Err(close) = taken {
                break Some(Ending::Closed(close));
            }
            if self.client.pending.is_full()
                && let Err(error) = self.client.append_and_yield().await
            {
                break Some(Ending::Closed(error.into()));
            }
        };
        let client = &mut self.client;
        client.node.counters.received(self.intake.received());
        // Packets before the end count. If the log takes no entry, the connection ends
        // [3.1.1 MQTT-4.8.0-2].
        client.append_all().await.map_err(Close::from)?;
        client.send_notices();
        if client.outbox.wants_flush() {
            client.node.entrance.flush_soon(&client.outbox);
        }
        ended.map_or(Ok(()), Err)
    }

    /// Takes the next complete packet and acts on it. A PINGREQ is answered by PINGRESP
    /// [MQTT-3.12.4-1].
    ///
    /// # Errors
    /// The connection ends with this packet.
    fn take_packet(&mut self) -> Result<NextPacket<'_>, Ending> {
        let packet = self.intake.next(&mut self.decoder);
        let Some(packet) = packet.map_err(|error| Ending::bad_packet(&error))? else {
            return Ok(NextPacket::Nothing);
        };
        let client = &mut self.client;
        match client.session.step(packet)? {
            // No acknowledgement: the client knows that the server has not accepted it.
            Step::Publish(_) | Step::Subscribe(_) | Step::Unsubscribe(_) if client.draining => {}
            Step::Publish(inbound) => publish(client, &inbound),
            Step::Duplicate(id) => client.pending.acknowledge_again(id),
            Step::Subscribe(packet) => {
                return Ok(NextPacket::request(async move {
                    subscribe(client, &packet).await
                }));
            }
            Step::Unsubscribe(packet) => {
                return Ok(NextPacket::request(async move {
                    unsubscribe(client, &packet).await
                }));
            }
            Step::Acked(id) => client.acknowledged(|out| out.acked(id, now_ms()))?,
            Step::Received(id) => client.acknowledged(|out| out.received(id, now_ms()))?,
            Step::Refused(id) => client.acknowledged(|out| out.refused(id, now_ms()))?,
            Step::Completed(id) => client.acknowledged(|out| out.completed(id, now_ms()))?,
            Step::Released(id, code) => {
                let text = code.is_error().then_some(UNKNOWN_ID).map(Into::into);
                client.pending.acknowledge(Reply::PubComp(id, code, text));
            }
            Step::Ping => client.pending.acknowledge(Reply::PingResp),
            Step::Auth(auth) => {
                let method = &mut self.method;
                return Ok(NextPacket::request(reauthenticate(client, method, auth)));
            }
            Step::Disconnect => return Err(Ending::Disconnect),
        }
        Ok(NextPacket::Packet)
    }
}

/// What [`Connection::take_packet`] has found.
enum NextPacket<'a> {
    /// No complete packet is left.
    Nothing,
    /// A packet. All is done for it.
    Packet,
    /// A packet that may wait for the policy or for lanes. Boxed, since it is rare and needs much
    /// memory.
    Request(BoxFuture<'a, Result<(), Close>>),
}

impl<'a> NextPacket<'a> {
    fn request(request: impl Future<Output = Result<(), Close>> + Send + 'a) -> Self {
        NextPacket::Request(Box::pin(request))
    }
}
