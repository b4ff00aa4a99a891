//! The time that people see.

/// Milliseconds since the Unix epoch by the clock of the node that wrote the batch. It may be set, also back.
///
/// Stamps, rosters and events show it. Everything that lasts or ends goes by *lane time* instead, a
/// plain number of milliseconds that never goes back: expiries, timers, grace periods.
///
/// ```text
///   batch   lane time   wall time   the operator
///      17      60,000      60,000
///      18      61,000   3,661,000   sets the clock an hour ahead
///      19      62,000      62,000   sets it back
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct WallTime(pub u64);
