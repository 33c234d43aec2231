//! Which part of the recorded trace is replayed, and the requests that it comes to.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use catnap_autoscaler_core::simulator::Request;

use crate::random::Random;
use crate::recorded::Function;

/// One in a hundred takes longer, up to minutes; those take as long as this share of all.
const LONGEST: f64 = 0.99;

/// Minutes of one function, replayed in less time than they took.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Line of the trace.
    line: usize,
    minutes: Range<usize>,
    /// Whether the same minutes follow once more, from the last to the first.
    and_back: bool,
    /// Requests a second, as a multiple of the recorded ones.
    rate: f64,
    /// Time before the first minute, with requests at the rate of that minute, which does not count.
    pub(crate) lead: Duration,
}

/// The least that shows a rise and fall, and bursts.
pub(crate) const SHAPES: [Shape; 2] = [
    // The busiest function, whose day rises from 446 to 714 requests a minute, of 0.8 s each in the median. The trace ends with
    // the highest hour: the way down is the way up, backwards. Requests come at the recorded rate, so that of a longer time
    // there are fewer. The lead is for what each autoscaler does with a function that had no pod.
    Shape {
        name: "diurnal",
        line: 62,
        minutes: 0..480,
        and_back: true,
        rate: 1.0,
        lead: Duration::from_secs(20),
    },
    // 36 requests of 3 s in one minute, none in the nine after it, and again. Where a minute takes five seconds, each of the
    // recorded requests is there. The first one of each burst meets a function that may have no pod.
    Shape { name: "burst", line: 60, minutes: 0..20, and_back: false, rate: 12.0, lead: Duration::ZERO },
];

impl Shape {
    /// Requests of a replay, in their order; the same seed gives the same ones. The minutes take so many seconds together, after
    /// the lead.
    pub(crate) fn requests(
        &self,
        functions: &[Function],
        seconds: u64,
        seed: u64,
    ) -> anyhow::Result<Vec<Request>> {
        // The first line names the columns.
        let function = self.line.checked_sub(2).and_then(|index| functions.get(index));
        let function = function.context("the trace has no such line")?;
        let minutes = function.minutes.get(self.minutes.clone()).context("the trace has no such minutes")?;
        let back = if self.and_back { minutes } else { &[] };
        let counts: Vec<u32> = minutes.iter().chain(back.iter().rev()).copied().collect();
        let first = *counts.first().context("no minutes of the trace")?;
        let minute = Duration::from_secs(seconds) / u32::try_from(counts.len())?;
        let mut random = Random::new(seed);
        let mut requests = Vec::new();
        let mut from = Duration::ZERO;
        let spans = counts.into_iter().map(|count| (minute, count));
        for (length, count) in [(self.lead, first)].into_iter().chain(spans) {
            // Chance decides about a part of a request.
            let mut left = f64::from(count) * (self.rate * length.as_secs_f64() / 60.0) + random.share();
            while left >= 1.0 {
                let at = from + random.within(length);
                requests.push(Request { at, takes: whole(function.takes(random.share().min(LONGEST))) });
                left -= 1.0;
            }
            from += length;
        }
        requests.sort_by_key(|request| request.at);
        Ok(requests)
    }
}

/// Whole milliseconds, as the function is told them; at least one, by which a response time can be divided.
fn whole(takes: Duration) -> Duration {
    let milliseconds = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(milliseconds.max(1))
}

/// Most requests at once when none waits.
pub(crate) fn peak(requests: &[Request]) -> usize {
    let ends = requests.iter().map(|request| (request.at + request.takes, false));
    let mut changes: Vec<(Duration, bool)> =
        requests.iter().map(|request| (request.at, true)).chain(ends).collect();
    // At the same moment the one that ends makes room for the one that begins.
    changes.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in changes {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded;

    fn replay(name: &str, seconds: u64, seed: u64) -> Vec<Request> {
        let shape = SHAPES.into_iter().find(|shape| shape.name == name).unwrap();
        shape.requests(&recorded::azure().unwrap(), seconds, seed).unwrap()
    }

    fn between(requests: &[Request], from: u64, to: u64) -> usize {
        requests.iter().filter(|request| (from..to).contains(&request.at.as_secs())).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        for shape in &SHAPES {
            assert_eq!(replay(shape.name, 100, 1), replay(shape.name, 100, 1));
            assert_ne!(replay(shape.name, 100, 1), replay(shape.name, 100, 2));
        }
    }

    #[test]
    fn bursts_have_all_recorded_requests_and_none_between() {
        let requests = replay("burst", 100, 3);
        assert_eq!(requests.len(), 72);
        assert_eq!((between(&requests, 0, 5), between(&requests, 50, 55)), (36, 36));
        // The rate is the same, so that half of the time has half of them.
        assert_eq!(replay("burst", 50, 3).len(), 36);
    }

    #[test]
    fn the_day_rises_to_its_middle_and_falls_again_at_the_recorded_rate() {
        let requests = replay("diurnal", 400, 1);
        // The lead takes 20 s; some 446 a minute in the first minutes, and some 680 in the last.
        let [morning, noon, evening] = [20, 200, 400].map(|from| between(&requests, from, from + 20));
        assert!(noon * 4 > morning * 5 && noon * 4 > evening * 5, "{morning}, {noon}, {evening}");
        assert!((120..200).contains(&morning) && (190..260).contains(&noon), "{morning}, {noon}");
        assert_eq!(between(&requests, 420, u64::MAX), 0);
        assert!(requests.is_sorted_by_key(|request| request.at));
    }

    #[test]
    fn no_request_takes_less_than_a_millisecond_or_longer_than_nearly_all() {
        for request in replay("diurnal", 100, 5) {
            assert!((Duration::from_millis(125)..=Duration::from_millis(2_626)).contains(&request.takes));
            assert_eq!(request.takes.subsec_nanos() % 1_000_000, 0);
        }
        assert_eq!(whole(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(whole(Duration::from_micros(2_900)), Duration::from_millis(2));
    }

    #[test]
    fn a_part_that_the_trace_does_not_have_is_an_error() {
        let functions = recorded::azure().unwrap();
        let [shape, _] = SHAPES;
        for wrong in [
            Shape { line: 1, ..shape.clone() },
            Shape { line: 102, ..shape.clone() },
            Shape { minutes: 470..481, ..shape.clone() },
            Shape { minutes: 0..0, ..shape.clone() },
        ] {
            assert!(wrong.requests(&functions, 100, 1).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn requests_at_once_are_those_that_overlap() {
        let request = |at, takes| Request { at: Duration::from_secs(at), takes: Duration::from_secs(takes) };
        assert_eq!(peak(&[request(0, 10), request(1, 2), request(2, 2), request(3, 1)]), 3);
        assert_eq!(peak(&[request(0, 1), request(1, 1)]), 1);
        assert_eq!(peak(&[]), 0);
    }
}
