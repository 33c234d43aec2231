//! A point on the leader's clock that may lie before its start, as the boot of an older activator does.

use std::time::Duration;

/// Microseconds since the leader's process started; negative before it.
pub(crate) type Moment = i64;

/// One second.
pub(crate) const SECOND: Moment = 1_000_000;

/// The moment of a time since the leader's start.
pub(crate) fn moment(now: Duration) -> Moment {
    span(now)
}

/// A length of time in the unit of [`Moment`].
pub(crate) fn span(length: Duration) -> Moment {
    Moment::try_from(length.as_micros()).unwrap_or(Moment::MAX / 4)
}
