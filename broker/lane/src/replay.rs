//! The retained messages that new subscriptions match.

use super::entry::SubscribeEntry;
use super::lane::Lane;
use super::outcome::Outcome;
use super::retained::RetainedMessage;
use super::subscription::Subscription;
use std::ops::ControlFlow;

impl Lane {
    /// Calls `give` with each retained message that these `filters` of a SUBSCRIBE, by index,
    /// match, and with the subscription that matches it. Stops when `give` breaks.
    ///
    /// Messages come in the order of topics, for all filters at once. One that several filters
    /// match comes once for each [3.1.1 MQTT-3.8.4-4, 5.0 MQTT-3.8.4-5].
    ///
    /// `outcome` is that of the entry. A message that the hook has replaced since the subscription
    /// is given as it was, because the new one comes live.
    pub fn replay(
        &self,
        s: &SubscribeEntry<'_>,
        filters: &[usize],
        outcome: &Outcome,
        mut give: impl FnMut(&str, &RetainedMessage, &Subscription) -> ControlFlow<()>,
    ) {
        let wanted = filters.iter().filter_map(|at| s.filters.get(*at));
        // The slot is never read.
        let of = |f| Subscription::of(0, f, s.identifier, s.keeps);
        let subscriptions: Vec<_> = wanted.clone().map(of).collect();
        let all_guarded = subscriptions.iter().all(|s| s.guarded);
        let wanted = wanted.map(|f| f.filter);
        self.retained
            .matching(wanted, self.now, |topic, message, positions| {
                let replaced = outcome.replaced.as_ref().and_then(|all| all.get(topic));
                let Some(message) = replaced.map_or(Some(message), Option::as_ref) else {
                    return ControlFlow::Continue(());
                };
                // The hook is asked once a topic: thousands of filters of one packet may match it.
                let mut seen = None;
                let mut is_hidden =
                    || !*seen.get_or_insert_with(|| self.hook.may_see(s.who, topic));
                if all_guarded && is_hidden() {
                    return ControlFlow::Continue(());
                }
                for subscription in positions.iter().filter_map(|at| subscriptions.get(*at)) {
                    if !(subscription.guarded && is_hidden()) {
                        give(topic, message, subscription)?;
                    }
                }
                ControlFlow::Continue(())
            });
    }

    /// Notes a retained message that an effect is about to replace, if the entry's outcome has a
    /// replay.
    pub(super) fn note_replaced(&self, topic: &str, outcome: &mut Outcome) {
        let Some(replaced) = &mut outcome.replaced else {
            return;
        };
        if !replaced.contains_key(topic) {
            let mut old = None;
            let filter = std::iter::once(topic);
            self.retained.matching(filter, self.now, |_, message, _| {
                old = Some(message.clone());
                ControlFlow::Break(())
            });
            replaced.insert(topic.to_owned(), old);
        }
    }
}
