//! The sending side, as fast as the window allows. All messages that may be sent are one write.

use super::client::OpenConnection;
use super::counters::{RunCounters, add};
use super::flow::FlowControl;
use super::stream::{ReadBuffer, StreamReader, StreamWriter};
use super::wire::{MqttVersion, PayloadStamp, PublishTemplate, ServerPacket, next_packet};
use std::rc::Rc;
use std::time::Duration;

/// A full window is reset if no delivery or acknowledgement arrives for this time.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A topic to publish to, and its stream number.
pub struct PublishTarget {
    /// The encoded message.
    pub template: PublishTemplate,
    /// The stream number in the stamps.
    pub stream: u32,
}

/// The task of one publishing connection. It publishes to its targets in turn.
pub struct PublisherTask {
    /// Shared counters.
    pub counters: Rc<RunCounters>,
    /// How many messages it may send.
    pub flow: Rc<FlowControl>,
    /// Protocol version.
    pub version: MqttVersion,
    /// At least one.
    pub targets: Vec<PublishTarget>,
}

impl PublisherTask {
    /// Publishes until stopped or the budget is spent, and counts PUBACKs until dropped.
    pub async fn run(
        self,
        unread: Vec<u8>,
        reader: StreamReader,
        writer: Rc<StreamWriter>,
        read_buffer: ReadBuffer,
    ) {
        let why = tokio::select! {
            why = self.count_acks(unread, reader, read_buffer) => why,
            why = self.send(&writer) => why,
        };
        self.counters.connection_lost("publisher", &why);
    }

    async fn send(&self, writer: &StreamWriter) -> String {
        let mut out = Vec::new();
        let (mut next, mut id, mut round) = (0, 0_u16, 1_u32);
        while !self.counters.stopped.get() && !self.flow.is_done() {
            let free = self.flow.free();
            if free == 0 {
                if self.flow.wait(STANDSTILL).await {
                    add(&self.counters.stalls, 1);
                }
                continue;
            }
            out.clear();
            let at = self.counters.clock.nanos();
            for _ in 0..free {
                let target = &self.targets[next];
                id = if id == u16::MAX { 1 } else { id + 1 };
                let stamp = PayloadStamp {
                    at,
                    stream: target.stream,
                    seq: round,
                };
                target.template.append(&mut out, id, stamp);
                next += 1;
                if next == self.targets.len() {
                    (next, round) = (0, round + 1);
                }
            }
            self.flow.count_sent(free);
            if let Err(error) = writer.write_all(&out).await {
                return error.to_string();
            }
        }
        // The connection stays open for further acknowledgements.
        std::future::pending().await
    }

    async fn count_acks(
        &self,
        mut unread: Vec<u8>,
        mut reader: StreamReader,
        read_buffer: ReadBuffer,
    ) -> String {
        loop {
            let read = reader.read(&read_buffer, |bytes| {
                unread.extend_from_slice(bytes);
                Ok(())
            });
            if let Err(why) = read.await {
                return why;
            }
            let (mut used, mut acks) = (0, 0);
            loop {
                match next_packet(self.version, &unread[used..]) {
                    Ok(None) => break,
                    Err(malformed) => return malformed.to_string(),
                    Ok(Some((packet, length))) => {
                        used += length;
                        if let ServerPacket::PubAck { refused } = packet {
                            acks += 1;
                            add(&self.counters.refused, u64::from(refused));
                        }
                    }
                }
            }
            unread.drain(..used);
            if acks > 0 {
                self.flow.count_acks(acks);
            }
        }
    }
}

/// The window that the server's Receive Maximum allows.
pub fn allowed_window(asked: u16, qos: u8, connection: &OpenConnection) -> u16 {
    if qos == 0 {
        asked
    } else {
        asked.min(connection.receive_maximum).max(1)
    }
}
