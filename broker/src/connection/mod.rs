//! Connections: one task for each client reads its packets, acts on them and appends entries.
//!
//! [`Connection::run`] reads until there is a reason to end, `take_packets` handles the packets of
//! one read, `take_packet` handles one packet. The task itself writes only if the socket was full
//! before; others write what they put into the outbox.
//!
//! ```text
//! serve -> handshake -> opening -> run -> take_packets -> take_packet -> publishing, ...
//!                                   |           '-> pending: append entries, then acknowledge
//!                                   '-> ending
//! ```

mod authentication;
mod client;
mod connecting;
mod deadlines;
mod ending;
mod filters_by_lane;
mod handshake;
mod intake;
mod opening;
mod pending;
mod publishing;
mod resume;
mod serve;
mod subscribing;

pub(crate) use serve::serve;

use crate::clock::now_ms;
use crate::fairness::others_first;
use crate::gate::GateGuard;
use crate::packet::{Decoder, ReasonCode, Reply};
use crate::session::{Close, Step, UNKNOWN_ID};
use crate::transport::Link;
use authentication::{Method, reauthenticate};
use client::Client;
use deadlines::{Deadlines, is_receive_timeout};
use ending::{Ending, end};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use intake::{Intake, LinkEvent, READ, Rest};
use publishing::publish;
use subscribing::{subscribe, unsubscribe};
use tokio::time::Instant;

/// Reads at the end of a connection, at most: 8 MiB, more than the kernel buffers.
const FINAL_READS: usize = (8 << 20) / READ;

/// A connection whose CONNECT was accepted. Boxed, and with all that its methods need, since a
/// future holds two copies of each argument.
struct Connection {
    client: Client,
    link: Link,
    intake: Intake,
    decoder: Decoder,
    deadlines: Deadlines,
    /// The authentication method, if CONNECT names one.
    method: Option<Box<Method>>,
    /// Counts the connection as one that may still bring messages, until a shutdown.
    reading: Option<GateGuard>,
    /// Set by a shutdown: the reason to close with once all messages are sent.
    closing: Option<Box<Close>>,
    /// Counts the connection. The last field: the link is dropped before.
    _connected: GateGuard,
}

impl Connection {
    /// Serves the client until the connection has ended.
    async fn run(mut self: Box<Self>) {
        let ending = self.read_until_end().await;
        self.reading = None;
        // Boxed: the end is short and needs much memory.
        Box::pin(end(&mut self.client, ending, &mut self.link)).await;
    }

    /// Notes a read whose packets have been taken.
    fn note_read(&mut self) {
        self.deadlines.read(Instant::now(), self.intake.rest());
    }

    /// Reads until there is a reason to end.
    async fn read_until_end(&mut self) -> Ending {
        // The keep-alive begins with CONNACK.
        self.deadlines.read(Instant::now(), Rest::Nothing);
        // Packets that came with CONNECT.
        if let Err(ending) = self.take_packets().await {
            return ending;
        }
        self.note_read();
        let timer = tokio::time::sleep_until(self.deadlines.next());
        tokio::pin!(timer);
        let mut blocked = false;
        // The server stops reading from a peer that does not read its answers.
        let mut pause_reading = false;
        loop {
            if let Some(close) = self.closing.take_if(|_| self.client.outbox.is_settled()) {
                return Ending::Closed(*close);
            }
            tokio::select! {
                event = self.intake.wait(&mut self.link, blocked.then_some(&*self.client.outbox), !pause_reading) => match event {
                    Ok(LinkEvent::Read(0)) => return Ending::without_disconnect(),
                    Ok(LinkEvent::Read(n)) => {
                        if let Err(ending) = self.take_packets().await {
                            return ending;
                        }
                        self.note_read();
                        if blocked {
                            pause_reading = self.client.outbox.condition().pause_reading;
                            self.deadlines.pause(Instant::now(), pause_reading);
                        }
                        if n == READ {
                            // There is more to read. Flushes and other tasks go first.
                            others_first().await;
                        }
                    }
                    Ok(LinkEvent::Wrote) => {
                        let condition = self.client.outbox.condition();
                        (blocked, pause_reading) = self.deadlines.observe(Instant::now(), &condition, self.link.holds_bytes());
                    }
                    Ok(LinkEvent::Partial(held)) => self.deadlines.partial(Instant::now(), held, self.intake.rest()),
                    Ok(LinkEvent::Broken(kind)) => {
                        return Box::pin(self.unwritable(Ending::lost_with(kind))).await;
                    }
                    Err(error) => return Ending::unreadable(&error),
                },
                () = self.client.outbox.changed() => {
                    let condition = self.client.outbox.condition();
                    if condition.draining {
                        self.client.draining = true;
                        self.reading = None;
                    }
                    if self.client.outbox.is_broken() {
                        let ending = Ending::lost("a write to the socket failed");
                        return Box::pin(self.unwritable(ending)).await;
                    }
                    (blocked, pause_reading) = self.deadlines.observe(Instant::now(), &condition, self.link.holds_bytes());
                    match condition.closing {
                        Some(close) if close.reason == ReasonCode::ServerShuttingDown => {
                            self.deadlines.finish_by(Instant::now() + self.client.node.limits.shutdown_time / 2);
                            self.closing = Some(Box::new(close));
                        }
                        Some(close) if close.reason == ReasonCode::SessionTakenOver => {
                            return Box::pin(self.taken_over(close)).await;
                        }
                        Some(close) => return Ending::Closed(close),
                        None => {}
                    }
                }
                () = &mut timer => {
                    let mut passed = self.deadlines.passed(Instant::now());
                    if passed.as_ref().is_some_and(is_receive_timeout) {
                        match Box::pin(self.recheck_deadlines()).await {
                            Ok(still) => passed = still,
                            Err(ending) => return ending,
                        }
                    }
                    if let Some(close) = passed {
                        return Ending::Closed(self.closing.take().map_or(close, |closing| *closing));
                    }
                    timer.as_mut().reset(self.deadlines.next());
                }
            }
            if self.deadlines.next() < timer.deadline() {
                timer.as_mut().reset(self.deadlines.next());
            }
        }
    }

    /// Reads what has arrived while this thread was busy, and checks the deadlines again. Returns
    /// the reason to close if one has still passed.
    async fn recheck_deadlines(&mut self) -> Result<Option<Close>, Ending> {
        // Lets the thread poll its sockets.
        others_first().await;
        let n = self.intake.try_read(&mut self.link).await;
        if n > 0 {
            self.take_packets().await?;
            self.note_read();
        }
        let passed = self.deadlines.passed(Instant::now());
        // After a full read there may be more.
        Ok(passed.filter(|close| n < READ || !is_receive_timeout(close)))
    }

    /// A new connection takes over the session. Packets that this one has sent still count: a
    /// client that sends DISCONNECT and reconnects at once has disconnected in order
    /// [MQTT-3.14.4-3].
    async fn taken_over(&mut self, close: Close) -> Ending {
        match self.read_remaining().await {
            Some(disconnect @ Ending::Disconnect) => disconnect,
            _ => Ending::Closed(close),
        }
    }

    /// A write has failed. Packets that the client has sent still count, and may be the reason: the
    /// peer of a Unix socket may have closed its reading side only.
    async fn unwritable(&mut self, cause: Ending) -> Ending {
        self.read_remaining().await.unwrap_or(cause)
    }

    /// Handles what has arrived already. Returns the ending if that ends the connection. Stops if
    /// the peer goes on sending, or does not read its answers.
    async fn read_remaining(&mut self) -> Option<Ending> {
        for _ in 0..FINAL_READS {
            // Lets the thread poll its sockets.
            others_first().await;
            if self.client.outbox.is_full() {
                return None;
            }
            match self
                .intake
                .wait(&mut self.link, None, true)
                .now_or_never()?
            {
                Ok(LinkEvent::Read(0)) => return Some(Ending::without_disconnect()),
                Ok(LinkEvent::Read(_)) => {
                    if let Err(ending) = self.take_packets().await {
                        return Some(ending);
                    }
                }
                Ok(LinkEvent::Wrote | LinkEvent::Broken(_) | LinkEvent::Partial(_)) => {}
                Err(error) => return Some(Ending::unreadable(&error)),
            }
        }
        None
    }

    /// Handles all complete packets that have been read; then appends, acknowledges and flushes.
    async fn take_packets(&mut self) -> Result<(), Ending> {
        let ended = loop {
            let taken = match self.take_packet() {
                Ok(Taken::Nothing) => break None,
                Ok(Taken::Packet) => Ok(()),
                Ok(Taken::Request(request)) => request.await,
                Err(ending) => break Some(ending),
            };
            if let Err(close) = taken {
                break Some(Ending::Closed(close));
            }
            if self.client.pending.is_full()
                && let Err(error) = self.client.append_all().await
            {
                break Some(Ending::Closed(error.into()));
            }
        };
        let client = &mut self.client;
        client.node.counters.received(self.intake.received());
        // Packets before the end count. If the log takes no entry, the connection ends
        // [3.1.1 MQTT-4.8.0-2].
        let appended = client.append_all().await;
        appended.map_err(|error| Ending::lost(&error.to_string()))?;
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
    fn take_packet(&mut self) -> Result<Taken<'_>, Ending> {
        let packet = self.intake.next(&mut self.decoder);
        let Some(packet) = packet.map_err(|error| Ending::bad_packet(&error))? else {
            return Ok(Taken::Nothing);
        };
        let client = &mut self.client;
        match client.session.step(packet)? {
            // No acknowledgement: the client knows that the server has not accepted it.
            Step::Publish(_) | Step::Subscribe(_) | Step::Unsubscribe(_) if client.draining => {}
            Step::Publish(inbound) => publish(client, &inbound),
            Step::Repeated(id) => client.pending.acknowledge_again(id),
            Step::Subscribe(packet) => {
                return Ok(Taken::request(
                    async move { subscribe(client, &packet).await },
                ));
            }
            Step::Unsubscribe(packet) => {
                return Ok(Taken::request(
                    async move { unsubscribe(client, &packet).await },
                ));
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
                return Ok(Taken::request(reauthenticate(client, method, auth)));
            }
            Step::Leave => return Err(Ending::Disconnect),
        }
        Ok(Taken::Packet)
    }
}

/// What [`Connection::take_packet`] has found.
enum Taken<'a> {
    /// No complete packet is left.
    Nothing,
    /// A packet. All is done for it.
    Packet,
    /// A packet that may wait for the policy or for lanes. Boxed, since it is rare and needs much
    /// memory.
    Request(BoxFuture<'a, Result<(), Close>>),
}

impl<'a> Taken<'a> {
    fn request(request: impl Future<Output = Result<(), Close>> + Send + 'a) -> Self {
        Taken::Request(Box::pin(request))
    }
}
