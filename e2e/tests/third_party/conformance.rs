//! h2spec: do the listeners keep to RFC 9113 and RFC 7541?

use super::function::Function;
use super::programs::{go, run, run_to_any_end};
use super::tls::Listening;

/// The cases that fail on a port that speaks both versions: what does not begin with the preface of HTTP/2 is taken for
/// HTTP/1.1 there, and answered as such (`400 Bad Request`, and the end) instead of being closed without a word. Under TLS the
/// version is agreed on before the first byte, and no case fails.
const WITHOUT_TLS: &[&str] = &["× 2: Sends invalid connection preface"];

fn check(arguments: &[&str], exceptions: &[&str]) {
    let (report, _) = run_to_any_end(go().join("h2spec"), &[&["--timeout", "5"], arguments].concat());
    let summary =
        report.lines().rfind(|line| line.contains(" tests, ")).unwrap_or_else(|| panic!("{report}"));
    let expected =
        format!("145 tests, {} passed, 0 skipped, {} failed", 145 - exceptions.len(), exceptions.len());
    let failures = report.split_once("Failures:").map_or("", |(_, failures)| failures);
    assert!(summary.contains(&expected), "{summary}\n{failures}");
    let failed: Vec<&str> = failures.lines().map(str::trim).filter(|line| line.starts_with('×')).collect();
    assert_eq!(failed, exceptions, "{failures}");
}

#[test]
fn h2spec_has_one_exception_without_tls() {
    let function = Function::hello("HTTP1");
    // The cases have little patience; waking is not what they are about.
    run("curl", &["--silent", "--show-error", &function.url("/")]);
    let (host, port) = function.host_and_port();
    check(&["--host", host, "--port", port], WITHOUT_TLS);
}

#[test]
fn h2spec_is_green_under_tls() {
    let listening = Listening::start();
    check(&["--host", "127.0.0.1", "--port", &listening.port().to_string(), "--tls", "--insecure"], &[]);
}
