//! The launcher itself: a cluster starts, survives what tests do to it, and leaves nothing.
//!
//! Skipped where a cluster is up already or another one is under test, for one fits on a machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use catnap_e2e::{
    cluster::{Cluster, Component, Error, Options, Programs, left_behind},
    fixture::{eventually, guardian, skip, within},
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

/// The machine for one test; `None` when it is taken.
async fn machine(test: &str) -> Option<MutexGuard<'static, ()>> {
    let turn = TURN.lock().await;
    if std::env::var_os("KUBECONFIG").is_some() || Cluster::attach().is_ok() {
        skip(test, "needs a machine without a cluster");
        return None;
    }
    assert_eq!(left_behind().unwrap(), Vec::<String>::new(), "left by something before this test");
    Some(turn)
}

fn options() -> Options {
    Options { nodes: 1, coredns: false, guardian: Some(guardian().unwrap()), ..Options::default() }
}

fn assert_nothing_left() {
    assert_eq!(left_behind().unwrap(), Vec::<String>::new());
}

async fn api_answers(cluster: &Cluster) -> bool {
    let nodes: Api<Node> = Api::all(cluster.client().await.unwrap());
    let list = tokio::time::timeout(Duration::from_secs(2), nodes.list(&ListParams::default())).await;
    matches!(list, Ok(Ok(list)) if list.items.len() == 1)
}

/// One look is not enough right after a start: it is of a client that has yet to connect.
async fn wait_for_api(cluster: &Cluster) {
    eventually("the API server answers", Duration::from_secs(30), async || {
        Ok(api_answers(cluster).await.then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_starts_is_found_and_leaves_nothing() {
    let Some(_turn) = machine("a_cluster_starts_is_found_and_leaves_nothing").await else { return };
    let overcommit = "/proc/sys/vm/overcommit_memory";
    let before = std::fs::read_to_string(overcommit).unwrap();
    Programs::build().unwrap();
    let since = Instant::now();
    let cluster = Cluster::start(Options { nodes: 2, coredns: true, ..options() }).await.unwrap();
    println!("two nodes took {:?}", since.elapsed());
    let error = Cluster::start(options()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyThere { nodes: 2, .. }), "{error}");
    let attached = Cluster::attach().unwrap();
    assert_eq!(attached.kubeconfig(), cluster.kubeconfig());
    let running = |component: &Component| component.process().unwrap().is_some();
    assert!(attached.components().unwrap().iter().all(running));
    drop(attached);
    assert!(!left_behind().unwrap().is_empty(), "dropping an attached handle ended the cluster");
    cluster.stop().unwrap();
    assert_nothing_left();
    assert_eq!(std::fs::read_to_string(overcommit).unwrap(), before, "kubelet's setting is still there");
    assert!(matches!(Cluster::attach(), Err(Error::NotThere)));
}

#[tokio::test(flavor = "multi_thread")]
async fn components_are_killed_paused_and_restarted() {
    let Some(_turn) = machine("components_are_killed_paused_and_restarted").await else { return };
    let cluster = Cluster::start(options()).await.unwrap();
    wait_for_api(&cluster).await;

    let api_server = cluster.component("kube-apiserver").unwrap();
    let before = api_server.process().unwrap().unwrap();
    api_server.kill().unwrap();
    assert!(!before.is_running());
    assert!(!api_answers(&cluster).await);
    api_server.start().await.unwrap();
    wait_for_api(&cluster).await;
    assert_ne!(api_server.process().unwrap(), Some(before));

    api_server.pause().unwrap();
    assert!(!api_answers(&cluster).await);
    api_server.resume().unwrap();
    wait_for_api(&cluster).await;

    for component in cluster.components().unwrap() {
        component.restart().await.unwrap();
    }
    wait_for_api(&cluster).await;

    let node = cluster.node("node1").unwrap();
    node.kill().unwrap();
    assert!(node.component("kubelet").process().unwrap().is_none());
    node.start().await.unwrap();
    assert!(node.component("kubelet").process().unwrap().is_some());

    // As after the machine was switched off: nothing runs, and the record of a kept cluster is still there.
    for component in cluster.components().unwrap() {
        component.kill().unwrap();
    }
    cluster.keep().unwrap();
    assert!(matches!(Cluster::attach(), Err(Error::NotThere)));
    let cluster = Cluster::start(options()).await.unwrap();
    wait_for_api(&cluster).await;
    drop(cluster);
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn kwok_pretends_nodes_and_their_pods() {
    let Some(_turn) = machine("kwok_pretends_nodes_and_their_pods").await else { return };
    let cluster = Cluster::start(Options { kwok: true, ..options() }).await.unwrap();
    let client = cluster.client().await.unwrap();
    let node = json!({"metadata": {"name": "pretended", "labels": {"type": "kwok"}}});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let pod = json!({"metadata": {"name": "pretended"}, "spec": {
        "nodeName": "pretended", "containers": [{"name": "a", "image": "nowhere.invalid/a"}],
    }});
    let pods: Api<Pod> = Api::default_namespaced(client);
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let at_most = Duration::from_secs(20);
    within(at_most, &pods, "pretended", ready).await.unwrap();
    pods.delete("pretended", &DeleteParams::default()).await.unwrap();
    // Long before the grace period is over.
    let gone = async || Ok(pods.get_opt("pretended").await?.is_none().then_some(()));
    eventually("the pod is gone", at_most, gone).await.unwrap();
    cluster.stop().unwrap();
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing() {
    let Some(_turn) = machine("a_start_that_fails_leaves_nothing").await else { return };
    // The controller manager cannot have its port: everything before it has been started by then.
    let _port = tokio::net::TcpListener::bind("127.0.0.1:10257").await.unwrap();
    let error = Cluster::start(options()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Ended { component, .. } if component == "kube-controller-manager"),
        "{error}"
    );
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing() {
    let Some(_turn) = machine("a_start_that_is_given_up_leaves_nothing").await else { return };
    let start = Cluster::start(options());
    let given_up = eventually("etcd has started", Duration::from_secs(60), async || {
        Ok(left_behind()?.iter().any(|what| what.starts_with("process")).then_some(()))
    });
    tokio::select! {
        result = start => panic!("done before it was given up: {:?}", result.map(drop)),
        result = given_up => result.unwrap(),
    }
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_cluster() {
    let Some(_turn) = machine("a_panic_ends_the_cluster").await else { return };
    let panicked = tokio::spawn(async {
        let _cluster = Cluster::start(options()).await.unwrap();
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guardian_ends_the_cluster_of_a_killed_process() {
    let Some(_turn) = machine("the_guardian_ends_the_cluster_of_a_killed_process").await else { return };
    let mut starter = command(&guardian().unwrap());
    eventually("the command has started a cluster", Duration::from_secs(60), async || {
        Ok(left_behind()?.iter().any(|what| what.starts_with("process")).then_some(()))
    })
    .await
    .unwrap();
    starter.kill().unwrap();
    starter.wait().unwrap();
    eventually("the guardian has ended it", Duration::from_secs(60), async || {
        let left = left_behind()?;
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_start_leaves_nothing() {
    let Some(_turn) = machine("an_interrupted_start_leaves_nothing").await else { return };
    let mut starter = command(&guardian().unwrap());
    eventually("the command has started a process", Duration::from_secs(60), async || {
        Ok(left_behind()?.iter().any(|what| what.starts_with("process")).then_some(()))
    })
    .await
    .unwrap();
    let id = nix::unistd::Pid::from_raw(i32::try_from(starter.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(!starter.wait().unwrap().success());
    assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_are_the_most() {
    let Some(_turn) = machine("three_nodes_are_the_most").await else { return };
    let error = Cluster::start(Options { nodes: 4, ..options() }).await.unwrap_err();
    assert!(matches!(error, Error::NodeCount { nodes: 4 }), "{error}");
    let cluster = Cluster::start(Options { nodes: 3, ..options() }).await.unwrap();
    let nodes: Api<Node> = Api::all(cluster.client().await.unwrap());
    let ready = |node: &Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(nodes.iter().filter(|node| ready(node)).count(), 3);
    drop(cluster);
    assert_nothing_left();
}

fn command(program: &Path) -> std::process::Child {
    std::process::Command::new(program).args(["up", "--nodes", "1"]).spawn().unwrap()
}
