//! The queues of sessions: messages are added, read after a resume, and dropped when the session has
//! finished with them.

use super::entry::{DisconnectEntry, DoneEntry, PublishEntry};
use super::lane::Lane;
use super::messages::{Messages, Presence, StoredMessage};
use super::outcome::{Act, Outcome, Outgoing};
use super::pending::{Queue, QueueContext, QueueForm, Ref};
use super::publish::owned_properties;
use super::share::{Waits, own_cost};
use super::subscription::Slot;
use super::visible_topics::VisibleTopics;
use crate::{Mount, SessionId};
use bytes::Bytes;
use roommq_mqtt::cost::REF_COST;
use roommq_mqtt::packet::QoS;
use roommq_mqtt::session::{DropReason, MessageNo};
use std::sync::Arc;

/// A message that waits for a session.
#[derive(Debug)]
pub struct WaitingMessage<'a> {
    /// Its number in the lane.
    pub number: MessageNo,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// Subscription identifiers.
    pub identifiers: &'a [u32],
    /// How the topic is renamed.
    pub mount: Option<&'a Mount>,
    /// The message, which others may wait for as well.
    pub message: &'a Arc<StoredMessage>,
}

impl Lane {
    /// Stores a message that is about to be delivered to the targets from `first` on, and adds it to
    /// the queues of those that keep it. Returns its number. What the queues drop for it, and the
    /// sessions that are evicted for it, are added to `dropped`.
    pub(super) fn keep(
        &mut self,
        entry: &PublishEntry<'_>,
        message: &Outgoing,
        (outcome, first): (&Outcome, usize),
        dropped: &mut Vec<Act>,
    ) -> MessageNo {
        let stamps = self.stamps(entry, message.mark, self.wall);
        let number = self.messages.open(StoredMessage {
            at: self.now,
            topic: entry.topic.into(),
            payload: Bytes::copy_from_slice(entry.payload),
            expires: message.expires,
            properties: owned_properties(entry, &stamps),
        });
        let targets = || outcome.targets[first..].iter().filter(|t| t.kept);
        let offline = targets().filter(|t| self.keeps_offline(t.slot)).count();
        let cost = self.messages.open_cost() + (offline * REF_COST) as u64;
        let fits = offline == 0 || self.reserve(cost, dropped);
        for target in targets() {
            let Some(subscriber) = self.subscribers.get(target.slot) else {
                continue;
            };
            if subscriber.evicted {
                continue;
            }
            if !fits && subscriber.is_offline() {
                let payload = entry.payload.len();
                note_dropped(dropped, target.slot, DropReason::KeptFull, payload);
                continue;
            }
            let form = outcome.forms.kept(target.form);
            let new = Ref::new(number, target.qos, target.retain);
            self.with_queue(target.slot, dropped, |queue, cx| {
                queue.push(new, &form, cx);
            });
        }
        self.messages.close();
        number
    }

    /// Calls `change` with the queue of a session, which is made if there is none. What it drops is
    /// added to `acts`.
    fn with_queue(
        &mut self,
        slot: Slot,
        acts: &mut Vec<Act>,
        change: impl FnOnce(&mut Queue, &mut QueueContext<'_>),
    ) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else {
            return;
        };
        let new = || Box::new(Queue::new(subscriber.presence));
        let queue = subscriber.queue.get_or_insert_with(new);
        let mut cx = QueueContext {
            messages: &mut self.messages,
            limits: self.queue_limits,
            now: self.now,
            dropped: &mut |reason, message: &StoredMessage| {
                note_dropped(acts, slot, reason, message.payload.len());
            },
        };
        change(queue, &mut cx);
        subscriber.queue.take_if(|queue| queue.len() == 0);
        let waits = subscriber.waits();
        if let Some(place) = &mut subscriber.place {
            self.share.update(place, waits);
        }
    }

    /// Whether messages for the session at a slot count for the lane's share.
    fn keeps_offline(&self, slot: Slot) -> bool {
        let subscriber = self.subscribers.get(slot);
        subscriber.is_some_and(|s| s.is_offline() && !s.evicted)
    }

    /// Makes sure that so many bytes more are within the lane's share, and evicts sessions for that.
    /// False if it is not enough.
    fn reserve(&mut self, more: u64, acts: &mut Vec<Act>) -> bool {
        let subscribers = &mut self.subscribers;
        let evict = |slot, messages: &mut Messages| {
            let subscriber = subscribers.get_mut(slot)?;
            subscriber.evicted = true;
            if let Some(queue) = subscriber.queue.take() {
                queue.end(messages);
            }
            let session = subscriber.session;
            acts.push(Act::Evict { session });
            subscriber.place.take()
        };
        self.share.reserve(more, &mut self.messages, evict)
    }

    /// A session has lost its connection. From now on the lane limits its queue.
    pub(super) fn go_offline(&mut self, slot: Slot, d: &DisconnectEntry<'_>, acts: &mut Vec<Act>) {
        self.go_online(slot);
        let Some(subscriber) = self.subscribers.get_mut(slot) else {
            return;
        };
        subscriber.presence = Presence::Offline;
        let has_queue = subscriber.queue.is_some();
        let own = own_cost(subscriber.filters.iter().map(|filter| &**filter));
        let waits = Waits::default();
        let place = self.share.add(slot, self.now, d.authenticated, own, waits);
        subscriber.place = Some(place);
        if has_queue {
            self.with_queue(slot, acts, |queue, cx| queue.disconnected(d.sent, cx));
        }
        self.reserve(0, acts);
    }

    /// A session has a connection.
    pub(super) fn go_online(&mut self, slot: Slot) {
        let Some(subscriber) = self.subscribers.get_mut(slot) else {
            return;
        };
        (subscriber.presence, subscriber.evicted) = (Presence::Connected, false);
        if let Some(place) = subscriber.place.take() {
            self.share.remove(&place);
        }
        if let Some(queue) = &mut subscriber.queue {
            queue.resumed(&mut self.messages);
        }
    }

    /// Drops what waits for a session and may not be seen by it any more.
    pub(super) fn purge(&mut self, slot: Slot, visible: &VisibleTopics, acts: &mut Vec<Act>) {
        if self
            .subscribers
            .get(slot)
            .is_some_and(|s| s.queue.is_some())
        {
            self.with_queue(slot, acts, |queue, cx| {
                queue.purge(cx, |message| visible.allow(&message.topic));
            });
        }
    }

    /// A session has finished with some messages. Nothing happens if it has ended.
    pub(super) fn done(&mut self, entry: &DoneEntry, outcome: &mut Outcome) {
        if let Some(slot) = self.subscribers.slot_of(entry.session) {
            if self
                .subscribers
                .get(slot)
                .is_some_and(|s| s.queue.is_some())
            {
                self.with_queue(slot, &mut outcome.acts, |queue, cx| {
                    queue.done(&entry.done, cx.messages);
                });
            }
            self.remove_if_unused(slot, outcome);
        }
    }

    /// The number of the last message that the lane has stored for sessions.
    #[must_use]
    pub fn last_message(&self) -> MessageNo {
        self.messages.last()
    }

    /// How many messages the lane has stored for sessions.
    #[must_use]
    pub fn stored_messages(&self) -> usize {
        self.messages.count()
    }

    /// The messages behind `after` that wait for a session and were not sent on an earlier
    /// connection, in order.
    pub fn waiting(
        &self,
        session: SessionId,
        after: MessageNo,
    ) -> impl Iterator<Item = WaitingMessage<'_>> {
        let slot = self.subscribers.slot_of(session);
        slot.into_iter()
            .flat_map(move |slot| self.waiting_at(slot, after))
    }

    /// The same for the session at a slot.
    pub fn waiting_at(
        &self,
        slot: Slot,
        after: MessageNo,
    ) -> impl Iterator<Item = WaitingMessage<'_>> {
        let subscriber = self.subscribers.get(slot);
        let queue = subscriber.and_then(|s| s.queue.as_deref());
        queue.into_iter().flat_map(move |queue| {
            queue.waiting(after).filter_map(move |reference| {
                let form = queue.form(reference);
                Some(WaitingMessage {
                    number: reference.number(),
                    qos: reference.qos(),
                    retain: reference.retain(),
                    identifiers: form.map_or(&[], |form| &form.ids),
                    mount: form.and_then(|form| form.mount.as_deref()),
                    message: self.messages.get(reference.number())?,
                })
            })
        })
    }
}

impl super::outcome::Forms {
    /// A form as a queue keeps it.
    fn kept(&self, form: u32) -> QueueForm {
        let (ids, mount) = self.parts(form);
        QueueForm {
            ids: ids.to_vec(),
            mount: mount.cloned(),
        }
    }
}

/// Adds a dropped message to the acts. Those of one session and one reason are one act.
fn note_dropped(acts: &mut Vec<Act>, slot: Slot, reason: DropReason, payload: usize) {
    let more = payload as u64;
    if let Some(Act::Dropped {
        slot: last,
        reason: why,
        messages,
        payload,
    }) = acts.last_mut()
        && (*last, *why) == (slot, reason)
    {
        *messages += 1;
        *payload += more;
        return;
    }
    acts.push(Act::Dropped {
        slot,
        reason,
        messages: 1,
        payload: more,
    });
}
