//! Whether two Kubernetes quantities are the same amount: the API server rewrites `0.5` as `500m`.

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Whether both are quantities of the same amount.
pub(crate) fn same_amount(left: &str, right: &str) -> bool {
    match (amount(left), amount(right)) {
        (Some(left), Some(right)) => (left - right).abs() <= f64::EPSILON * left.abs().max(right.abs()) * 4.0,
        _ => false,
    }
}

/// `None`: it is no quantity.
pub(crate) fn amount(text: &str) -> Option<f64> {
    let end = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_f64.powi(exponent)
        }
    };
    let number = number.parse::<f64>().ok()?;
    // The API server keeps no more than 63 bits of a quantity. Nothing is nothing, also of what is beyond them.
    Some(if number == 0.0 { 0.0 } else { (number * factor).clamp(-TWO_TO_63, TWO_TO_63) })
}

#[cfg(test)]
mod tests {
    use super::same_amount;

    #[test]
    fn amounts_not_spellings_are_compared() {
        for (left, right) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1e3", "1k"),
            ("1", "1"),
            ("0.1", "100m"),
            ("2.5Gi", "2560Mi"),
            ("1e400", "9223372036854775807"),
            ("0e313", "0"),
        ] {
            assert!(same_amount(left, right), "{left} {right}");
        }
        for (left, right) in [("1", "1m"), ("1G", "1Gi"), ("a", "a"), ("", ""), ("1x", "1x")] {
            assert!(!same_amount(left, right), "{left} {right}");
        }
    }
}
