//! Durations as people write them in a manifest: Gateway API's format (GEP-2257), such as `1h30m`, `30s` or `500ms`.
//!
//! At most four terms of one to five digits with the units h, m, s and ms: no signs, no fractions, so that every
//! reader (CEL's `duration()` too) agrees on the value. Eleven years are as good as for ever, and the most there is.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest one: more than five digits of hours could not be written again.
const LONGEST_MILLISECONDS: u64 = 99_999 * 3_600_000;

/// A length of time, written as a GEP-2257 string; precise to the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is not a GEP-2257 duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: write one to four terms such as 1h, 30m, 45s or 500ms")]
pub struct ParseDurationError {
    text: String,
}

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// The same length of time for use in code.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError { text: text.to_owned() };
        let mut rest = text;
        let mut milliseconds = 0;
        let mut terms = 0;
        while !rest.is_empty() {
            terms += 1;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if terms > 4 || !(1..=5).contains(&digits) {
                return Err(error());
            }
            let value: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let (unit, length) = if rest.starts_with("ms") {
                (1, 2)
            } else if rest.starts_with('s') {
                (1000, 1)
            } else if rest.starts_with('m') {
                (60_000, 1)
            } else if rest.starts_with('h') {
                (3_600_000, 1)
            } else {
                return Err(error());
            };
            milliseconds += value * unit;
            rest = &rest[length..];
        }
        if terms == 0 {
            return Err(error());
        }
        Ok(Self::from_millis(milliseconds.min(LONGEST_MILLISECONDS)))
    }
}

impl fmt::Display for Duration {
    /// One unit where five digits are enough (`90s`), else the terms that are not zero (`48h1ms`).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let (seconds, below) = (milliseconds / 1000, milliseconds % 1000);
        if below == 0 && seconds < 100_000 {
            return write!(formatter, "{seconds}s");
        }
        if milliseconds < 100_000 {
            return write!(formatter, "{milliseconds}ms");
        }
        let terms = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (below, "ms")];
        terms
            .iter()
            .filter(|(value, _)| *value > 0)
            .try_for_each(|(value, unit)| write!(formatter, "{value}{unit}"))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The length bounds what the API server reckons a CEL rule on it can cost.
        json_schema!({
            "type": "string",
            "maxLength": 28,
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_pattern_allows() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("99999h", 359_996_400_000),
            ("99999h1ms99999h", 359_996_400_000),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_pattern_refuses() {
        for text in ["", "5", "s", "-1s", "1.5s", "100000s", "1d", "1s1s1s1s1s", "1 s", "1us"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_something_that_reads_the_same() {
        for (milliseconds, text) in [
            (0, "0s"),
            (500, "500ms"),
            (60_000, "60s"),
            (90_500, "90500ms"),
            (86_400_000, "86400s"),
            (172_800_001, "48h1ms"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(duration.to_string(), text);
            assert_eq!(text.parse::<Duration>().unwrap(), duration);
        }
    }
}
