//! One task a client: reads bytes, frames and checks packets, asks the session and the policy, and appends.
//!
//! It never writes messages itself unless the socket was full: that is the keepers' work.

mod appending;
mod authentication;
mod by_lane;
mod deadlines;
mod door;
mod ending;
mod handshake;
mod intake;
mod link;
mod opening;
mod requests;
mod resume;
mod sleepers;

pub(crate) use sleepers::Sleepers;

use crate::clock::now_ms;
use crate::lane::{Batch, Entrance, Mailboxes};
use crate::listener::Port;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, Decoder, ReasonCode, Reply};
use crate::policy::{Peer, Policy, Principal, PublishPermit, SessionId};
use crate::server::{Gate, Inside};
use crate::session::{Close, Filters, Outbound, Session, Step, UNKNOWN_ID, WrongKind};
use crate::sessions::Sessions;
use crate::sys::Counters;
use crate::transport::{Arrival, Socket, Turns};
use appending::{ANSWERS_KEPT, Ack};
use authentication::Method;
use bytestring::ByteString;
use deadlines::Deadlines;
use ending::Ending;
use futures_util::FutureExt;
use intake::{Intake, READ, Woken};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use intake::{Rest, in_pieces};
pub(crate) use link::{Duplex, Link};
use requests::not_logged;
use roommq_config::Limits;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// Reads of a connection that is about to end: 8 MiB, more than the kernel holds of it.
const READS_AT_THE_END: usize = (8 << 20) / READ;

/// What all connections of one thread share.
pub(crate) struct Shared {
    pub policy: Arc<dyn Policy>,
    pub sessions: Arc<Sessions>,
    pub courier: Mailboxes,
    pub counters: Arc<Counters>,
    pub entrance: Arc<Entrance>,
    pub limits: Limits,
    /// How many lanes there are.
    pub lanes: u16,
    /// Sessions that still take new messages.
    pub reading: Gate,
    /// Sessions that still have their connection.
    pub open: Gate,
    /// Connections, those before their CONNECT included.
    pub living: Gate,
    /// For handshakes that cost much.
    pub turns: Turns,
}

/// A connection whose CONNECT was accepted. Boxed where it is passed on: a future holds a copy of all that
/// it is handed.
struct Connection {
    shared: Arc<Shared>,
    who: Principal,
    id: SessionId,
    client_id: ByteString,
    peer: Peer,
    session: Session,
    outbox: Arc<Outbox>,
    decoder: Decoder,
    /// Lanes in which the session has had something.
    lanes: BTreeSet<u16>,
    /// As the client named them.
    filters: Filters,
    /// Number of the last SUBSCRIBE or UNSUBSCRIBE.
    ticket: u32,
    /// For the topic that was published to last.
    permit: Option<(crate::packet::TopicName, bool, PublishPermit)>,
    /// How the client was authenticated, where its CONNECT named a method.
    method: Option<Box<Method>>,
    /// Entries of this read, by lane.
    batches: Vec<(u16, Batch)>,
    /// Filters in them.
    asked: usize,
    /// Acknowledgements that go out once `batches` are in the log, in the order of what they answer
    /// [3.1.1 MQTT-4.6.0-2, MQTT-4.6.0-3].
    acks: Vec<Ack>,
    /// Notices that follow them.
    notices: Vec<crate::policy::Notice>,
    /// The server is shutting down: acknowledgements are still taken, nothing new is.
    draining: bool,
    /// Everybody has been told of its end.
    parted: bool,
}

/// Serves a socket until its end.
pub(crate) async fn serve(socket: Socket, peer: Peer, port: Arc<Port>, shared: Arc<Shared>) {
    shared.counters.socket();
    let until = Instant::now() + port.handshake_time;
    let mut intake = Intake::default();
    // Boxed: the handshakes are short and large, the connection after them long and many.
    let arrival = if port.layers.are_none() {
        Arrival::plain(socket, peer)
    } else {
        let Some(arrival) = Box::pin(arrive(socket, peer, &port, &shared.turns, until)).await
        else {
            return;
        };
        arrival
    };
    let accepted = handshake::accept(arrival, &mut intake, &port, until, &shared);
    let accepted = Box::pin(accepted).await;
    shared.counters.received(intake.received());
    let Some((connection, link, keep_alive)) = accepted else {
        return;
    };
    connection.run(link, intake, keep_alive).await;
}

async fn arrive(
    socket: Socket,
    peer: Peer,
    port: &Port,
    turns: &Turns,
    until: Instant,
) -> Option<Arrival> {
    let passed = port.layers.pass(socket, peer, turns);
    let listener = &port.place;
    match tokio::time::timeout_at(until, passed).await {
        Ok(Ok(arrival)) => return Some(arrival),
        Ok(Err(error)) => tracing::info!(%peer, %listener, %error, "a handshake failed"),
        Err(_) => {
            let limit = port.handshake_time;
            tracing::info!(%peer, %listener, "no handshake within {limit:?}");
        }
    }
    None
}

impl Connection {
    async fn run(mut self: Box<Self>, mut link: Link, mut intake: Intake, keep_alive: u16) {
        let _open = self.shared.open.enter();
        let reading = self.shared.reading.enter();
        // Told before it was among those who read and are waited for.
        self.draining = self.outbox.condition().draining;
        let mut deadlines = Deadlines::new(keep_alive, &self.shared.limits, Instant::now());
        // What came right behind CONNECT.
        let ending = match self.packets(&mut intake).await {
            Ok(()) => {
                deadlines.read(Instant::now(), intake.rest());
                self.attend(&mut link, &mut intake, &mut deadlines, reading)
                    .await
            }
            Err(ending) => ending,
        };
        // Boxed: the end is short and large, like the beginning.
        Box::pin(self.end(ending, link)).await;
    }

    /// Reads, until there is a reason to end.
    async fn attend(
        &mut self,
        link: &mut Link,
        intake: &mut Intake,
        deadlines: &mut Deadlines,
        reading: Inside,
    ) -> Ending {
        let mut reading = Some(reading);
        let outbox = self.outbox.clone();
        let timer = tokio::time::sleep_until(deadlines.next());
        tokio::pin!(timer);
        let mut blocked = false;
        // Who does not read is not read from, or what is answered would pile up.
        let mut choked = false;
        // What the server closes with, once all has gone out.
        let mut last: Option<Close> = None;
        loop {
            if let Some(close) = last.take_if(|_| outbox.is_settled()) {
                return Ending::closed(close);
            }
            tokio::select! {
                woken = intake.wait(link, blocked.then_some(&*outbox), !choked) => match woken {
                    Ok(Woken::Read(0)) => {
                        return without_disconnect();
                    }
                    Ok(Woken::Read(n)) => {
                        if let Err(ending) = self.packets(intake).await {
                            return ending;
                        }
                        deadlines.read(Instant::now(), intake.rest());
                        if blocked {
                            choked = outbox.condition().choked;
                            deadlines.pause(Instant::now(), choked);
                        }
                        if n == READ {
                            // There is more: the others of this thread, and what is to be written, go first.
                            tokio::task::yield_now().await;
                        }
                    }
                    Ok(Woken::Wrote) => {
                        let condition = outbox.condition();
                        (blocked, choked) = deadlines.see(Instant::now(), &condition, link.holds_bytes());
                    }
                    Ok(Woken::Begun(held)) => deadlines.begun(Instant::now(), held, intake.rest()),
                    Ok(Woken::Broken(kind)) => {
                        return Box::pin(self.unwritable(link, intake, lost_by(kind))).await;
                    }
                    Err(error) => return broken(&error),
                },
                () = outbox.attention() => {
                    let condition = outbox.condition();
                    if condition.draining {
                        self.draining = true;
                        drop(reading.take());
                    }
                    if outbox.is_broken() {
                        let ending = Ending::lost("the peer's socket takes nothing any more");
                        return Box::pin(self.unwritable(link, intake, ending)).await;
                    }
                    (blocked, choked) = deadlines.see(Instant::now(), &condition, link.holds_bytes());
                    match condition.closing {
                        Some(close) if close.reason == ReasonCode::ServerShuttingDown => {
                            deadlines.finish_by(Instant::now() + self.shared.limits.shutdown_time / 2);
                            last = Some(close);
                        }
                        Some(close) if close.reason == ReasonCode::SessionTakenOver => {
                            return Box::pin(self.taken_over(link, intake, close)).await;
                        }
                        Some(close) => return Ending::closed(close),
                        None => {}
                    }
                }
                () = &mut timer => {
                    let mut passed = deadlines.passed(Instant::now());
                    if passed.as_ref().is_some_and(is_owed) {
                        match Box::pin(self.unread(link, intake, deadlines)).await {
                            Ok(still) => passed = still,
                            Err(ending) => return ending,
                        }
                    }
                    if let Some(close) = passed {
                        return Ending::closed(last.take().unwrap_or(close));
                    }
                    timer.as_mut().reset(deadlines.next());
                }
            }
            if deadlines.next() < timer.deadline() {
                timer.as_mut().reset(deadlines.next());
            }
        }
    }

    /// The peer seems to be late. What has come and was not read yet, since this thread was busy, is not its fault: takes
    /// that, and says what is still to end the connection for.
    async fn unread(
        &mut self,
        link: &mut Link,
        intake: &mut Intake,
        deadlines: &mut Deadlines,
    ) -> Result<Option<Close>, Ending> {
        // The thread may not have looked at its sockets since.
        tokio::task::yield_now().await;
        let n = intake.glance(link).await;
        if n > 0 {
            self.packets(intake).await?;
            deadlines.read(Instant::now(), intake.rest());
        }
        let passed = deadlines.passed(Instant::now());
        // After so much there may be more.
        Ok(passed.filter(|close| n < READ || !is_owed(close)))
    }

    /// Another connection has the client id. What this one had sent before counts: a client that says DISCONNECT and
    /// comes back at once has left in order [MQTT-3.14.4-3].
    async fn taken_over(&mut self, link: &mut Link, intake: &mut Intake, close: Close) -> Ending {
        match self.read_out(link, intake).await {
            Some(left @ Ending::Left) => left,
            _ => Ending::closed(close),
        }
    }

    /// The socket takes nothing any more. What the client had sent before counts, and may say why; of a Unix socket the
    /// peer may have closed its reading side alone.
    async fn unwritable(
        &mut self,
        link: &mut Link,
        intake: &mut Intake,
        otherwise: Ending,
    ) -> Ending {
        let ending = self.read_out(link, intake).await;
        ending.unwrap_or(otherwise)
    }

    /// Takes what has come already; how the connection ended by that. Of a peer that goes on sending not all, nor of one
    /// that does not read what it is answered.
    async fn read_out(&mut self, link: &mut Link, intake: &mut Intake) -> Option<Ending> {
        for _ in 0..READS_AT_THE_END {
            // The thread may not have looked at its sockets since.
            tokio::task::yield_now().await;
            if self.outbox.is_full() {
                return None;
            }
            match intake.wait(link, None, true).now_or_never()? {
                Ok(Woken::Read(0)) => {
                    return Some(without_disconnect());
                }
                Ok(Woken::Read(_)) => {
                    if let Err(ending) = self.packets(intake).await {
                        return Some(ending);
                    }
                }
                Ok(Woken::Wrote | Woken::Broken(_) | Woken::Begun(_)) => {}
                Err(error) => return Some(broken(&error)),
            }
        }
        None
    }

    /// Takes all whole packets that have been read; appends, acknowledges, and writes.
    async fn packets(&mut self, intake: &mut Intake) -> Result<(), Ending> {
        let ended = loop {
            match intake.next(&mut self.decoder) {
                Ok(Some(packet)) => {
                    let step = self.session.step(packet).map_err(Ending::closed);
                    match step {
                        Ok(Step::Leave) => break Some(Ending::Left),
                        Ok(Step::Auth(auth)) => {
                            if let Err(close) = self.authenticate(auth).await {
                                break Some(Ending::closed(close));
                            }
                        }
                        Ok(step) => {
                            if let Err(close) = self.take_and_append(step).await {
                                break Some(Ending::closed(close));
                            }
                        }
                        Err(ending) => break Some(ending),
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(Ending::closed(bad_packet(&error))),
            }
        };
        self.shared.counters.received(intake.received());
        // What came before the end counts. Where it cannot be appended, that is the end [3.1.1 MQTT-4.8.0-2].
        self.append_all()
            .await
            .map_err(|e| Ending::lost(&e.to_string()))?;
        for notice in self.notices.drain(..) {
            self.shared.courier.send(notice);
        }
        self.notices.shrink_to(ANSWERS_KEPT);
        if self.outbox.wants_flush() {
            self.shared.entrance.flush_soon(&self.outbox);
        }
        ended.map_or(Ok(()), Err)
    }

    async fn take_and_append(&mut self, step: Step) -> Result<(), Close> {
        self.take(step).await?;
        self.append_many().await.map_err(|e| not_logged(&e))
    }

    /// Acts on it, or answers at once, as PINGREQ [MQTT-3.12.4-1].
    async fn take(&mut self, step: Step) -> Result<(), Close> {
        match step {
            // Not acknowledged, so the client knows that it was not taken.
            Step::Publish(_) | Step::Subscribe(_) | Step::Unsubscribe(_) if self.draining => {}
            Step::Publish(inbound) => {
                self.publish(&inbound);
            }
            Step::Repeated(id) => {
                let pubrec = Reply::PubRec(id, ReasonCode::Success, None);
                self.acks.push(pubrec.into());
            }
            Step::Subscribe(subscribe) => self.subscribe(&subscribe).await?,
            Step::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe).await?,
            Step::Acked(id) => self.acknowledged(|out| out.acked(id, now_ms()))?,
            Step::Received(id) => self.acknowledged(|out| out.received(id, now_ms()))?,
            Step::Refused(id) => self.acknowledged(|out| out.refused(id, now_ms()))?,
            Step::Completed(id) => self.acknowledged(|out| out.completed(id, now_ms()))?,
            Step::Released(id, code) => {
                let text = code.is_error().then_some(UNKNOWN_ID).map(Into::into);
                self.acks.push(Reply::PubComp(id, code, text).into());
            }
            Step::Ping => self.acks.push(Reply::PingResp.into()),
            Step::Leave | Step::Auth(_) => {}
        }
        Ok(())
    }

    /// What the client acknowledges; an id that is not known is passed over.
    fn acknowledged(
        &self,
        fill: impl FnOnce(&mut Outbound) -> Result<bool, WrongKind>,
    ) -> Result<(), Close> {
        match self.outbox.queue(fill) {
            Some(Err(wrong)) => Err(Close {
                reason: ReasonCode::ProtocolError,
                text: wrong.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether the time that has passed is one for the peer to send something.
fn is_owed(close: &Close) -> bool {
    use ReasonCode::{KeepAliveTimeout, ProtocolError};
    matches!(close.reason, KeepAliveTimeout | ProtocolError)
}

/// What is no frame, or too large a one, is the peer's fault, and is told; anything else is the network's.
fn broken(error: &std::io::Error) -> Ending {
    let reason = match error.kind() {
        std::io::ErrorKind::InvalidData => ReasonCode::ProtocolError,
        std::io::ErrorKind::FileTooLarge => ReasonCode::PacketTooLarge,
        kind => return lost_by(kind),
    };
    let text = error.to_string();
    Ending::closed(Close { reason, text })
}

fn without_disconnect() -> Ending {
    Ending::lost("connection closed without DISCONNECT")
}

fn lost_by(kind: std::io::ErrorKind) -> Ending {
    Ending::lost(&format!("connection lost: {kind}"))
}

fn bad_packet(error: &DecodeError) -> Close {
    Close {
        reason: error.reason(),
        text: error.to_string(),
    }
}
