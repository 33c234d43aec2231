//! The recorded invocations, and requests made of them: the trace counts by the minute, a seed says when within it.

use std::time::Duration;

use anyhow::{Context, bail};
use catnap_autoscaler_core::simulator::{Request, Workload};

use crate::random::Random;

/// A hundred functions over eight hours; `data/README.md` says where it comes from.
const AZURE: &str = include_str!("../data/azure100.csv");
/// Shares of the invocations that take at most the seven recorded times.
const PERCENTILES: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];
const MINUTE: Duration = Duration::from_secs(60);
/// Start times made for each function; they are used in turn.
const STARTS: usize = 251;
/// Half of the pods start in less than this, and nine of ten in less than twice of it.
const MEDIAN_START: f64 = 1.5;
/// Requests at once in one pod.
pub(crate) const CAPACITY: u32 = 100;

/// When invocations come within their minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// At any time of it.
    Anywhere,
    /// Those of timers at the same second each time, give or take half a second; the others anywhere.
    TimersOnTime,
}

/// One function of the trace.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// What invokes it is a timer.
    timer: bool,
    /// Memory of one pod.
    pub(crate) megabytes: f64,
    /// Execution times in milliseconds, at [`PERCENTILES`].
    milliseconds: [f64; 7],
    /// Invocations in each minute.
    pub(crate) minutes: Vec<u32>,
}

/// All functions of the trace.
pub(crate) fn azure() -> anyhow::Result<Vec<Function>> {
    let lines = AZURE.lines().skip(1).enumerate();
    lines
        .map(|(index, line)| function(line).with_context(|| format!("line {} of the trace", index + 2)))
        .collect()
}

fn function(line: &str) -> anyhow::Result<Function> {
    let columns: Vec<&str> = line.split(',').collect();
    let [trigger, megabytes, milliseconds @ .., minutes] = columns.as_slice() else {
        bail!("too few columns")
    };
    let milliseconds: Vec<f64> =
        milliseconds.iter().map(|column| column.parse().context("no time")).collect::<anyhow::Result<_>>()?;
    let mut counts = Vec::new();
    for word in minutes.split(' ') {
        let (count, repeated) = word.split_once('*').unwrap_or((word, "1"));
        let count: u32 = count.parse().context("no count")?;
        counts.extend(std::iter::repeat_n(count, repeated.parse().context("no repetition")?));
    }
    let milliseconds = milliseconds.try_into().ok().context("not seven times")?;
    let megabytes = megabytes.parse().context("no memory")?;
    Ok(Function { timer: *trigger == "timer", megabytes, milliseconds, minutes: counts })
}

impl Function {
    /// Requests of the first `until`, of which those before `counted_from` do not count.
    pub(crate) fn workload(
        &self,
        seed: u64,
        placement: Placement,
        counted_from: Duration,
        until: Duration,
    ) -> Workload {
        let mut random = Random::new(seed);
        let second = random.within(MINUTE);
        let on_time = self.timer && placement == Placement::TimersOnTime;
        let mut requests = Vec::new();
        for (minute, count) in (0..).zip(&self.minutes) {
            for turn in 0..*count {
                let within = if on_time {
                    let spread = MINUTE.mul_f64(f64::from(turn) / f64::from(*count));
                    let at = second + spread + random.within(Duration::from_secs(1));
                    Duration::from_secs_f64(at.as_secs_f64() % MINUTE.as_secs_f64())
                } else {
                    random.within(MINUTE)
                };
                let at = MINUTE * minute + within;
                requests.push(Request { at, takes: self.takes(random.share()) });
            }
        }
        requests.sort_by_key(|request| request.at);
        requests.retain(|request| request.at < until);
        let starts = (0..STARTS).map(|_| start(&mut random)).collect();
        Workload { requests, capacity: CAPACITY, starts, counted_from, until }
    }

    /// Execution time at a share of the invocations, on straight lines between the recorded ones.
    pub(crate) fn takes(&self, share: f64) -> Duration {
        let points: Vec<(f64, f64)> = PERCENTILES.into_iter().zip(self.milliseconds).collect();
        let milliseconds = points
            .windows(2)
            .find_map(|pair| match pair {
                [(left, least), (right, most)] if share <= *right => {
                    Some(least + (most - least) * (share - left) / (right - left))
                }
                _ => None,
            })
            .unwrap_or_default();
        Duration::from_secs_f64(milliseconds.max(0.0) / 1_000.0)
    }
}

/// Log-normal around [`MEDIAN_START`], from the sum of twelve even shares.
fn start(random: &mut Random) -> Duration {
    let normal = (0..12).map(|_| random.share()).sum::<f64>() - 6.0;
    Duration::from_secs_f64(MEDIAN_START * (0.5 * normal).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURS: Duration = Duration::from_secs(8 * 3_600);

    #[test]
    fn the_trace_has_all_its_invocations_in_their_minutes() {
        let functions = azure().unwrap();
        assert_eq!(functions.len(), 100);
        let mut all = 0;
        for (seed, function) in (0..).zip(&functions) {
            for placement in [Placement::Anywhere, Placement::TimersOnTime] {
                let workload = function.workload(seed, placement, Duration::ZERO, HOURS);
                let mut minutes = vec![0; 480];
                for request in &workload.requests {
                    minutes[usize::try_from(request.at.as_secs() / 60).unwrap()] += 1;
                }
                assert_eq!(minutes, function.minutes);
            }
            all += function.minutes.iter().sum::<u32>();
        }
        assert_eq!(all, 339_657);
    }

    #[test]
    fn execution_times_lie_between_the_recorded_ones() {
        let function = Function {
            timer: false,
            megabytes: 1.0,
            milliseconds: [0.0, 0.0, 10.0, 20.0, 30.0, 100.0, 200.0],
            minutes: Vec::new(),
        };
        assert_eq!(function.takes(0.0), Duration::ZERO);
        assert_eq!(function.takes(0.625), Duration::from_millis(25));
        assert_eq!(function.takes(1.0), Duration::from_millis(200));
    }
}
