//! The outcome of an entry: all that follows from it outside of the lane's state, as data.

use super::cursor::Cursor;
use super::subscription::Slot;
use crate::{Mark, Mount, Notice, Refusal, SessionId};
use bytes::Bytes;
use roommq_mqtt::packet::{QoS, ReasonCode};
use roommq_mqtt::session::{DropReason, MessageNo};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

/// For how many acts, targets, groups and forms an outcome keeps memory.
const KEPT: usize = 4_096;

/// The outcome of one entry. [`Lane::apply`](super::Lane::apply) fills it; a runner performs its
/// acts in order. It is a buffer that is used for one entry after another.
///
/// A PUBLISH to three sessions, the last of which has a subscription identifier:
///
/// ```text
///   acts     Deliver { message: Entry, targets: 0..3, groups: 0..0 }
///   targets  slot 4 form 0, slot 7 form 0, slot 9 form 1
///   forms    1: identifiers [5]
/// ```
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which they are to be performed.
    pub acts: Vec<Act>,
    /// Of all [`Act::Deliver`].
    pub targets: Vec<Target>,
    /// Of all [`Act::Deliver`]: shared groups, by their numbers.
    pub groups: Vec<Slot>,
    /// The forms that targets name.
    pub forms: Forms,
    /// The messages of [`Source::Made`].
    pub made: Vec<Made>,
    /// Steps of work that the entry's messages cost, beside a constant for each: places of the index
    /// that were visited, subscriptions that were found, and 4 for each target and group.
    pub work: usize,
}

/// The work of a delivery to one session or one group, in steps of about 0.1 us.
pub const DELIVERY_WORK: usize = 4;

/// One thing to do. None of them changes the lane's state.
#[derive(Debug)]
pub enum Act {
    /// Deliver a message to these sessions, offline ones included, and to one member of each of
    /// these shared groups.
    Deliver {
        /// The message.
        message: Outgoing,
        /// In [`Outcome::targets`].
        targets: Range<usize>,
        /// In [`Outcome::groups`].
        groups: Range<usize>,
    },
    /// Answer a request: a code for each filter by its position, with a reason string if it is a
    /// refusal. Then send the retained messages that the filters match.
    Answer {
        /// The client.
        session: SessionId,
        /// As in the entry.
        request_id: u32,
        /// The position of each filter in its packet, its reason code, and a reason if it was refused.
        codes: Vec<(u16, ReasonCode, Option<String>)>,
        /// The retained messages that the filters may match. None: the client gets none.
        replay: Option<Box<Cursor>>,
    },
    /// The lane has given a slot to a session.
    Linked {
        /// The place of the session in the lane.
        slot: Slot,
        /// The session.
        session: SessionId,
    },
    /// The lane has taken the slot back.
    Unlinked {
        /// The place of the session in the lane.
        slot: Slot,
        /// The session.
        session: SessionId,
    },
    /// The connection of a session has ended, and the session stays. Also for a session without a
    /// slot: groups that it has left may have sent it something.
    Disconnected {
        /// The session.
        session: SessionId,
    },
    /// A session has ended. Also for one without a slot.
    Ended {
        /// The session.
        session: SessionId,
    },
    /// The session at a slot has left these shared groups, of which there is at least one.
    LeftGroups {
        /// The place of the session in the lane.
        slot: Slot,
        /// The filters of the groups, `$share/` included.
        groups: Vec<Box<str>>,
    },
    /// The lane has dropped messages from the queue of a session.
    Dropped {
        /// The place of the session in the lane.
        slot: Slot,
        /// The reason.
        reason: DropReason,
        /// How many.
        messages: u64,
        /// Bytes of their payloads.
        payload: u64,
    },
    /// An offline session must end, in all lanes: its messages take too much memory.
    Evict {
        /// The session.
        session: SessionId,
    },
    /// The entry's PUBLISH was refused, or its filter with this index. Its sender is told if its
    /// protocol has no acknowledgement for it.
    Refuse {
        /// The index of the filter in the entry; 0 for a PUBLISH.
        filter: usize,
        /// The reason code, and the reason for people.
        refusal: Refusal,
    },
    /// Count that a limit has acted, by its name.
    Count(&'static str),
    /// Publish an error message, in the lane of its topic.
    Tell(Notice),
    /// Append [`Entry::Timer`](super::Entry::Timer) to this lane at a time. It replaces the timer of
    /// the same key.
    Wake {
        /// Chosen by the hook, or the lane's own.
        key: String,
        /// A timer of an earlier generation changes nothing.
        generation: u64,
        /// In milliseconds of lane time.
        at: u64,
    },
}

/// A message that the lane has accepted.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    /// The place of the message itself.
    pub source: Source,
    /// The hook's mark for the sender. None: the server sent it.
    pub mark: Option<Mark>,
    /// In milliseconds of lane time; [`NEVER`](roommq_mqtt::session::NEVER): never.
    pub expires: u64,
    /// Its number in the queues of sessions. None: no session keeps it.
    pub number: Option<MessageNo>,
}

/// Topic, payload and properties of a message.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The PUBLISH that was applied, which the caller of `apply` has.
    Entry,
    /// A message of the server, by its index in [`Outcome::made`].
    Made(usize),
}

/// A message that the hook has published.
#[derive(Debug)]
pub struct Made {
    /// A topic of this lane.
    pub topic: String,
    /// Any bytes.
    pub payload: Bytes,
    /// Whether it is retained.
    pub retain: bool,
}

/// A session that a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub slot: Slot,
    /// In [`Outcome::forms`].
    pub form: u32,
    /// The highest QoS of its matching subscriptions, and no more than that of the message
    /// [3.1.1 MQTT-3.3.5-1, MQTT-3.8.4-6, 5.0 MQTT-3.3.4-2, MQTT-3.8.4-8].
    pub qos: QoS,
    /// The message is retained, and the session wants to see that.
    pub retain: bool,
    /// The message is in the session's queue.
    pub kept: bool,
}

/// What messages carry for single subscribers: subscription identifiers and mounts. Form 0 has
/// neither.
#[derive(Debug, Default)]
pub struct Forms {
    forms: Vec<Form>,
    /// Of all forms, one after the other.
    identifiers: Vec<u32>,
}

#[derive(Debug)]
struct Form {
    identifiers: Range<usize>,
    mount: Option<Arc<Mount>>,
}

impl Forms {
    /// The identifiers and the mount of a form.
    #[must_use]
    pub fn get(&self, form: u32) -> (&[u32], Option<&Mount>) {
        let (identifiers, mount) = self.parts(form);
        (identifiers, mount.map(|mount| &**mount))
    }

    /// The same with the mount as it is shared.
    pub(super) fn parts(&self, form: u32) -> (&[u32], Option<&Arc<Mount>>) {
        let form = (form as usize).checked_sub(1);
        match form.and_then(|at| self.forms.get(at)) {
            Some(form) => (self.identifiers_of(form), form.mount.as_ref()),
            None => (&[], None),
        }
    }

    fn identifiers_of(&self, form: &Form) -> &[u32] {
        &self.identifiers[form.identifiers.clone()]
    }

    /// The form of one subscription.
    pub(super) fn of(&mut self, id: Option<NonZeroU32>, mount: Option<&Arc<Mount>>) -> u32 {
        if id.is_none() && mount.is_none() {
            return 0;
        }
        let id = id.map(NonZeroU32::get);
        let same = self.forms.last().is_some_and(|last| {
            self.identifiers_of(last) == id.as_slice() && last.mount.as_ref() == mount
        });
        if !same {
            let first = self.identifiers.len();
            self.identifiers.extend(id);
            self.push(first, mount.cloned());
        }
        self.last()
    }

    /// The form of a session for which these targets were found: with all their identifiers
    /// [5.0 MQTT-3.3.4-4].
    fn merged(&mut self, targets: &[Target]) -> u32 {
        let mut forms = targets.iter().map(|t| t.form).filter(|form| *form != 0);
        match (forms.next(), forms.next()) {
            (None, _) => return 0,
            (Some(only), None) => return only,
            _ => {}
        }
        let first = self.identifiers.len();
        let mut mount = None;
        for target in targets {
            if let Some(form) = (target.form as usize).checked_sub(1) {
                let form = &self.forms[form];
                mount = mount.or_else(|| form.mount.clone());
                self.identifiers
                    .extend_from_within(form.identifiers.clone());
            }
        }
        self.push(first, mount);
        self.last()
    }

    fn push(&mut self, first: usize, mount: Option<Arc<Mount>>) {
        let identifiers = first..self.identifiers.len();
        self.forms.push(Form { identifiers, mount });
    }

    /// The number of the latest form. There are fewer than subscriptions in the lane.
    fn last(&self) -> u32 {
        u32::try_from(self.forms.len()).unwrap_or(u32::MAX)
    }

    fn clear(&mut self) {
        empty(&mut self.forms);
        empty(&mut self.identifiers);
    }
}

impl Outcome {
    /// Whether the PUBLISH that was applied matched a subscription, of a connected session or of an
    /// offline one.
    #[must_use]
    pub fn reaches_anybody(&self) -> bool {
        let of_entry = |act: &Act| matches!(act, Act::Deliver { message, .. } if matches!(message.source, Source::Entry));
        self.acts.iter().any(of_entry)
    }

    /// Empties the buffer for the next entry.
    pub(super) fn clear(&mut self) {
        empty(&mut self.acts);
        empty(&mut self.targets);
        empty(&mut self.groups);
        self.forms.clear();
        self.made.clear();
        self.work = 0;
    }

    /// Makes one target of those from `first` on that are of one session: it receives one copy,
    /// even if several of its filters match (3.3.4).
    pub(super) fn merge_targets(&mut self, first: usize) {
        let Outcome { targets, forms, .. } = self;
        // Forms ascend in the order in which subscriptions were found.
        targets[first..].sort_unstable_by_key(|t| (t.slot, t.form));
        let (mut to, mut from) = (first, first);
        while let Some(target) = targets.get(from).copied() {
            let same = targets[from..].iter().take_while(|t| t.slot == target.slot);
            let same = &targets[from..from + same.count()];
            let merged = Target {
                slot: target.slot,
                form: forms.merged(same),
                qos: same.iter().fold(target.qos, |qos, t| qos.max(t.qos)),
                retain: same.iter().any(|t| t.retain),
                kept: same.iter().any(|t| t.kept),
            };
            from += same.len();
            targets[to] = merged;
            to += 1;
        }
        targets.truncate(to);
    }
}

/// Empties a list. One that was very long gives its memory back.
fn empty<T>(list: &mut Vec<T>) {
    list.clear();
    list.shrink_to(KEPT);
}
