//! What many functions at rest cost, read from the kernel: this test has a process of its own.

use catnap_activator_core::{
    Activator, FunctionName, FunctionPolicy, FunctionRoute, Listener, Protocol, RevisionRoute, Settings,
    SystemClock,
};
use std::sync::Arc;

const FUNCTIONS: usize = 10_000;

/// Private memory of the process in bytes; `None` where the kernel does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn route(number: usize) -> FunctionRoute {
    FunctionRoute {
        name: FunctionName {
            namespace: format!("team-{}", number % 100).into(),
            name: format!("function-{number}").into(),
        },
        uid: format!("00000000-0000-0000-0000-{number:012}").into(),
        routed: Some(format!("function-{number}-0123456789").into()),
        revisions: vec![RevisionRoute {
            name: format!("function-{number}-0123456789").into(),
            port: 8080,
            protocol: Protocol::Http1,
            readiness_path: "".into(),
            concurrency_limit: 0,
        }],
        policy: FunctionPolicy::default(),
        stalled: None,
    }
}

#[test]
fn ten_thousand_functions_cost_less_than_ten_megabytes_and_are_found() {
    let (activator, commands) = Activator::new(Settings::new(1, "activator"), Arc::new(SystemClock::start()));
    let before = resident();
    for number in 0..FUNCTIONS {
        activator.upsert_function(route(number));
    }
    activator.tick();
    if let (Some(before), Some(after)) = (before, resident()) {
        let used = after.saturating_sub(before);
        assert!(used < 10_000_000, "{used} bytes");
    }
    for number in 0..FUNCTIONS {
        let host = format!("function-{number}.team-{}.svc.cluster.local:80", number % 100);
        assert!(activator.route(Listener::InCluster, &host).is_ok(), "{host}");
    }
    drop(commands);
}
