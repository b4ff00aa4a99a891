//! Fan-out: one accepted message into the outboxes of all its subscribers.

use super::frames::{Frames, Outgoing};
use super::host::LaneHost;
use super::sharing::share_out;
use super::subscribers::Subscribers;
use super::subscription::Subscription;
use super::subscriptions::{Group, Subscriptions};
use crate::policy::LaneHook;
use crate::session::Outbound;

/// Fills the outboxes of all subscribers, offline ones included [MQTT-4.5.0-1], and of one member
/// of each shared group. A message that has expired reaches nobody.
pub(super) fn fan_out(
    message: &Outgoing<'_>,
    subscriptions: &Subscriptions,
    subscribers: &Subscribers,
    hook: &dyn LaneHook,
    host: &mut dyn LaneHost,
) {
    if message.expires_at() <= message.now {
        return;
    }
    let mut matches: Vec<&Subscription> = Vec::new();
    let mut groups: Vec<&Group> = Vec::new();
    let sender = message.entry.origin.map(|o| o.session);
    let found = |s| {
        let s: &Subscription = s;
        let Some(subscriber) = subscribers.get(s.slot) else {
            return;
        };
        // With "no local", a client does not receive its own messages [MQTT-3.8.3-3].
        if s.options.no_local && Some(subscriber.session) == sender {
            return;
        }
        if s.guarded && !hook.may_see(subscriber.actor(), message.entry.topic) {
            return;
        }
        matches.push(s);
    };
    subscriptions.matches(message.entry.topic, found, |group| groups.push(group));
    if subscriptions.may_overlap() {
        matches.sort_by_key(|s| s.slot);
    }
    let mut frames = Frames::new(message, hook);
    // A session receives one copy, even if several of its filters match (3.3.4).
    for matches in matches.chunk_by(|a, b| a.slot == b.slot) {
        let slot = matches[0].slot;
        let Some(outbox) = host.linked(slot) else {
            continue;
        };
        let frame = frames.for_matches(matches, outbox.version());
        let deliver = |out: &mut Outbound| {
            out.deliver(message.lane, frame, message.now);
        };
        if outbox.fill(deliver) {
            host.flush_later(slot);
        }
    }
    if !groups.is_empty() && !hook.may_share(message.entry.topic) {
        return;
    }
    for group in groups {
        share_out(group, &mut frames, host);
    }
}
