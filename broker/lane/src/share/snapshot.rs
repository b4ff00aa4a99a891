//! The offline sessions of a lane in a snapshot.

use super::{OfflineShare, Place, Rank, Slot, Waits};
use crate::RestoreError;

/// When a session went offline, whether its user has shown credentials, and the bytes of the session
/// and its filters.
pub(crate) type PlaceImage = (u64, bool, u64);

/// More than any session has.
const MOST: u64 = 1 << 40;

impl Place {
    pub(crate) fn snapshot(&self) -> PlaceImage {
        let Place {
            rank:
                Rank {
                    authenticated,
                    zeros: _, // follows from the queue
                    since,
                    slot: _, // that of the session
                },
            own,
            references: _, // follow from the queue
        } = self;
        (*since, *authenticated, *own)
    }
}

impl OfflineShare {
    /// Adds a session as it was. All of them together are the state of the share.
    pub(crate) fn restore(
        &mut self,
        slot: Slot,
        (since, authenticated, own): PlaceImage,
        waits: Waits,
    ) -> Result<Place, RestoreError> {
        if own > MOST {
            return Err(RestoreError::Damaged("a session is too large"));
        }
        Ok(self.add(slot, since, authenticated, own, waits))
    }
}
