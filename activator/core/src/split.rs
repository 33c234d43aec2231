//! How the requests of a Function are split among its revisions: drawn for each request, by the shares' percents.
//!
//! One share costs nothing: nothing is drawn.

use crate::random::Random;

/// Shares of anything.
#[derive(Debug)]
pub(crate) struct Split<T> {
    shares: Vec<Part<T>>,
}

#[derive(Debug)]
struct Part<T> {
    of: T,
    percent: u32,
    /// The percents of this share and of all before it.
    sum: usize,
}

impl<T> Split<T> {
    /// Shares with their percents, of which none is more than 100; those of 0 are left out.
    pub(crate) fn new(shares: impl Iterator<Item = (u32, T)>) -> Self {
        let mut sum = 0;
        let shares = shares.map(|(percent, of)| (percent.min(100), of)).filter(|(percent, _)| *percent > 0);
        let parts = shares.map(|(percent, of)| {
            sum += percent as usize;
            Part { of, percent, sum }
        });
        Self { shares: parts.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// The one that has all of it.
    pub(crate) fn only(&self) -> Option<&T> {
        match &self.shares[..] {
            [only] => Some(&only.of),
            _ => None,
        }
    }

    /// Whose the next request is; `None` when there are no shares.
    pub(crate) fn choose(&self, random: &mut Random) -> Option<&T> {
        self.only().or_else(|| {
            let drawn = random.below(self.shares.last()?.sum);
            self.shares.iter().find(|part| drawn < part.sum).map(|part| &part.of)
        })
    }

    /// All that have a share, with their percents.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.shares.iter().map(|part| (part.percent, &part.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    /// Requests of each share, of so many.
    fn counts(percents: &[u32], requests: u32, seed: u64) -> Vec<u32> {
        let split = Split::new(percents.iter().copied().zip(0..));
        let mut random = Random::new(seed);
        let mut counts = vec![0; percents.len()];
        for _ in 0..requests {
            let chosen: usize = *split.choose(&mut random).expect("a share");
            counts[chosen] += 1;
        }
        counts
    }

    /// How many standard deviations of the binomial distribution lie between what was counted and what was to be expected.
    fn deviations(counted: u32, requests: u32, part: f64) -> f64 {
        let requests = f64::from(requests);
        (f64::from(counted) - requests * part).abs() / (requests * part * (1.0 - part)).sqrt()
    }

    #[rstest]
    #[case(&[90, 10])]
    #[case(&[1, 99])]
    #[case(&[50, 50])]
    #[case(&[0, 33, 33, 34])]
    #[case(&[98, 1, 0, 1])]
    fn each_share_gets_its_part(#[case] percents: &[u32], #[values(1, 7, 1_234_567)] seed: u64) {
        let total: u32 = percents.iter().sum();
        for (counted, percent) in counts(percents, 10_000, seed).iter().zip(percents) {
            if *percent == 0 {
                assert_eq!(*counted, 0);
            } else {
                let off = deviations(*counted, 10_000, f64::from(*percent) / f64::from(total));
                assert!(off < 4.0, "{counted} of 10000 at {percent}: {off} standard deviations");
            }
        }
    }

    #[test]
    fn what_is_drawn_has_no_memory() {
        // Of the requests that follow one of the small share, as many are of the small share as of all.
        let split = Split::new([(90, 0), (10, 1)].into_iter());
        let mut random = Random::new(3);
        let drawn: Vec<u32> = (0..100_000).map(|_| *split.choose(&mut random).expect("a share")).collect();
        let after: Vec<u32> = drawn.windows(2).filter(|pair| pair[0] == 1).map(|pair| pair[1]).collect();
        let requests = u32::try_from(after.len()).expect("few");
        let off = deviations(after.iter().sum(), requests, 0.1);
        assert!(off < 4.0, "{off} standard deviations");
    }

    #[test]
    fn nothing_is_drawn_for_one_share_or_none() {
        let mut random = Random::new(5);
        let before = format!("{random:?}");
        assert_eq!(Split::new([(1, "one"), (0, "other")].into_iter()).choose(&mut random), Some(&"one"));
        assert_eq!(Split::new([(0, "none")].into_iter()).choose(&mut random), None);
        assert_eq!(Split::<u8>::new(std::iter::empty()).choose(&mut random), None);
        assert_eq!(format!("{random:?}"), before);
    }

    proptest! {
        #[test]
        fn only_what_has_a_share_is_chosen(
            percents in prop::collection::vec(prop_oneof![Just(0), 0..=100_u32, Just(u32::MAX)], 0..17),
            seed: u64,
        ) {
            let split = Split::new(percents.iter().copied().zip(0_usize..));
            let mut random = Random::new(seed);
            for _ in 0..100 {
                match split.choose(&mut random) {
                    Some(chosen) => prop_assert!(percents[*chosen] > 0),
                    None => prop_assert!(percents.iter().all(|percent| *percent == 0)),
                }
            }
            prop_assert_eq!(split.iter().count(), percents.iter().filter(|percent| **percent > 0).count());
        }
    }
}
