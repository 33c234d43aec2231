//! The same averages lead to the same replicas as in Knative Serving, where the formulas are the same, and the same requests
//! to the same averages.
//!
//! `vectors.csv` was written by Knative's own packages (`bench/peers/knative/vectors`, which also says what the columns are);
//! docs/autoscaling.md lists where Catnap differs, and those cases are not in it.

use std::str::{FromStr, Split};
use std::time::Duration;

use catnap_autoscaler_core::replay::{Replay, Second};
use catnap_autoscaler_core::{History, Metric, Observation, Policy, Reason, Settings, formula};

const VECTORS: &str = include_str!("vectors.csv");
/// Knative rounds averages to six digits.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
fn next<T: FromStr>(fields: &mut Split<'_, char>) -> T {
    fields.next().and_then(|field| field.parse().ok()).expect("a field of the right kind")
}

#[cfg(test)]
fn seconds(fields: &mut Split<'_, char>) -> Duration {
    Duration::from_secs(next(fields))
}

/// Lines of one kind, each with the lines that belong to it.
#[cfg(test)]
fn blocks(kind: &str) -> Vec<(Split<'static, char>, Vec<Split<'static, char>>)> {
    let mut blocks = Vec::new();
    let mut within = false;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(',');
        if line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            within = fields.next() == Some(kind);
            if within {
                blocks.push((fields, Vec::new()));
            }
        } else if let Some((_, lines)) = blocks.last_mut().filter(|_| within) {
            lines.push(fields);
        }
    }
    blocks
}

/// Settings of a revision; 0 stands for the default.
#[cfg(test)]
fn settings(fields: &mut Split<'_, char>) -> (Policy, Settings, History) {
    let default = Policy::default();
    let metric = match next::<String>(fields).as_str() {
        "rps" => Metric::RequestRate,
        _ => Metric::Concurrency,
    };
    let (target, limit, utilization, wake) = (next(fields), next(fields), next(fields), next(fields));
    let settings = Settings { up_rate: next(fields), down_rate: next(fields), ..Settings::default() };
    let policy = Policy {
        max: u32::MAX,
        metric,
        target,
        limit,
        utilization: if utilization == 0 { default.utilization } else { utilization },
        wake,
        panic_threshold: next(fields),
        window: seconds(fields),
        down_delay: seconds(fields),
        ..default
    };
    (policy, settings, History::found(next(fields), Duration::ZERO))
}

#[test]
fn the_same_averages_need_the_same_replicas() {
    let (mut sequences, mut decisions, mut panics, mut rates) = (0, 0, 0, 0);
    for (mut head, steps) in blocks("sequence") {
        let name: String = next(&mut head);
        let (policy, settings, mut history) = settings(&mut head);
        sequences += 1;
        rates += u32::from(policy.metric == Metric::RequestRate);
        for mut fields in steps {
            let now = seconds(&mut fields);
            let (stable, panic, ready) = (next(&mut fields), next(&mut fields), next(&mut fields));
            let observation = Observation { stable, panic, ready, ..Observation::default() };
            let expected: (u32, u8) = (next(&mut fields), next(&mut fields));
            let (later, decision) = formula(&policy, &settings, history, &observation, now);
            history = later;
            let decided = (decision.desired, u8::from(decision.panic));
            assert_eq!(decided, expected, "{name} at {}: {:?}", now.as_secs(), decision.reasons);
            decisions += 1;
            panics += u32::from(decision.panic);
        }
    }
    assert!(sequences > 60 && decisions > 1_800, "{sequences} sequences, {decisions} decisions");
    assert!(panics > 300 && rates > 10, "{panics} decisions in panic, {rates} sequences of rates");
}

#[test]
fn the_same_requests_have_the_same_averages() {
    let mut averages = 0;
    for (mut head, values) in blocks("series") {
        let name: String = next(&mut head);
        let window = seconds(&mut head);
        let mut replay = Replay::new(Policy { window, panic_window: window, ..Policy::default() });
        for mut fields in values {
            let at = seconds(&mut fields);
            let concurrency = next(&mut fields);
            let decision = replay.second(Second { at, concurrency, requests: 0, ready: 1 });
            let Some(Reason::Stable { average, .. }) = decision.reasons.first() else {
                panic!("{name} at {}: {:?}", at.as_secs(), decision.reasons)
            };
            let expected: f64 = next(&mut fields);
            assert!(
                (average - expected).abs() <= ROUNDING,
                "{name} at {}: {average}, not {expected}",
                at.as_secs()
            );
            averages += 1;
        }
    }
    assert!(averages > 200, "{averages} averages");
}
