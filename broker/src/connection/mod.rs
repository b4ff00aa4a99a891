//! Connections: one task for each client reads its packets, acts on them and appends entries.
//!
//! [`Connection::run`] reads until there is a reason to end, `take_packets` handles the packets of
//! one read, `act` handles one packet. The task itself writes only if the socket was full before;
//! others write what they put into the outbox.
//!
//! ```text
//! serve -> handshake -> opening -> run -> take_packets -> act -> publishing, subscribing, ...
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
use ending::{Ending, end, end_after_panic};
use futures_util::FutureExt;
use intake::{Intake, LinkEvent, READ};
use publishing::publish;
use subscribing::{subscribe, unsubscribe};
use tokio::time::Instant;

/// Reads at the end of a connection, at most: 8 MiB, more than the kernel buffers.
const FINAL_READS: usize = (8 << 20) / READ;

/// A connection whose CONNECT was accepted. Boxed, since a future holds a copy of each argument.
struct Connection {
    client: Client,
    decoder: Decoder,
    /// The authentication method, if CONNECT names one.
    method: Option<Box<Method>>,
    /// The server is shutting down: acknowledgements count, new messages do not.
    draining: bool,
}

impl Connection {
    /// Serves the client until the connection has ended. `keep_alive` is in seconds.
    async fn run(mut self: Box<Self>, mut link: Link, mut intake: Intake, keep_alive: u16) {
        let node = self.client.node.clone();
        let _connected = node.connected.enter();
        let reading = node.reading.enter();
        // A shutdown may have begun before the gates counted this connection.
        self.draining = self.client.outbox.condition().draining;
        let mut deadlines = Deadlines::new(keep_alive, &node.limits, Instant::now());
        // Packets that came with CONNECT.
        let ending = match self.take_packets(&mut intake).await {
            Ok(()) => {
                deadlines.read(Instant::now(), intake.rest());
                self.read_until_end(&mut link, &mut intake, &mut deadlines, reading)
                    .await
            }
            Err(ending) => ending,
        };
        // Boxed: the end is short and needs much memory.
        Box::pin(end(&mut self.client, ending, link)).await;
    }

    /// Reads until there is a reason to end.
    async fn read_until_end(
        &mut self,
        link: &mut Link,
        intake: &mut Intake,
        deadlines: &mut Deadlines,
        reading: GateGuard,
    ) -> Ending {
        let mut reading = Some(reading);
        let outbox = self.client.outbox.clone();
        let timer = tokio::time::sleep_until(deadlines.next());
        tokio::pin!(timer);
        let mut blocked = false;
        // The server stops reading from a peer that does not read its answers.
        let mut pause_reading = false;
        // Set by a shutdown: the reason to close with once all messages are sent.
        let mut closing: Option<Close> = None;
        loop {
            if let Some(close) = closing.take_if(|_| outbox.is_settled()) {
                return Ending::Closed(close);
            }
            tokio::select! {
                event = intake.wait(link, blocked.then_some(&*outbox), !pause_reading) => match event {
                    Ok(LinkEvent::Read(0)) => return Ending::without_disconnect(),
                    Ok(LinkEvent::Read(n)) => {
                        if let Err(ending) = self.take_packets(intake).await {
                            return ending;
                        }
                        deadlines.read(Instant::now(), intake.rest());
                        if blocked {
                            pause_reading = outbox.condition().pause_reading;
                            deadlines.pause(Instant::now(), pause_reading);
                        }
                        if n == READ {
                            // There is more to read. Flushes and other tasks go first.
                            others_first().await;
                        }
                    }
                    Ok(LinkEvent::Wrote) => {
                        let condition = outbox.condition();
                        (blocked, pause_reading) = deadlines.observe(Instant::now(), &condition, link.holds_bytes());
                    }
                    Ok(LinkEvent::Partial(held)) => deadlines.partial(Instant::now(), held, intake.rest()),
                    Ok(LinkEvent::Broken(kind)) => {
                        return Box::pin(self.unwritable(link, intake, Ending::lost_with(kind))).await;
                    }
                    Err(error) => return Ending::unreadable(&error),
                },
                () = outbox.changed() => {
                    let condition = outbox.condition();
                    if condition.draining {
                        self.draining = true;
                        drop(reading.take());
                    }
                    if outbox.is_broken() {
                        let ending = Ending::lost("a write to the socket failed");
                        return Box::pin(self.unwritable(link, intake, ending)).await;
                    }
                    (blocked, pause_reading) = deadlines.observe(Instant::now(), &condition, link.holds_bytes());
                    match condition.closing {
                        Some(close) if close.reason == ReasonCode::ServerShuttingDown => {
                            deadlines.finish_by(Instant::now() + self.client.node.limits.shutdown_time / 2);
                            closing = Some(close);
                        }
                        Some(close) if close.reason == ReasonCode::SessionTakenOver => {
                            return Box::pin(self.taken_over(link, intake, close)).await;
                        }
                        Some(close) => return Ending::Closed(close),
                        None => {}
                    }
                }
                () = &mut timer => {
                    let mut passed = deadlines.passed(Instant::now());
                    if passed.as_ref().is_some_and(is_receive_timeout) {
                        match Box::pin(self.recheck_deadlines(link, intake, deadlines)).await {
                            Ok(still) => passed = still,
                            Err(ending) => return ending,
                        }
                    }
                    if let Some(close) = passed {
                        return Ending::Closed(closing.take().unwrap_or(close));
                    }
                    timer.as_mut().reset(deadlines.next());
                }
            }
            if deadlines.next() < timer.deadline() {
                timer.as_mut().reset(deadlines.next());
            }
        }
    }

    /// Reads what has arrived while this thread was busy, and checks the deadlines again. Returns
    /// the reason to close if one has still passed.
    async fn recheck_deadlines(
        &mut self,
        link: &mut Link,
        intake: &mut Intake,
        deadlines: &mut Deadlines,
    ) -> Result<Option<Close>, Ending> {
        // Lets the thread poll its sockets.
        others_first().await;
        let n = intake.try_read(link).await;
        if n > 0 {
            self.take_packets(intake).await?;
            deadlines.read(Instant::now(), intake.rest());
        }
        let passed = deadlines.passed(Instant::now());
        // After a full read there may be more.
        Ok(passed.filter(|close| n < READ || !is_receive_timeout(close)))
    }

    /// A new connection takes over the session. Packets that this one has sent still count: a
    /// client that sends DISCONNECT and reconnects at once has disconnected in order
    /// [MQTT-3.14.4-3].
    async fn taken_over(&mut self, link: &mut Link, intake: &mut Intake, close: Close) -> Ending {
        match self.read_remaining(link, intake).await {
            Some(disconnect @ Ending::Disconnect) => disconnect,
            _ => Ending::Closed(close),
        }
    }

    /// A write has failed. Packets that the client has sent still count, and may be the reason: the
    /// peer of a Unix socket may have closed its reading side only.
    async fn unwritable(&mut self, link: &mut Link, intake: &mut Intake, cause: Ending) -> Ending {
        self.read_remaining(link, intake).await.unwrap_or(cause)
    }

    /// Handles what has arrived already. Returns the ending if that ends the connection. Stops if
    /// the peer goes on sending, or does not read its answers.
    async fn read_remaining(&mut self, link: &mut Link, intake: &mut Intake) -> Option<Ending> {
        for _ in 0..FINAL_READS {
            // Lets the thread poll its sockets.
            others_first().await;
            if self.client.outbox.is_full() {
                return None;
            }
            match intake.wait(link, None, true).now_or_never()? {
                Ok(LinkEvent::Read(0)) => return Some(Ending::without_disconnect()),
                Ok(LinkEvent::Read(_)) => {
                    if let Err(ending) = self.take_packets(intake).await {
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
    async fn take_packets(&mut self, intake: &mut Intake) -> Result<(), Ending> {
        let ended = loop {
            match intake.next(&mut self.decoder) {
                Ok(Some(packet)) => {
                    let taken = match self.client.session.step(packet) {
                        Ok(Step::Leave) => break Some(Ending::Disconnect),
                        Ok(step) => self.act(step).await,
                        Err(close) => Err(close),
                    };
                    if let Err(close) = taken {
                        break Some(Ending::Closed(close));
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(Ending::bad_packet(&error)),
            }
        };
        let client = &mut self.client;
        client.node.counters.received(intake.received());
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

    /// Acts on one packet. A PINGREQ is answered by PINGRESP [MQTT-3.12.4-1].
    async fn act(&mut self, step: Step) -> Result<(), Close> {
        let client = &mut self.client;
        match step {
            // No acknowledgement: the client knows that the server has not accepted it.
            Step::Publish(_) | Step::Subscribe(_) | Step::Unsubscribe(_) if self.draining => {}
            Step::Publish(inbound) => publish(client, &inbound),
            Step::Repeated(id) => client.pending.acknowledge_again(id),
            Step::Subscribe(packet) => subscribe(client, &packet).await?,
            Step::Unsubscribe(packet) => unsubscribe(client, &packet).await?,
            Step::Acked(id) => client.acknowledged(|out| out.acked(id, now_ms()))?,
            Step::Received(id) => client.acknowledged(|out| out.received(id, now_ms()))?,
            Step::Refused(id) => client.acknowledged(|out| out.refused(id, now_ms()))?,
            Step::Completed(id) => client.acknowledged(|out| out.completed(id, now_ms()))?,
            Step::Released(id, code) => {
                let text = code.is_error().then_some(UNKNOWN_ID).map(Into::into);
                client.pending.acknowledge(Reply::PubComp(id, code, text));
            }
            Step::Ping => client.pending.acknowledge(Reply::PingResp),
            Step::Auth(auth) => reauthenticate(client, &mut self.method, auth).await?,
            Step::Leave => {}
        }
        if client.pending.is_full() {
            client.append_all().await?;
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.client.ended && std::thread::panicking() {
            end_after_panic(&mut self.client);
        }
    }
}
