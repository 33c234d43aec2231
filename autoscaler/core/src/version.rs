//! Order of resourceVersions, which the API server promises since Kubernetes 1.35 (KEP-5504) and has always kept.

/// `left` is older than `right`. Decimal numbers of any length; anything else is never older.
pub(crate) fn older(left: &str, right: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number(left) && number(right) && (left.len(), left) < (right.len(), right)
}

#[cfg(test)]
mod tests {
    use super::older;

    #[test]
    fn versions_are_ordered_as_numbers() {
        assert!(older("9", "10"));
        assert!(older("10", "11"));
        assert!(!older("11", "11"));
        assert!(!older("100", "99"));
        assert!(!older("", "1"));
        assert!(!older("abc", "abd"));
    }
}
