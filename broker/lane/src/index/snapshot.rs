//! The filters of an index, for a snapshot.

use super::Index;
use crate::subscription::Subscription;
use std::borrow::Cow;

impl Index {
    /// All subscriptions with their filters, by filter and slot. Inserting them again makes an equal
    /// index.
    pub(crate) fn sorted(&self) -> Vec<(Cow<'_, str>, &Subscription)> {
        let Index {
            literal,
            wild,
            wild_count: _, // follows from the tree
        } = self;
        let literal = literal.iter();
        let literal = literal.map(|(filter, list)| (Cow::Borrowed(filter.as_str()), &**list));
        let wild = wild.lists().map(|(filter, list)| (filter.into(), list));
        let mut all: Vec<_> = literal
            .chain(wild)
            .flat_map(|(filter, list)| list.iter().map(move |s| (filter.clone(), s)))
            .collect();
        all.sort_unstable_by(|(a, first), (b, second)| (a, first.slot).cmp(&(b, second.slot)));
        all
    }
}
