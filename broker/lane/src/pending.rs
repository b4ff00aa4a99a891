//! The queue of references to the messages that a session waits for.

use super::messages::{Messages, Presence, StoredMessage};
use crate::Mount;
use roommq_mqtt::cost::{FORM_COST, REF_COST};
use roommq_mqtt::packet::QoS;
use roommq_mqtt::session::{Done, DropReason, MessageNo};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

mod snapshot;

pub(super) use snapshot::QueueImage;

/// A reference to a message, with what its holder adds to it, in 8 bytes:
///
/// ```text
///  63                              16 15 14     13 12        0
/// +----------------------------------+-----+--------+----------+
/// | number of the message            | QoS | RETAIN | form     |
/// +----------------------------------+-----+--------+----------+
/// ```
///
/// A lane that stores a million messages a second has numbers for nine years.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ref(u64);

/// The largest number of a message.
pub(super) const LAST_NUMBER: u64 = (1 << 48) - 1;

/// Bits of a form.
const FORM_BITS: u32 = 13;

/// The largest form.
pub(super) const LAST_FORM: u16 = (1 << FORM_BITS) - 1;

impl Ref {
    /// A reference without a form. `qos` is that of the delivery.
    pub(super) fn new(number: MessageNo, qos: QoS, retain: bool) -> Self {
        let qos = u64::from(qos as u8) << (FORM_BITS + 1);
        Ref((number.0 << 16) | qos | (u64::from(retain) << FORM_BITS))
    }

    /// The same with this form, which is at most [`LAST_FORM`].
    pub(super) fn with_form(self, form: u16) -> Self {
        Ref((self.0 & !u64::from(LAST_FORM)) | u64::from(form.min(LAST_FORM)))
    }

    pub(super) fn number(self) -> MessageNo {
        MessageNo(self.0 >> 16)
    }

    /// The QoS of the delivery: the lower of the message's and the subscription's.
    pub(super) fn qos(self) -> QoS {
        match (self.0 >> (FORM_BITS + 1)) & 3 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// The RETAIN flag of the delivery.
    pub(super) fn retain(self) -> bool {
        (self.0 >> FORM_BITS) & 1 == 1
    }

    pub(super) fn form(self) -> u16 {
        u16::try_from(self.0 & u64::from(LAST_FORM)).unwrap_or(LAST_FORM)
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, qos, form) = (self.number().0, self.qos() as u8, self.form());
        write!(f, "{number}:qos{qos}:form{form}")
    }
}

/// The identifiers and the renaming that a session's subscriptions add to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueForm {
    /// Subscription identifiers [5.0 MQTT-3.3.4-4].
    pub ids: Vec<u32>,
    /// How the topic is renamed.
    pub mount: Option<Arc<Mount>>,
}

impl QueueForm {
    /// About the bytes that it adds to a PUBLISH, and those of its identifiers in memory.
    fn len(&self) -> usize {
        size_of_val(&*self.ids)
    }
}

/// How much an offline session's queue may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimits {
    /// QoS 1 and 2 messages.
    pub messages: usize,
    /// About those of their packets.
    pub bytes: u64,
    /// In milliseconds.
    pub age: u64,
}

/// The parts of its lane that a queue needs, and the function that hears of dropped messages.
pub(super) struct QueueContext<'a> {
    pub messages: &'a mut Messages,
    pub limits: QueueLimits,
    /// Lane time in milliseconds.
    pub now: u64,
    pub dropped: &'a mut dyn FnMut(DropReason, &StoredMessage),
}

impl QueueContext<'_> {
    /// Tells of a message that is dropped.
    pub(super) fn drop_for(&mut self, reason: DropReason, number: MessageNo) {
        if let Some(message) = self.messages.get(number) {
            (self.dropped)(reason, message);
        }
    }

    /// Why a queue that holds so much must drop its oldest message, which came at `oldest`.
    pub(super) fn excess(&self, messages: usize, bytes: u64, oldest: u64) -> Option<DropReason> {
        if self.now.saturating_sub(oldest) > self.limits.age {
            Some(DropReason::TooOld)
        } else if messages > self.limits.messages || bytes > self.limits.bytes {
            Some(DropReason::QueueFull)
        } else {
            None
        }
    }
}

/// The messages of QoS 1 and 2 that one session waits for, or has not acknowledged.
///
/// ```text
///                                disconnected { sent: 5 }
///  connected   [2 3 4 5 6 7 8]  ───────────────────────────►  offline   begun [2 3 4 5]  waiting [6 7 8]
///                               ◄───────────────────────────
///                                         resumed                       done { up_to: 4 } may come at any time
/// ```
///
/// While the session is connected, its node holds the messages and bounds them. The lane only adds
/// references, and drops them when it hears that they are done. While the session is offline, the
/// lane bounds what waits: the oldest goes first. What was sent is never dropped for capacity, and
/// never read from here again.
///
/// A reference takes 8 bytes. The queue doubles, so that 65 to 128 references take 1,024 bytes, and
/// no reference takes more than 16. After most of them have gone, it gives the memory back. 10,000
/// queues of 100 references take 10.24 MB, and 1.2 MB for the queues themselves.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    /// Sent on an earlier connection, and not acknowledged as far as the lane has heard. Ascending.
    begun: Vec<Ref>,
    /// The others. Ascending.
    waiting: VecDeque<Ref>,
    forms: QueueForms,
    /// Bytes of `begun`; 0 while the session is connected.
    begun_bytes: u64,
    /// Bytes of `waiting`; 0 while the session is connected.
    waiting_bytes: u64,
    /// When the first of `waiting` came; 0 while the session is connected, or if there is none.
    oldest: u64,
    presence: Presence,
}

impl Queue {
    /// An empty queue of a session.
    pub(super) fn new(presence: Presence) -> Self {
        Queue {
            presence,
            ..Queue::default()
        }
    }

    /// Adds a message, behind all others. If the session is offline, it drops the oldest for it.
    /// False if the message is not kept: it alone exceeds the limits.
    pub(super) fn push(&mut self, new: Ref, form: &QueueForm, cx: &mut QueueContext<'_>) -> bool {
        let number = new.number();
        let Some((len, at)) = cx.messages.get(number).map(|m| (m.len(), m.at)) else {
            return false;
        };
        let len = len + form.len() as u64;
        let offline = self.presence == Presence::Offline;
        let fits = !offline || len <= cx.limits.bytes;
        let form = if fits { self.forms.add(form) } else { None };
        let Some(form) = form else {
            cx.drop_for(DropReason::QueueFull, number);
            return false;
        };
        if offline {
            self.drop_excess(1, len, cx);
            self.waiting_bytes += len;
            if self.waiting.is_empty() {
                self.oldest = at;
            }
        }
        cx.messages.add_reference(number, self.presence);
        self.waiting.push_back(new.with_form(form));
        true
    }

    /// Drops waiting messages that are too old, and then the oldest until so many messages and
    /// bytes more are within the limits.
    fn drop_excess(&mut self, messages: usize, bytes: u64, cx: &mut QueueContext<'_>) {
        while let Some(oldest) = self.waiting.front().copied()
            && let Some(reason) = cx.excess(
                self.waiting.len() + messages,
                self.waiting_bytes + bytes,
                self.oldest,
            )
        {
            cx.drop_for(reason, oldest.number());
            self.waiting.pop_front();
            self.waiting_bytes -= self.forms.len_with(oldest, cx.messages);
            self.release(oldest, cx.messages);
            self.note_oldest(cx.messages);
        }
        self.shrink();
    }

    /// The connection is lost. All up to `sent` was sent or is done.
    pub(super) fn disconnected(&mut self, sent: MessageNo, cx: &mut QueueContext<'_>) {
        if self.presence == Presence::Connected {
            self.move_all(Presence::Offline, cx.messages);
        }
        let behind = self.waiting.partition_point(|r| r.number() <= sent);
        self.begun.extend(self.waiting.drain(..behind));
        self.count_bytes(cx.messages);
        self.drop_excess(0, 0, cx);
    }

    /// Counts what it holds, if the session is offline.
    fn count_bytes(&mut self, messages: &Messages) {
        if self.presence == Presence::Offline {
            let len = |r: &Ref| self.forms.len_with(*r, messages);
            self.begun_bytes = self.begun.iter().map(len).sum();
            self.waiting_bytes = self.waiting.iter().map(len).sum();
        }
        self.note_oldest(messages);
    }

    /// The session has a connection again.
    pub(super) fn resumed(&mut self, messages: &mut Messages) {
        if self.presence == Presence::Offline {
            self.move_all(Presence::Connected, messages);
            (self.begun_bytes, self.waiting_bytes, self.oldest) = (0, 0, 0);
        }
    }

    /// The session is done with these messages. Some may have been dropped before, and it may say
    /// so again.
    pub(super) fn done(&mut self, done: &Done, messages: &mut Messages) {
        self.retain(messages, |reference, _| !done.contains(reference.number()));
    }

    /// Drops the messages that the session may not see any more. Waiting ones
    /// count as forbidden. Those that were sent count where they are in flight.
    pub(super) fn purge(
        &mut self,
        cx: &mut QueueContext<'_>,
        mut may_see: impl FnMut(&StoredMessage) -> bool,
    ) {
        let begun: Vec<MessageNo> = self.begun.iter().map(|r| r.number()).collect();
        let dropped = &mut *cx.dropped;
        self.retain(cx.messages, |reference, messages| {
            let Some(message) = messages.get(reference.number()) else {
                return false;
            };
            let seen = may_see(message);
            if !seen && begun.binary_search(&reference.number()).is_err() {
                dropped(DropReason::Forbidden, message);
            }
            seen
        });
    }

    /// The session has ended: drops all its references.
    pub(super) fn end(mut self, messages: &mut Messages) {
        self.retain(messages, |_, _| false);
    }

    /// The messages behind this one that were not sent on an earlier connection, in order.
    pub(super) fn waiting(&self, after: MessageNo) -> impl Iterator<Item = Ref> {
        let first = self.waiting.partition_point(|r| r.number() <= after);
        self.waiting.range(first..).copied()
    }

    /// The form of a reference in this queue; none: nothing is added to the message.
    pub(super) fn form(&self, reference: Ref) -> Option<&QueueForm> {
        self.forms.get(reference.form())
    }

    /// How many references there are.
    pub(super) fn len(&self) -> usize {
        self.begun.len() + self.waiting.len()
    }

    /// Bytes of the messages; 0 while the session is connected.
    pub(super) fn bytes(&self) -> u64 {
        self.begun_bytes + self.waiting_bytes
    }

    /// The number of references that it counts for in the lane's share: its own, and its forms.
    pub(super) fn references(&self) -> usize {
        self.len() + self.forms.cost.div_ceil(REF_COST)
    }

    /// Keeps the references for which `keep` is true.
    fn retain(&mut self, messages: &mut Messages, mut keep: impl FnMut(Ref, &Messages) -> bool) {
        let offline = self.presence == Presence::Offline;
        let (forms, presence) = (&mut self.forms, self.presence);
        let mut stays = |reference: Ref, bytes: &mut u64| {
            let stays = keep(reference, messages);
            if !stays {
                let number = reference.number();
                if offline {
                    *bytes -= forms.len_with(reference, messages);
                }
                forms.release(reference.form());
                messages.remove_reference(number, presence);
            }
            stays
        };
        let bytes = &mut self.begun_bytes;
        self.begun.retain(|r| stays(*r, bytes));
        let bytes = &mut self.waiting_bytes;
        self.waiting.retain(|r| stays(*r, bytes));
        self.note_oldest(messages);
        self.shrink();
    }

    fn release(&mut self, reference: Ref, messages: &mut Messages) {
        self.forms.release(reference.form());
        messages.remove_reference(reference.number(), self.presence);
    }

    fn move_all(&mut self, to: Presence, messages: &mut Messages) {
        for reference in self.begun.iter().chain(&self.waiting) {
            messages.move_reference(reference.number(), to);
        }
        self.presence = to;
    }

    fn note_oldest(&mut self, messages: &Messages) {
        let oldest = self
            .waiting
            .front()
            .filter(|_| self.presence == Presence::Offline);
        let oldest = oldest.and_then(|r| messages.get(r.number()));
        self.oldest = oldest.map_or(0, |message| message.at);
    }

    /// Gives memory back that was needed for more references.
    fn shrink(&mut self) {
        shrink(&mut self.waiting);
        if self.begun.capacity() > 32 && self.begun.len() * 4 < self.begun.capacity() {
            self.begun.shrink_to_fit();
        }
    }
}

/// Gives memory back that was needed for more references.
fn shrink(refs: &mut VecDeque<Ref>) {
    if refs.capacity() > 32 && refs.len() * 4 < refs.capacity() {
        refs.shrink_to_fit();
    }
}

/// The forms of a queue's references. Form 0 is none, form n is at place n - 1. A place whose form
/// has no reference any more is used again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct QueueForms {
    places: Vec<UsedForm>,
    /// The memory of those that have references.
    cost: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct UsedForm {
    form: QueueForm,
    references: u32,
}

impl UsedForm {
    fn cost(&self) -> usize {
        FORM_COST + self.form.len()
    }
}

impl QueueForms {
    /// The number of a form for one more reference. None if too many forms are in use.
    fn add(&mut self, form: &QueueForm) -> Option<u16> {
        if *form == QueueForm::default() {
            return Some(0);
        }
        let places = &mut self.places;
        let known = places.iter().position(|used| used.form == *form);
        let free = || places.iter().position(|used| used.references == 0);
        let place = known.or_else(free).unwrap_or(places.len());
        let number = u16::try_from(place + 1).ok().filter(|n| *n <= LAST_FORM)?;
        if place == places.len() {
            places.push(UsedForm::default());
        }
        let used = &mut places[place];
        if used.references == 0 {
            used.form = form.clone();
            self.cost += used.cost();
        }
        used.references += 1;
        Some(number)
    }

    fn get(&self, number: u16) -> Option<&QueueForm> {
        let place = usize::from(number).checked_sub(1)?;
        Some(&self.places.get(place)?.form)
    }

    /// The bytes of a message with its form.
    fn len_with(&self, reference: Ref, messages: &Messages) -> u64 {
        let form = self.get(reference.form());
        messages.len_of(reference.number()) + form.map_or(0, QueueForm::len) as u64
    }

    /// A reference with this form has gone.
    fn release(&mut self, number: u16) {
        let place = usize::from(number).checked_sub(1);
        let places = &mut self.places;
        let Some(used) = place.and_then(|place| places.get_mut(place)) else {
            return;
        };
        used.references = used.references.saturating_sub(1);
        if used.references == 0 {
            self.cost -= used.cost();
            used.form = QueueForm::default();
        }
        while places.last().is_some_and(|used| used.references == 0) {
            places.pop();
        }
        if places.is_empty() || places.len() * 4 < places.capacity() && places.capacity() > 32 {
            places.shrink_to_fit();
        }
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
