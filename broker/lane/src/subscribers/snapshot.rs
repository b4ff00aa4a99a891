//! The sessions of a lane in a snapshot.

use super::{Subscriber, Subscribers};
use crate::subscription::Slot;
use crate::{Actor, RestoreError};
use std::collections::{HashMap, HashSet};

/// The sessions by slot, and the free slots. The next free slot is the last: their order decides the
/// slots of later sessions.
pub(crate) type SubscribersImage<'a> = (Vec<Option<Actor<'a>>>, Vec<Slot>);

impl Subscribers {
    pub(crate) fn snapshot(&self) -> SubscribersImage<'_> {
        let Subscribers {
            slots,
            by_id: _, // follows from the slots
            free,
        } = self;
        let actors = slots.iter().map(|slot| {
            let Subscriber {
                session,
                connection,
                user,
                filters: _, // follow from the subscriptions
            } = slot.as_ref()?;
            Some(Actor {
                session: *session,
                connection: *connection,
                user,
            })
        });
        (actors.collect(), free.clone())
    }

    /// The sessions without their filters, which [`add_filter`](Self::add_filter) adds.
    pub(crate) fn restore((actors, free): SubscribersImage<'_>) -> Result<Self, RestoreError> {
        let mut by_id = HashMap::with_capacity(actors.len());
        let mut empty = Vec::with_capacity(free.len());
        for (slot, actor) in (0..).zip(&actors) {
            match actor {
                Some(actor) if by_id.insert(actor.session, slot).is_some() => {
                    return Err(RestoreError::Damaged("a session is there twice"));
                }
                Some(_) => {}
                None => empty.push(slot),
            }
        }
        let mut sorted = free.clone();
        sorted.sort_unstable();
        if sorted != empty {
            return Err(RestoreError::Damaged(
                "its free slots are not the empty ones",
            ));
        }
        let subscriber = |actor: Actor<'_>| Subscriber {
            session: actor.session,
            connection: actor.connection,
            user: actor.user.into(),
            filters: HashSet::new(),
        };
        let slots = actors.into_iter().map(|actor| actor.map(subscriber));
        Ok(Subscribers {
            slots: slots.collect(),
            by_id,
            free,
        })
    }
}
