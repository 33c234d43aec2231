//! Which new requests a busy worker refuses: those of the functions that send it the most, as many as it takes to leave it
//! time for the others.
//!
//! A worker under its limit refuses nothing: there fairness is a matter of turns. Without a function that is much lighter than
//! the heaviest there is nobody to protect, and nothing is refused either. Time and busy time are parameters.

use std::collections::HashMap;
use std::time::Duration;

use crate::reason::FunctionName;

/// A worker may be busy for this share of its time before anything is refused.
pub const BUSY_LIMIT: f64 = 0.8;

/// Samples are this far apart, or as far as requests are.
const SAMPLING: Duration = Duration::from_millis(100);
/// Shares and rates are of the time that a worker had since the last sample that is this old.
const WINDOW: Duration = Duration::from_secs(1);
/// Requests are counted from this part of the limit on, so that who sends the most is known when it is reached.
const COUNTED_FROM: f64 = 0.75;
/// A function that begins fewer requests a second is not what keeps a worker busy, or not by their number.
const HEAVY_RATE: f64 = 100.0;
/// Functions with more than this part of the heaviest one's requests are heavy, too.
const HEAVY_PART: f64 = 0.5;
/// A function is forgotten when this is left of its count: some seconds after a lone request.
const FORGOTTEN: f64 = 0.05;

/// The state of one worker.
#[derive(Debug)]
pub struct Overload {
    limit: f64,
    /// The latest last; the first is the one that the window begins with.
    samples: Vec<Sample>,
    counting: bool,
    functions: HashMap<FunctionName, Load>,
    /// Requests a second that each heavy function may begin.
    cap: Option<f64>,
}

/// What a worker did until a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    busy: [Duration; 2],
}

/// Requests of a function in the last second, older ones with less and less weight.
#[derive(Debug)]
struct Load {
    begun: f64,
    admitted: f64,
    /// Part of its requests that is admitted: 1 for a light function.
    kept: f64,
    /// What admitted requests left over of a whole one.
    credit: f64,
}

impl Overload {
    /// A worker that may be busy for `limit` of its time, from 0 to 1.
    pub fn new(limit: f64) -> Self {
        Self { limit, samples: Vec::new(), counting: false, functions: HashMap::new(), cap: None }
    }

    /// True when [`sample`](Self::sample) should be called.
    pub fn due(&self, now: Duration) -> bool {
        self.samples.last().is_none_or(|last| now >= last.at + SAMPLING)
    }

    /// Takes in how long the worker has been busy since it started, by two measures, the larger of which counts: what shares
    /// its CPU with others keeps one of them low.
    pub fn sample(&mut self, now: Duration, busy: [Duration; 2]) {
        let Some(elapsed) = self.samples.last().map(|last| now.saturating_sub(last.at)) else {
            return self.samples.push(Sample { at: now, busy });
        };
        self.samples.push(Sample { at: now, busy });
        let old = self.samples.iter().rposition(|sample| sample.at + WINDOW <= now);
        self.samples.drain(..old.unwrap_or(0));
        let busy = self.busy();
        self.counting = self.cap.is_some() || busy >= self.limit * COUNTED_FROM;
        if !self.counting {
            // With the memory: a flood may have been of many functions.
            return self.functions = HashMap::new();
        }
        let weight = (-elapsed.as_secs_f64()).exp();
        self.functions.retain(|_, load| {
            load.begun *= weight;
            load.admitted *= weight;
            load.begun > FORGOTTEN
        });
        self.adjust(busy, elapsed.as_secs_f64().min(1.0));
    }

    /// Counts a new request of the function. False: it is refused.
    pub fn admit(&mut self, function: &FunctionName) -> bool {
        if !self.counting {
            return true;
        }
        let Some(load) = self.functions.get_mut(function) else {
            let load = Load { begun: 1.0, admitted: 1.0, kept: 1.0, credit: 0.0 };
            self.functions.insert(function.clone(), load);
            return true;
        };
        load.begun += 1.0;
        load.credit += load.kept;
        let admitted = load.credit >= 1.0;
        if admitted {
            load.credit -= 1.0;
            load.admitted += 1.0;
        }
        admitted
    }

    /// Part of the window in which the worker was busy, from 0 to 1.
    pub fn busy(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else { return 0.0 };
        let time = last.at.saturating_sub(first.at).as_secs_f64();
        let longest = last.busy.iter().zip(first.busy).map(|(to, from)| to.saturating_sub(from)).max();
        if time > 0.0 { (longest.unwrap_or_default().as_secs_f64() / time).min(1.0) } else { 0.0 }
    }

    /// True while requests may be refused.
    pub fn refuses(&self) -> bool {
        self.cap.is_some()
    }

    /// Moves the cap towards where the worker is busy for just its limit. A request costs the same whosever it is, as far as is
    /// known here; what that gets wrong the next samples show.
    fn adjust(&mut self, busy: f64, seconds: f64) {
        let heaviest = self.functions.values().map(|load| load.begun).fold(0.0, f64::max);
        let is_heavy = |load: &Load| load.begun >= HEAVY_RATE && load.begun > heaviest * HEAVY_PART;
        let (mut of_heavy, mut of_light) = (0.0, 0.0);
        for load in self.functions.values() {
            *(if is_heavy(load) { &mut of_heavy } else { &mut of_light }) += load.admitted;
        }
        let own = busy * of_heavy / (of_heavy + of_light).max(f64::MIN_POSITIVE);
        let left = (self.limit - (busy - own)).max(0.0);
        let someone_to_protect = of_heavy > 0.0 && of_light > 0.0;
        self.cap = match self.cap {
            _ if !someone_to_protect => None,
            None if busy <= self.limit => None,
            // All that it asks for is admitted already.
            Some(cap) if busy <= self.limit && cap > heaviest => None,
            cap => {
                // Each second by the whole difference, for the busy share is that of a second.
                let cap = cap.unwrap_or(heaviest).min(heaviest);
                Some(cap * (1.0 + seconds * (left / own.max(f64::MIN_POSITIVE) - 1.0).clamp(-1.0, 1.0)))
            }
        };
        for load in self.functions.values_mut() {
            load.kept = self.cap.filter(|_| is_heavy(load)).map_or(1.0, |cap| (cap / load.begun).min(1.0));
            load.credit = load.credit.min(1.0);
        }
    }
}

#[cfg(test)]
mod tests;
