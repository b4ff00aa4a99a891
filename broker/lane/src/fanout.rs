//! Fan-out: the sessions and the shared groups that receive an accepted message.

use super::entry::PublishEntry;
use super::lane::Lane;
use super::outcome::{Act, DELIVERY_WORK, Outcome, Outgoing, Target};
use super::subscription::Subscription;
use roommq_mqtt::packet::QoS;

impl Lane {
    /// Adds to the outcome that a message is delivered to all subscribers, offline ones included
    /// [MQTT-4.5.0-1], and to one member of each shared group. A message that has expired reaches
    /// nobody. QoS 1 and 2 messages are added to the queues of sessions that keep them.
    pub(super) fn fan_out(
        &mut self,
        entry: &PublishEntry<'_>,
        mut message: Outgoing,
        outcome: &mut Outcome,
    ) {
        if message.expires <= self.now {
            return;
        }
        let sender = entry.origin.map(|origin| origin.session);
        let (first, first_group) = (outcome.targets.len(), outcome.groups.len());
        let Outcome {
            targets,
            groups,
            forms,
            work,
            ..
        } = outcome;
        let mut any_kept = false;
        let mut found_work = 0;
        let mut found = |s: &Subscription| {
            found_work += 1;
            // With "no local", a client does not receive its own messages [MQTT-3.8.3-3].
            if s.options.no_local {
                let subscriber = self.subscribers.get(s.slot);
                if subscriber.is_none_or(|own| Some(own.session) == sender) {
                    return;
                }
            }
            let qos = s.options.qos.min(entry.qos);
            let kept = s.keeps && qos != QoS::AtMostOnce;
            any_kept |= kept;
            targets.push(Target {
                slot: s.slot,
                form: forms.of(s.identifier, s.mount.as_ref()),
                qos,
                kept,
                retain: s.options.retain_as_published && entry.retain,
            });
        };
        let mut may_share = None;
        *work += self
            .subscriptions
            .matches(entry.topic, &mut found, |group| {
                if *may_share.get_or_insert_with(|| self.hook.may_share(entry.topic)) {
                    groups.push(group.slot);
                }
            });
        *work += self.match_guarded(entry.topic, found);
        *work += found_work;
        if self.subscriptions.may_overlap() {
            outcome.merge_targets(first);
        }
        let mut dropped = Vec::new();
        if any_kept {
            message.number = Some(self.keep(entry, &message, (outcome, first), &mut dropped));
        }
        let targets = first..outcome.targets.len();
        let groups = first_group..outcome.groups.len();
        outcome.work += DELIVERY_WORK * (targets.len() + groups.len());
        if !targets.is_empty() || !groups.is_empty() {
            outcome.acts.push(Act::Deliver {
                message,
                targets,
                groups,
            });
        }
        // Behind the delivery, since the message itself may be among them.
        outcome.acts.append(&mut dropped);
    }

    /// Calls `found` with every guarded subscription that matches a topic which its session may see.
    /// Returns the steps of work.
    fn match_guarded(&self, topic: &str, mut found: impl FnMut(&Subscription)) -> usize {
        let guarded = self.subscriptions.guarded();
        if guarded.sessions() == 0 {
            return 0;
        }
        let mut slots = Vec::new();
        let mut each = |session| slots.extend(self.subscribers.slot_of(session));
        if self.hook.audience(topic, guarded.sessions(), &mut each) {
            // The hook knows no order, and outcomes have one.
            slots.sort_unstable();
            slots.dedup();
        } else {
            slots.extend(guarded.slots());
        }
        let mut work = slots.len();
        for slot in slots {
            let filters = guarded.of(slot);
            let Some(subscriber) = self.subscribers.get(slot).filter(|_| !filters.is_empty())
            else {
                continue;
            };
            if !self.hook.may_see(subscriber.actor(), topic) {
                continue;
            }
            work += filters.len();
            let matching = filters.iter().filter(|(filter, _)| filter.matches(topic));
            matching.for_each(|(_, subscription)| found(subscription));
        }
        work
    }
}
