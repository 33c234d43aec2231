//! Idle times of one function as a few intervals that fit themselves to where the idle times lie.
//!
//! A timer's idle times make one narrow interval, random traffic's make wide ones. Old idle times fade: when there are many,
//! all are halved.

use std::time::Duration;

/// Most intervals.
pub(super) const INTERVALS: usize = 11;
/// The longest idle time that is told apart from longer ones.
const LONGEST_SECONDS: f64 = 86_400.0;
/// What one idle time adds. More than 1, so that a rare one outlives some halvings.
const WEIGHT: u8 = 2;
/// Weight of all together at which all are halved: 120 idle times.
const FULL: u16 = 240;

/// A length of time from 1 s to a day on a logarithmic scale, to 0.02 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Length(pub(super) u16);

impl Length {
    /// As `as` does it: shorter ones are 1 s, longer ones a day.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn of(time: Duration) -> Self {
        let share = time.as_secs_f64().max(1.0).ln() / LONGEST_SECONDS.ln();
        Self((share * f64::from(u16::MAX)).round() as u16)
    }

    pub(super) fn seconds(self) -> f64 {
        (f64::from(self.0) / f64::from(u16::MAX) * LONGEST_SECONDS.ln()).exp()
    }
}

/// Idle times between two lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) shortest: Length,
    pub(super) longest: Length,
    /// Idle times, times [`WEIGHT`].
    pub(super) weight: u8,
}

impl Interval {
    /// Idle times in it, the faded ones in part.
    pub(super) fn count(self) -> f64 {
        f64::from(self.weight) / f64::from(WEIGHT)
    }

    /// What is lost when this one and the next become one: the width that their idle times are spread over.
    fn cost_of_merging(self, next: Self) -> u64 {
        let width = u64::from(next.longest.0 - self.shortest.0);
        width * (u64::from(self.weight) + u64::from(next.weight))
    }
}

/// At most [`INTERVALS`] intervals in rising order that do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Histogram {
    intervals: Vec<Interval>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { intervals: Vec::new() }
    }

    /// `None` when they are not in order, too many, or empty.
    pub(super) fn of(intervals: Vec<Interval>) -> Option<Self> {
        // First: the weights of any number have no total.
        if intervals.len() > INTERVALS {
            return None;
        }
        let sound =
            intervals.iter().all(|interval| interval.shortest <= interval.longest && interval.weight > 0);
        let room = total(&intervals) < FULL;
        let ordered = intervals.windows(2).all(|pair| match pair {
            [left, right] => left.longest < right.shortest,
            _ => false,
        });
        (sound && ordered && room).then_some(Self { intervals })
    }

    pub(super) fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    pub(super) fn record(&mut self, idle: Duration) {
        let length = Length::of(idle);
        let at = self.intervals.partition_point(|interval| interval.longest < length);
        match self.intervals.get_mut(at).filter(|interval| interval.shortest <= length) {
            Some(interval) => interval.weight = interval.weight.saturating_add(WEIGHT),
            None => self.intervals.insert(at, Interval { shortest: length, longest: length, weight: WEIGHT }),
        }
        if self.intervals.len() > INTERVALS {
            self.merge_cheapest();
        }
        if total(&self.intervals) >= FULL {
            self.fade();
        }
    }

    fn merge_cheapest(&mut self) {
        let pairs = self.intervals.iter().zip(self.intervals.iter().skip(1)).enumerate();
        let cheapest = pairs.min_by_key(|(_, (left, right))| left.cost_of_merging(**right));
        let Some(at) = cheapest.map(|(at, _)| at) else { return };
        let right = self.intervals.remove(at + 1);
        if let Some(left) = self.intervals.get_mut(at) {
            left.longest = right.longest;
            left.weight = left.weight.saturating_add(right.weight);
        }
    }

    fn fade(&mut self) {
        self.intervals.retain_mut(|interval| {
            interval.weight /= 2;
            interval.weight > 0
        });
    }
}

fn total(intervals: &[Interval]) -> u16 {
    intervals.iter().map(|interval| u16::from(interval.weight)).sum()
}
