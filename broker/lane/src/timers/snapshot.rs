//! The timers of a lane in a snapshot.

use super::{LaneTimer, LaneTimers};
use crate::RestoreError;
use std::collections::BTreeMap;

/// Key, generation and time of each timer, by key.
pub(crate) type TimersImage<'a> = Vec<(&'a str, u64, u64)>;

impl LaneTimers {
    pub(crate) fn snapshot(&self) -> TimersImage<'_> {
        let LaneTimers { by_key } = self;
        let mut image = Vec::with_capacity(by_key.len());
        for (key, LaneTimer { generation, at }) in by_key {
            image.push((&**key, *generation, *at));
        }
        image
    }

    pub(crate) fn restore(image: TimersImage<'_>) -> Result<Self, RestoreError> {
        if !image.is_sorted_by(|(a, ..), (b, ..)| a < b) {
            return Err(RestoreError::Damaged("its timers are not in order"));
        }
        let timer = |(key, generation, at): (&str, u64, u64)| {
            (Box::from(key), LaneTimer { generation, at })
        };
        let by_key: BTreeMap<_, _> = image.into_iter().map(timer).collect();
        Ok(LaneTimers { by_key })
    }
}
