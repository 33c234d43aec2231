//! What many functions at rest cost, read from the kernel: this test has a process of its own.

use catnap_activator_core::{
    Activator, FunctionName, FunctionRoute, HostRoute, Listener, RevisionRoute, Settings, SystemClock,
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
    let name = FunctionName {
        namespace: format!("team-{}", number % 100).into(),
        name: format!("function-{number}").into(),
    };
    let uid = format!("00000000-0000-0000-0000-{number:012}").into();
    FunctionRoute::of_one(name, uid, RevisionRoute::new(format!("function-{number}-0123456789").into()))
}

/// The same with a host outside the cluster.
fn exposed(number: usize) -> FunctionRoute {
    let host = HostRoute { host: format!("function-{number}-team.example.com").into(), tag: None };
    FunctionRoute { hosts: vec![host], ..route(number) }
}

#[test]
fn ten_thousand_functions_cost_less_than_ten_megabytes_and_are_found() {
    let (activator, commands) = Activator::new(Settings::new(1, "activator"), Arc::new(SystemClock::start()));
    let before = resident();
    for number in 0..FUNCTIONS {
        activator.upsert_function(route(number));
    }
    activator.tick();
    let bare = resident();
    if let (Some(before), Some(bare)) = (before, bare) {
        let used = bare.saturating_sub(before);
        assert!(used < 10_000_000, "{used} bytes");
    }
    // This counts what the list itself took as well: who frees memory need not give it back to the kernel.
    activator.set_functions((0..FUNCTIONS).map(exposed).collect());
    if let (Some(bare), Some(after)) = (bare, resident()) {
        let used = after.saturating_sub(bare);
        assert!(used < 9_000_000, "{used} bytes more for a host each");
    }
    for number in 0..FUNCTIONS {
        let host = format!("function-{number}.team-{}.svc.cluster.local:80", number % 100);
        assert!(activator.route(Listener::InCluster, &host).is_ok(), "{host}");
        let host = format!("function-{number}-team.example.com");
        assert!(activator.route(Listener::Edge, &host).is_ok(), "{host}");
    }
    drop(commands);
}
