//! The state of one lane, and the function that applies an entry to it.

use super::batch::BatchHeader;
use super::entry::{Entry, PublishEntry};
use super::messages::Messages;
use super::outcome::{Act, Made, Outcome, Source};
use super::pending::QueueLimits;
use super::retained::{RetainedLimits, RetainedStore};
use super::rules::RulesState;
use super::share::OfflineShare;
use super::subscribers::Subscribers;
use super::subscription::Slot;
use super::subscriptions::Subscriptions;
use super::timers::LaneTimers;
use super::totals::LaneCounts;
use super::writers::{BatchTurn, Writers};
use crate::{Actor, Effect, HookContext, LaneHook, Limit, SessionId, WallTime};
use std::cmp::Ordering;

mod snapshot;

/// The state that one lane's log produces.
///
/// [`apply`](Self::apply) takes the entries in the order of the log. It is a function of the state
/// and the entry: time comes with the batches, and there is no randomness and no I/O. Everything
/// else that follows is the [`Outcome`], which a runner performs. A subscription, and the message
/// after it:
///
/// ```text
///   entry                             state                          outcome
///   17 Subscribe 7.1 chat/berlin/#    + subscriber 7.1 at slot 0     Linked  slot 0, session 7
///                                     + chat/berlin/# -> slot 0      Answer  codes, replay
///   18 Publish   9.4 chat/berlin/a    + retained, if it asks for it  Deliver to slot 0
/// ```
///
/// Each kind of entry has its own file:
///
/// | entry | function | file |
/// |---|---|---|
/// | `Publish` | `publish` | `publish.rs`, then `fanout.rs` |
/// | `Subscribe`, `Unsubscribe` | `subscribe`, `unsubscribe` | `subscribe.rs` |
/// | `Disconnected`, `Ended`, `Resume` | `disconnected`, `ended`, `resume` | `resume.rs` |
/// | `Timer` | `apply` | this one; `timers.rs` says which count |
/// | `Rules` | `take_rules` | `judge.rs` |
/// | `Done` | `done` | `waiting.rs` |
pub struct Lane {
    pub(super) number: u16,
    /// The number of all lanes of the server, for snapshots.
    lanes: u16,
    /// In milliseconds of lane time: the latest of any batch so far.
    pub(super) now: u64,
    /// Of the latest batch.
    pub(super) wall: WallTime,
    /// How many entries have been applied.
    pub(super) position: u64,
    writers: Writers,
    pub(super) rules: RulesState,
    pub(super) subscriptions: Subscriptions,
    pub(super) retained: RetainedStore,
    pub(super) subscribers: Subscribers,
    /// The messages in the queues of sessions.
    pub(super) messages: Messages,
    pub(super) queue_limits: QueueLimits,
    /// The memory of sessions that are offline.
    pub(super) share: OfflineShare,
    /// The state and the rules that the owner of the policy keeps in this lane.
    pub(super) hook: Box<dyn LaneHook>,
    /// Effects that the hook has asked for and that have not been performed. Empty between entries.
    effects: Vec<Effect>,
    timers: LaneTimers,
}

/// The key of the lane's own timer, which is set for the retained message that expires next. Its
/// generation is its time. No key of a hook begins with a null character.
const EXPIRY_TIMER: &str = "\0retained";

/// How many retained messages expire in one entry. If there are more, the lane sets its timer for
/// at once, so that entries which are already in the log come between.
const EXPIRED_AT_ONCE: usize = 1_000;

impl Lane {
    /// A lane without any entry, one of so many of its server. Until it has rules it refuses every SUBSCRIBE and PUBLISH.
    #[must_use]
    pub fn new(number: u16, lanes: u16, hook: Box<dyn LaneHook>) -> Self {
        Lane {
            number,
            lanes,
            now: 0,
            wall: WallTime::default(),
            position: 0,
            writers: Writers::default(),
            rules: RulesState::default(),
            subscriptions: Subscriptions::default(),
            retained: RetainedStore::new(RetainedLimits::default()),
            subscribers: Subscribers::default(),
            messages: Messages::default(),
            queue_limits: QueueLimits::default(),
            share: OfflineShare::default(),
            hook,
            effects: Vec::new(),
            timers: LaneTimers::default(),
        }
    }

    /// Begins a batch. Apply its entries if this is [`BatchTurn::Take`], and none of them otherwise.
    pub fn begin(&mut self, header: &BatchHeader) -> BatchTurn {
        let turn = self.writers.begin(header);
        if turn == BatchTurn::Take {
            self.now = self.now.max(header.at);
            self.wall = header.wall;
        }
        turn
    }

    /// The number of the last batch that the lane took of this writer and term; 0: of none.
    #[must_use]
    pub fn last_number(&self, writer: u32, term: u64) -> u64 {
        self.writers.last(writer, term)
    }

    /// Applies the next entry of the log, in full. `outcome` is emptied, then filled with what
    /// follows from the entry.
    pub fn apply(&mut self, entry: &Entry<'_>, outcome: &mut Outcome) {
        self.position += 1;
        outcome.clear();
        match entry {
            Entry::Publish(publish) => self.publish(publish, outcome),
            Entry::Subscribe(subscribe) => self.subscribe(subscribe, outcome),
            Entry::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, outcome),
            Entry::Disconnected(disconnect) => self.disconnected(disconnect, outcome),
            Entry::Ended(disconnect) => self.ended(disconnect, outcome),
            Entry::Resume(resume) => self.resume(resume, outcome),
            Entry::Timer { key, generation } => {
                if !self.timers.take(key, *generation) {
                    return;
                }
                if *key == EXPIRY_TIMER {
                    self.expire_retained(outcome);
                } else {
                    self.with_hook(|hook, cx| hook.timer(cx, key, *generation));
                    self.perform_effects(outcome);
                }
            }
            Entry::Done(done) => self.done(done, outcome),
            Entry::Rules { version, body } => self.take_rules(*version, body, outcome),
        }
    }

    /// The lane's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The lane's time, in milliseconds: the greatest of any batch so far.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The time of the latest batch as people see it.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// The subscriptions and the shared groups.
    #[must_use]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// The retained messages.
    #[must_use]
    pub fn retained(&self) -> &RetainedStore {
        &self.retained
    }

    /// The slot of a session.
    #[must_use]
    pub fn slot_of(&self, session: SessionId) -> Option<Slot> {
        self.subscribers.slot_of(session)
    }

    /// How much the lane holds.
    #[must_use]
    pub fn counts(&self) -> LaneCounts {
        let (messages, bytes) = self.retained.size();
        let [own, shared, spanning_own, spanning_shared] = self.subscriptions.count();
        [
            messages as u64,
            bytes as u64,
            own,
            shared,
            spanning_own,
            spanning_shared,
            self.share.used(&self.messages),
        ]
    }

    /// Calls the hook, and collects its effects for [`perform_effects`](Self::perform_effects).
    pub(super) fn with_hook<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn LaneHook, &mut HookContext<'_>) -> T,
    ) -> T {
        let mut cx = HookContext {
            now: self.now,
            wall: self.wall,
            position: self.position,
            effects: &mut self.effects,
        };
        ask(self.hook.as_mut(), &mut cx)
    }

    /// Sets the lane's timer for the retained message that expires next, unless it fires by then.
    pub(super) fn set_expiry_timer(&mut self, outcome: &mut Outcome) {
        if let Some(at) = self.retained.next_expiry()
            && self.timers.due(EXPIRY_TIMER).is_none_or(|known| at < known)
        {
            self.set_timer(EXPIRY_TIMER.to_owned(), at, at, outcome);
        }
    }

    /// Sets a timer here and on the node.
    fn set_timer(&mut self, key: String, generation: u64, at: u64, outcome: &mut Outcome) {
        self.timers.set(&key, generation, at);
        outcome.acts.push(Act::Wake {
            key,
            generation,
            at,
        });
    }

    /// Removes retained messages that have expired, and tells the hook of each.
    fn expire_retained(&mut self, outcome: &mut Outcome) {
        for _ in 0..EXPIRED_AT_ONCE {
            let Some(topic) = self.retained.take_expired(self.now) else {
                break;
            };
            self.with_hook(|hook, cx| hook.expired(cx, &topic));
        }
        self.perform_effects(outcome);
        self.set_expiry_timer(outcome);
    }

    /// Performs what the hook has asked for, in order.
    pub(super) fn perform_effects(&mut self, outcome: &mut Outcome) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Publish {
                    topic,
                    payload,
                    retain,
                } => {
                    let entry = PublishEntry {
                        retain,
                        ..PublishEntry::of_server(&topic, &payload)
                    };
                    let source = Source::Made(outcome.made.len());
                    let keep = retain.then_some(Limit::None);
                    self.distribute(source, &entry, None, keep, outcome);
                    outcome.made.push(Made {
                        topic,
                        payload,
                        retain,
                    });
                }
                Effect::Wake {
                    key,
                    generation,
                    at,
                } => self.set_timer(key, generation, at, outcome),
                Effect::Refuse(refusal) => outcome.acts.push(Act::Refuse { filter: 0, refusal }),
                Effect::ClearBelow { topic } => {
                    for topic in self.retained.below(&topic) {
                        self.retained.remove(&topic);
                    }
                }
                Effect::Count(limit) => outcome.acts.push(Act::Count(limit)),
                Effect::Tell(notice) => outcome.acts.push(Act::Tell(notice)),
            }
        }
        self.effects = effects;
    }

    /// The slot of a session, which is added if the lane does not know it. What an earlier connection
    /// of the session left is removed. None if a later one has been here.
    pub(super) fn slot_for(&mut self, who: Actor<'_>, outcome: &mut Outcome) -> Option<Slot> {
        if let Some(slot) = self.subscribers.slot_of(who.session) {
            let known = self.subscribers.get(slot)?.connection;
            match known.cmp(&who.connection) {
                Ordering::Less => self.remove_session(slot, outcome),
                Ordering::Equal => return Some(slot),
                Ordering::Greater => return None,
            }
        }
        let slot = self.subscribers.insert(who)?;
        outcome.acts.push(Act::Linked {
            slot,
            session: who.session,
        });
        Some(slot)
    }

    /// Removes a session, its subscriptions and its queue.
    pub(super) fn remove_session(&mut self, slot: Slot, outcome: &mut Outcome) {
        // Sorted: the index must not depend on the order of a hash set.
        let filters = self.subscribers.filters(slot);
        if let Some(subscriber) = self.subscribers.remove(slot) {
            for filter in filters {
                self.subscriptions.remove(&filter, slot);
            }
            if let Some(queue) = subscriber.queue {
                queue.end(&mut self.messages);
            }
            if let Some(place) = subscriber.place {
                self.share.remove(&place);
            }
            outcome.acts.push(Act::Unlinked {
                slot,
                session: subscriber.session,
            });
        }
    }

    /// Removes a session that has no subscription and no message here any more.
    pub(super) fn remove_if_unused(&mut self, slot: Slot, outcome: &mut Outcome) {
        if self
            .subscribers
            .get(slot)
            .is_some_and(|s| s.filters.is_empty() && s.queue.is_none())
        {
            self.remove_session(slot, outcome);
        }
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
