//! The packets of one read: `take_packets` handles all of them, `take_ready` those that need not wait.

use super::authentication::reauthenticate;
use super::ending::Ending;
use super::intake::Intake;
use super::peer_limits::note_user_properties;
use super::publishing::publish;
use super::subscribing::{subscribe, unsubscribe};
use super::{Connection, throttle};
use crate::clock::lane_ms;
use crate::limit_counts::LimitCounts;
use crate::packet::{Decoder, PacketId, ReasonCode, Reply};
use crate::session::{Close, Outbound, Session, Step, UNKNOWN_ID, WrongKind};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// Acknowledgements that are taken under one lock, at most: lanes may wait for it.
const ACKS: usize = 32;

impl Connection {
    /// Handles all complete packets that have been read; then appends, acknowledges and flushes.
    pub(super) async fn take_packets(&mut self) -> Result<(), Ending> {
        let ended = loop {
            let taken = match self.take_ready() {
                Ok(Ready::All) => break None,
                Ok(Ready::Full) => Ok(()),
                Ok(Ready::Request(request)) => request.await,
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

    /// Takes packets and acts on them, until there is something to wait for. A PINGREQ is answered
    /// by PINGRESP [MQTT-3.12.4-1].
    ///
    /// # Errors
    /// The connection ends with this packet.
    fn take_ready(&mut self) -> Result<Ready<'_>, Ending> {
        // Read once, since packets are many and a look at the clock is not free.
        let now = lane_ms();
        let mut next = self.next_step()?;
        while let Some(step) = next {
            if Acknowledgement::of(&step).is_some() {
                next = self.take_acks(step, now)?;
                continue;
            }
            let client = &mut self.client;
            match step {
                // No acknowledgement: the client knows that the server has not accepted it.
                Step::Publish(_) | Step::Subscribe(_) | Step::Unsubscribe(_) if client.draining => {
                }
                Step::Publish(inbound) => {
                    publish(client, inbound)?;
                    if let Some(throttle) = throttle(&mut self.limited)
                        && throttle.note_message(Instant::now())
                    {
                        client.node.limit_counts.count("message_rate");
                        // The other packets wait.
                        return Ok(Ready::All);
                    }
                }
                Step::Duplicate(id) => client.pending.acknowledge_again(id),
                Step::Released(id, code) => {
                    let text = code.is_error().then_some(UNKNOWN_ID).map(Into::into);
                    client.pending.acknowledge(Reply::PubComp(id, code, text));
                }
                Step::Ping => client.pending.acknowledge(Reply::PingResp),
                Step::Disconnect => return Err(Ending::Disconnect),
                request => return Ok(Ready::Request(self.request(request))),
            }
            if self.client.pending.is_full() {
                return Ok(Ready::Full);
            }
            next = self.next_step()?;
        }
        Ok(Ready::All)
    }

    fn next_step(&mut self) -> Result<Option<Step>, Ending> {
        next_step(
            &mut self.intake,
            &mut self.decoder,
            &mut self.client.session,
            &self.client.node.limit_counts,
        )
    }

    /// Takes an acknowledgement and those that follow it, under one lock of the outbox. Returns the
    /// next packet. An unknown packet id changes nothing.
    ///
    /// # Errors
    /// 0x82 if an acknowledgement is of the wrong kind for the QoS of its message. Or the
    /// connection ends with the next packet.
    fn take_acks(&mut self, first: Step, now: u64) -> Result<Option<Step>, Ending> {
        let (intake, decoder, session, counts) = (
            &mut self.intake,
            &mut self.decoder,
            &mut self.client.session,
            &self.client.node.limit_counts,
        );
        let taken = self.client.outbox.queue(|out| {
            let mut next = Some(first);
            for _ in 0..ACKS {
                let Some(ack) = next.as_ref().and_then(Acknowledgement::of) else {
                    break;
                };
                (ack.take)(out, ack.id, now).map_err(wrong_kind)?;
                next = next_step(intake, decoder, session, counts)?;
            }
            Ok(next)
        });
        // A session that has ended awaits no acknowledgement.
        taken.unwrap_or_else(|| self.next_step())
    }

    /// Carries out a packet that may wait for the policy or for lanes. Boxed, since it is rare and
    /// needs much memory.
    fn request(&mut self, step: Step) -> BoxFuture<'_, Result<(), Close>> {
        let Connection {
            client,
            method,
            deadlines,
            ..
        } = self;
        match step {
            Step::Subscribe(packet) => Box::pin(async move { subscribe(client, &packet).await }),
            Step::Unsubscribe(packet) => {
                Box::pin(async move { unsubscribe(client, &packet).await })
            }
            Step::Auth(auth) => Box::pin(async move {
                reauthenticate(client, method, auth).await?;
                // Other credentials may grant less.
                client.outbox.recheck();
                deadlines.expire_in(Instant::now(), client.credentials_left());
                Ok(())
            }),
            _ => Box::pin(std::future::ready(Ok(()))),
        }
    }
}

/// What [`Connection::take_ready`] has found.
enum Ready<'a> {
    /// No complete packet is left, or the rest waits for the client's rate.
    All,
    /// So much is pending that it must be appended.
    Full,
    /// A packet that may wait.
    Request(BoxFuture<'a, Result<(), Close>>),
}

/// An acknowledgement by the client.
struct Acknowledgement {
    id: PacketId,
    take: fn(&mut Outbound, PacketId, u64) -> Result<bool, WrongKind>,
}

impl Acknowledgement {
    fn of(step: &Step) -> Option<Acknowledgement> {
        let (id, take): (_, fn(&mut Outbound, _, _) -> _) = match step {
            Step::Acked(id) => (id, Outbound::acked),
            Step::Received(id) => (id, Outbound::received),
            Step::Refused(id) => (id, Outbound::refused),
            Step::Completed(id) => (id, Outbound::completed),
            _ => return None,
        };
        Some(Acknowledgement { id: *id, take })
    }
}

/// The next complete packet that has been read, as the session sees it.
fn next_step(
    intake: &mut Intake,
    decoder: &mut Decoder,
    session: &mut Session,
    counts: &LimitCounts,
) -> Result<Option<Step>, Ending> {
    let packet = intake.next(decoder);
    let packet = packet.map_err(|error| {
        note_user_properties(&error, counts);
        Ending::bad_packet(&error)
    })?;
    Ok(packet.map(|packet| session.step(packet)).transpose()?)
}

fn wrong_kind(wrong: WrongKind) -> Ending {
    let (reason, text) = (ReasonCode::ProtocolError, wrong.to_string());
    Ending::Closed(Close { reason, text })
}
