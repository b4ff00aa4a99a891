//! The messages that wait for sessions in a snapshot.

use super::{Held, MessageNo, Messages, StoredMessage};
use crate::RestoreError;
use crate::pending::LAST_NUMBER;
use std::borrow::Cow;
use std::sync::Arc;

/// The messages by number, and the number that was given last.
pub(crate) type MessagesImage<'a> = (Vec<(MessageNo, Cow<'a, StoredMessage>)>, MessageNo);

impl Messages {
    pub(crate) fn snapshot(&self) -> MessagesImage<'_> {
        let Messages {
            by_number,
            last,
            open: _,          // none between entries
            offline_bytes: _, // follows from the queues
        } = self;
        let mut messages = Vec::with_capacity(by_number.len());
        for (number, held) in by_number {
            let Held {
                message,
                references: _, // follow from the queues
                offline: _,
            } = held;
            messages.push((*number, Cow::Borrowed(&**message)));
        }
        (messages, *last)
    }

    /// The messages without references, which the queues add.
    pub(crate) fn restore((messages, last): MessagesImage<'_>) -> Result<Self, RestoreError> {
        let ascend = messages.is_sorted_by(|(a, _), (b, _)| a < b);
        let highest = messages
            .last()
            .map_or(MessageNo::NONE, |(number, _)| *number);
        if !ascend || highest > last || last.0 > LAST_NUMBER {
            return Err(RestoreError::Damaged("its messages are not in order"));
        }
        let held = |(number, message): (_, Cow<'_, StoredMessage>)| {
            let message = Arc::new(message.into_owned());
            let held = Held {
                message,
                references: 0,
                offline: 0,
            };
            (number, held)
        };
        Ok(Messages {
            by_number: messages.into_iter().map(held).collect(),
            last,
            ..Messages::default()
        })
    }

    /// Checks that something waits for each message, once all queues have been restored.
    pub(crate) fn check(&self) -> Result<(), RestoreError> {
        let all = self.by_number.values().all(|held| held.references > 0);
        let unused = RestoreError::Damaged("nothing waits for one of its messages");
        all.then_some(()).ok_or(unused)
    }
}
