//! Sorts the filters of one packet by the lanes that they live in.

use crate::fairness::FILTERS;
use crate::packet::TopicFilter;
use roommq_lane::lane_of_filter;
use std::collections::BTreeMap;

/// The filters of one packet, each named by its index in the list given to `new`.
///
/// Example with 4 lanes: filter 0 is `a/b/#`, which lives in lane 2, and filter 1 is `+`, which
/// lives in every lane. Then `of(2)` is `[0, 1]` and `of(3)` is `[1]`. Lane 4 is that of the node:
/// it has filters such as `$SYS/#`, and none of those that live in every lane. A filter of all lanes
/// is stored once: a packet may name thousands of them, and there may be thousands of lanes.
pub(super) struct FiltersByLane {
    lanes: u16,
    /// Filters that live in one lane only, by lane.
    one_lane: BTreeMap<u16, Vec<usize>>,
    /// Filters that live in every lane but that of the node.
    all_lanes: Vec<usize>,
}

impl FiltersByLane {
    pub(super) fn new<'a>(lanes: u16, filters: impl Iterator<Item = &'a TopicFilter>) -> Self {
        let mut one_lane: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        let mut all_lanes = Vec::new();
        for (index, filter) in filters.enumerate() {
            match lane_of_filter(filter, lanes) {
                Some(lane) => one_lane.entry(lane).or_default().push(index),
                None => all_lanes.push(index),
            }
        }
        FiltersByLane {
            lanes,
            one_lane,
            all_lanes,
        }
    }

    /// The lanes of at least one filter, in ascending order.
    pub(super) fn lanes(&self) -> impl Iterator<Item = u16> + '_ {
        let all = !self.all_lanes.is_empty();
        let some = self.one_lane.keys().copied();
        let every = (0..self.lanes).filter(move |_| all);
        every.chain(some.filter(move |lane| !all || *lane >= self.lanes))
    }

    /// The filters of one lane, in ascending order.
    pub(super) fn of(&self, lane: u16) -> Vec<usize> {
        let own = self.one_lane.get(&lane).into_iter().flatten();
        let mut indices: Vec<_> = self.spanning(lane).iter().chain(own).copied().collect();
        indices.sort_unstable();
        indices
    }

    /// Number of entries for all lanes, with at most [`FILTERS`] filters in each.
    pub(super) fn pieces(&self) -> usize {
        let own = |lane| self.one_lane.get(&lane).map_or(0, Vec::len);
        let pieces = |lane| (self.spanning(lane).len() + own(lane)).div_ceil(FILTERS);
        self.lanes().map(pieces).sum()
    }

    /// The filters of every lane that this one has.
    fn spanning(&self, lane: u16) -> &[usize] {
        if lane < self.lanes {
            &self.all_lanes
        } else {
            &[]
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lane_gets_its_own_filters_and_those_of_all_lanes() {
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
            for lane in 0..=LANES {
                let here = |filter| match lane_of_filter(filter, LANES) {
                    Some(own) => own == lane,
                    None => lane < LANES,
                };
                let indices = 0..filters.len();
                let expected: Vec<usize> = indices.filter(|at| here(&filters[*at])).collect();
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
        assert_eq!(asked(&["$SYS/#".to_owned()]), 1);
        assert_eq!(asked(&["$SYS/#", "+", "a/b"].map(str::to_owned)), 6);
        let names = |n| [format!("a/{n}"), format!("+/{n}"), format!("b/{n}/#")];
        assert_eq!(asked(&(0..100).flat_map(names).collect::<Vec<_>>()), 5);
    }
}
