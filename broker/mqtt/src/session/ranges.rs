//! Sets of numbers of which most are neighbours.

/// A set of numbers, as ranges from and to (both included). No two of them touch, and they ascend: equal sets have equal ranges.
///
/// Numbers that are added in their order cost a step each and one range together. A number out of order costs a search, and
/// moves the ranges behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Vec<(u64, u64)>")]
pub struct RangeSet(Vec<(u64, u64)>);

impl RangeSet {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) {
        self.insert_range(number, number);
    }

    /// Adds all numbers from `from` to `to`, both included. None if `from` is larger.
    pub fn insert_range(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let ranges = &mut self.0;
        // Those that overlap or touch the new one.
        let first = ranges.partition_point(|range| range.1.saturating_add(1) < from);
        let behind = ranges.partition_point(|range| range.0 <= to.saturating_add(1));
        if first == behind {
            ranges.insert(first, (from, to));
            return;
        }
        ranges[first] = (from.min(ranges[first].0), to.max(ranges[behind - 1].1));
        ranges.drain(first + 1..behind);
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < number);
        self.0.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Removes all numbers up to `number`, this one included.
    pub fn remove_up_to(&mut self, number: u64) {
        let below = self.0.partition_point(|range| range.1 <= number);
        self.0.drain(..below);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(number.saturating_add(1));
        }
    }

    /// The smallest number.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    /// Whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }
}

impl From<Vec<(u64, u64)>> for RangeSet {
    /// The ranges may overlap and may be in any order.
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        let mut all = RangeSet::default();
        for (from, to) in ranges {
            all.insert_range(from, to);
        }
        all
    }
}

impl FromIterator<u64> for RangeSet {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut all = RangeSet::default();
        for number in numbers {
            all.insert(number);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(set: &RangeSet) -> BTreeSet<u64> {
        let ranges = set.ranges().iter();
        ranges.flat_map(|(from, to)| *from..=*to).collect()
    }

    #[test]
    fn numbers_in_order_are_one_range() {
        let mut set: RangeSet = (1..=1_000).collect();
        assert_eq!(set.ranges(), [(1, 1_000)]);
        set.insert(1_002);
        assert_eq!(set.ranges(), [(1, 1_000), (1_002, 1_002)]);
        set.insert(1_001);
        assert_eq!(set.ranges(), [(1, 1_002)]);
    }

    #[test]
    fn the_largest_numbers_fit() {
        let mut set = RangeSet::default();
        set.insert_range(u64::MAX - 1, u64::MAX);
        set.insert(0);
        set.insert_range(5, 4);
        assert_eq!(set.ranges(), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        set.insert_range(0, u64::MAX);
        assert_eq!(set.ranges(), [(0, u64::MAX)]);
        set.remove_up_to(u64::MAX);
        assert!(set.is_empty());
    }

    proptest! {
        #[test]
        fn a_set_of_numbers(steps in prop::collection::vec((0..3_u8, 0..60_u64, 0..9_u64), 0..100)) {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for (step, from, more) in steps {
                if step == 0 {
                    set.remove_up_to(from / 2);
                    model.retain(|number| *number > from / 2);
                } else {
                    set.insert_range(from, from + more);
                    model.extend(from..=from + more);
                }
                prop_assert_eq!(&numbers(&set), &model);
                prop_assert_eq!(set.first(), model.first().copied());
                prop_assert!(set.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                prop_assert!((0..80).all(|number| set.contains(number) == model.contains(&number)));
            }
            let mut shuffled: Vec<(u64, u64)> = model.iter().map(|number| (*number, *number)).collect();
            shuffled.reverse();
            prop_assert_eq!(RangeSet::from(shuffled), set);
        }
    }
}
