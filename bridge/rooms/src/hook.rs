//! The rooms of one lane, as the broker's [`LaneHook`].
//!
//! Architecture invariant: all room state is here, and only the hook's methods change it. The same
//! entries give the same effects: no effect depends on a clock, a random number or the order of a
//! hash map.
//!
//! The lane must call `gone` for a session after all other calls for that session.

use super::compiled_rules::{CompiledRules, RulesReader};
use super::epoch::{self, Epoch};
use super::join_proof::JoinProof;
use super::notice;
use super::refusal::refused;
use super::room::{Room, not_a_member};
use super::time::rfc3339;
use super::topics::{self, FilterScope, TopicKind};
use ahash::RandomState;
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
        who: Actor<'_>,
        room: &'a str,
        proof: &[u8],
        created: &mut BTreeSet<&'a str>,
    ) -> Result<(), Refusal> {
        if let Some(room) = self.room_mut(room) {
            return room.check_capacity(who.user);
        }
        if !JoinProof::from_bytes(proof).may_create {
            return Err(notice::no_room(room, false));
        }
        if !created.contains(room) {
            self.check_room_limit(room, created.len())?;
            created.insert(room);
        }
        Ok(())
    }

    /// Refuses a join that would create a room above the limit, with `created` rooms counted in.
    fn check_room_limit(&self, name: &str, created: usize) -> Result<(), Refusal> {
        let full = self.rooms.len().saturating_add(created) >= self.rules.rooms.limits.lane_rooms;
        if full && !self.rules.rooms.of(name).of_one {
            return Err(notice::too_many_rooms(self.rules.rooms.limits.rooms));
        }
        Ok(())
    }

    fn new_room(&mut self, cx: &HookContext<'_>, name: &str) -> Room {
        self.order += 1;
        let epoch = Epoch::new(cx.wall, cx.position.wrapping_add(self.order));
        let policy = Arc::clone(self.rules.rooms.of(name));
        Room::new(name.into(), policy, self.rules_version, epoch)
    }

    fn remove_if_idle(&mut self, name: &str) {
        if self.rooms.get(name).is_some_and(Room::is_idle) {
            self.rooms.remove(name);
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
        self.check_room_limit(name, 0)?;
        let mut room = self.new_room(cx, name);
        // The lane may remember a retained message of an earlier life of the room. It does not
        // count.
        let message = Message {
            replaces: false,
            ..message
        };
        let verdict = room.publish(cx, &self.rules.rooms.limits, who, message)?;
        self.rooms.insert(SmolStr::new(room.name()), room);
        Ok(verdict)
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
        _: &mut HookContext<'_>,
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
                    self.may_join(who, room, request.proof, &mut created)
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
                let room = self.new_room(cx, name);
                self.rooms.insert(SmolStr::new(room.name()), room);
            }
            let Some(room) = self.room_mut(name) else {
                continue;
            };
            room.join(cx, who, request.filter);
            let name = Arc::clone(room.name());
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
                here.leave(cx, who, filter);
                self.forget_if_left(who, room);
                self.remove_if_idle(room);
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
            if room.session_ended(cx, who, reason, generation) {
                self.order = generation;
                cx.effects.push(Effect::Wake {
                    key: grace_key(&name, who.user),
                    generation,
                    at: cx.now.saturating_add(self.rules.rooms.limits.grace),
                });
            }
            self.forget_if_left(who, &name);
            self.remove_if_idle(&name);
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
                    if message.payload.is_empty() {
                        self.remove_if_idle(name);
                    } else if !verdict.keep {
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
            self.remove_if_idle(name);
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

    fn may_share(&self, topic: &str) -> bool {
        matches!(topics::kind(topic), TopicKind::Outside)
    }

    fn timer(&mut self, cx: &mut HookContext<'_>, key: &str, generation: u64) {
        let Some((name, user)) = key.split_once('/') else {
            return;
        };
        if let Some(room) = self.room_mut(name) {
            room.grace_ended(cx, user, generation);
            self.remove_if_idle(name);
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

/// The timer key of a member's grace period. Neither part contains a slash.
fn grace_key(room: &str, user: &str) -> String {
    format!("{room}/{user}")
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
