//! The mailboxes: bounded queues of error messages from any lane to another.
//!
//! A lane that refuses Bob's message tells him by an error message, whose topic may belong to
//! another lane. It must not wait for that lane, so it puts the message into the lane's mailbox:
//!
//! ```text
//!   lane 3 --send--> | mailbox of lane 7: n1 n2 n3 | --up to 64 at once--> append to lane 7
//!   lane 5 --send--> |                             |
//! ```
//!
//! A full mailbox drops the message, and counts it. A lane that is busy holds up its own mailbox
//! alone.

use super::log::LogError;
use crate::clock;
use crate::policy::Notice;
use crate::rate_limiter::RateLimiter;
use futures_util::future::join_all;
use parking_lot::Mutex;
use roommq_lane::lane_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Milliseconds from one log line about dropped messages to the next.
const REPORT_INTERVAL: u64 = 1_000;

/// How many messages one mailbox holds.
const CAPACITY: usize = 1024;

/// How many messages are appended together.
const NOTICES_AT_ONCE: usize = 64;

/// The sending ends of all mailboxes. Any thread may send, and none waits.
#[derive(Clone)]
pub(crate) struct Mailboxes {
    /// By lane.
    senders: Arc<[mpsc::Sender<Notice>]>,
    dropped: Arc<AtomicU64>,
    /// Limits the log lines about them.
    reports: Arc<Mutex<RateLimiter>>,
}

/// The receiving ends of all mailboxes.
pub(crate) struct MailboxReaders {
    /// By lane.
    receivers: Vec<mpsc::Receiver<Notice>>,
}

impl Mailboxes {
    /// One mailbox for each lane, and their receiving ends.
    pub(crate) fn new(lanes: u16) -> (Self, MailboxReaders) {
        let (senders, receivers): (Vec<_>, _) = (0..lanes).map(|_| mpsc::channel(CAPACITY)).unzip();
        let mailboxes = Mailboxes {
            senders: senders.into(),
            dropped: Arc::default(),
            reports: Arc::new(Mutex::new(RateLimiter::every(REPORT_INTERVAL))),
        };
        (mailboxes, MailboxReaders { receivers })
    }

    /// How many messages have been dropped because a mailbox was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Puts a message into the mailbox of its topic's lane, or drops and counts it if that is full.
    pub(crate) fn send(&self, notice: Notice) {
        let lanes = u16::try_from(self.senders.len()).unwrap_or(u16::MAX);
        let lane = lane_of(&notice.topic, lanes);
        let sender = self.senders.get(usize::from(lane));
        if sender.is_some_and(|sender| sender.try_send(notice).is_ok()) {
            return;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(dropped) = self.reports.lock().admit(clock::lane_ms()) {
            tracing::warn!(
                lane,
                dropped,
                "error messages were dropped: a mailbox is full"
            );
        }
    }
}

impl MailboxReaders {
    /// Passes the messages of each lane to `append`, for ever. No lane's messages wait for another
    /// lane.
    pub(crate) async fn run<F: Future<Output = Result<(), LogError>>>(
        self,
        append: impl Fn(u16, Vec<Notice>) -> F,
    ) {
        let append = &append;
        let one = |(lane, mut receiver): (u16, mpsc::Receiver<Notice>)| async move {
            let mut notices = Vec::new();
            while receiver.recv_many(&mut notices, NOTICES_AT_ONCE).await > 0 {
                if let Err(error) = append(lane, std::mem::take(&mut notices)).await {
                    tracing::error!(%error, lane, "error messages were lost");
                }
            }
        };
        join_all((0..).zip(self.receivers).map(one)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::RefCell;
    use tokio::sync::Notify;

    const LANES: u16 = 2;

    fn notice(topic: &str, payload: String) -> Notice {
        Notice {
            topic: topic.into(),
            payload: payload.into(),
        }
    }

    /// A topic of `lane`.
    fn topic(lane: u16) -> String {
        let mut topics = (0..).map(|n| format!("t{n}"));
        topics.find(|t| lane_of(t, LANES) == lane).unwrap()
    }

    #[tokio::test]
    async fn a_full_mailbox_neither_delays_nor_drops_messages_of_others() {
        let (mailboxes, readers) = Mailboxes::new(LANES);
        let (full, idle) = (topic(0), topic(1));
        for n in 0..CAPACITY + 3 {
            mailboxes.send(notice(&full, n.to_string()));
        }
        for n in 0..CAPACITY {
            mailboxes.send(notice(&idle, n.to_string()));
        }
        assert_eq!(mailboxes.dropped(), 3, "of the full lane's own");
        drop(mailboxes);

        let (appended, all) = (RefCell::new(Vec::new()), Notify::new());
        let append = |lane: u16, notices: Vec<Notice>| {
            let (appended, all) = (&appended, &all);
            async move {
                if lane == 0 {
                    return std::future::pending().await;
                }
                let payloads = notices.iter().map(|notice| notice.payload.to_vec());
                appended.borrow_mut().extend(payloads);
                if appended.borrow().len() == CAPACITY {
                    all.notify_one();
                }
                Ok(())
            }
        };
        tokio::select! {
            () = readers.run(append) => unreachable!("one lane is never taken"),
            () = all.notified() => {}
        }
        let expected: Vec<_> = (0..CAPACITY).map(|n| n.to_string().into_bytes()).collect();
        assert_eq!(*appended.borrow(), expected, "in order");
    }
}
