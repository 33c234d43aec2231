//! How long ago, in as few characters as a column has.

use jiff::Timestamp;

/// `45s`, `7m`, `3h`, `12d`, `2y`; `0s` for what comes from a clock that is ahead.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minute, hour, day) = (60, 3600, 86_400);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / minute),
        7200..172_800 => format!("{}h", seconds / hour),
        172_800..63_072_000 => format!("{}d", seconds / day),
        _ => format!("{}y", seconds / (365 * day)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_unit_grows_with_the_age() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(age(now - SignedDuration::from_secs(seconds), now), text);
        }
    }
}
