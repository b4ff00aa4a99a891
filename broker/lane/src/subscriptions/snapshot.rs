//! The subscriptions of a lane in a snapshot.

use super::{FIRST_GROUP_SLOT, Group, Subscriptions, is_shared};
use crate::subscription::{Slot, Subscription};
use crate::{Mount, RestoreError};
use roommq_mqtt::packet::{SubscribeOptions, TopicFilter};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
pub(crate) struct SubscriptionsImage<'a> {
    /// Those of single sessions, by filter and slot.
    #[serde(borrow)]
    own: Vec<(Cow<'a, str>, SubscriptionImage<'a>)>,
    last_group_slot: Slot,
    /// By key.
    groups: Vec<GroupImage<'a>>,
}

#[derive(Serialize, Deserialize)]
struct GroupImage<'a> {
    key: &'a str,
    slot: Slot,
    /// By slot.
    #[serde(borrow)]
    members: Vec<SubscriptionImage<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SubscriptionImage<'a> {
    slot: Slot,
    options: SubscribeOptions,
    identifier: Option<NonZeroU32>,
    guarded: bool,
    keeps: bool,
    #[serde(borrow)]
    mount: Option<(&'a str, &'a str)>,
}

impl Subscriptions {
    pub(crate) fn snapshot(&self) -> SubscriptionsImage<'_> {
        let Subscriptions {
            index,
            guarded,
            group_slots: _, // follow from the groups
            groups,
            last_group_slot,
            count: _, // follows from the subscriptions
        } = self;
        let mut own = index.sorted();
        own.retain(|(_, subscription)| subscription.slot < FIRST_GROUP_SLOT);
        own.extend(guarded.iter().map(|(filter, s)| (filter.into(), s)));
        own.sort_unstable_by(|(a, first), (b, second)| (a, first.slot).cmp(&(b, second.slot)));
        let mut groups: Vec<_> = groups.values().map(Group::image).collect();
        groups.sort_unstable_by_key(|group| group.key);
        SubscriptionsImage {
            own: own
                .into_iter()
                .map(|(filter, s)| (filter, SubscriptionImage::of(s)))
                .collect(),
            last_group_slot: *last_group_slot,
            groups,
        }
    }

    /// `holder` is called with the slot and the filter of each subscription. It returns false if the
    /// slot has no session.
    pub(crate) fn restore(
        image: SubscriptionsImage<'_>,
        mut holder: impl FnMut(Slot, &str) -> bool,
    ) -> Result<Self, RestoreError> {
        let SubscriptionsImage {
            own,
            last_group_slot,
            groups,
        } = image;
        let mut all = Subscriptions::default();
        let mut insert = |all: &mut Subscriptions, filter: &str, image: SubscriptionImage<'_>| {
            let subscription = image.subscription();
            let valid = TopicFilter::new(filter.into()).is_ok()
                && holder(subscription.slot, filter)
                && all.insert(filter, subscription);
            valid
                .then_some(())
                .ok_or(RestoreError::Damaged("a subscription is not valid"))
        };
        for (filter, image) in own {
            if is_shared(&filter) {
                return Err(RestoreError::Damaged("a group is not among the groups"));
            }
            insert(&mut all, &filter, image)?;
        }
        for GroupImage { key, slot, members } in groups {
            // The first member creates the group at the slot behind this one.
            all.last_group_slot = slot.wrapping_sub(1);
            for image in members {
                insert(&mut all, key, image)?;
            }
            if all.group_slots.get(key) != Some(&slot) {
                return Err(RestoreError::Damaged("a group is not valid"));
            }
        }
        all.last_group_slot = last_group_slot;
        Ok(all)
    }
}

impl Group {
    fn image(&self) -> GroupImage<'_> {
        let Group { slot, key, members } = self;
        let mut members: Vec<_> = members.iter().map(SubscriptionImage::of).collect();
        members.sort_unstable_by_key(|member| member.slot);
        GroupImage {
            key,
            slot: *slot,
            members,
        }
    }
}

impl<'a> SubscriptionImage<'a> {
    fn of(subscription: &'a Subscription) -> Self {
        let Subscription {
            slot,
            options,
            identifier,
            guarded,
            keeps,
            mount,
        } = subscription;
        let mount = mount.as_deref();
        SubscriptionImage {
            slot: *slot,
            options: *options,
            identifier: *identifier,
            guarded: *guarded,
            keeps: *keeps,
            mount: mount.map(|Mount { real, shown }| (real.as_str(), shown.as_str())),
        }
    }

    fn subscription(self) -> Subscription {
        let mount = self.mount.map(|(real, shown)| Mount {
            real: real.to_owned(),
            shown: shown.to_owned(),
        });
        Subscription {
            slot: self.slot,
            options: self.options,
            identifier: self.identifier,
            guarded: self.guarded,
            keeps: self.keeps,
            mount: mount.map(Arc::new),
        }
    }
}
