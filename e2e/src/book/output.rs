//! What commands print, held against what a page says that they print.

/// Stands for anything: within its line, or alone in it for any number of lines.
const ANYTHING: &str = "...";

/// Whether the two are the same but for empty lines and the number of spaces, which follow from names that are longer here.
pub(super) fn fits(expected: &str, printed: &str) -> bool {
    lines_fit(&lines(expected), &lines(printed))
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

fn lines_fit(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == ANYTHING => {
            (0..=printed.len()).any(|passed| lines_fit(rest, &printed[passed..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, following)| line_fits(first, line) && lines_fit(rest, following)),
    }
}

fn line_fits(expected: &str, line: &str) -> bool {
    let Some((first, others)) = expected.split_once(ANYTHING) else { return expected == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = others.split(ANYTHING).collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, following)) = rest.split_once(part) else { return false };
        rest = following;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_only_in_width_fits() {
        assert!(fits("NAME READY\nhello yes\n", "NAME    READY\n\nhello   yes  \n"));
        assert!(!fits("hello yes\n", "hello yes\nshop yes\n"));
        assert!(!fits("hello yes\nshop yes\n", "hello yes\n"));
        assert!(!fits("hello yes\n", "hello no\n"));
        assert!(fits("", ""));
        assert!(!fits("", "something"));
    }

    #[test]
    fn dots_stand_for_a_part_of_a_line() {
        assert!(fits("Hello from hello-...", "Hello from hello-7d9c\n"));
        assert!(fits("...: 4... s ...", "took: 41.5 s at all"));
        assert!(fits("a ... b", "a b b"));
        assert!(!fits("Hello from hello-...", "Hello from shop-1\n"));
        assert!(!fits("a...b", "a c"));
        assert!(!fits("a...b...c", "a c b"));
        // Each character counts once.
        assert!(!fits("ab...ba", "aba"));
    }

    #[test]
    fn dots_alone_stand_for_lines() {
        assert!(fits("...\nerror: stalled\n...", "a note\nerror: stalled\n  why\n  try: this\n"));
        assert!(fits("...\nlast", "last"));
        assert!(!fits("...\nerror: stalled", "error: stalled\n  why\n"));
        assert!(!fits("first\n...\nlast", "first\n"));
    }
}
