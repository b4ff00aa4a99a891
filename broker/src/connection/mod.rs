//! Connections: one task for each client reads its packets, acts on them and appends entries.
//!
//! [`Connection::run`] reads until there is a reason to end. The packets of one read are handled in
//! [`packets`]. The task itself writes only if the socket was full before; others write what they
//! put into the outbox.
//!
//! ```text
//! serve -> handshake -> opening -> run -> take_packets -> take_ready -> publishing, ...
//!                                   |           '-> pending: append entries, then acknowledge
//!                                   '-> ending
//! ```

mod authentication;
mod catching_up;
mod client;
mod connecting;
mod deadlines;
mod ending;
mod filters_by_lane;
mod handshake;
mod intake;
mod opening;
mod packets;
mod peer_limits;
mod pending;
mod publishing;
mod recheck;
mod resume;
mod serve;
mod subscribing;
mod throttle;

pub(crate) use serve::serve;

use crate::fairness::others_first;
use crate::gate::GateGuard;
use crate::packet::{Decoder, ReasonCode};
use crate::session::Close;
use crate::transport::Link;
use authentication::Method;
use client::Client;
use connecting::ConnectGuards;
use deadlines::{Deadlines, is_receive_timeout};
use ending::{Ending, end};
use futures_util::FutureExt;
use intake::{Intake, LinkEvent, Partial, READ};
use recheck::recheck;
use roommq_config::Limits;
use throttle::Throttle;
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
    /// What the limits of this client need, if it has any.
    limited: Option<Box<Limited>>,
    /// The authentication method, if CONNECT names one.
    method: Option<Box<Method>>,
    /// Counts the connection as one that may still bring messages, until a shutdown.
    reading: Option<GateGuard>,
    /// Set by a shutdown: the reason to close with once all messages are sent.
    closing: Option<Box<Close>>,
    /// Counts the connection. The last field: the link is dropped before.
    _connected: GateGuard,
}

/// What the limits of one client need. Boxed, since they are off by default.
struct Limited {
    /// The rate of what the client sends.
    throttle: Option<Throttle>,
    /// Count the connection for the limits of its address and its user.
    _guards: ConnectGuards,
}

impl Limited {
    /// None: the client has no such limit.
    fn new(limits: &Limits, guards: ConnectGuards) -> Option<Box<Limited>> {
        let throttle = Throttle::new(limits, Instant::now());
        let is_limited = throttle.is_some() || guards.address.is_some() || guards.user.is_some();
        is_limited.then(|| {
            Box::new(Limited {
                throttle,
                _guards: guards,
            })
        })
    }
}

/// The throttle of a client, if it has one.
fn throttle(limited: &mut Option<Box<Limited>>) -> Option<&mut Throttle> {
    limited.as_mut()?.throttle.as_mut()
}

impl Connection {
    /// Serves the client until the connection has ended.
    async fn run(mut self: Box<Self>) {
        // The rules may have changed since the policy was asked.
        if self.client.who.generation != self.client.node.policy.version() {
            self.client.outbox.recheck();
        }
        let ending = self.read_until_end().await;
        self.reading = None;
        // A connection that takes over finds its place free.
        self.limited = None;
        // Boxed: the end is short and needs much memory.
        Box::pin(end(&mut self.client, ending, &mut self.link)).await;
    }

    /// Notes a read of so many bytes, whose packets have been taken.
    fn note_read(&mut self, bytes: usize) {
        let (now, rest) = (Instant::now(), self.intake.partial());
        self.deadlines.read(now, bytes as u64, rest);
        if let Some(throttle) = throttle(&mut self.limited)
            && throttle.note_bytes(bytes, now)
        {
            self.client.node.limit_counts.count("byte_rate");
        }
    }

    /// When to check deadlines again, or to read on.
    fn next_deadline(&self) -> Instant {
        let reads_on = self
            .limited
            .as_ref()
            .and_then(|limited| limited.throttle.as_ref()?.until());
        let next = self.deadlines.next();
        reads_on.map_or(next, |reads_on| next.min(reads_on))
    }

    /// Notes the state of the outbox for the deadlines. Returns whether the connection is blocked, and whether it
    /// must not read.
    fn observe(&mut self) -> (bool, bool) {
        let condition = self.client.outbox.condition();
        let holds_bytes = self.link.holds_bytes();
        self.deadlines
            .observe(Instant::now(), &condition, holds_bytes)
    }

    /// Reads until there is a reason to end.
    async fn read_until_end(&mut self) -> Ending {
        // The keep-alive begins with CONNACK.
        self.deadlines.read(Instant::now(), 0, Partial::None);
        // Packets that came with CONNECT.
        if let Err(ending) = self.take_packets().await {
            return ending;
        }
        self.note_read(0);
        let timer = tokio::time::sleep_until(self.deadlines.next());
        tokio::pin!(timer);
        let mut blocked = false;
        // The server stops reading from a peer that does not read its answers.
        let mut pause_reading = false;
        loop {
            if self.client.outbox.has_lane_work()
                && let Err(ending) = Box::pin(self.work_for_lanes()).await
            {
                return ending;
            }
            let mut reads = !pause_reading;
            if self.limited.is_some() {
                match Box::pin(self.is_throttled()).await {
                    Ok(throttled) => reads &= !throttled,
                    Err(ending) => return ending,
                }
            }
            if self.next_deadline() < timer.deadline() {
                timer.as_mut().reset(self.next_deadline());
            }
            if let Some(close) = self.closing.take_if(|_| self.client.outbox.has_sent_all()) {
                return Ending::Closed(*close);
            }
            tokio::select! {
                event = self.intake.wait(&mut self.link, blocked.then_some(&*self.client.outbox), reads) => match event {
                    Ok(LinkEvent::Read(0)) => return Ending::without_disconnect(),
                    Ok(LinkEvent::Read(n)) => {
                        if let Err(ending) = self.take_packets().await {
                            return ending;
                        }
                        self.note_read(n);
                        if blocked {
                            pause_reading = self.client.outbox.condition().pause_reading;
                            self.deadlines.pause(Instant::now(), pause_reading);
                        }
                        if n == READ {
                            // There is more to read. Flushes and other tasks go first.
                            others_first().await;
                        }
                    }
                    Ok(LinkEvent::Wrote) => (blocked, pause_reading) = self.observe(),
                    Ok(LinkEvent::Partial(held)) => self.deadlines.partial(Instant::now(), held, self.intake.partial()),
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
                    if self.client.outbox.take_recheck()
                        && let Err(close) = Box::pin(recheck(&mut self.client)).await
                    {
                        return Ending::Closed(close);
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
                    if self.deadlines.is_write_due(Instant::now()) {
                        self.client.outbox.unblock();
                        (blocked, pause_reading) = self.observe();
                    }
                    if let Err(ending) = Box::pin(self.check_deadlines()).await {
                        return ending;
                    }
                    timer.as_mut().reset(self.next_deadline());
                }
            }
        }
    }

    /// Ends the connection if a deadline has passed.
    async fn check_deadlines(&mut self) -> Result<(), Ending> {
        let mut passed = self.deadlines.passed(Instant::now(), self.link.pending());
        if passed.as_ref().is_some_and(is_receive_timeout) {
            passed = self.recheck_deadlines().await?;
        }
        let Some(close) = passed else {
            return Ok(());
        };
        if close.reason == ReasonCode::QuotaExceeded {
            self.client.node.limit_counts.count("write_pace");
        }
        let close = self.closing.take().map_or(close, |closing| *closing);
        Err(Ending::Closed(close))
    }

    /// Whether the client sends faster than it may, so that the server does not read from it now. Takes the
    /// packets that have waited for the rate.
    async fn is_throttled(&mut self) -> Result<bool, Ending> {
        loop {
            let now = Instant::now();
            let throttle = throttle(&mut self.limited);
            let is_throttled = throttle.is_some_and(|throttle| throttle.is_waiting(now));
            let reads_on = self.deadlines.throttle(now, is_throttled);
            if is_throttled || !reads_on {
                return Ok(is_throttled);
            }
            self.take_packets().await?;
            self.note_read(0);
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
            self.note_read(n);
        }
        let passed = self.deadlines.passed(Instant::now(), self.link.pending());
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
}
