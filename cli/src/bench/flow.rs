//! The flow control of a publisher: how many messages may be in flight.

use super::counters::add;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::Notify;

/// The messages of one publisher that are in flight.
#[derive(Default)]
pub struct FlowControl {
    copies: u64,
    window: u64,
    acknowledged_too: bool,
    /// Messages handed to the socket.
    pub sent: Cell<u64>,
    /// Messages that the server acknowledged (QoS 1).
    pub acked: Cell<u64>,
    /// Messages to send in all. None: until stopped.
    pub budget: Option<u64>,
    missing_copies: Cell<u64>,
    missing_acks: Cell<u64>,
    waiting: Cell<bool>,
    wake: Notify,
}

impl FlowControl {
    /// At most `window` messages are in flight. Each becomes `copies` deliveries, and is in flight
    /// until all have arrived; at QoS 1 also until its PUBACK has arrived.
    pub fn new(window: u16, copies: u64, qos: u8, budget: Option<u64>) -> FlowControl {
        FlowControl {
            copies: copies.max(1),
            window: u64::from(window),
            acknowledged_too: qos > 0,
            budget,
            ..FlowControl::default()
        }
    }

    /// The deliveries expected for the messages sent.
    pub fn owed(&self) -> u64 {
        self.sent.get() * self.copies
    }

    /// The number of messages that may be sent now.
    #[inline]
    pub fn free(&self) -> u64 {
        let in_flight = self.missing_copies.get().div_ceil(self.copies);
        let mut free = self.window.saturating_sub(in_flight);
        if self.acknowledged_too {
            free = free.min(self.window.saturating_sub(self.missing_acks.get()));
        }
        match self.budget {
            Some(budget) => free.min(budget - self.sent.get().min(budget)),
            None => free,
        }
    }

    /// Whether the budget is spent, and no message is in flight.
    pub fn is_done(&self) -> bool {
        self.is_spent() && self.missing_copies.get() == 0 && self.missing_acks.get() == 0
    }

    /// Whether the budget is spent.
    pub fn is_spent(&self) -> bool {
        self.budget.is_some_and(|budget| self.sent.get() >= budget)
    }

    /// Counts messages handed to the socket.
    pub fn count_sent(&self, messages: u64) {
        add(&self.sent, messages);
        add(&self.missing_copies, messages * self.copies);
        if self.acknowledged_too {
            add(&self.missing_acks, messages);
        }
    }

    /// Counts one delivery of a message of this publisher.
    #[inline]
    pub fn count_delivery(&self) {
        self.missing_copies
            .set(self.missing_copies.get().saturating_sub(1));
        self.wake_if_free();
    }

    /// Counts PUBACKs.
    pub fn count_acks(&self, acks: u64) {
        add(&self.acked, acks);
        self.missing_acks
            .set(self.missing_acks.get().saturating_sub(acks));
        self.wake_if_free();
    }

    #[inline]
    fn wake_if_free(&self) {
        if self.waiting.get() && (self.free() > 0 || self.is_done()) {
            self.waiting.set(false);
            self.wake.notify_one();
        }
    }

    /// Waits until a message may be sent, or all is done. If nothing arrives for `patience`, it
    /// stops waiting for the messages in flight and returns true, so that a lost message does not
    /// end the run.
    pub async fn wait(&self, patience: Duration) -> bool {
        let before = self.progress();
        self.waiting.set(true);
        let woken = tokio::time::timeout(patience, self.wake.notified()).await;
        self.waiting.set(false);
        if woken.is_ok() || self.progress() != before {
            return false;
        }
        self.missing_copies.set(0);
        self.missing_acks.set(0);
        true
    }

    fn progress(&self) -> (u64, u64) {
        (self.missing_copies.get(), self.missing_acks.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_when_every_copy_of_a_message_has_arrived() {
        let flow = FlowControl::new(2, 3, 0, None);
        assert_eq!(flow.free(), 2);
        flow.count_sent(2);
        assert_eq!(flow.free(), 0);
        flow.count_delivery();
        flow.count_delivery();
        assert_eq!(flow.free(), 0);
        flow.count_delivery();
        assert_eq!(flow.free(), 1);
        assert_eq!(flow.owed(), 6);
    }

    #[test]
    fn at_qos_1_the_acknowledgements_count_too() {
        let flow = FlowControl::new(2, 1, 1, None);
        flow.count_sent(2);
        flow.count_delivery();
        flow.count_delivery();
        assert_eq!(flow.free(), 0);
        flow.count_acks(1);
        assert_eq!(flow.free(), 1);
    }

    #[test]
    fn a_budget_ends_a_flow() {
        let flow = FlowControl::new(16, 1, 0, Some(3));
        assert_eq!(flow.free(), 3);
        flow.count_sent(3);
        assert!(flow.is_spent() && !flow.is_done());
        assert_eq!(flow.free(), 0);
        for _ in 0..3 {
            flow.count_delivery();
        }
        assert!(flow.is_done());
    }

    #[tokio::test]
    async fn a_window_without_progress_is_reset_and_one_with_progress_is_not() {
        let flow = FlowControl::new(1, 2, 0, None);
        flow.count_sent(1);
        assert!(flow.wait(Duration::from_millis(1)).await);
        assert_eq!(flow.free(), 1);

        flow.count_sent(1);
        let (stalled, ()) = tokio::join!(flow.wait(Duration::from_millis(1)), async {
            flow.count_delivery();
        });
        assert!(!stalled);
        let (stalled, ()) = tokio::join!(flow.wait(Duration::from_mins(1)), async {
            flow.count_delivery();
        });
        assert!(!stalled);
        assert_eq!(flow.free(), 1);
    }
}
