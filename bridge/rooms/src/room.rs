//! One room of a lane. It connects membership, presence and notices, and emits the effects.

use super::epoch::Epoch;
use super::hook_keys::{empty_key, info_key};
use super::membership::{JoinOutcome, LeaveOutcome, Members};
use super::notice::{EventKind, RoomEvent, RoomInfo, json};
use super::refusal::{not_authorized, refused};
use super::room_policy::{RoomLimits, RoomPolicies, RoomPolicy};
use super::topics;
use bytes::Bytes;
use roommq_lane::{
    Actor, Effect, EndReason, HookContext, Limit, Message, Refusal, SessionId, Verdict,
};
use roommq_mqtt::packet::ReasonCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) mod snapshot;

/// A room. It has members (online, or lost within the grace period) or retained messages of the
/// application. Without either it is idle, and the lane removes it. Without members it is empty, and
/// ends some time later.
///
/// ```text
///              join                session_ended (lost)          grace_ended
/// no member ---------> online ----------------------------> lost ------------> no member
///                       |  ^                                 |
///                       |  '---------------- join -----------'
///                       '-- leave, session_ended (orderly) --> no member
/// ```
///
/// Each call pushes the messages that members receive as effects:
///
/// | call | `_presence/<user>` | `_events` | `_info` |
/// |---|---|---|---|
/// | [`join`](Room::join), first device | online | joined | yes |
/// | `join`, further device | online, more devices | | |
/// | `join` of a lost member | online | back | |
/// | [`leave`](Room::leave) or orderly end, last device | empty | left | yes |
/// | the same, not the last device | online, fewer devices | | |
/// | [`session_ended`](Room::session_ended) by a loss, last device | lost, with the reason | lost | |
/// | [`grace_ended`](Room::grace_ended) | empty | left | yes |
/// | [`publish`](Room::publish) | | | |
///
/// `publish` gives the message the next offset, or refuses it.
#[derive(Debug)]
pub(crate) struct Room {
    name: Arc<str>,
    policy: Arc<RoomPolicy>,
    /// The version of the rules that `policy` is from.
    rules_version: u64,
    epoch: Epoch,
    /// The offset of the last message. 0: none yet.
    offset: u64,
    /// The number of changes of the roster.
    changes: u64,
    /// The number of retained messages of the application.
    retained: usize,
    members: Members,
    /// The user who created it. None: a rule names the room in full.
    creator: Option<Arc<str>>,
    /// When the creator last published here, or the last member left, in milliseconds of lane time.
    active: u64,
    /// Since when it is without members. None: it has members, or no creator.
    empty: Option<Empty>,
    info: Info,
}

/// The time of a room without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Empty {
    /// In milliseconds of lane time.
    since: u64,
    /// Of the timer.
    generation: u64,
}

/// When `_info` was published, in milliseconds of lane time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Info {
    /// The shortest time from one to the next. It comes with the rules.
    interval: u64,
    /// The last one. None: there was none.
    at: Option<u64>,
    /// The timer of the next one: its generation.
    timer: Option<u64>,
}

impl Room {
    /// A room without members and messages. `creator` is none if a rule names the room in full.
    pub fn new(
        name: Arc<str>,
        policies: &RoomPolicies,
        rules_version: u64,
        epoch: Epoch,
        creator: Option<Arc<str>>,
    ) -> Room {
        Room {
            policy: Arc::clone(policies.of(&name)),
            name,
            rules_version,
            epoch,
            offset: 0,
            changes: 0,
            retained: 0,
            members: Members::default(),
            creator,
            active: 0,
            empty: None,
            info: Info {
                interval: policies.limits.info_interval,
                ..Info::default()
            },
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes the policy of the present rules, unless the room has it. The lane calls this before
    /// all that the policy can decide.
    pub fn follow(&mut self, policies: &RoomPolicies, version: u64) {
        if self.rules_version != version {
            self.policy = Arc::clone(policies.of(&self.name));
            self.info.interval = policies.limits.info_interval;
            self.rules_version = version;
        }
    }

    /// Whether everybody may join, by the present rules.
    pub fn is_open(&self, policies: &RoomPolicies, version: u64) -> bool {
        let is_old = self.rules_version != version;
        let policy = is_old.then(|| policies.of(&self.name));
        policy.unwrap_or(&self.policy).is_open()
    }

    pub fn is_idle(&self) -> bool {
        self.members.count() == 0 && self.retained == 0
    }

    pub fn creator(&self) -> Option<&Arc<str>> {
        self.creator.as_ref()
    }

    /// Since when the room is without members, in milliseconds of lane time. None: it has some, or
    /// a rule names it in full.
    pub fn empty_since(&self) -> Option<u64> {
        self.empty.map(|empty| empty.since)
    }

    /// Sets the timer of a room that has lost its last member, and forgets that of one that has
    /// members again. Call it after each change.
    pub fn watch_empty(&mut self, cx: &mut HookContext<'_>, empty_after: u64) {
        if self.members.count() > 0 || self.creator.is_none() {
            self.empty = None;
        } else if self.empty.is_none() {
            (self.active, self.empty) = (
                cx.now,
                Some(Empty {
                    since: cx.now,
                    generation: cx.position,
                }),
            );
            self.wake_empty(cx, cx.position, empty_after);
        }
    }

    fn wake_empty(&self, cx: &mut HookContext<'_>, generation: u64, empty_after: u64) {
        cx.effects.push(Effect::Wake {
            key: empty_key(&self.name),
            generation,
            at: self.active.saturating_add(empty_after),
        });
    }

    /// Handles the timer of a room without members. True: the room must end. A stale timer changes
    /// nothing.
    pub fn is_over(&self, cx: &mut HookContext<'_>, generation: u64, empty_after: u64) -> bool {
        if self
            .empty
            .is_none_or(|empty| empty.generation != generation)
        {
            return false;
        }
        let over = self.active.saturating_add(empty_after) <= cx.now;
        if !over {
            self.wake_empty(cx, generation, empty_after);
        }
        over
    }

    /// Handles the timer of `_info`. A stale timer changes nothing.
    pub fn info_due(&mut self, cx: &mut HookContext<'_>, generation: u64) {
        if self.info.timer == Some(generation) {
            self.info.timer = None;
            self.publish_info(cx);
        }
    }

    /// Whether the user is a member with a device. False: its next device changes it to online.
    pub fn is_online(&self, user: &str) -> bool {
        let member = self.members.find(user);
        member.is_some_and(|member| member.devices() > 0)
    }

    /// Whether the user is a member, online or lost.
    pub fn is_member(&self, user: &str) -> bool {
        self.members.find(user).is_some()
    }

    /// Whether this session is a device in the room, by this connection.
    pub fn has_device(&self, who: Actor<'_>) -> bool {
        self.members.has_device(who)
    }

    /// Calls `each` with all sessions in the room, in no order. False if they have more than `most` users.
    pub fn for_each_session(&self, most: usize, each: &mut dyn FnMut(SessionId)) -> bool {
        self.members.for_each_session(most, each)
    }

    /// Whether this session is a device in the room, by any of its connections.
    pub fn has_session(&self, who: Actor<'_>) -> bool {
        self.members.has_session(who)
    }

    /// Refuses a new member if the room is full. A member may always join with further devices.
    pub fn check_capacity(&self, user: &str) -> Result<(), Refusal> {
        let count = self.members.count();
        match self.policy.limit {
            Some(limit)
                if u32::try_from(count).unwrap_or(u32::MAX) >= limit
                    && self.members.find(user).is_none() =>
            {
                let reason = format!("full, {count} of {limit}");
                Err(refused(ReasonCode::QuotaExceeded, reason))
            }
            _ => Ok(()),
        }
    }

    /// Handles a joining filter that was granted.
    pub fn join(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, filter: &str) -> JoinOutcome {
        let outcome = self.members.add_filter(who, filter, cx.wall);
        match outcome {
            JoinOutcome::Stale | JoinOutcome::KnownDevice => {}
            JoinOutcome::NewDevice => self.publish_presence(cx, who.user),
            JoinOutcome::Returned => {
                self.publish_presence(cx, who.user);
                self.publish_event(cx, EventKind::Back, who.user, None);
            }
            JoinOutcome::NewUser => {
                self.publish_presence(cx, who.user);
                self.publish_event(cx, EventKind::Joined, who.user, None);
                self.publish_info(cx);
            }
        }
        outcome
    }

    /// Handles the UNSUBSCRIBE of a joining filter.
    pub fn leave(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        filter: &str,
    ) -> LeaveOutcome {
        let outcome = self.members.remove_filter(who, filter);
        match outcome {
            LeaveOutcome::Nothing => {}
            LeaveOutcome::Device => self.publish_presence(cx, who.user),
            LeaveOutcome::LastDevice => self.remove_member(cx, who.user, "left"),
        }
        outcome
    }

    /// Handles the end of a session. True: its user is lost now, and needs a timer of `generation`.
    pub fn session_ended(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        reason: &EndReason,
        generation: u64,
    ) -> bool {
        match (self.members.remove_session(who), reason) {
            (LeaveOutcome::Nothing, _) => false,
            (LeaveOutcome::Device, _) => {
                self.publish_presence(cx, who.user);
                false
            }
            (LeaveOutcome::LastDevice, EndReason::Orderly) => {
                self.remove_member(cx, who.user, "left");
                false
            }
            (LeaveOutcome::LastDevice, EndReason::Lost(reason)) => {
                let lost = self
                    .members
                    .mark_lost(who.user, reason, generation, cx.wall);
                self.publish_presence(cx, who.user);
                self.publish_event(cx, EventKind::Lost, who.user, Some(reason));
                lost
            }
        }
    }

    /// Handles the end of a grace period. False: the timer is stale, and nothing changes.
    pub fn grace_ended(&mut self, cx: &mut HookContext<'_>, user: &str, generation: u64) -> bool {
        let ended = self.members.awaits_timer(user, generation);
        if ended {
            self.remove_member(cx, user, "lost");
        }
        ended
    }

    /// Accepts a message and gives it the next offset, or refuses it. `keep` is false if the
    /// message is to be retained and the room already has `limits.room_retained` of them.
    pub fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        limits: &RoomLimits,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        if self.policy.members_publish && self.members.find(who.user).is_none() {
            return Err(not_a_member(&self.name));
        }
        let keep = self.retain(cx, limits, message);
        self.offset += 1;
        if self.creator.as_deref() == Some(who.user) {
            self.active = cx.now;
        }
        Ok(Verdict {
            mark: self.epoch.mark(self.offset),
            keep,
            limit: Limit::OfBytes,
        })
    }

    fn retain(
        &mut self,
        cx: &mut HookContext<'_>,
        limits: &RoomLimits,
        message: Message<'_>,
    ) -> bool {
        if !message.retain {
            return false;
        }
        match (message.payload.is_empty(), message.replaces) {
            (true, false) | (false, true) => true,
            (true, true) => {
                self.retained_ended(cx);
                true
            }
            (false, false) if self.retained < limits.retained => {
                self.retained += 1;
                // A retained message has created the room.
                if self.retained == 1 && self.members.count() == 0 {
                    self.publish_info(cx);
                }
                true
            }
            (false, false) => false,
        }
    }

    /// Handles a retained message of the application that was cleared or has expired.
    pub fn retained_ended(&mut self, cx: &mut HookContext<'_>) {
        self.retained = self.retained.saturating_sub(1);
        if self.is_idle() {
            self.publish_info(cx);
        }
    }

    /// Removes a member, and publishes that to the roster, `_events` and `_info`.
    fn remove_member(&mut self, cx: &mut HookContext<'_>, user: &str, reason: &str) {
        self.members.remove_user(user);
        self.changes += 1;
        cx.effects.push(Effect::Publish {
            topic: topics::presence(&self.name, user),
            payload: Bytes::new(),
            retain: true,
        });
        self.publish_event(cx, EventKind::Left, user, Some(reason));
        self.publish_info(cx);
    }

    fn publish_presence(&mut self, cx: &mut HookContext<'_>, user: &str) {
        let Some(member) = self.members.find(user) else {
            return;
        };
        self.changes += 1;
        let seq = format!("{}:{}", self.epoch, self.changes);
        let entry = member
            .state
            .entry(user, member.devices(), member.since, seq);
        cx.effects.push(Effect::Publish {
            topic: topics::presence(&self.name, user),
            payload: json(&entry),
            retain: true,
        });
    }

    fn publish_event(
        &self,
        cx: &mut HookContext<'_>,
        kind: EventKind,
        user: &str,
        reason: Option<&str>,
    ) {
        cx.effects.push(Effect::Publish {
            topic: topics::events(&self.name),
            payload: json(&RoomEvent::new(kind, user, reason, cx.wall)),
            retain: false,
        });
    }

    /// Publishes `_info`, or clears it if the room is idle and will be removed. If the last one is
    /// too recent, a timer publishes the next: the last one is exact.
    fn publish_info(&mut self, cx: &mut HookContext<'_>) {
        let due = self.info.at.map(|at| at.saturating_add(self.info.interval));
        if let Some(at) = due.filter(|at| *at > cx.now && !self.is_idle()) {
            if self.info.timer.is_none() {
                let generation = cx.position;
                self.info.timer = Some(generation);
                let key = info_key(&self.name);
                cx.effects.push(Effect::Wake {
                    key,
                    generation,
                    at,
                });
            }
            return;
        }
        (self.info.at, self.info.timer) = (Some(cx.now), None);
        let payload = if self.is_idle() {
            Bytes::new()
        } else {
            json(&RoomInfo {
                room: (&*self.name).into(),
                subject: None,
                access: if self.policy.is_open() {
                    "open"
                } else {
                    "list"
                }
                .into(),
                count: self.members.count(),
                limit: self.policy.limit,
                epoch: self.epoch.to_string().into(),
                last: self.offset,
            })
        };
        cx.effects.push(Effect::Publish {
            topic: topics::info(&self.name),
            payload,
            retain: true,
        });
    }
}

/// The refusal of a message from a user who is not a member.
pub(crate) fn not_a_member(room: &str) -> Refusal {
    let filter = topics::room_filter(room);
    not_authorized(format!("join the room first: SUBSCRIBE to {filter}"))
}
