//! Which new requests a busy worker refuses: those of the functions that send it the most, as many as it takes to leave it
//! time for the others.
//!
//! A worker under its limit refuses nothing: there fairness is a matter of turns. Without a function that is much lighter than
//! the heaviest there is nobody to protect, and nothing is refused either. Work is requests and bytes, and what those are wrong
//! about shows in what refusing changes: where it does not help, half is admitted again. Time and busy time are parameters.

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
/// A function with less work a second is not what keeps a worker busy. No cap is below it.
const HEAVY_RATE: f64 = 100.0;
/// Functions with more than this part of the heaviest one's work are heavy, too.
const HEAVY_PART: f64 = 0.5;
/// Bytes of bodies and tunnels that are as much work as a request without any.
pub const BYTES_OF_WORK: u64 = 64 * 1024;
/// What a refusal costs, as part of a request.
const REFUSAL: f64 = 0.25;
/// A function is forgotten when it has had nothing for this long: whoever asks less often than that is not protected.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Where refusing did not help, it is not tried again for so long.
const VAIN: Duration = Duration::from_secs(60);

/// The state of one worker.
#[derive(Debug)]
pub struct Overload {
    limit: f64,
    /// The latest last; the first is the one that the window begins with.
    samples: Vec<Sample>,
    /// Since when requests are counted.
    counting: Option<Duration>,
    functions: HashMap<FunctionName, Load>,
    cap: Option<Cap>,
}

/// What heavy functions are kept to.
#[derive(Clone, Copy, Debug)]
struct Cap {
    /// Work a second that each of them may begin.
    work: f64,
    /// What the heaviest one had when refusing began.
    before: f64,
    /// Since when it cannot be lowered any further.
    lowest_since: Option<Duration>,
    /// It stays as it is until then, for lowering it changed nothing.
    vain_until: Option<Duration>,
}

/// What a worker did until a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    busy: [Duration; 2],
}

/// What a function had in the last second, older things with less and less weight.
#[derive(Debug)]
struct Load {
    /// Requests that came, and those of them that were admitted.
    begun: f64,
    admitted: f64,
    /// Bytes of what was admitted, as work.
    moved: f64,
    last: Duration,
    /// Part of its requests that is admitted: 1 for a light function.
    kept: f64,
    /// What admitted requests left over of a whole one.
    credit: f64,
}

impl Load {
    fn at(now: Duration) -> Self {
        Self { begun: 0.0, admitted: 0.0, moved: 0.0, last: now, kept: 1.0, credit: 0.0 }
    }

    /// Work a second; `counted`: part of the last second's that was counted.
    fn done(&self, counted: f64) -> f64 {
        (self.admitted + self.moved) / counted
    }

    /// The same if nothing were refused.
    fn asked(&self, counted: f64) -> f64 {
        self.done(counted) * self.begun.max(1.0) / self.admitted.max(1.0)
    }

    fn is_heavy(&self, counted: f64, heaviest: f64) -> bool {
        self.asked(counted) >= HEAVY_RATE && self.asked(counted) > heaviest * HEAVY_PART
    }
}

impl Overload {
    /// A worker that may be busy for `limit` of its time, from 0 to 1.
    pub fn new(limit: f64) -> Self {
        Self { limit, samples: Vec::new(), counting: None, functions: HashMap::new(), cap: None }
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
        if self.cap.is_none() && busy < self.limit * COUNTED_FROM {
            self.counting = None;
            // With the memory: a flood may have been of many functions.
            return self.functions = HashMap::new();
        }
        let since = *self.counting.get_or_insert(now);
        let weight = (-elapsed.as_secs_f64()).exp();
        self.functions.retain(|_, load| {
            load.begun *= weight;
            load.admitted *= weight;
            load.moved *= weight;
            now < load.last + FORGOTTEN
        });
        // What was counted for a moment only is less than that of a second.
        let counted = 1.0 - (-now.saturating_sub(since).as_secs_f64()).exp();
        self.adjust(now, elapsed.as_secs_f64().min(1.0), counted.max(f64::MIN_POSITIVE));
    }

    /// Counts a new request of the function. False: it is refused.
    pub fn admit(&mut self, function: &FunctionName) -> bool {
        if self.counting.is_none() {
            return true;
        }
        let now = self.now();
        let Some(load) = self.functions.get_mut(function) else {
            self.functions.insert(function.clone(), Load { begun: 1.0, admitted: 1.0, ..Load::at(now) });
            return true;
        };
        load.last = now;
        load.begun += 1.0;
        load.credit += load.kept;
        let admitted = load.credit >= 1.0;
        if admitted {
            load.credit -= 1.0;
            load.admitted += 1.0;
        }
        admitted
    }

    /// Counts work of the function's requests beyond their heads, of [`BYTES_OF_WORK`] each.
    pub fn moved(&mut self, function: &FunctionName, work: u64) {
        if self.counting.is_some() {
            let now = self.now();
            let load = self.functions.entry(function.clone()).or_insert_with(|| Load::at(now));
            load.last = now;
            load.moved += work as f64;
        }
    }

    fn now(&self) -> Duration {
        self.samples.last().map_or(Duration::ZERO, |sample| sample.at)
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

    /// Moves the cap towards where the worker is busy for just its limit. Work costs the same whosever it is, as far as is known
    /// here; what that gets wrong the next samples show.
    fn adjust(&mut self, now: Duration, seconds: f64, counted: f64) {
        let busy = self.busy();
        let heaviest = self.functions.values().map(|load| load.asked(counted)).fold(0.0, f64::max);
        let (mut of_heavy, mut of_light, mut refused) = (0.0, 0.0, 0.0);
        // Nobody is kept to less than what another one has.
        let mut lowest = HEAVY_RATE;
        let mut someone_to_protect = false;
        for load in self.functions.values() {
            refused += (load.begun - load.admitted) / counted * REFUSAL;
            if load.is_heavy(counted, heaviest) {
                of_heavy += load.done(counted);
            } else {
                of_light += load.done(counted);
                lowest = lowest.max(load.done(counted));
                someone_to_protect = true;
            }
        }
        // Busy time that refusing all of what is still admitted would free.
        let left = (1.0 - REFUSAL) * busy * of_heavy / (of_heavy + of_light + refused).max(f64::MIN_POSITIVE);
        // Each second by the whole difference, for the busy share is that of a second.
        let change = ((self.limit - busy) / left.max(f64::MIN_POSITIVE)).clamp(-1.0, 1.0);
        self.cap = match self.cap {
            _ if !someone_to_protect || of_heavy <= 0.0 => None,
            None if busy <= self.limit || !self.spans_window() => None,
            // All that it asks for is admitted already.
            Some(cap) if busy <= self.limit && cap.work > heaviest => None,
            cap => {
                let new = Cap { work: heaviest, before: heaviest, lowest_since: None, vain_until: None };
                Some(cap.unwrap_or(new).moved(
                    now,
                    busy > midway(self.limit),
                    change * seconds,
                    lowest,
                    heaviest,
                ))
            }
        };
        for load in self.functions.values_mut() {
            let cap = self.cap.filter(|_| load.is_heavy(counted, heaviest));
            load.kept = cap.map_or(1.0, |cap| (cap.work / load.asked(counted)).min(1.0));
            load.credit = load.credit.min(1.0);
        }
    }

    /// True when there is as much to go by as a share is made of.
    fn spans_window(&self) -> bool {
        let (first, last) = (self.samples.first(), self.samples.last());
        first.zip(last).is_some_and(|(first, last)| last.at >= first.at + WINDOW)
    }
}

/// A worker that is busier than this, with almost everything of the heavy ones refused, is busy with something else.
fn midway(limit: f64) -> f64 {
    f64::midpoint(limit, 1.0)
}

impl Cap {
    /// Changes by this part of itself, to no less than `lowest`. `late`: the worker has no time at all.
    fn moved(mut self, now: Duration, late: bool, change: f64, lowest: f64, heaviest: f64) -> Self {
        self.vain_until = self.vain_until.filter(|until| late && now < *until);
        if self.vain_until.is_some() {
            self.work = (self.before / 2.0).max(lowest);
            return self;
        }
        self.work = (self.work.min(heaviest) * (1.0 + change)).max(lowest);
        let is_lowest = late && self.work <= lowest;
        self.lowest_since = if is_lowest { self.lowest_since.or(Some(now)) } else { None };
        // For as long as a busy share takes to show it.
        if self.lowest_since.is_some_and(|since| now >= since + WINDOW) {
            // Refusing takes the time that it was to free: who is refused asks again at once, or others keep the worker busy.
            self.vain_until = Some(now + VAIN);
            self.lowest_since = None;
        }
        self
    }
}

#[cfg(test)]
mod tests;
