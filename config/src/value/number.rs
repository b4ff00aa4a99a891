//! Whole numbers within limits.

use super::{Hint, whole};
use config::ValueKind;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// A type that holds a whole number.
pub(crate) trait WholeNumber: Sized {
    fn take(number: u64) -> Option<Self>;
    fn give(&self) -> Option<u64>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl WholeNumber for $type {
            fn take(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
            fn give(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }
        }
    )*};
}
number!(u16, u32, usize);

impl WholeNumber for Option<NonZeroU32> {
    fn take(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(NonZeroU32::new)
    }
    fn give(&self) -> Option<u64> {
        self.map(|number| number.get().into())
    }
}

pub(crate) fn read<T: WholeNumber>(
    value: &ValueKind,
    limits: RangeInclusive<u64>,
) -> Result<T, Hint> {
    whole(value)
        .filter(|number| limits.contains(number))
        .and_then(T::take)
        .ok_or_else(|| {
            format!(
                "give a whole number from {} to {}",
                limits.start(),
                limits.end()
            )
        })
}

pub(crate) fn show<T: WholeNumber>(number: &T) -> Option<toml::Value> {
    Some(toml::Value::Integer(i64::try_from(number.give()?).ok()?))
}
