//! Load generators: nothing they send fails, not even the first requests, which are held until the function is awake.

use super::function::Function;
use super::programs::run;

/// The figure before a word of a load generator's report.
pub(crate) fn figure(report: &str, word: &str) -> u64 {
    let before = report.split(word).next().unwrap();
    before.split_whitespace().next_back().unwrap().parse().unwrap()
}

#[test]
fn h2load_loses_nothing() {
    for protocol in ["HTTP1", "H2C"] {
        for version in ["--h1", "--no-tls-proto=h2c"] {
            let function = Function::hello(protocol);
            let arguments = ["-n", "5000", "-c", "20", "-m", "10", version];
            let report = run("h2load", &[&arguments[..], &[function.url("/").as_str()]].concat());
            assert_eq!(figure(&report, " succeeded"), 5_000, "{report}");
            assert_eq!(figure(&report, " 2xx"), 5_000, "{report}");
            for bad in [" failed", " errored", " timeout"] {
                assert_eq!(figure(&report, bad), 0, "{report}");
            }
        }
    }
}

#[test]
fn h2load_uploads() {
    let function = Function::hello("H2C");
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![7; 100_000]).unwrap();
    let data = body.path().to_str().unwrap();
    let arguments = ["-n", "500", "-c", "5", "-m", "20", "-d", data];
    let report = run("h2load", &[&arguments[..], &[function.url("/echo").as_str()]].concat());
    assert_eq!(figure(&report, " 2xx"), 500, "{report}");
    // `traffic: 47.7MB (50012345) total, 1.2KB (1234) headers (space savings 90%), 47.7MB (50000000) data`
    assert!(report.contains("(50000000) data"), "{report}");
}

#[test]
fn wrk_loses_nothing() {
    for protocol in ["HTTP1", "H2C"] {
        let function = Function::hello(protocol);
        let report = run("wrk", &["-t", "2", "-c", "30", "-d", "2s", "--timeout", "10s", &function.url("/")]);
        assert!(figure(&report, " requests in ") > 100, "{report}");
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    }
}
