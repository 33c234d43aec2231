//! From idle times to the parts of an idle time in which a replica is kept.
//!
//! Every part must pay: the idle times that end in it, each worth a price in waiting time, against all the waiting that it
//! costs, and against the budget.

use std::time::Duration;

use super::histogram::{Histogram, Interval};
use super::{FEWEST, Hold, LEAST, Terms};

/// The most waiting time that one request without a cold start is worth, whatever the owner allows.
const DEAREST: f64 = 300.0;
/// A replica is started this much before the first request that is expected, because pods take time to start.
const LEAD_SECONDS: f64 = 3.0;
/// A hold begins and ends this share of its idle time off the interval that was seen, which is never the whole of it.
const MARGIN: f64 = 0.02;
/// And at least this much later: measurements are seconds.
const SLACK_SECONDS: f64 = 1.0;
/// Idle times that must have ended in a hold ahead of requests.
const FEWEST_AHEAD: f64 = 2.0;

/// When a replica is kept.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Not enough is known: so long after each request.
    Fixed(Duration),
    /// In these parts of each idle time, in rising order.
    Learned(Vec<Hold>),
}

/// How an idle time was spent with a replica.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waited {
    /// Waiting in all.
    pub(super) all: Duration,
    /// Waiting that no request ended, beyond the least.
    pub(super) vain: Duration,
}

impl Plan {
    pub(super) fn new(histogram: &Histogram, terms: Terms) -> Self {
        let intervals = histogram.intervals();
        let count: f64 = intervals.iter().map(|interval| interval.count()).sum();
        if count < FEWEST {
            return Self::Fixed(terms.after);
        }
        let after = terms.after.as_secs_f64();
        let mut holds = Vec::new();
        let kept = part(intervals, count, 0.0, after, terms);
        let (mut next, mut until) =
            kept.as_ref().map_or((0, 1.0), |part| (part.intervals, part.until.max(1.0)));
        let percent = kept.as_ref().map_or(0, |part| percent_of(part.ended, count));
        holds.push(Hold { from: Duration::ZERO, until: seconds(until).max(LEAST), percent });
        // What the last hold began with: its start, the idle times that lasted until then, and those that end in it.
        let (mut began, mut lasted, mut ended) = (0.0, count, kept.map_or(0.0, |part| part.ended));
        while let Some(rest) = intervals.get(next..).filter(|rest| !rest.is_empty()) {
            let left: f64 = rest.iter().map(|interval| interval.count()).sum();
            let shortest = rest.first().map_or(0.0, |interval| interval.shortest.seconds());
            let from = (shortest * (1.0 - MARGIN) - LEAD_SECONDS).max(until);
            let part = part(rest, left, from, after, terms).filter(|part| part.ended >= FEWEST_AHEAD);
            // A replica that would go and come back at once stays, and one that has waited for its time goes all the same.
            let adjoins = from < until + LEAD_SECONDS;
            let Some(part) = part.filter(|part| !adjoins || part.until <= began + after) else {
                next += 1;
                continue;
            };
            next += part.intervals;
            until = part.until;
            if adjoins && let Some(last) = holds.last_mut() {
                ended += part.ended;
                (last.until, last.percent) = (seconds(until), percent_of(ended, lasted));
            } else {
                (began, lasted, ended) = (from, left, part.ended);
                holds.push(Hold {
                    from: seconds(from),
                    until: seconds(until),
                    percent: percent_of(ended, left),
                });
            }
        }
        Self::Learned(holds)
    }

    /// What this plan does with an idle time of this length.
    pub(super) fn waited(&self, idle: Duration) -> Waited {
        let fixed;
        let holds = match self {
            Self::Fixed(after) => {
                fixed = [Hold { from: Duration::ZERO, until: *after, percent: 0 }];
                fixed.as_slice()
            }
            Self::Learned(holds) => holds,
        };
        let mut waited = Waited::default();
        for hold in holds.iter().filter(|hold| hold.from < idle) {
            waited.all += hold.until.min(idle).saturating_sub(hold.from);
            if hold.until <= idle {
                let least = if hold.is_ahead() { Duration::ZERO } else { LEAST };
                waited.vain += hold.until.saturating_sub(hold.from + least);
            }
        }
        waited
    }
}

/// A part of an idle time that pays.
struct Part {
    /// Intervals that it covers, the last perhaps in part.
    intervals: usize,
    /// Seconds after the last request.
    until: f64,
    /// Idle times that end in it.
    ended: f64,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn percent_of(ended: f64, of: f64) -> u32 {
    (100.0 * ended / of).round() as u32
}

/// The part that begins `from` seconds after a request and pays most, over the first of these intervals and as many more as
/// help. `left` idle times last until there; it is not longer than `longest` seconds.
fn part(intervals: &[Interval], left: f64, from: f64, longest: f64, terms: Terms) -> Option<Part> {
    let price = longest.min(DEAREST);
    let latest = from + longest;
    let budget = f64::from(terms.budget) / 100.0;
    let (mut best, mut most) = (None, 0.0);
    let (mut waited, mut ended, mut covered) = (0.0, 0.0, from);
    for (index, interval) in intervals.iter().enumerate() {
        let (shortest, longest) = (interval.shortest.seconds(), interval.longest.seconds());
        if shortest >= latest {
            break;
        }
        // Idle times are spread evenly over their interval.
        let end = longest.min(latest);
        let share = if longest > shortest { ((end - shortest) / (longest - shortest)).min(1.0) } else { 1.0 };
        let ending = interval.count() * share;
        let until = (longest * (1.0 + MARGIN) + SLACK_SECONDS).min(latest);
        let staying = left - ended - ending;
        waited += ending * (f64::midpoint(shortest.max(from), end) - covered).max(0.0)
            + staying * (until - covered);
        ended += ending;
        covered = until;
        let value = ended * price - waited;
        let vain = staying * (until - from);
        if value > most && vain <= budget * waited {
            most = value;
            best = Some(Part { intervals: index + 1, until, ended });
        }
    }
    best
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
