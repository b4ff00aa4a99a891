//! Fan-out: the sessions and the shared groups that receive an accepted message.

use super::entry::PublishEntry;
use super::lane::Lane;
use super::outcome::{Act, Outcome, Source, Target};
use super::subscription::Subscription;
use crate::policy::Mark;

impl Lane {
    /// Adds to the outcome that a message is delivered to all subscribers, offline ones included
    /// [MQTT-4.5.0-1], and to one member of each shared group. A message that has expired reaches
    /// nobody.
    pub(super) fn fan_out(
        &self,
        source: Source,
        message: &PublishEntry<'_>,
        mark: Option<Mark>,
        outcome: &mut Outcome,
    ) {
        let expires = message.expires();
        if expires <= self.now {
            return;
        }
        let sender = message.origin.map(|origin| origin.session);
        let (first_act, first) = (outcome.acts.len(), outcome.targets.len());
        let Outcome {
            acts,
            targets,
            forms,
            ..
        } = outcome;
        let found = |s: &Subscription| {
            if s.options.no_local || s.guarded {
                let Some(subscriber) = self.subscribers.get(s.slot) else {
                    return;
                };
                // With "no local", a client does not receive its own messages [MQTT-3.8.3-3].
                if s.options.no_local && Some(subscriber.session) == sender {
                    return;
                }
                if s.guarded && !self.hook.may_see(subscriber.actor(), message.topic) {
                    return;
                }
            }
            targets.push(Target {
                slot: s.slot,
                form: forms.of(s.identifier, s.mount.as_ref()),
                qos: s.options.qos.min(message.qos),
                retain: s.options.retain_as_published && message.retain,
            });
        };
        let mut may_share = None;
        self.subscriptions.matches(message.topic, found, |group| {
            if *may_share.get_or_insert_with(|| self.hook.may_share(message.topic)) {
                acts.push(Act::Share {
                    source,
                    group: group.slot,
                    mark,
                    expires,
                });
            }
        });
        if self.subscriptions.may_overlap() {
            outcome.merge_targets(first);
        }
        let targets = first..outcome.targets.len();
        if !targets.is_empty() {
            let deliver = Act::Deliver {
                source,
                targets,
                mark,
                expires,
            };
            // Before the groups.
            outcome.acts.insert(first_act, deliver);
        }
    }
}
