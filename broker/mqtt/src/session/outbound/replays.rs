//! Replays: the retained messages that follow a SUBACK, at the pace of the client.
//!
//! A lane reads them in parts, and this decides when the next one is taken. Meanwhile the live messages of the lanes that
//! were asked are held back, so that each topic has one order.
//!
//! ```text
//!  begin_replay, answer ──► SUBACK ──► deliver_retained ... ──► end_replay ──► what was held back
//! ```

use super::{Frame, Outbound};
use crate::packet::QoS;

impl Outbound {
    /// A lane that is about to [answer](Outbound::answer) has retained messages for the client. Returns whether the request is
    /// pending: then [`end_replay`](Outbound::end_replay) has to follow.
    pub fn begin_replay(&mut self, request_id: u32) -> bool {
        let pending = self.request(request_id);
        pending.map(|pending| pending.replays += 1).is_some()
    }

    /// The request whose retained messages are sent next. Those of different requests are sent one after the other, in the order
    /// of the requests.
    #[must_use]
    pub fn replaying(&self) -> Option<u32> {
        let requests = self.requests.as_ref()?;
        let (first, _) = requests.replaying.first_key_value()?;
        let is_first = requests.pending.iter().all(|p| p.request_id > *first);
        is_first.then_some(*first)
    }

    /// Whether a request has been answered and has replays that have not ended.
    #[must_use]
    pub fn has_replay(&self, request_id: u32) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|r| r.replaying.contains_key(&request_id))
    }

    /// Whether the next retained message can be taken, as far as is known.
    #[must_use]
    pub fn wants_retained(&self) -> bool {
        let Some(requests) = self.requests.as_ref().filter(|_| !self.offline) else {
            return false;
        };
        let (len, qos) = requests.refused_retained.unwrap_or((0, QoS::AtMostOnce));
        self.replaying().is_some() && self.takes_retained(len, qos)
    }

    /// Sends or queues a retained message of the request that is [replayed](Outbound::replaying). False if it has to wait.
    pub fn deliver_retained(&mut self, frame: &Frame, now: u64) -> bool {
        let takes = !self.offline && self.takes_retained(frame.len(), frame.qos);
        if let Some(requests) = &mut self.requests {
            requests.refused_retained = (!takes).then_some((frame.len(), frame.qos));
        }
        takes && {
            self.send(frame, None, now, now);
            true
        }
    }

    /// Whether a retained message is sent, or waits for the window: at most half of the limits, so that live messages find
    /// capacity. A message that is larger has to be alone.
    fn takes_retained(&self, len: usize, qos: QoS) -> bool {
        let half = self.limits.bytes / 2;
        if !self.queue.is_empty() && self.queue.len() + len > half {
            return false;
        }
        if qos == QoS::AtMostOnce || self.waiting.is_empty() && self.window_takes(len) {
            return true;
        }
        if self.waiting.is_empty() {
            return len <= self.limits.bytes;
        }
        self.waiting.len() * 2 < self.limits.messages && self.waiting_bytes + len <= half
    }

    /// A replay has come to its end, or was given up.
    pub fn end_replay(&mut self, request_id: u32, now: u64) {
        if let Some(requests) = &mut self.requests
            && let Some((replays, _)) = requests.replaying.get_mut(&request_id)
        {
            *replays = replays.saturating_sub(1);
            self.send_complete_answers(now);
        }
    }
}

#[cfg(test)]
#[path = "replays_tests.rs"]
mod tests;
