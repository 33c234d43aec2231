//! Slow clients of every kind, by slowhttptest: the activator ends each of their connections within its own times (`docs/limits.md`),
//! while a client beside them has no error.

use std::thread;

use super::function::Function;
use super::load::figure;
use super::programs::run;

/// Of each kind.
const CONNECTIONS: &str = "20";

/// Slow heads, slow bodies, slow readers, and ranges without end: the mode, its options, what is asked for, and the most seconds that
/// it may last. A head has 10 s; uploads and readers that move less than 500 bytes a second have 60 s.
const KINDS: [(&str, &[&str], &str, &str); 4] = [
    ("-H", &["-i", "1"], "/", "20"),
    ("-B", &["-i", "1", "-s", "1000000", "-x", "32"], "/echo", "80"),
    ("-X", &["-w", "512", "-y", "1024", "-n", "1", "-z", "32"], "/large", "80"),
    ("-R", &[], "/", "20"),
];

#[test]
fn slow_clients_are_cut_off_and_hold_nobody_up() {
    let function = Function::hello("HTTP1");
    // More than the kernel's buffers take.
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("large")).unwrap().set_len(50 << 20).unwrap();
    let server = format!("cd {} && exec python3 -m http.server $PORT", folder.path().display());
    let files = Function::start("files", "HTTP1", &["sh", "-c", &server]);
    let reports = thread::scope(|scope| {
        let good = scope.spawn(|| {
            run("wrk", &["-t", "1", "-c", "2", "-d", "70s", "--timeout", "5s", &function.url("/")])
        });
        let slow = KINDS.map(|(mode, options, path, seconds)| {
            let url = if mode == "-X" { files.url(path) } else { function.url(path) };
            scope.spawn(move || {
                let all = [mode, "-c", CONNECTIONS, "-r", CONNECTIONS, "-l", seconds, "-u", &url];
                (mode, run("slowhttptest", &[&all[..], options].concat()))
            })
        });
        let reports = slow.map(|slow| slow.join().unwrap());
        let good = good.join().unwrap();
        assert!(figure(&good, " requests in ") > 100, "{good}");
        assert!(!good.contains("Socket errors") && !good.contains("Non-2xx"), "{good}");
        reports
    });
    for (mode, report) in reports {
        assert!(report.contains("No open connections left"), "{mode}: {report}");
        assert!(!report.contains("service available:   NO"), "{mode}: {report}");
    }
}
