//! Which filters of one packet each lane is asked for.

use crate::fairness::FILTERS;
use crate::lane::lane_of_filter;
use crate::packet::TopicFilter;
use std::collections::BTreeMap;

/// Filters, by their places in a list. Those that live in every lane stand here once: there may be as many of them
/// as a packet can name, and thousands of lanes.
pub(super) struct FiltersByLane {
    lanes: u16,
    one_lane: BTreeMap<u16, Vec<usize>>,
    all_lanes: Vec<usize>,
}

impl FiltersByLane {
    pub(super) fn new<'a>(lanes: u16, filters: impl Iterator<Item = &'a TopicFilter>) -> Self {
        let mut one_lane: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        let mut all_lanes = Vec::new();
        for (place, filter) in filters.enumerate() {
            match lane_of_filter(filter, lanes) {
                Some(lane) => one_lane.entry(lane).or_default().push(place),
                None => all_lanes.push(place),
            }
        }
        FiltersByLane {
            lanes,
            one_lane,
            all_lanes,
        }
    }

    /// The lanes that are asked for something, in order.
    pub(super) fn lanes(&self) -> impl Iterator<Item = u16> + '_ {
        let all = if self.all_lanes.is_empty() {
            0
        } else {
            self.lanes
        };
        let some = self.one_lane.keys().copied();
        (0..all).chain(some.filter(move |_| all == 0))
    }

    /// What a lane is asked for, in order.
    pub(super) fn of(&self, lane: u16) -> Vec<usize> {
        let own = self.one_lane.get(&lane).into_iter().flatten();
        let mut places: Vec<_> = self.all_lanes.iter().chain(own).copied().collect();
        places.sort_unstable();
        places
    }

    /// In how many pieces of [`FILTERS`] all lanes are asked.
    pub(super) fn pieces(&self) -> usize {
        let own = |lane| self.one_lane.get(&lane).map_or(0, Vec::len);
        let pieces = |lane| (self.all_lanes.len() + own(lane)).div_ceil(FILTERS);
        self.lanes().map(pieces).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_lane_is_asked_for_its_own_and_for_what_lives_everywhere() {
        const LANES: u16 = 5;
        let asked = |names: &[String]| {
            let parsed = names
                .iter()
                .map(|name| name.parse::<TopicFilter>().unwrap());
            let filters: Vec<TopicFilter> = parsed.collect();
            let by_lane = FiltersByLane::new(LANES, filters.iter());
            let lanes: Vec<u16> = by_lane.lanes().collect();
            assert!(lanes.is_sorted_by(|a, b| a < b));
            let mut pieces = 0;
            for lane in 0..LANES {
                let here = |filter| lane_of_filter(filter, LANES).is_none_or(|own| own == lane);
                let places = 0..filters.len();
                let expected: Vec<usize> = places.filter(|at| here(&filters[*at])).collect();
                assert_eq!(lanes.contains(&lane), !expected.is_empty());
                assert_eq!(by_lane.of(lane), expected);
                pieces += expected.chunks(FILTERS).len();
            }
            assert_eq!(by_lane.pieces(), pieces);
            lanes.len()
        };
        assert_eq!(asked(&[]), 0);
        assert_eq!(asked(&["a/b/#".to_owned()]), 1);
        assert_eq!(asked(&["+".to_owned()]), 5);
        let names = |n| [format!("a/{n}"), format!("+/{n}"), format!("b/{n}/#")];
        assert_eq!(asked(&(0..100).flat_map(names).collect::<Vec<_>>()), 5);
    }
}
