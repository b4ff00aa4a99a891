//! Whole numbers within limits.

use super::{Hint, whole};
use config::ValueKind;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// A type that holds a whole number.
pub(crate) trait WholeNumber: Copy {
    fn take(number: u64) -> Option<Self>;
    fn give(self) -> u64;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl WholeNumber for $type {
            fn take(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
            fn give(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
    )*};
}
number!(u16, u32, usize);

impl WholeNumber for NonZeroU32 {
    fn take(number: u64) -> Option<Self> {
        NonZeroU32::new(number.try_into().ok()?)
    }
    fn give(self) -> u64 {
        self.get().into()
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

pub(crate) fn show<T: WholeNumber>(number: &T) -> toml::Value {
    integer(number.give())
}

/// TOML has no integers above those of an i64; the limits of all keys are far below.
pub(super) fn integer(number: u64) -> toml::Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
