//! The rooms of one lane, as the broker's [`LaneHook`].
//!
//! Architecture invariant: all room state is here, and only the hook's methods change it. The same
//! entries give the same effects: no effect depends on a clock, a random number or the order of a
//! hash map.
//!
//! The lane must call `gone` for a session after all other calls for that session.

use super::compiled_rules::{CompiledRules, RulesReader};
use super::creators::RoomCreators;
use super::epoch::{self, Epoch};
use super::hook_keys::user_key;
use super::join_proof::JoinProof;
use super::join_rates::{JoinRates, device_key};
use super::membership::{JoinOutcome, LeaveOutcome};
use super::notice;
use super::refusal::refused;
use super::room::{Room, not_a_member};
use super::time::rfc3339;
use super::topics::{self, FilterScope, TopicKind};
use ahash::RandomState;
use bytes::Bytes;
use roommq_lane::{
    Actor, Effect, EndReason, HookContext, LaneHook, Limit, Mark, Message, Refusal, Request,
    RestoreError, RulesError, SessionId, Stamps, Verdict, WallTime,
};
use roommq_mqtt::packet::ReasonCode;
use smol_str::SmolStr;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

mod snapshot;

/// The rooms of one lane.
#[derive(Debug)]
pub struct LaneRooms {
    reader: Arc<dyn RulesReader>,
    /// Of the present rules. A room that has the policy of an earlier version looks for its policy
    /// again before it uses it.
    rules_version: u64,
    rules: CompiledRules,
    /// By name. A `SmolStr` holds a short name inline, so that comparing it causes no further cache
    /// miss.
    rooms: HashMap<SmolStr, Room, RandomState>,
    /// By session: the rooms that it has joined, in the order in which its end is announced.
    sessions: HashMap<SessionId, SessionRooms, RandomState>,
    /// Grows with each room created and each timer started, to distinguish those of one
    /// millisecond.
    order: u64,
    creators: RoomCreators,
    joins: JoinRates,
}

/// The rooms of one session.
#[derive(Debug, Default)]
struct SessionRooms {
    /// The latest connection seen. Entries of an earlier one are stale.
    connection: u32,
    rooms: BTreeSet<Arc<str>>,
}

impl LaneRooms {
    /// A lane without rooms. Until it has rules, nobody may do anything.
    pub fn new(reader: Arc<dyn RulesReader>) -> LaneRooms {
        LaneRooms {
            reader,
            rules_version: 0,
            rules: CompiledRules::none(),
            rooms: HashMap::default(),
            sessions: HashMap::default(),
            order: 0,
            creators: RoomCreators::default(),
            joins: JoinRates::default(),
        }
    }

    /// The room of this name, with its policy by the present rules.
    fn room_mut(&mut self, name: &str) -> Option<&mut Room> {
        let room = self.rooms.get_mut(name)?;
        room.follow(&self.rules.rooms, self.rules_version);
        Some(room)
    }

    fn is_stale(&self, who: Actor<'_>) -> bool {
        let session = self.sessions.get(&who.session);
        session.is_some_and(|session| session.connection > who.connection)
    }

    /// `created`: the rooms that earlier requests of the same packet create.
    fn may_join<'a>(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        room: &'a str,
        request: Request<'_>,
        created: &mut BTreeSet<&'a str>,
    ) -> Result<(), Refusal> {
        // A refusal would end the subscription of an offline session, and lose its messages.
        if !request.resumed {
            self.check_changes(cx, who, room)?;
        }
        if let Some(room) = self.room_mut(room) {
            return room.check_capacity(who.user);
        }
        if !JoinProof::from_bytes(request.proof).may_create {
            return Err(notice::no_room(room, false));
        }
        if !created.contains(room) {
            self.check_room_limits(cx, who, room, created.len())?;
            created.insert(room);
        }
        Ok(())
    }

    /// Refuses a join of a user that has joined and left this room too often. A member that is lost
    /// may always return.
    fn check_changes(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        name: &str,
    ) -> Result<(), Refusal> {
        let limit = self.rules.rooms.limits.changes;
        let room = self.rooms.get(name);
        let key = match room {
            _ if limit == 0 => return Ok(()),
            Some(room) if room.has_session(who) => return Ok(()),
            Some(room) if room.is_online(who.user) => device_key(name, who),
            Some(room) if room.is_member(who.user) => return Ok(()),
            _ => user_key(name, who.user),
        };
        if self.joins.allows(&key, limit, cx.now) {
            return Ok(());
        }
        cx.effects.push(Effect::Count("room_changes"));
        Err(notice::too_many_changes(limit))
    }

    /// Counts a join or leave.
    fn note_change(&mut self, cx: &HookContext<'_>, key: String) {
        if self.rules.rooms.limits.changes > 0 {
            self.joins.note(key, cx.now);
        }
    }

    /// Refuses what would create a room above a limit, with `created` rooms of the same user counted
    /// in.
    fn check_room_limits(
        &self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        name: &str,
        created: usize,
    ) -> Result<(), Refusal> {
        let limits = self.rules.rooms.limits;
        if self.rules.rooms.of(name).of_one {
            return Ok(());
        }
        if self.creators.rooms_of(who.user).saturating_add(created) >= limits.lane_user_rooms {
            cx.effects.push(Effect::Count("rooms_per_user"));
            return Err(notice::too_many_of_user(limits.user_rooms));
        }
        let replaceable = self.creators.replaceable(who.user);
        let most = limits.lane_rooms.saturating_add(replaceable);
        if self.rooms.len().saturating_add(created) >= most {
            cx.effects.push(Effect::Count("rooms"));
            return Err(notice::too_many_rooms(limits.rooms));
        }
        Ok(())
    }

    /// Creates a room that the limits allow. It may replace one without members.
    fn create_room(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, name: &str) {
        self.order += 1;
        let epoch = Epoch::new(cx.wall, cx.position.wrapping_add(self.order));
        let policies = Arc::clone(&self.rules.rooms);
        let counts = !policies.of(name).of_one;
        if counts
            && self.rooms.len() >= policies.limits.lane_rooms
            && let Some(other) = self.creators.first_to_end(who.user)
        {
            cx.effects.push(Effect::Count("rooms_replaced"));
            self.end_room(cx, &other);
        }
        let creator: Option<Arc<str>> = counts.then(|| who.user.into());
        if let Some(creator) = &creator {
            self.creators.add(creator);
        }
        let room = Room::new(name.into(), &policies, self.rules_version, epoch, creator);
        self.rooms.insert(SmolStr::new(name), room);
    }

    /// Ends a room without members: its retained messages are removed.
    fn end_room(&mut self, cx: &mut HookContext<'_>, name: &str) {
        self.remove_room(name);
        cx.effects.push(Effect::Publish {
            topic: topics::info(name),
            payload: Bytes::new(),
            retain: true,
        });
        let topic = topics::room(name);
        cx.effects.push(Effect::ClearBelow { topic });
    }

    fn remove_room(&mut self, name: &str) {
        if let Some(room) = self.rooms.remove(name)
            && let Some(creator) = room.creator()
        {
            let empty = room.empty_since();
            self.creators.remove(creator, room.name(), empty);
        }
    }

    /// Removes a room that is idle now, and sets the timer of one that has no members. Called after
    /// each change of members or retained messages.
    fn settle(&mut self, cx: &mut HookContext<'_>, name: &str) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if room.is_idle() {
            self.remove_room(name);
            return;
        }
        let before = room.empty_since();
        room.watch_empty(cx, self.rules.rooms.limits.empty_after);
        let after = room.empty_since();
        if before != after
            && let Some(creator) = room.creator()
        {
            self.creators.update(creator, room.name(), before, after);
        }
    }

    /// Removes the room from the session's rooms, unless the session is still a device there.
    fn forget_if_left(&mut self, who: Actor<'_>, room: &str) {
        let here = self.rooms.get(room);
        if here.is_some_and(|room| room.has_session(who)) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&who.session) {
            session.rooms.remove(room);
            if session.rooms.is_empty() {
                self.sessions.remove(&who.session);
            }
        }
    }

    /// Judges a message to a room that does not exist. Only a retained message creates the room.
    fn publish_to_no_room(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        name: &str,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        let retains =
            message.retain && !message.payload.is_empty() && self.rules.rooms.limits.retained > 0;
        if self.rules.rooms.strict_publish {
            let policy = self.rules.rooms.of(name);
            if !policy.may_create(!topics::is_anonymous(who.user)) {
                return Err(notice::no_room(name, false));
            }
            if policy.members_publish {
                return Err(not_a_member(name));
            }
        }
        if !retains {
            let keep = message.retain && message.payload.is_empty();
            return Ok(unmarked(keep, Limit::None));
        }
        self.check_room_limits(cx, who, name, 0)?;
        self.create_room(cx, who, name);
        // The lane may remember a retained message of an earlier life of the room. It does not
        // count.
        let message = Message {
            replaces: false,
            ..message
        };
        let limits = self.rules.rooms.limits;
        let room = self.room_mut(name);
        room.map_or_else(
            || Ok(unmarked(false, Limit::None)),
            |room| room.publish(cx, &limits, who, message),
        )
    }
}

impl LaneHook for LaneRooms {
    fn rules(
        &mut self,
        _: &mut HookContext<'_>,
        version: u64,
        rules: &[u8],
    ) -> Result<(), RulesError> {
        self.rules = self.reader.read(rules)?;
        self.rules_version = version;
        Ok(())
    }

    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        let stale = self.is_stale(who);
        let mut created = BTreeSet::new();
        let judged = requests
            .iter()
            .map(|request| match topics::scope(request.filter) {
                _ if stale => {
                    let reason = "another connection has taken this session over";
                    Err(refused(ReasonCode::UnspecifiedError, reason))
                }
                FilterScope::Room { room, peek: false } => {
                    self.may_join(cx, who, room, *request, &mut created)
                }
                _ => Ok(()),
            });
        judged.collect()
    }

    fn subscribed(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, requests: &[Request<'_>]) {
        if self.is_stale(who) {
            return;
        }
        for request in requests {
            let FilterScope::Room {
                room: name,
                peek: false,
            } = topics::scope(request.filter)
            else {
                continue;
            };
            if !self.rooms.contains_key(name) {
                self.create_room(cx, who, name);
            }
            let Some(room) = self.room_mut(name) else {
                continue;
            };
            let outcome = room.join(cx, who, request.filter);
            let name = Arc::clone(room.name());
            match outcome {
                JoinOutcome::NewUser => self.note_change(cx, user_key(&name, who.user)),
                JoinOutcome::NewDevice => self.note_change(cx, device_key(&name, who)),
                JoinOutcome::Stale | JoinOutcome::KnownDevice | JoinOutcome::Returned => {}
            }
            self.settle(cx, &name);
            let session = self.sessions.entry(who.session).or_default();
            session.connection = who.connection;
            session.rooms.insert(name);
        }
    }

    fn unsubscribed(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, filters: &[&str]) {
        if self.is_stale(who) {
            return; // `gone` follows
        }
        for filter in filters {
            let FilterScope::Room { room, peek: false } = topics::scope(filter) else {
                continue;
            };
            if let Some(here) = self.room_mut(room) {
                match here.leave(cx, who, filter) {
                    LeaveOutcome::LastDevice => self.note_change(cx, user_key(room, who.user)),
                    LeaveOutcome::Device => self.note_change(cx, device_key(room, who)),
                    LeaveOutcome::Nothing => {}
                }
                self.forget_if_left(who, room);
                self.settle(cx, room);
            }
        }
    }

    fn disconnected(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, reason: &EndReason) {
        let Some(session) = self.sessions.get(&who.session) else {
            return;
        };
        let names: Vec<Arc<str>> = session.rooms.iter().cloned().collect();
        for name in names {
            let generation = self.order + 1;
            let Some(room) = self.room_mut(&name) else {
                continue;
            };
            let was_member = room.is_member(who.user);
            if room.session_ended(cx, who, reason, generation) {
                self.order = generation;
                cx.effects.push(Effect::Wake {
                    key: user_key(&name, who.user),
                    generation,
                    at: cx.now.saturating_add(self.rules.rooms.limits.grace),
                });
            }
            let here = self.rooms.get(&*name);
            if was_member && here.is_some_and(|room| !room.is_member(who.user)) {
                self.note_change(cx, user_key(&name, who.user));
            }
            self.forget_if_left(who, &name);
            self.settle(cx, &name);
        }
    }

    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        let retains = message.retain && !message.payload.is_empty();
        match topics::kind(message.topic) {
            TopicKind::Room { room: name, .. } => {
                let limits = self.rules.rooms.limits;
                let verdict = match self.room_mut(name) {
                    Some(room) => room.publish(cx, &limits, who, message)?,
                    None => self.publish_to_no_room(cx, who, name, message)?,
                };
                if message.retain {
                    self.settle(cx, name);
                    if !verdict.keep && !message.payload.is_empty() {
                        let limit = self.rules.rooms.limits.retained;
                        let reason = format!("a room keeps {limit} retained messages");
                        cx.effects.push(not_retained(&reason));
                    }
                }
                Ok(verdict)
            }
            TopicKind::Inbox { .. } => {
                if retains {
                    cx.effects.push(not_retained("an inbox keeps nothing"));
                }
                Ok(unmarked(false, Limit::None))
            }
            TopicKind::Rooms | TopicKind::Inboxes | TopicKind::Outside => {
                Ok(unmarked(message.retain, Limit::OfLane))
            }
        }
    }

    fn expired(&mut self, cx: &mut HookContext<'_>, topic: &str) {
        if let TopicKind::Room { room: name, .. } = topics::kind(topic)
            && let Some(room) = self.room_mut(name)
        {
            room.retained_ended(cx);
            self.settle(cx, name);
        }
    }

    fn stamps(&self, who: Actor<'_>, topic: &str, mark: Mark, wall: WallTime) -> Stamps {
        let from = || ("from", Some(who.user.to_owned()));
        let at = || ("at", Some(rfc3339(wall)));
        match topics::kind(topic) {
            TopicKind::Room { .. } => {
                vec![from(), at(), ("seq", epoch::seq(mark)), ("replay", None)]
            }
            TopicKind::Inbox { .. } => vec![from(), at()],
            TopicKind::Rooms | TopicKind::Inboxes | TopicKind::Outside => Stamps::new(),
        }
    }

    fn may_see(&self, who: Actor<'_>, topic: &str) -> bool {
        match topics::kind(topic) {
            TopicKind::Room { room: name, rest } => {
                let room = self.rooms.get(name);
                if room.is_some_and(|room| room.has_device(who)) {
                    return true;
                }
                // When a room is removed, its `_info` is cleared for everybody who may have it.
                rest.is_some_and(topics::is_info)
                    && match room {
                        Some(room) => room.is_open(&self.rules.rooms, self.rules_version),
                        None => self.rules.rooms.of(name).is_open(),
                    }
            }
            TopicKind::Inbox { user, .. } => user == who.user,
            TopicKind::Rooms | TopicKind::Inboxes => false,
            TopicKind::Outside => self.rules.outside.may_see(who.user, topic),
        }
    }

    fn audience(&self, topic: &str, most: usize, each: &mut dyn FnMut(SessionId)) -> bool {
        match topics::kind(topic) {
            // Others may see the card of an open room.
            TopicKind::Room { rest, .. } if rest.is_some_and(topics::is_info) => false,
            TopicKind::Room { room, .. } => match self.rooms.get(room) {
                Some(room) => room.for_each_session(most, each),
                None => true,
            },
            _ => false,
        }
    }

    fn may_share(&self, topic: &str) -> bool {
        matches!(topics::kind(topic), TopicKind::Outside)
    }

    fn timer(&mut self, cx: &mut HookContext<'_>, key: &str, generation: u64) {
        match key.split_once('/') {
            None => {
                if let Some(room) = self.room_mut(key) {
                    room.info_due(cx, generation);
                }
            }
            Some((name, "")) => {
                let empty_after = self.rules.rooms.limits.empty_after;
                let room = self.room_mut(name);
                if room.is_some_and(|room| room.is_over(cx, generation, empty_after)) {
                    cx.effects.push(Effect::Count("rooms_ended"));
                    self.end_room(cx, name);
                }
            }
            Some((name, user)) => {
                if let Some(room) = self.room_mut(name)
                    && room.grace_ended(cx, user, generation)
                {
                    self.note_change(cx, key.to_owned());
                    self.settle(cx, name);
                }
            }
        }
    }

    fn snapshot(&self, out: &mut Vec<u8>) -> u16 {
        self.write(out)
    }

    fn restore(&mut self, version: u16, bytes: &[u8]) -> Result<(), RestoreError> {
        self.read(version, bytes)
    }
}

/// The verdict on a message that is in no room, or in one that does not exist.
fn unmarked(keep: bool, limit: Limit) -> Verdict {
    let mark = Mark::default();
    Verdict { mark, keep, limit }
}

/// Tells the sender that its message is not retained.
fn not_retained(reason: &str) -> Effect {
    let reason = format!("delivered but not kept: {reason}");
    Effect::Refuse(refused(ReasonCode::RetainNotSupported, reason))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
