//! What a replay promises of a series of any kind, for the property tests and for fuzzing.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::{ReplayError, policy, replay, series_of};

/// Averages, arrivals, what is learned, and what goes by the clock.
const POLICIES: [&str; 4] = [
    "concurrency: {limit: 5}\nscale: {window: 6s, downDelay: 4s, idle: {after: 2s}}\n",
    "scale: {metric: RequestRate, target: 5}\n",
    "scale: {idle: {after: 20s, policy: Learned}}\n",
    "scale: {schedules: [{cron: 0 7 * * *, duration: 1m, min: 2}]}\n",
];

/// The first byte chooses the policy. Each line of the rest is decided, in one line of JSON, up to the first one that is refused
/// by its number; blank ones are left out, and time rises.
pub(crate) fn series(bytes: &[u8]) {
    let Some((first, series)) = bytes.split_first() else { return };
    let policy = POLICIES[usize::from(*first) % POLICIES.len()];
    let scaling = policy::parse(Path::new("policy.yaml"), policy).ok();
    let to_decide = scaling.and_then(|scaling| series_of(scaling, Some(Timestamp::UNIX_EPOCH)).ok());
    assert!(to_decide.is_some(), "{policy}");
    let Some(to_decide) = to_decide else { return };
    let mut output = Vec::new();
    let outcome = replay(series, &mut output, to_decide);

    let good = match &outcome {
        Ok(()) => usize::MAX,
        Err(ReplayError::Line { number, .. }) => usize::try_from(number.saturating_sub(1)).unwrap_or(0),
        Err(_) => 0,
    };
    assert!(matches!(outcome, Ok(()) | Err(ReplayError::Line { .. })), "{outcome:?}");
    let lines = series.split(|byte| *byte == b'\n').take(good);
    let expected = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    let output = String::from_utf8_lossy(&output);
    let decided = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let times: Vec<f64> = decided.filter_map(|decision| decision["t"].as_f64()).collect();
    assert_eq!((output.lines().count(), times.len()), (expected, expected), "{output}");
    assert!(times.is_sorted_by(|earlier, later| earlier < later), "{times:?}");
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const NUMBER: &str = "([0-9]{1,3}|[0-9]{1,2}\\.[0-9]|1e[0-7])";

    proptest! {
        #[test]
        fn series_of_any_kind_keep_the_promise(
            policy in any::<u8>(),
            (one, other) in select(vec![("concurrency", "requests"), ("stable", "panic")]),
            lines in vec((0_u32..9, NUMBER, "[0-9]{1,3}", 0_u32..4), 0..12),
            last in "[ -~\\t]{0,9}",
        ) {
            let mut t = 0_u32;
            let mut text: Vec<String> = lines
                .iter()
                .map(|(step, first, second, ready)| {
                    t += step;
                    format!(r#"{{"t": {t}, "{one}": {first}, "{other}": {second}, "ready": {ready}}}"#)
                })
                .collect();
            text.push(last);
            let text = text.join("\n");
            series(&[&[policy][..], text.as_bytes()].concat());
        }
    }
}
