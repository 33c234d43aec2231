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
        let told = curl(&[
            version,
            "--write-out",
            "%{http_code} %{http_version} %{num_connects}\n",
            &url,
            &url,
            &url,
        ]);
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("200")).collect();
        let expected = [1, 0, 0].map(|connections| format!("200 {number} {connections}"));
        assert_eq!(lines, expected, "{told}");
        let head = curl(&[version, "--head", &url]);
        assert!(head.contains(" 404"), "hello knows no HEAD: {head}");
    }
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
            // Cold: nothing of the body may be sent before the function is awake, or wait for more than the hold.
            for encoding in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
                let told = curl(&[
                    version,
                    "--expect100-timeout",
                    "50",
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
fn many_at_once_share_what_they_may() {
    let function = Function::hello("HTTP1");
    for (version, _) in VERSIONS {
        let target = format!("{}?request=[1-200]", function.url("/"));
        let told = curl(&[
            version,
            "--parallel",
            "--parallel-max",
            "50",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}\n",
            &target,
        ]);
        assert_eq!(told.lines().filter(|line| *line == "200").count(), 200, "{told}");
    }
}
