//! `catnap dev` from outside, with the hello example: cold, warm, burst, zero, and an end that leaves nothing behind.

#[cfg(test)]
mod support;

use nix::sys::signal::Signal;
use support::{Run, catnap, manifest};

/// Few requests at once and a short rest, so that one sees it grow and go within seconds.
const SCALING: &str = "  concurrency: {limit: 5}\n  scale: {window: 6s, idle: {after: 2s}}\n";

/// Fewer replicas on the way there are a matter of which second its last decision fell in.
fn is_zero(line: &str) -> bool {
    line.starts_with("scaled from ") && line.contains(" to zero: ")
}

#[test]
fn a_function_wakes_grows_rests_and_leaves_nothing_behind() {
    let manifest = manifest("loop", &format!("  command: [hello]\n{SCALING}"));
    let mut run = Run::start(manifest);
    run.await_line(|line| line.starts_with("zero"));
    assert_eq!(run.processes(), 0, "nothing runs while nobody calls");

    let cold = run.get("/");
    assert_eq!((cold.status, cold.body), (200, format!("Hello from {}-local\n", run.name())));
    assert!(cold.head.contains("server-timing: catnap;desc=cold"), "{}", cold.head);
    run.await_line(|line| line.starts_with("woken, to 1: "));
    run.await_line(|line| line.starts_with("ready 1 "));

    let warm = run.get("/");
    assert_eq!(warm.status, 200);
    assert!(!warm.head.contains("server-timing"), "{}", warm.head);

    let burst = run.get_at_once("/sleep?ms=2000", 20);
    assert!(burst.iter().all(|answer| answer.status == 200), "{burst:?}");
    // In one step if all were there when it was decided.
    run.await_line(|line| line.starts_with("scaled up from ") && line.contains(" to 4: "));
    run.await_line(|line| line.starts_with("ready 4 "));

    run.await_line(is_zero);
    run.await_line(|line| line.starts_with("zero "));
    run.await_no_processes();

    assert_eq!(run.get("/").status, 200, "it wakes again");
    assert_eq!(run.processes(), 1);
    run.signal(Signal::SIGINT);
    assert_eq!(run.await_exit(), Some(0));
    assert_eq!(run.processes(), 0);
}

#[test]
fn a_run_is_explained_while_it_goes_on() {
    let mut run = Run::start(manifest("explained", "  command: [hello]\n"));
    run.await_line(|line| line.starts_with("zero"));
    let cold = run.explain();
    assert!(cold.contains("-local: 0 replicas, stage Routed, gate Zero\n"), "{cold}");
    assert!(cold.contains("bound by Resting") && cold.contains("no change since"), "{cold}");
    assert_eq!(run.get("/").status, 200);
    run.await_line(|line| line.starts_with("ready 1 "));
    // The autoscaler is told of it at the same time as whoever reads the lines.
    let warm = run.await_explained("    1 ready; 0 held");
    assert!(warm.contains("-local: 1 replicas, stage Routed, gate Up\n"), "{warm}");
    assert!(warm.contains("    Concurrency "), "{warm}");
    let change = warm.lines().last().unwrap();
    assert!(
        change.contains(" s ago from 0 to 1: ") && change.contains("held without a usable pod"),
        "{change}"
    );
}

/// Waits for the next minute of the wall clock at most, and for its end.
#[test]
fn a_schedule_keeps_replicas_while_it_is_open() {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    // One that is open already, unless it would close before anything has started.
    let opens = if now.second() < 40 { now } else { now.saturating_add(jiff::Span::new().minutes(1)) };
    let spec = format!(
        "  command: [hello]\n  scale: {{window: 6s, idle: {{after: 1s}}, schedules: [{{name: now, cron: '{} {} * * *', duration: 1m, min: 2}}]}}\n",
        opens.minute(),
        opens.hour()
    );
    let mut run = Run::start(manifest("scheduled", &spec));
    run.await_line(|line| {
        line.starts_with("scaled up from 0 to 2: ") && line.contains("schedule now is open")
    });
    run.await_line(|line| line.starts_with("ready 2 "));
    assert!(run.explain().contains("bound by Schedule"));
    run.await_line(is_zero);
    run.await_no_processes();
}

/// The source of a function, whose build makes a program of it.
fn source(version: &str) -> String {
    format!("#!/bin/sh\nexec env VERSION={version} hello\n")
}

#[test]
fn a_change_is_built_and_takes_over() {
    let manifest = manifest("watched", "  command: [./server]\n");
    manifest.write("source.sh", &source("1"));
    let build = "sh -n source.sh && cp source.sh server && chmod +x server && echo built";
    let mut run = Run::start_with(manifest, &["--watch", "--build", build]);
    assert!(run.get("/env").body.contains("VERSION=1\n"));

    run.write("source.sh", &source("2"));
    run.await_line(|line| line.ends_with("source.sh changed"));
    run.await_line(|line| line == "build | built");
    run.await_line(|line| line.starts_with("what is new takes over"));
    // What was built is in the folder too, and so is built and taken over once more.
    run.await_line(|line| line.starts_with("what is new takes over"));
    assert!(run.get("/env").body.contains("VERSION=2\n"));

    run.write("source.sh", "if\n");
    run.await_line(|line| line.contains("ended with exit status: ") && line.ends_with("goes on"));
    assert!(run.get("/env").body.contains("VERSION=2\n"), "what was built before goes on");
    run.signal(Signal::SIGINT);
    assert_eq!(run.await_exit(), Some(0));
    run.await_no_processes();
}

#[test]
fn a_killed_run_leaves_no_build() {
    let manifest = manifest("unended", "  command: [hello]\n");
    let name = manifest.name();
    let build =
        format!("export CATNAP_FUNCTION={name}; [ ! -e changed ] || exec sh -c 'echo begun; exec sleep 600'");
    let mut run = Run::start_with(manifest, &["--watch", "--build", &build]);
    run.write("changed", "");
    run.await_line(|line| line == "build | begun");
    // It has no environment that could be read while it becomes another program.
    run.await_processes(1);
    run.signal(Signal::SIGKILL);
    assert_eq!(run.await_exit(), None);
    run.await_no_processes();
}

#[test]
fn a_change_of_the_manifest_is_said_to_take_a_new_run() {
    let mut run = Run::start_with(manifest("edited", "  command: [hello]\n"), &["--watch"]);
    run.write("function.yaml", "no manifest at all");
    run.await_line(|line| line == "function.yaml changed");
    run.await_line(|line| line.ends_with("takes a new `catnap dev`"));
    assert_eq!(run.get("/").status, 200);
    run.signal(Signal::SIGINT);
    assert_eq!(run.await_exit(), Some(0));
}

#[test]
fn a_folder_that_is_not_there_is_not_watched_without_a_word() {
    let manifest = manifest("nowhere", "  command: [hello]\n");
    let flags = ["--watch", "--watch-folder", "/no/such/folder", "--build", "echo built"];
    let ended = catnap(&manifest).args(flags).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(error.contains("--watch-folder: /no/such/folder is no folder"), "{error}");
    assert!(ended.stdout.is_empty(), "nothing was built: {ended:?}");
}

#[test]
fn what_a_build_starts_ends_with_it() {
    let manifest = manifest("left", "  command: [hello]\n");
    // It holds the build's output open, as a compiler's server does that was not meant to stay.
    let build = format!("CATNAP_FUNCTION={} sleep 600 & echo built", manifest.name());
    let mut run = Run::start_with(manifest, &["--build", &build]);
    run.await_no_processes();
    assert_eq!(run.get("/").status, 200);
    run.signal(Signal::SIGINT);
    assert_eq!(run.await_exit(), Some(0));
}

#[test]
fn a_first_build_that_fails_ends_the_run() {
    let manifest = manifest("unbuilt", "  command: [hello]\n");
    let ended = catnap(&manifest).args(["--build", "echo no luck; exit 3"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let (said, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(error.contains("`echo no luck; exit 3` ended with exit status: 3"), "{error}");
    assert!(!said.contains("listens on"), "{said}");
}

#[test]
fn a_killed_run_leaves_no_replica() {
    let mut run = Run::start(manifest("killed", "  command: [hello]\n"));
    assert_eq!(run.get("/").status, 200);
    assert_eq!(run.processes(), 1);
    run.signal(Signal::SIGKILL);
    run.await_exit();
    run.await_no_processes();
}

#[test]
fn every_host_name_is_the_functions() {
    let run = Run::start(manifest("hosts", "  command: [hello]\n"));
    let own = format!("{}.default", run.name());
    for host in ["localhost", &own, "example.com:8080", "127.0.0.1"] {
        let answer = run.get_from(host, "/");
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}

#[test]
fn a_program_that_ends_at_once_is_a_crash_loop() {
    let mut run = Run::start(manifest("crash", "  command: [sh, -c, 'echo no luck; exit 3']\n"));
    let answer = run.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("catnap-reason: CrashLoop"), "{}", answer.head);
    assert!(answer.body.contains("exit status: 3"), "{}", answer.body);
    let said = format!("{}-1 | no luck", run.name());
    run.await_line(|line| line == said);
    run.signal(Signal::SIGTERM);
    assert_eq!(run.await_exit(), Some(0));
}

#[test]
fn a_replica_that_ignores_sigterm_is_killed_by_the_second_signal() {
    let script = "trap '' TERM INT; hello & while :; do sleep 1; done";
    let spec = format!("  command: [sh, -c, \"{script}\"]\n  terminationGracePeriodSeconds: 300\n");
    let mut run = Run::start(manifest("stubborn", &spec));
    assert_eq!(run.get("/").status, 200);
    run.signal(Signal::SIGINT);
    run.await_line(|line| line.starts_with("stopping; a second Ctrl-C"));
    run.signal(Signal::SIGINT);
    assert_eq!(run.await_exit(), Some(0));
    run.await_no_processes();
}

#[test]
fn a_reader_that_leaves_ends_the_run_without_a_panic() {
    let mut run = Run::start(manifest("piped", "  command: [hello]\n"));
    let errors = run.stop_reading();
    // It wakes, and finds that nobody wants to hear of it: the request is not left hanging.
    assert!([200, 503].contains(&run.get("/").status));
    assert_eq!(run.await_exit(), Some(0));
    assert_eq!(errors(), "");
    assert_eq!(run.processes(), 0);
}

#[test]
fn what_cannot_run_is_said_and_nothing_starts() {
    for (spec, message) in [
        ("  port: 80\n", "error: spec.command is missing: `catnap dev` starts a local process"),
        ("  command: [no-such-program]\n", "error: spec.command: `no-such-program` is not a program on PATH"),
        ("  command: [hello]\n  scale: {idel: 1}\n", "spec.scale.idel does not exist"),
    ] {
        let manifest = manifest("refused", spec);
        let ended = catnap(&manifest).output().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
}
