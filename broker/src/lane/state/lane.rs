//! The state of one lane, and the function that applies an entry to it.

use super::batch::BatchHeader;
use super::entry::{Entry, PublishEntry};
use super::host::LaneHost;
use super::retained::{RetainedLimits, RetainedStore};
use super::rules::RulesState;
use super::subscribers::Subscribers;
use super::subscription::Slot;
use super::subscriptions::Subscriptions;
use super::totals::LaneCounts;
use super::writers::{BatchTurn, Writers};
use crate::policy::{Actor, Attempt, Effect, HookContext, LaneHook, Limit};
use std::cmp::Ordering;

/// The state that one lane's log produces.
///
/// [`apply`](Self::apply) takes the entries in the order of the log. It is a function of the state
/// and the entry: time comes with the entries, and there is no randomness and no I/O. (Shared
/// groups still look at outboxes; `state/mod.rs` lists what that touches.) A subscription, and the
/// message after it:
///
/// ```text
///   entry                             state                          outboxes
///   17 Subscribe 7.1 chat/berlin/#    + subscriber 7.1 at slot 0     7.1: SUBACK,
///                                     + chat/berlin/# -> slot 0           retained messages
///   18 Publish   9.4 chat/berlin/a    + retained, if it asks for it  7.1: PUBLISH
/// ```
///
/// Each kind of entry has its own file:
///
/// | entry | function | file |
/// |---|---|---|
/// | `Publish` | `publish` | `publish.rs`, then `fanout.rs` and `sharing.rs` |
/// | `Subscribe`, `Unsubscribe` | `subscribe`, `unsubscribe` | `subscribe.rs`, then `replay.rs` |
/// | `Disconnected`, `Ended`, `Resume` | `disconnected`, `ended`, `resume` | `resume.rs`, `reassign.rs` |
/// | `Timer` | `apply` | this one |
/// | `Rules` | `take_rules` | `judge.rs` |
pub(crate) struct Lane {
    pub(super) number: u16,
    /// In milliseconds since the Unix epoch: the latest time of any entry so far.
    pub(super) now: u64,
    /// How many entries have been applied.
    position: u64,
    writers: Writers,
    pub(super) rules: RulesState,
    pub(super) subscriptions: Subscriptions,
    pub(super) retained: RetainedStore,
    pub(super) subscribers: Subscribers,
    /// The state and the rules that the owner of the policy keeps in this lane.
    pub(super) hook: Box<dyn LaneHook>,
    /// Effects that the hook has asked for and that have not been performed. Empty between entries.
    effects: Vec<Effect>,
    /// When the lane's own timer fires, which is set for the retained message that expires next.
    expiry_timer: Option<u64>,
}

/// The key of the lane's own timer. No key of a hook begins with a null character.
const EXPIRY_TIMER: &str = "\0retained";

/// How many retained messages expire in one entry. If there are more, the lane sets its timer for
/// at once, so that entries which are already in the log come between.
const EXPIRED_AT_ONCE: usize = 1_000;

impl Lane {
    /// A lane without any entry. Until it has rules it refuses every SUBSCRIBE and PUBLISH.
    pub(crate) fn new(number: u16, hook: Box<dyn LaneHook>) -> Self {
        Lane {
            number,
            now: 0,
            position: 0,
            writers: Writers::default(),
            rules: RulesState::default(),
            subscriptions: Subscriptions::of(number),
            retained: RetainedStore::new(RetainedLimits::default()),
            subscribers: Subscribers::default(),
            hook,
            effects: Vec::new(),
            expiry_timer: None,
        }
    }

    /// Begins a batch. Apply its entries if this is [`BatchTurn::Take`], and none of them otherwise.
    pub(crate) fn begin(&mut self, header: &BatchHeader) -> BatchTurn {
        let turn = self.writers.begin(header);
        if turn == BatchTurn::Take {
            self.advance_time(header.at);
        }
        turn
    }

    /// The number of the last batch that the lane took of this writer and term; 0: of none.
    pub(crate) fn last_number(&self, writer: u32, term: u64) -> u64 {
        self.writers.last(writer, term)
    }

    /// Applies the next entry of the log, in full: when this returns, the outboxes hold all that
    /// follows from the entry.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>, host: &mut dyn LaneHost) {
        self.position += 1;
        match entry {
            Entry::Publish(publish) => self.publish(publish, host),
            Entry::Subscribe(subscribe) => self.subscribe(subscribe, host),
            Entry::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, host),
            Entry::Disconnected(disconnect) => self.disconnected(disconnect, host),
            Entry::Ended(disconnect) => self.ended(disconnect, host),
            Entry::Resume(resume) => self.resume(resume, host),
            Entry::Timer {
                at,
                key,
                generation,
            } => {
                self.advance_time(*at);
                if *key == EXPIRY_TIMER {
                    self.expire_retained(host);
                } else {
                    self.with_hook(|hook, cx| hook.timer(cx, key, *generation));
                    self.perform_effects(host);
                }
            }
            Entry::Rules { version, body } => self.take_rules(*version, body, host),
        }
    }

    /// How much the lane holds.
    pub(crate) fn counts(&self) -> LaneCounts {
        let (messages, bytes) = self.retained.size();
        let [own, shared, spanning_own, spanning_shared] = self.subscriptions.count();
        [
            messages as u64,
            bytes as u64,
            own,
            shared,
            spanning_own,
            spanning_shared,
        ]
    }

    /// Sets the lane's time, which never goes back, to the time of an entry.
    pub(super) fn advance_time(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    /// Calls the hook, and collects its effects for [`perform_effects`](Self::perform_effects).
    pub(super) fn with_hook<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn LaneHook, &mut HookContext<'_>) -> T,
    ) -> T {
        let mut cx = HookContext {
            now: self.now,
            position: self.position,
            effects: &mut self.effects,
        };
        ask(self.hook.as_mut(), &mut cx)
    }

    /// Sets the lane's timer for the retained message that expires next, unless it fires by then.
    pub(super) fn set_expiry_timer(&mut self, host: &mut dyn LaneHost) {
        let next = self.retained.next_expiry();
        if let Some(at) = next
            && self.expiry_timer.is_none_or(|known| at < known)
        {
            self.expiry_timer = next;
            host.set_timer(self.number, EXPIRY_TIMER.to_owned(), 0, at);
        }
    }

    /// Removes retained messages that have expired, and tells the hook of each.
    fn expire_retained(&mut self, host: &mut dyn LaneHost) {
        self.expiry_timer = None;
        for _ in 0..EXPIRED_AT_ONCE {
            let Some(topic) = self.retained.take_expired(self.now) else {
                break;
            };
            self.with_hook(|hook, cx| hook.expired(cx, &topic));
        }
        self.perform_effects(host);
        self.set_expiry_timer(host);
    }

    /// Performs what the hook has asked for, in order.
    pub(super) fn perform_effects(&mut self, host: &mut dyn LaneHost) {
        self.perform_effects_for(None, host);
    }

    /// [`perform_effects`](Self::perform_effects), after a PUBLISH by a client to this topic.
    pub(super) fn perform_effects_for(
        &mut self,
        sender: Option<(Actor<'_>, &str)>,
        host: &mut dyn LaneHost,
    ) {
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
                        ..PublishEntry::of_server(self.now, &topic, &payload)
                    };
                    self.distribute(&entry, None, retain.then_some(Limit::None), host);
                }
                Effect::Wake {
                    key,
                    generation,
                    at,
                } => host.set_timer(self.number, key, generation, at),
                Effect::Refuse(refusal) => {
                    if let Some((who, topic)) = sender {
                        host.refused(who, Attempt::Publish(topic), &refusal, self.now);
                    }
                }
                Effect::Tell(notice) => host.send_notice(notice),
            }
        }
        self.effects = effects;
    }

    /// The slot of a session, which is added if the lane does not know it. What an earlier connection
    /// of the session left is removed. None if a later one has been here.
    pub(super) fn slot_for(&mut self, who: Actor<'_>, host: &mut dyn LaneHost) -> Option<Slot> {
        if let Some(slot) = self.subscribers.slot_of(who.session) {
            let known = self.subscribers.get(slot)?.connection;
            match known.cmp(&who.connection) {
                Ordering::Less => {
                    self.remove_session(slot);
                    host.unlink(slot);
                }
                Ordering::Equal => return Some(slot),
                Ordering::Greater => return None,
            }
        }
        let slot = self.subscribers.insert(who)?;
        host.link(slot, who.session);
        Some(slot)
    }

    /// Removes a session and its subscriptions.
    pub(super) fn remove_session(&mut self, slot: Slot) {
        if let Some(subscriber) = self.subscribers.remove(slot) {
            for filter in subscriber.filters {
                self.subscriptions.remove(&filter, slot);
            }
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
