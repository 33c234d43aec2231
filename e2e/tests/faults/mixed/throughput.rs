//! What the callers together got through, second by second.

use std::time::{Duration, Instant};

use super::say;
use super::traffic::Shared;

/// Between two moments; what is left after the last whole second does not count.
pub(crate) struct Throughput {
    seconds: Vec<Second>,
}

struct Second {
    answered: usize,
    /// This machine stood still in it: it says nothing if little was answered.
    disturbed: bool,
}

/// Of some seconds.
struct Got {
    /// Requests a second.
    rate: f64,
    /// Requests in the second in which they were the fewest.
    least: usize,
}

impl Got {
    fn of<'a>(seconds: impl Iterator<Item = &'a Second> + Clone) -> Self {
        let answered: usize = seconds.clone().map(|second| second.answered).sum();
        let rate = answered as f64 / seconds.clone().count().max(1) as f64;
        Self { rate, least: seconds.map(|second| second.answered).min().unwrap_or(0) }
    }

    fn is_enough(&self, rate: f64, least: usize) -> bool {
        self.rate >= rate && self.least >= least
    }
}

impl Throughput {
    /// What they got through between two moments; says it, with all that happened.
    pub(crate) fn between(shared: &Shared, from: Instant, until: Instant) -> Self {
        let whole = (until - from).as_secs();
        let second = |number| {
            let start = from + Duration::from_secs(number);
            let end = start + Duration::from_secs(1);
            let answered = shared.journal.answered(start, end);
            Second { answered, disturbed: shared.lateness.disturbed(&(start..end)) }
        };
        let seconds: Vec<_> = (0..whole).map(second).collect();
        let Got { rate, least } = Got::of(seconds.iter());
        let disturbed = seconds.iter().filter(|second| second.disturbed).count();
        say(&format!(
            "{rate:.0} requests a second, at least {least}, for {whole} s, in {disturbed} of which the machine stood still; {}",
            shared.journal.summary()
        ));
        Self { seconds }
    }

    /// Fails when it is less than so many requests a second, or than `least` in one of them, in the seconds that say something: if
    /// it is less in all, those in which this machine stood still are left out, which may be half of them.
    pub(crate) fn ensure(&self, rate: f64, least: usize) -> anyhow::Result<()> {
        let all = Got::of(self.seconds.iter());
        if all.is_enough(rate, least) {
            return Ok(());
        }
        let calm = self.seconds.iter().filter(|second| !second.disturbed);
        let (count, of) = (calm.clone().count(), self.seconds.len());
        anyhow::ensure!(
            2 * count >= of,
            "{:.0} requests a second, and {} in one, says nothing: the machine stood still in {} of {of} seconds",
            all.rate,
            all.least,
            of - count
        );
        let got = Got::of(calm);
        anyhow::ensure!(
            got.is_enough(rate, least),
            "only {:.0} requests a second, and {} in one, in {count} of {of} seconds",
            got.rate,
            got.least
        );
        Ok(())
    }
}

#[test]
fn a_second_in_which_the_machine_stood_still_excuses_itself_alone() {
    let through = |seconds: &[(usize, bool)]| {
        let second = |&(answered, disturbed): &(usize, bool)| Second { answered, disturbed };
        Throughput { seconds: seconds.iter().map(second).collect() }.ensure(500.0, 250)
    };
    let calm = (600, false);
    assert!(through(&[calm, calm]).is_ok());
    assert!(through(&[calm, (100, true), calm]).is_ok());
    // Who kept the bound all the same needs no excuse.
    assert!(through(&[(600, true), (600, true), (600, true)]).is_ok());
    assert!(through(&[calm, (100, false), calm]).is_err());
    assert!(through(&[(499, false), (100, true), (499, false)]).is_err());
    assert!(through(&[calm, (100, true), (600, true)]).is_err());
    assert!(through(&[]).is_err());
}
