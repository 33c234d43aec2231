//! The same averages lead to the same replicas as in Knative Serving, where the formulas are the same.
//!
//! `vectors.csv` was computed by a program of its own from the rules of knative.dev/serving `pkg/autoscaler/scaling` (its own
//! test's cases, and random walks); docs/autoscaling.md lists where Catnap differs, and those cases are not in it.

use std::str::{FromStr, Split};
use std::time::Duration;

use catnap_autoscaler_core::{History, Observation, Policy, Settings, formula};

const VECTORS: &str = include_str!("vectors.csv");

#[cfg(test)]
fn next<T: FromStr>(fields: &mut Split<'_, char>) -> T {
    fields.next().and_then(|field| field.parse().ok()).expect("a field of the right kind")
}

/// `sequence,name,target,wake,up rate,down rate,threshold,window,delay,ready at start`.
#[cfg(test)]
fn sequence(fields: &mut Split<'_, char>) -> (String, Policy, Settings, History) {
    let name = next(fields);
    let (target, wake) = (next(fields), next(fields));
    let settings = Settings { up_rate: next(fields), down_rate: next(fields), ..Settings::default() };
    let policy = Policy {
        max: u32::MAX,
        target,
        utilization: 100,
        wake,
        panic_threshold: next(fields),
        window: Duration::from_secs(next(fields)),
        down_delay: Duration::from_secs(next(fields)),
        ..Policy::default()
    };
    (name, policy, settings, History::found(next(fields), Duration::ZERO))
}

#[test]
fn the_same_averages_need_the_same_replicas() {
    let mut current = (String::new(), Policy::default(), Settings::default(), History::default());
    let (mut sequences, mut decisions) = (0, 0);
    for line in VECTORS.lines() {
        let mut fields = line.split(',');
        if line.starts_with("sequence") {
            fields.next();
            current = sequence(&mut fields);
            sequences += 1;
            continue;
        }
        // `seconds,stable average,panic average,ready,desired,in panic`.
        let now = Duration::from_secs(next(&mut fields));
        let (stable, panic) = (next(&mut fields), next(&mut fields));
        let observation = Observation { stable, panic, ready: next(&mut fields), ..Observation::default() };
        let expected: (u32, u8) = (next(&mut fields), next(&mut fields));
        let (name, policy, settings, history) = &mut current;
        let (later, decision) = formula(policy, settings, std::mem::take(history), &observation, now);
        *history = later;
        let decided = (decision.desired, u8::from(decision.panic));
        assert_eq!(decided, expected, "{name} at {}: {:?}", now.as_secs(), decision.reasons);
        decisions += 1;
    }
    assert!(sequences > 30 && decisions > 1_000, "{sequences} sequences, {decisions} decisions");
}
