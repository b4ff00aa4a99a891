//! The sessions of a lane in a snapshot.

use super::{Presence, Queue, Subscriber, Subscribers};
use crate::messages::Messages;
use crate::pending::QueueImage;
use crate::share::{OfflineShare, Place, PlaceImage};
use crate::subscription::Slot;
use crate::{Actor, RestoreError};
use roommq_mqtt::session::Filters;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The sessions by slot, and the free slots. The next free slot is the last: their order decides the
/// slots of later sessions.
pub(crate) type SubscribersImage<'a> = (Vec<Option<SubscriberImage<'a>>>, Vec<Slot>);

#[derive(Serialize, Deserialize)]
pub(crate) struct SubscriberImage<'a> {
    #[serde(borrow)]
    actor: Actor<'a>,
    presence: Presence,
    queue: Option<QueueImage<'a>>,
    place: Option<PlaceImage>,
    evicted: bool,
}

impl Subscribers {
    pub(crate) fn snapshot(&self) -> SubscribersImage<'_> {
        let Subscribers {
            slots,
            by_id: _, // follows from the slots
            free,
        } = self;
        let sessions = slots.iter().map(|slot| {
            let Subscriber {
                session,
                connection,
                user,
                filters: _, // follow from the subscriptions
                presence,
                queue,
                place,
                evicted,
            } = slot.as_ref()?;
            Some(SubscriberImage {
                actor: Actor {
                    session: *session,
                    connection: *connection,
                    user,
                },
                presence: *presence,
                queue: queue.as_deref().map(Queue::snapshot),
                place: place.as_ref().map(Place::snapshot),
                evicted: *evicted,
            })
        });
        (sessions.collect(), free.clone())
    }

    /// The sessions without their filters, which [`add_filter`](Self::add_filter) adds. Their queues
    /// add references to the messages, and those that are offline are added to the share.
    pub(crate) fn restore(
        (sessions, free): SubscribersImage<'_>,
        messages: &mut Messages,
        share: &mut OfflineShare,
    ) -> Result<Self, RestoreError> {
        let mut all = Subscribers {
            slots: Vec::with_capacity(sessions.len()),
            by_id: HashMap::with_capacity_and_hasher(sessions.len(), ahash::RandomState::default()),
            free,
        };
        let mut empty = Vec::with_capacity(all.free.len());
        for (slot, image) in (0..).zip(sessions) {
            let Some(image) = image else {
                all.slots.push(None);
                empty.push(slot);
                continue;
            };
            if all.by_id.insert(image.actor.session, slot).is_some() {
                return Err(RestoreError::Damaged("a session is there twice"));
            }
            let subscriber = Subscriber::restore(slot, image, messages, share)?;
            all.slots.push(Some(subscriber));
        }
        let mut sorted = all.free.clone();
        sorted.sort_unstable();
        if sorted != empty {
            return Err(RestoreError::Damaged(
                "its free slots are not the empty ones",
            ));
        }
        Ok(all)
    }
}

impl Subscriber {
    fn restore(
        slot: Slot,
        image: SubscriberImage<'_>,
        messages: &mut Messages,
        share: &mut OfflineShare,
    ) -> Result<Self, RestoreError> {
        let SubscriberImage {
            actor,
            presence,
            queue,
            place,
            evicted,
        } = image;
        let waits_for_client = presence == Presence::Offline && !evicted;
        if place.is_some() != waits_for_client || evicted && queue.is_some() {
            return Err(RestoreError::Damaged("a session is not valid"));
        }
        let queue = queue.map(|image| Queue::restore(image, presence, messages));
        let mut subscriber = Subscriber {
            session: actor.session,
            connection: actor.connection,
            user: actor.user.into(),
            filters: Filters::default(),
            presence,
            queue: queue.transpose()?.map(Box::new),
            place: None,
            evicted,
        };
        let waits = subscriber.waits();
        let place = place.map(|image| share.restore(slot, image, waits));
        subscriber.place = place.transpose()?;
        Ok(subscriber)
    }
}
