//! Random entries as sessions would cause them: some of them stale, late or repeated.

use super::replicas::Replicas;
use super::rng::Rng;
use roommq_broker::policy::{Actor, EndReason, SessionId, SubscribeGrant};
use roommq_lane::{
    DisconnectEntry, DoneEntry, Entry, FilterEntry, PropertiesEntry, PublishEntry, SubscribeEntry,
    UnsubscribeEntry, WallTime,
};
use roommq_mqtt::packet::{QoS, RetainHandling, SubscribeOptions};
use roommq_mqtt::session::{Done, MessageNo};
use std::collections::VecDeque;

/// Who takes part, and in which topics.
#[derive(Debug)]
pub struct Cast {
    /// Each user's name in topics, and the filters that the policy grants.
    pub users: Vec<(String, Vec<SubscribeGrant>)>,
    /// The topics that all of them publish to.
    pub topics: Vec<String>,
}

/// Sessions that have not ended, at most.
const SESSIONS: usize = 8;

/// Sessions that have ended, and timers that have fired, that are remembered for late entries.
const REMEMBERED: usize = 8;

#[derive(Debug, Clone)]
struct StorySession {
    id: SessionId,
    user: usize,
    connection: u32,
    /// Indexes of grants that the session has asked for.
    asked: Vec<usize>,
}

/// Writes the log.
pub struct Story<'a> {
    cast: &'a Cast,
    rng: Rng,
    /// The writer's clock, in milliseconds.
    now: u64,
    sessions: Vec<StorySession>,
    ended: VecDeque<StorySession>,
    begun: u64,
    fired: VecDeque<(String, u64)>,
}

impl<'a> Story<'a> {
    pub fn new(cast: &'a Cast, seed: u64) -> Self {
        Story {
            cast,
            rng: Rng::new(seed),
            now: 1_700_000_000_000,
            sessions: Vec::new(),
            ended: VecDeque::new(),
            begun: 0,
            fired: VecDeque::new(),
        }
    }

    /// Appends the next entries, if any.
    pub fn go_on(&mut self, lanes: &mut Replicas<'_>) {
        self.now += match self.rng.below(200) {
            0 => 11_000,
            1..20 => 900,
            _ => self.rng.below(20),
        };
        match self.rng.below(100) {
            0..45 => self.publish(lanes),
            45..60 => self.subscribe(lanes),
            60..66 => self.unsubscribe(lanes),
            66..74 => self.begin(),
            74..81 => self.resume(lanes),
            81..88 => self.disconnect(lanes),
            88..92 => self.done(lanes),
            92..95 => self.fire_timers(lanes),
            95..97 => self.fire_again(lanes),
            97..99 => self.tell(lanes),
            _ => lanes.change_rules(self.now, self.rng.below(2)),
        }
    }

    /// Appends an entry in a batch of its own. Its time is sometimes behind, or that of a clock that
    /// jumped; its wall time is any.
    fn append(&mut self, entry: &Entry<'_>, lanes: &mut Replicas<'_>) {
        let at = match self.rng.below(40) {
            0 | 1 => self.now - 3_000,
            2 => 0,
            _ => self.now,
        };
        let wall = WallTime(self.now / 2 + self.rng.below(self.now));
        lanes.append(at, wall, entry);
    }

    /// A random session, rarely one that has ended or an earlier connection.
    fn any_session(&mut self) -> Option<StorySession> {
        if self.rng.one_in(30) {
            let at = self.rng.index(self.ended.len())?;
            return self.ended.get(at).cloned();
        }
        let mut session = self.rng.pick(&self.sessions)?.clone();
        if session.connection > 1 && self.rng.one_in(20) {
            session.connection -= 1;
        }
        Some(session)
    }

    fn begin(&mut self) {
        let Some(user) = self.rng.index(self.cast.users.len()) else {
            return;
        };
        if self.sessions.len() >= SESSIONS {
            return;
        }
        self.begun += 1;
        let id = SessionId {
            term: 1 + self.begun / 1_000,
            n: self.begun,
        };
        self.sessions.push(StorySession {
            id,
            user,
            connection: 1,
            asked: Vec::new(),
        });
    }

    fn publish(&mut self, lanes: &mut Replicas<'_>) {
        let cast = self.cast;
        let (Some(topic), sender) = (self.rng.pick(&cast.topics), self.any_session()) else {
            return;
        };
        let by_server = self.rng.one_in(20);
        let length = match self.rng.below(10) {
            0..2 => 0,
            9 => 400,
            _ => self.rng.below(40),
        };
        let payload: Vec<u8> = (0..length)
            .map(|_| self.rng.next().to_le_bytes()[0])
            .collect();
        let properties = self.rng.one_in(3).then(|| PropertiesEntry {
            payload_format_indicator: self.rng.one_in(2).then_some(true),
            message_expiry: u32::try_from(self.rng.below(40)).ok(),
            content_type: self.rng.one_in(2).then_some("text/plain"),
            response_topic: self.rng.one_in(4).then_some("answers"),
            correlation_data: self.rng.one_in(4).then_some(b"\x00\x01".as_slice()),
            user_properties: vec![("a".into(), "b".into()); usize::from(self.rng.one_in(3))].into(),
        });
        let entry = PublishEntry {
            origin: sender
                .as_ref()
                .filter(|_| !by_server)
                .map(|s| s.actor(cast)),
            topic,
            payload: &payload,
            qos: self.qos(),
            retain: self.rng.one_in(2),
            properties: properties.map(Box::new),
        };
        self.append(&Entry::Publish(entry), lanes);
    }

    fn qos(&mut self) -> QoS {
        match self.rng.below(3) {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    fn subscribe(&mut self, lanes: &mut Replicas<'_>) {
        let Some(mut session) = self.any_session() else {
            return;
        };
        // Another connection that has not been announced by a `Resume`.
        if self.rng.one_in(20) {
            session.connection += 1;
        }
        let grants = &self.cast.users[session.user].1;
        let wanted = 1 + self.rng.below(3);
        let wanted: Vec<_> = (0..wanted)
            .filter_map(|_| self.rng.index(grants.len()))
            .collect();
        session.asked.extend(&wanted);
        self.remember(&session);
        let entry = self.filters(&session, &wanted);
        self.append(&Entry::Subscribe(entry), lanes);
    }

    /// The grants with these indexes as an entry.
    fn filters<'s>(&mut self, session: &'s StorySession, wanted: &[usize]) -> SubscribeEntry<'s>
    where
        'a: 's,
    {
        let cast = self.cast;
        let grants = wanted.iter().map(|at| &cast.users[session.user].1[*at]);
        let filters = (0..).zip(grants).map(|(position, grant)| FilterEntry {
            position,
            filter: grant.filter.as_str(),
            options: self.options(),
            mount: grant.mount.clone(),
            guarded: grant.guarded,
            proof: &grant.proof,
        });
        let filters = filters.collect();
        SubscribeEntry {
            who: session.actor(cast),
            request_id: 1,
            keeps: !session.id.n.is_multiple_of(3),
            identifier: u32::try_from(self.rng.below(3)).unwrap_or(0),
            filters,
        }
    }

    fn options(&mut self) -> SubscribeOptions {
        SubscribeOptions {
            qos: self.qos(),
            no_local: self.rng.one_in(4),
            retain_as_published: self.rng.one_in(2),
            retain_handling: RetainHandling::Send,
        }
    }

    fn unsubscribe(&mut self, lanes: &mut Replicas<'_>) {
        let Some(mut session) = self.any_session() else {
            return;
        };
        let mut filters = Vec::new();
        for position in 0..=2 {
            let Some(at) = self.rng.index(session.asked.len()) else {
                break;
            };
            let at = session.asked.swap_remove(at);
            filters.push((
                position,
                self.cast.users[session.user].1[at].filter.as_str(),
            ));
        }
        self.remember(&session);
        let entry = UnsubscribeEntry {
            who: session.actor(self.cast),
            request_id: 1,
            filters,
        };
        self.append(&Entry::Unsubscribe(entry), lanes);
    }

    /// The next connection of a session. It keeps most of its filters, and asks for one that it may
    /// never have had.
    fn resume(&mut self, lanes: &mut Replicas<'_>) {
        let Some(mut session) = self.any_session() else {
            return;
        };
        session.connection += 1;
        let mut wanted = session.asked.clone();
        wanted.retain(|_| !self.rng.one_in(5));
        wanted.extend(self.rng.index(self.cast.users[session.user].1.len()));
        wanted.sort_unstable();
        wanted.dedup();
        session.asked.clone_from(&wanted);
        self.remember(&session);
        let entry = self.filters(&session, &wanted);
        self.append(&Entry::Resume(entry), lanes);
    }

    fn disconnect(&mut self, lanes: &mut Replicas<'_>) {
        let Some(session) = self.any_session() else {
            return;
        };
        let entry = DisconnectEntry {
            who: session.actor(self.cast),
            reason: match self.rng.below(3) {
                0 => EndReason::Orderly,
                1 => EndReason::Lost("connection lost".to_owned()),
                _ => EndReason::Lost("keep-alive passed".to_owned()),
            },
            sent: self.message(lanes),
            authenticated: session.user == 0,
        };
        let ends = !session.asked.is_empty() && self.rng.one_in(2);
        if ends {
            self.append(&Entry::Ended(entry), lanes);
            self.end(&session, lanes);
        } else {
            self.append(&Entry::Disconnected(entry), lanes);
            self.remember(&session);
        }
    }

    /// A session has finished with some messages, of which it may know nothing.
    fn done(&mut self, lanes: &mut Replicas<'_>) {
        let Some(StorySession { id: session, .. }) = self.any_session() else {
            return;
        };
        let up_to = self.message(lanes);
        let also = (0..3).map(|_| self.message(lanes).0).collect();
        let done = Done { up_to, also };
        self.append(&Entry::Done(DoneEntry { session, done }), lanes);
    }

    /// One of the latest messages, or the next.
    fn message(&mut self, lanes: &Replicas<'_>) -> MessageNo {
        let last = lanes.last_message().0 + 1;
        MessageNo(last.saturating_sub(self.rng.below(12)))
    }

    fn end(&mut self, session: &StorySession, lanes: &mut Replicas<'_>) {
        let is_it =
            |known: &StorySession| known.id == session.id && known.connection <= session.connection;
        let Some(at) = self.sessions.iter().position(is_it) else {
            return;
        };
        self.ended.push_front(self.sessions.swap_remove(at));
        if self.ended.len() > REMEMBERED
            && let Some(mut forgotten) = self.ended.pop_back()
        {
            // A late entry may have brought the session back, and the state must not grow.
            forgotten.connection = u32::MAX;
            let entry = DisconnectEntry {
                who: forgotten.actor(self.cast),
                reason: EndReason::Orderly,
                sent: MessageNo::NONE,
                authenticated: false,
            };
            self.append(&Entry::Ended(entry), lanes);
        }
    }

    /// Replaces what is known of a session, unless it has ended or has a later connection.
    fn remember(&mut self, session: &StorySession) {
        let is_it = |known: &&mut StorySession| {
            known.id == session.id && known.connection <= session.connection
        };
        if let Some(known) = self.sessions.iter_mut().find(is_it) {
            known.clone_from(session);
        }
    }

    /// The timers of the first node that are due fire, in the order of their keys.
    fn fire_timers(&mut self, lanes: &mut Replicas<'_>) {
        let timers = lanes.timers.iter();
        let due = timers.filter(|(_, (_, at))| *at <= self.now);
        let due: Vec<_> = due
            .map(|(key, (generation, _))| (key.clone(), *generation))
            .collect();
        for (key, generation) in due {
            self.fire(&key, generation, lanes);
            self.fired.push_front((key, generation));
            self.fired.truncate(REMEMBERED);
        }
    }

    /// A timer that has fired, or that has been replaced, fires once more.
    fn fire_again(&mut self, lanes: &mut Replicas<'_>) {
        if let Some(at) = self.rng.index(self.fired.len())
            && let Some((key, generation)) = self.fired.get(at).cloned()
        {
            self.fire(&key, generation, lanes);
        }
    }

    fn fire(&mut self, key: &str, generation: u64, lanes: &mut Replicas<'_>) {
        let timers = &mut lanes.timers;
        timers.retain(|other, (set, _)| other != key || *set != generation);
        self.append(&Entry::Timer { key, generation }, lanes);
    }

    /// The error messages of the first node arrive.
    fn tell(&mut self, lanes: &mut Replicas<'_>) {
        for notice in std::mem::take(&mut lanes.notices) {
            let entry = PublishEntry::of_server(&notice.topic, &notice.payload);
            self.append(&Entry::Publish(entry), lanes);
        }
    }
}

impl StorySession {
    fn actor<'s>(&'s self, cast: &'s Cast) -> Actor<'s> {
        Actor {
            session: self.id,
            connection: self.connection,
            user: &cast.users[self.user].0,
        }
    }
}
