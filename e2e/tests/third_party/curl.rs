//! curl with every way that it has to speak HTTP without TLS.

use tempfile::TempDir;

use super::function::Function;
use super::programs::run;

const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];

fn curl(arguments: &[&str]) -> String {
    run("curl", &[&["--silent", "--show-error", "--max-time", "60"], arguments].concat())
}

#[test]
fn cold_and_warm_on_one_connection() {
    for (version, number) in VERSIONS {
        let function = Function::hello("HTTP1");
        let url = function.url("/");
        let cold = curl(&[version, "--include", &url]);
        assert!(cold.starts_with(&format!("HTTP/{number} 200")), "{cold}");
        assert!(cold.to_ascii_lowercase().contains("\r\nserver-timing: catnap;desc=cold"), "{cold}");
        let warm = curl(&[version, "--write-out", "%{http_code} %{http_version}", &url]);
        assert!(warm.ends_with(&format!("\n200 {number}")), "{warm}");
        let head = curl(&[version, "--head", &url]);
        assert!(head.contains(" 404"), "hello knows no HEAD: {head}");
    }
}

#[test]
fn http1_connections_are_used_again() {
    // With prior knowledge of HTTP/2, curl 7.88 breaks its own connection at the second request. Under TLS it does not.
    let function = Function::hello("HTTP1");
    let url = function.url("/");
    let form = "%{http_code} %{num_connects}\n";
    let told = curl(&["--http1.1", "--write-out", form, &url, &url, &url]);
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("200")).collect();
    assert_eq!(lines, ["200 1", "200 0", "200 0"], "{told}");
}

#[test]
fn an_offer_to_upgrade_to_http2_is_left_aside() {
    let function = Function::hello("HTTP1");
    let url = function.url("/");
    let form = "%{http_code} %{http_version} %{num_connects}\n";
    for _ in 0..2 {
        let told = curl(&["--http2", "--write-out", form, &url, &url]);
        assert_eq!(told.lines().filter(|line| line.starts_with("200 1.1 ")).count(), 2, "{told}");
    }
}

#[test]
fn large_bodies_pass_both_ways() {
    let folder = TempDir::new().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    let pattern: Vec<u8> = (0_u32..30_000_000).map(|index| (index % 251) as u8).collect();
    std::fs::write(&sent, &pattern).unwrap();
    let upload = format!("@{}", sent.display());
    for protocol in ["HTTP1", "H2C"] {
        for (version, _) in VERSIONS {
            let function = Function::hello(protocol);
            // Over HTTP/2 nobody says 100 Continue; a client that waits for it goes on after a second.
            for encoding in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
                let patience = if version == "--http1.1" { "50" } else { "1" };
                let told = curl(&[
                    version,
                    "--expect100-timeout",
                    patience,
                    "--header",
                    encoding,
                    "--data-binary",
                    &upload,
                    "--output",
                    received.to_str().unwrap(),
                    "--write-out",
                    "%{http_code} %{time_total}",
                    &function.url("/echo"),
                ]);
                let (status, seconds) = told.split_once(' ').unwrap();
                assert_eq!(status, "200", "{version} {protocol} {encoding}");
                assert!(seconds.parse::<f64>().unwrap() < 45.0, "nobody said 100 Continue");
                assert!(std::fs::read(&received).unwrap() == pattern, "{version} {protocol} {encoding}");
            }
        }
    }
}

#[test]
fn many_at_once_are_answered() {
    let function = Function::hello("HTTP1");
    let target = format!("{}?request=[1-200]", function.url("/"));
    let arguments = ["--http1.1", "--parallel", "--parallel-max", "50", "--output", "/dev/null"];
    let told = curl(&[&arguments[..], &["--write-out", "%{http_code}\n", &target]].concat());
    assert_eq!(told.lines().filter(|line| *line == "200").count(), 200, "{told}");
}
