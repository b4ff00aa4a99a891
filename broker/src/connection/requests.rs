//! PUBLISH, SUBSCRIBE and UNSUBSCRIBE: judged, then made into entries.

use super::Connection;
use super::by_lane::ByLane;
use crate::clock;
use crate::lane::{
    Entry, FilterEntry, LogError, Origin, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry, lane_of,
};
use crate::packet::{
    NameError, PublishProperties, QoS, ReasonCode, Reply, Subscribe, SubscribeOptions, TopicFilter,
    Unsubscribe, Version,
};
use crate::policy::{Attempt, PublishPermit, Refusal, SubscribeGrant};
use crate::session::{Answer, Close, FilterLimits, Inbound, Outbound};
use bytestring::ByteString;

/// Filters that one connection asks for before others have their turn.
pub(super) const AT_ONCE: usize = 64;

/// Of the filters in one packet, counted by 16 bits.
const TOO_MANY: &str = "one packet may name 65,536 filters";

impl Connection {
    pub(super) fn publish(&mut self, inbound: &Inbound) {
        let permit = self.permit(inbound).and_then(|permit| {
            format_holds(&inbound.properties, &inbound.payload)?;
            Ok(permit)
        });
        let refusal = match permit {
            Ok(permit) => {
                let lane = lane_of(permit.topic.as_str(), self.shared.lanes);
                // Borrowed apart from the batches.
                let user = self.who.user.clone();
                let origin = Origin {
                    session: self.id,
                    user: &user,
                };
                let entry = Entry::Publish(PublishEntry {
                    at: clock::now_ms(),
                    origin: Some(origin),
                    topic: permit.topic.as_str(),
                    payload: &inbound.payload,
                    qos: inbound.qos,
                    retain: inbound.retain,
                    properties: PropertiesEntry::of(&inbound.properties),
                });
                if inbound.qos == QoS::ExactlyOnce && !self.filters.is_empty() {
                    return self.publish_and_receive(lane, &entry, inbound.packet_id);
                }
                self.batch(lane).push(&entry);
                None
            }
            Err(refusal) => Some(refusal),
        };
        self.acknowledge(inbound, refusal);
    }

    /// Asked once for a topic that is published to again and again.
    fn permit(&mut self, inbound: &Inbound) -> Result<PublishPermit, Refusal> {
        if let Some((topic, retain, permit)) = &self.permit
            && *topic == inbound.topic
            && *retain == inbound.retain
        {
            return Ok(permit.clone());
        }
        // A copy: kept while the client is idle, it must not hold on to all that was read with it.
        let topic = inbound.topic.detached();
        let permit = self
            .shared
            .policy
            .publish(&self.who, &topic, inbound.retain)?;
        self.permit = Some((topic, inbound.retain, permit.clone()));
        Ok(permit)
    }

    /// Nothing, PUBACK or PUBREC, as the QoS asks [MQTT-3.3.4-1, 3.1.1 MQTT-4.3.2-2, 5.0 MQTT-4.3.2-4, MQTT-4.3.3-8].
    /// A 5.0 client is told of a refusal by its acknowledgement; 3.1.1 and QoS 0 know none, so there a
    /// notice goes out [3.1.1 MQTT-3.3.5-2].
    fn acknowledge(&mut self, inbound: &Inbound, refusal: Option<Refusal>) {
        let told = self.session.version() == Version::V5 && inbound.qos != QoS::AtMostOnce;
        if let Some(refusal) = &refusal {
            tracing::debug!(user = %self.who.user, topic = %inbound.topic, %refusal, "a PUBLISH was refused");
            if !told {
                self.notify(Attempt::Publish(inbound.topic.as_str()), refusal);
            }
        }
        let Some(id) = inbound.packet_id else { return };
        let (code, reason) = match refusal {
            Some(refusal) if told => (refusal.code, Some(brief(&refusal.reason).into())),
            _ => (ReasonCode::Success, None),
        };
        let reply = if inbound.qos == QoS::AtLeastOnce {
            Reply::PubAck(id, code, reason)
        } else {
            if code != ReasonCode::Success {
                self.session.forget(id);
            }
            Reply::PubRec(id, code, reason)
        };
        self.acks.push(reply.into());
    }

    pub(super) fn notify(&mut self, attempt: Attempt<'_>, refusal: &Refusal) {
        let policy = &self.shared.policy;
        let notice = policy.notice(&self.who, attempt, refusal, clock::now_ms());
        self.notices.extend(notice);
    }

    /// Asked for in pieces, of which each is whole in its lane; the answer is one, when all of them have theirs.
    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), Close> {
        // Before any is asked for again: they would pile up.
        self.forget_refused();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut reason = None;
        let (mut names, mut granted) = (Vec::new(), Vec::new());
        for (place, (filter, options)) in subscribe.filters.iter().enumerate() {
            // Entries count places by 16 bits; no packet limit keeps a client from sending more.
            let Ok(place) = u16::try_from(place) else {
                codes.push(ReasonCode::QuotaExceeded);
                reason.get_or_insert_with(|| TOO_MANY.to_owned());
                continue;
            };
            take_turns(place.into()).await;
            match self.grant(filter).await {
                Ok((name, grant)) => {
                    codes.push(ReasonCode::Success);
                    names.push((place, name));
                    granted.push((place, *options, grant));
                }
                Err(refusal) => {
                    codes.push(refusal.code);
                    if let (Version::V3, Ok(filter)) = (self.session.version(), filter) {
                        self.notify(Attempt::Subscribe(filter.as_str()), &refusal);
                    }
                    reason.get_or_insert(refusal.reason);
                }
            }
        }
        let filters = granted.iter().map(|(_, _, grant)| &grant.filter);
        let asked = ByLane::new(self.shared.lanes, filters);
        self.ticket = self.ticket.wrapping_add(1);
        let ticket = self.ticket;
        let answer = Answer::SubAck(subscribe.packet_id, names);
        self.owe(answer, codes, reason, asked.pieces());
        let user = self.who.user.clone();
        for lane in asked.lanes() {
            self.lanes.insert(lane);
            for piece in asked.of(lane).chunks(AT_ONCE) {
                let who = Origin {
                    session: self.id,
                    user: &user,
                };
                let filters = piece.iter().filter_map(|at| granted.get(*at));
                let filters =
                    filters.map(|(slot, options, grant)| filter_entry(*slot, *options, grant));
                self.batch(lane).push(&Entry::Subscribe(SubscribeEntry {
                    at: clock::now_ms(),
                    who,
                    request_id: ticket,
                    identifier: subscribe.identifier.map_or(0, Into::into),
                    filters: filters.collect(),
                }));
                self.ask(piece.len()).await.map_err(|e| not_logged(&e))?;
            }
        }
        Ok(())
    }

    /// The filter by the name that the session counts it by, and as lanes are asked for it.
    async fn grant(
        &mut self,
        filter: &Result<TopicFilter, NameError>,
    ) -> Result<(ByteString, SubscribeGrant), Refusal> {
        let filter = filter.as_ref().map_err(|error| Refusal {
            code: ReasonCode::TopicFilterInvalid,
            reason: error.to_string(),
        })?;
        let limits = FilterLimits {
            number: self.shared.limits.subscriptions,
            bytes: self.shared.limits.subscription_bytes,
        };
        self.filters.may_hold(filter.as_str(), limits)?;
        let grant = self.shared.policy.subscribe(&self.who, filter).await?;
        let name = ByteString::from(filter.as_str());
        self.filters.insert(name.clone());
        Ok((name, grant))
    }

    /// One answer for all filters, whether they were held or not [MQTT-3.10.4-5, MQTT-3.10.4-6]; in pieces like those of a
    /// SUBSCRIBE.
    pub(super) async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Close> {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        let mut reason = None;
        let mut resolved = Vec::new();
        for (place, filter) in unsubscribe.filters.iter().enumerate() {
            take_turns(place).await;
            match (u16::try_from(place), filter) {
                (Err(_), _) => {
                    codes.push(ReasonCode::UnspecifiedError);
                    reason.get_or_insert_with(|| TOO_MANY.to_owned());
                }
                (Ok(place), Ok(filter)) => {
                    self.filters.remove(filter.as_str());
                    codes.push(ReasonCode::Success);
                    resolved.push((place, self.shared.policy.resolve(&self.who, filter)));
                }
                (Ok(_), Err(error)) => {
                    codes.push(ReasonCode::TopicFilterInvalid);
                    reason.get_or_insert_with(|| error.to_string());
                }
            }
        }
        let filters = resolved.iter().map(|(_, filter)| filter);
        let asked = ByLane::new(self.shared.lanes, filters);
        self.ticket = self.ticket.wrapping_add(1);
        let ticket = self.ticket;
        let answer = Answer::UnsubAck(unsubscribe.packet_id);
        self.owe(answer, codes, reason, asked.pieces());
        let user = self.who.user.clone();
        for lane in asked.lanes() {
            for piece in asked.of(lane).chunks(AT_ONCE) {
                let who = Origin {
                    session: self.id,
                    user: &user,
                };
                let filters = piece.iter().filter_map(|at| resolved.get(*at));
                let filters = filters.map(|(place, filter)| (*place, filter.as_str()));
                self.batch(lane).push(&Entry::Unsubscribe(UnsubscribeEntry {
                    at: clock::now_ms(),
                    who,
                    request_id: ticket,
                    filters: filters.collect(),
                }));
                self.ask(piece.len()).await.map_err(|e| not_logged(&e))?;
            }
        }
        Ok(())
    }

    /// `filters` more are asked of a lane. Where they are many, those so far go in, and the others of this thread come
    /// before the next: each may bring what is retained, and one packet may name thousands.
    pub(super) async fn ask(&mut self, filters: usize) -> Result<(), LogError> {
        self.asked += filters;
        if self.asked >= AT_ONCE {
            self.append_all().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(super) fn owe(
        &self,
        kind: Answer,
        codes: Vec<ReasonCode>,
        reason: Option<String>,
        lanes: usize,
    ) {
        let (ticket, now) = (self.ticket, clock::now_ms());
        self.outbox
            .queue(|out| out.owe(ticket, kind, codes, reason, lanes, now));
    }

    /// Those that a lane refused after all are none of the session's.
    pub(super) fn forget_refused(&mut self) {
        for filter in self
            .outbox
            .queue(Outbound::take_refused)
            .unwrap_or_default()
        {
            self.filters.remove(&filter);
        }
    }
}

/// Bytes of a reason that answers a PUBLISH.
const BRIEF: usize = 256;

/// A reason may name a topic, which an alias says in a few bytes as often as its client likes.
fn brief(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(BRIEF)]
}

/// It did not get into the log.
pub(super) fn not_logged(error: &LogError) -> Close {
    Close {
        reason: ReasonCode::UnspecifiedError,
        text: error.to_string(),
    }
}

/// Lets the others of this thread come before this one of many filters.
pub(super) async fn take_turns(place: usize) {
    if place % AT_ONCE == AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}

/// Whether a payload that is said to be text is text (3.3.2.3.2, 3.1.3.2.3). A look at a flag, where it is not.
pub(super) fn format_holds(said: &PublishProperties, payload: &[u8]) -> Result<(), Refusal> {
    if said.payload_format_indicator != Some(true) {
        return Ok(());
    }
    std::str::from_utf8(payload)
        .map(drop)
        .map_err(|error| Refusal {
            code: ReasonCode::PayloadFormatInvalid,
            reason: format!(
                "the payload is said to be UTF-8 and is not, from byte {} on",
                error.valid_up_to()
            ),
        })
}

pub(super) fn filter_entry(
    slot: u16,
    options: SubscribeOptions,
    grant: &SubscribeGrant,
) -> FilterEntry<'_> {
    FilterEntry {
        position: slot,
        filter: grant.filter.as_str(),
        options,
        mount: grant.mount.clone(),
        guarded: grant.guarded,
        proof: &grant.proof,
    }
}
