//! Numbers and lengths of time as annotations have them: texts in Go's formats.

use std::time::Duration;

use crate::migrate::place::Place;

/// Longer ones than eleven years nobody means; below that all sums are exact to the millisecond.
const MOST_SECONDS: f64 = 350_000_000.0;

/// A whole number.
pub(in crate::migrate) fn whole(place: &Place<'_>) -> Option<i64> {
    place.text()?.trim().parse().ok()
}

/// A decimal number.
pub(in crate::migrate) fn decimal(place: &Place<'_>) -> Option<f64> {
    place.text()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A length of time such as `1m30s` or `1.5h`: `time.ParseDuration` of Go, <https://pkg.go.dev/time#ParseDuration>; none that
/// is negative.
pub(in crate::migrate) fn duration(place: &Place<'_>) -> Option<Duration> {
    let text = place.text()?;
    let mut rest = text.trim().trim_start_matches('+');
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let (length, unit) = unit(rest)?;
        total += value * length;
        rest = &rest[unit.len()..];
    }
    let fine = !text.trim().trim_start_matches('+').is_empty() && total <= MOST_SECONDS;
    fine.then(|| Duration::from_secs_f64(total))
}

/// The unit that a text begins with, and its seconds.
fn unit(text: &str) -> Option<(f64, &'static str)> {
    // Longer names first: `ms` is not `m`.
    let units = [
        (1e-9, "ns"),
        (1e-6, "us"),
        (1e-6, "µs"),
        (1e-6, "μs"),
        (1e-3, "ms"),
        (1.0, "s"),
        (60.0, "m"),
        (3600.0, "h"),
    ];
    units.into_iter().find(|(_, unit)| text.starts_with(unit))
}

/// As a Function has it, to the millisecond.
pub(in crate::migrate) fn seconds(length: Duration) -> String {
    let milliseconds = (length.as_secs_f64() * 1000.0).round();
    catnap_crds::Duration::from(Duration::from_secs_f64(milliseconds / 1000.0)).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("0", Some("0s"))]
    #[case("0s", Some("0s"))]
    #[case("1m5s", Some("65s"))]
    #[case("1.5h", Some("5400s"))]
    #[case("100ms", Some("100ms"))]
    #[case("+2m", Some("120s"))]
    #[case("1500us", Some("2ms"))]
    #[case("", None)]
    #[case("+", None)]
    #[case("5", None)]
    #[case("-5s", None)]
    #[case("1d", None)]
    #[case(".s", None)]
    #[case("1..5s", None)]
    #[case("99999999999h", None)]
    fn a_length_of_time_of_go_is_read(#[case] text: &str, #[case] expected: Option<&str>) {
        let value = json!(text);
        let length = duration(&Place::object(&value)).map(seconds);
        assert_eq!(length.as_deref(), expected, "{text}");
    }

    #[test]
    fn a_number_may_be_without_quotes() {
        assert_eq!(whole(&Place::object(&json!(3))), Some(3));
        assert_eq!(whole(&Place::object(&json!("3.5"))), None);
        assert_eq!(decimal(&Place::object(&json!(70.5))), Some(70.5));
        assert_eq!(decimal(&Place::object(&json!("NaN"))), None);
    }
}
