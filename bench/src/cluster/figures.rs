//! Several figures of Catnap, of the floor and of Knative, measured in turns, as rows of a report.

use std::collections::BTreeMap;

use super::knative;
use crate::report::Row;
use crate::rounds::{Ratio, Rounds};

/// In the rounds of each figure, what says whether the machine was steady.
const YARDSTICK: &str = "yardstick";

/// Rounds of each of the figures.
pub(crate) struct Figures<const N: usize> {
    /// What each is called, and its unit.
    names: [(&'static str, &'static str); N],
    rounds: [Rounds; N],
}

/// The figures of one round, by subject: `ours`, `floor` and Knative's, in the order of their names.
pub(crate) type Round<const N: usize> = BTreeMap<&'static str, [Option<f64>; N]>;

impl<const N: usize> Figures<N> {
    pub(crate) fn new(names: [(&'static str, &'static str); N]) -> Self {
        Self { names, rounds: std::array::from_fn(|_| Rounds::default()) }
    }

    /// One more round. Each figure has the same yardstick, so that the same rounds count for all.
    pub(crate) fn push(&mut self, round: &Round<N>, yardstick: Option<f64>) {
        for (number, rounds) in self.rounds.iter_mut().enumerate() {
            let of_this = round.iter().filter_map(|(&subject, all)| Some((subject, (*all.get(number)?)?)));
            rounds.push(of_this.chain(yardstick.map(|figure| (YARDSTICK, figure))).collect());
        }
    }

    /// Rows of the steady rounds, each with its name after this, and the number of the rounds that were thrown away.
    pub(crate) fn rows(&mut self, prefix: &str, beside_knative: bool) -> anyhow::Result<(Vec<Row>, usize)> {
        let (mut rows, mut thrown_away) = (Vec::new(), 0);
        for ((what, unit), rounds) in self.names.into_iter().zip(&mut self.rounds) {
            let what = format!("{prefix}{what}");
            thrown_away = rounds.keep_steady(YARDSTICK)?;
            let mut row = Row::plain(what.clone(), unit, rounds.median("ours")?);
            row.floor = rounds.median("floor").ok();
            if row.floor.is_some()
                && let Some(ratio) = told(rounds.ratio("ours", "floor")?)
            {
                row.compare(ratio);
            }
            if beside_knative {
                row.peers.insert(knative::NAME.into(), rounds.median(knative::NAME)?);
            }
            rows.push(row);
            if beside_knative && let Some(ratio) = told(rounds.ratio("ours", knative::NAME)?) {
                let mut row = Row::plain(format!("{what}: ratio to Knative's"), "x", ratio.median);
                row.compare(ratio);
                rows.push(row);
            }
        }
        Ok((rows, thrown_away))
    }
}

/// A ratio that says something: none to nothing at all.
fn told(ratio: Ratio) -> Option<Ratio> {
    let (least, most) = ratio.spread.unwrap_or((ratio.median, ratio.median));
    [least, ratio.median, most].iter().all(|ratio| ratio.is_finite()).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rounds: &[(f64, f64, f64)]) -> (Vec<Row>, usize) {
        let mut figures = Figures::new([("time", "s"), ("counted", "")]);
        for (ours, floor, knative) in rounds {
            let round = [("ours", *ours), ("floor", *floor), (knative::NAME, *knative)];
            let round: Round<2> =
                round.map(|(subject, figure)| (subject, [Some(figure), Some(figure - 1.0)])).into();
            figures.push(&round, Some(*floor));
        }
        figures.rows("day: ", true).unwrap()
    }

    #[test]
    fn each_figure_has_its_peer_and_both_ratios() {
        let (rows, thrown_away) = rows(&[(3.0, 2.0, 6.0), (3.0, 2.0, 6.0), (9.0, 5.0, 9.0)]);
        assert_eq!(thrown_away, 1);
        let what: Vec<&str> = rows.iter().map(|row| row.what.as_str()).collect();
        let (time, counted) = ("day: time: ratio to Knative's", "day: counted: ratio to Knative's");
        assert_eq!(what, ["day: time", time, "day: counted", counted]);
        assert_eq!((rows[0].floor, rows[0].ratio), (Some(2.0), Some(1.5)));
        assert_eq!(rows[0].peers.get(knative::NAME), Some(&6.0));
        assert_eq!(rows[1].ratio, Some(0.5));
    }

    #[test]
    fn nothing_is_no_yardstick_of_a_ratio() {
        let (rows, _) = rows(&[(3.0, 1.0, 1.0)]);
        let counted = rows.iter().find(|row| row.what == "day: counted").unwrap();
        assert_eq!((counted.floor, counted.ratio), (Some(0.0), None));
        assert_eq!(rows.len(), 3);
    }
}
