//! Quantiles and medians of paired ratios; nothing here knows what was measured.

/// The value below which a share `quantile` (0 to 1) of the samples lies, by the nearest rank; `None` without samples.
pub(crate) fn quantile(samples: &[f64], quantile: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (quantile.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Median of `left / right`, pair by pair: what the two share (a slow second of the machine) cancels out.
pub(crate) fn median_ratio(pairs: &[(f64, f64)]) -> Option<f64> {
    let ratios: Vec<f64> =
        pairs.iter().filter(|(_, right)| *right > 0.0).map(|(left, right)| left / right).collect();
    quantile(&ratios, 0.5)
}

/// Splits rounds into those where the yardstick stayed within a factor of two of its own median, and the number thrown away.
pub(crate) fn steady(pairs: &[(f64, f64)]) -> (Vec<(f64, f64)>, usize) {
    let yardstick: Vec<f64> = pairs.iter().map(|(_, right)| *right).collect();
    let Some(median) = quantile(&yardstick, 0.5) else { return (Vec::new(), 0) };
    let kept: Vec<_> =
        pairs.iter().copied().filter(|(_, right)| *right <= 2.0 * median && *right >= median / 2.0).collect();
    let thrown_away = pairs.len() - kept.len();
    (kept, thrown_away)
}

#[cfg(test)]
mod tests {
    use super::{median_ratio, quantile, steady};

    #[test]
    fn quantiles_take_the_nearest_rank() {
        let samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&samples, 0.5), Some(3.0));
        assert_eq!(quantile(&samples, 0.99), Some(5.0));
        assert_eq!(quantile(&samples, 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn ratios_are_paired_before_the_median_is_taken() {
        assert_eq!(median_ratio(&[(2.0, 1.0), (30.0, 10.0), (8.0, 4.0)]), Some(2.0));
        assert_eq!(median_ratio(&[(1.0, 0.0)]), None);
    }

    #[test]
    fn a_round_in_which_the_yardstick_moved_is_counted_and_left_out() {
        let (kept, thrown_away) = steady(&[(1.0, 1.0), (1.0, 1.1), (9.0, 5.0)]);
        assert_eq!(kept, [(1.0, 1.0), (1.0, 1.1)]);
        assert_eq!(thrown_away, 1);
    }
}
