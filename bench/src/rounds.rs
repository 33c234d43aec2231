//! Interleaved rounds: every subject has one figure in each, and only figures of the same round are compared.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::statistics::quantile;

/// How two figures of a round compare, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// Half of the rounds lie below.
    pub(crate) median: f64,
    /// Least and most of all rounds; `None` where there were no rounds to compare.
    pub(crate) spread: Option<(f64, f64)>,
}

impl From<f64> for Ratio {
    fn from(median: f64) -> Self {
        Self { median, spread: None }
    }
}

impl Ratio {
    fn of(ratios: &[f64]) -> Option<Self> {
        let spread = quantile(ratios, 0.0).zip(quantile(ratios, 1.0));
        Some(Self { median: quantile(ratios, 0.5)?, spread })
    }
}

/// Figures of one kind, by subject, a map for each round.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<BTreeMap<&'static str, f64>>);

impl Rounds {
    /// One more round.
    pub(crate) fn push(&mut self, round: BTreeMap<&'static str, f64>) {
        self.0.push(round);
    }

    /// Throws away the rounds in which the yardstick was not within a factor of two of its median, and gives their number.
    pub(crate) fn keep_steady(&mut self, yardstick: &str) -> anyhow::Result<usize> {
        let median = self.median(yardstick)?;
        let before = self.0.len();
        self.0.retain(|round| {
            round.get(yardstick).is_some_and(|figure| *figure <= 2.0 * median && *figure >= median / 2.0)
        });
        Ok(before - self.0.len())
    }

    /// Number of rounds.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Median of a subject's figures.
    pub(crate) fn median(&self, subject: &str) -> anyhow::Result<f64> {
        self.quantile(subject, 0.5)
    }

    /// What this share of a subject's figures does not exceed.
    pub(crate) fn quantile(&self, subject: &str, share: f64) -> anyhow::Result<f64> {
        let figures: Vec<f64> = self.0.iter().filter_map(|round| round.get(subject)).copied().collect();
        quantile(&figures, share).with_context(|| format!("no round of {subject} was counted"))
    }

    /// A subject's figures where each is a ratio already.
    pub(crate) fn ratios(&self, subject: &str) -> anyhow::Result<Ratio> {
        let ratios: Vec<f64> = self.0.iter().filter_map(|round| round.get(subject)).copied().collect();
        Ratio::of(&ratios).with_context(|| format!("no round of {subject} was counted"))
    }

    /// Ratios within a round: what two subjects share, a slow second of the machine, cancels out.
    pub(crate) fn ratio(&self, left: &str, right: &str) -> anyhow::Result<Ratio> {
        let ratio = |round: &BTreeMap<&str, f64>| Some(round.get(left)? / round.get(right)?);
        let ratios: Vec<f64> = self.0.iter().filter_map(ratio).collect();
        Ratio::of(&ratios).with_context(|| format!("no round of {left} and {right} was counted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(figures: &[(f64, f64)]) -> Rounds {
        Rounds(figures.iter().map(|(ours, direct)| [("ours", *ours), ("direct", *direct)].into()).collect())
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = rounds(&[(2.0, 1.0), (30.0, 10.0), (8.0, 4.0)]);
        let ratio = Ratio { median: 2.0, spread: Some((2.0, 3.0)) };
        assert_eq!(rounds.ratio("ours", "direct").ok(), Some(ratio));
        assert_eq!(rounds.ratios("ours").ok().and_then(|ratio| ratio.spread), Some((2.0, 30.0)));
        assert_eq!(rounds.median("ours").ok(), Some(8.0));
        assert_eq!(rounds.quantile("ours", 0.99).ok(), Some(30.0));
        assert!(rounds.median("nobody").is_err());
    }

    #[test]
    fn a_round_in_which_the_yardstick_moved_is_thrown_away() {
        let mut rounds = rounds(&[(1.0, 1.0), (1.0, 1.1), (9.0, 5.0)]);
        assert_eq!(rounds.keep_steady("direct").unwrap(), 1);
        assert_eq!(rounds.count(), 2);
        assert_eq!(rounds.median("ours").ok(), Some(1.0));
    }
}
