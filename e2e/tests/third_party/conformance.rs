//! h2spec: does the listener keep to RFC 9113 and RFC 7541?

use super::function::Function;
use super::programs::{go, run, run_to_any_end};

/// Cases that are allowed to fail, by the section and number that h2spec gives them, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn h2spec_finds_nothing_new() {
    let function = Function::hello("HTTP1");
    // The cases have little patience; waking is not what they are about.
    run("curl", &["--silent", "--show-error", &function.url("/")]);
    let (host, port) = function.host_and_port();
    let (report, _) = run_to_any_end(go().join("h2spec"), &["--host", host, "--port", port, "--timeout", "5"]);
    let summary = report.lines().rfind(|line| line.contains(" tests, ")).unwrap_or_else(|| panic!("{report}"));
    let figure = |word: &str| -> usize {
        let before = summary.split(word).next().unwrap();
        before.split_whitespace().next_back().unwrap().parse().unwrap()
    };
    assert!(figure(" tests,") > 140, "{summary}");
    assert_eq!(figure(" failed"), EXCEPTIONS.len(), "{report}");
}
