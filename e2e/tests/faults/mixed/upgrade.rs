//! An upgrade of all of Catnap under mixed traffic, and the way back.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, SYSTEM_NAMESPACE, Sink, eventually, run};
use catnap_e2e::functions::{PATIENCE, catnap_pods, condition, pods};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Map, Value, json};

use super::journal::{Event, Journal, Kind};
use super::throughput::Throughput;
use super::traffic::{COLD, TOLD, Traffic, WARM};
use super::{
    DRAIN_TIMEOUT, a_long_response_began, all_met_one_that_went, drain, previous, some_were_in_flight,
    with_traffic,
};

/// As long as all parts of Catnap start, the callers want more than two cores have; they must not have been let alone either.
const LEAST_RATE: f64 = 250.0;

/// What "previous" means here, for no version was ever released: another build of the same sources (that with fail points, none of
/// which is set), a chart with the defaults of a simple one (one of each, no budgets, priorities or admission policies), and a
/// definition that lacks a few of the optional fields. So this shows that the change itself loses nothing: of every process, of
/// the definition below objects that are there, and of the chart's shape, in both directions. It cannot show that two versions
/// of the sources understand each other, nor that a later one makes the same Deployments of the Functions that are there.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_mixed_traffic_and_the_way_back_lose_nothing() {
    run("mixed_upgrade", Needs::Launcher, async |test| {
        let chart = previous::chart()?;
        test.installation().install_chart(chart.path(), &[&drain()]).await?;
        with_traffic(test, upgraded_and_back).await
    })
    .await;
}

async fn upgraded_and_back(test: &Context, traffic: Traffic, sink: &Sink) -> anyhow::Result<()> {
    let journal = &traffic.shared.journal;
    let installation = test.installation();
    let old = previous::build()?;
    let all_old = |found: &BTreeMap<&str, Vec<String>>| found.values().all(|builds| *builds == [old]);
    let first = installed(test).await?;
    anyhow::ensure!(all_old(&first.builds) && !first.knows_rollouts, "{first:?}");
    let before = standing(test).await?;

    a_long_response_began(journal).await?;
    let upgraded = Instant::now();
    installation.upgrade().await?;
    let second = installed(test).await?;
    let two_new = |builds: &Vec<String>| builds.len() == 2 && builds.iter().all(|build| build != old);
    anyhow::ensure!(second.builds.values().all(two_new) && second.knows_rollouts, "{second:?}");
    drained(test).await?;
    all_woken(journal, upgraded).await?;
    let between = standing(test).await?;
    anyhow::ensure!(before == between, "the upgrade changed {before:#} to {between:#}");

    a_long_response_began(journal).await?;
    let back = Instant::now();
    installation.roll_back().await?;
    let third = installed(test).await?;
    anyhow::ensure!(all_old(&third.builds) && !third.knows_rollouts, "{third:?}");
    drained(test).await?;
    all_woken(journal, back).await?;
    let after = standing(test).await?;
    anyhow::ensure!(before == after, "the way back changed {before:#} to {after:#}");

    let ended = Instant::now();
    let shared = traffic.stop().await?;
    let journal = &shared.journal;
    let through = Throughput::between(&shared, upgraded, ended);
    // Only a tunnel that nobody ends is ended for its client, by a FIN and after all the time that there is.
    journal.nothing_bad_but(|at, event| {
        let begun = if at < back { upgraded } else { back };
        matches!(event, Event::Fin { .. }) && at >= begun + DRAIN_TIMEOUT
    })?;
    for (begun, over) in [(upgraded, back), (back, Instant::now())] {
        all_met_one_that_went(journal, &TOLD, begun, over)?;
        some_were_in_flight(journal, begun)?;
    }
    let recorded = shared.recorded.lock().clone();
    sink.expect_each_once(recorded).await?;
    through.ensure(LEAST_RATE, 1)
}

/// Waits until no activator is on its way out. Not only for those that were there: where the number changes as well, the
/// Deployment first has more of the old ones.
async fn drained(test: &Context) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let activators = ListParams::default().labels("app.kubernetes.io/component=activator");
    eventually("the activators that went are gone", PATIENCE, async || {
        let found = pods.list_metadata(&activators).await?.items;
        Ok(found.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()).then_some(()))
    })
    .await
}

/// Waits until each function at zero was woken since a moment.
async fn all_woken(journal: &Journal, since: Instant) -> anyhow::Result<()> {
    eventually("functions at zero wake", PATIENCE, async || {
        let woken = journal.callers(|at, caller, event| {
            caller.kind == Kind::Cold && at > since && matches!(event, Event::Cold)
        });
        Ok((woken.len() == COLD.len()).then_some(()))
    })
    .await
}

/// What is there of Catnap.
#[derive(Debug)]
struct Installed {
    /// What the processes of each part say of their build.
    builds: BTreeMap<&'static str, Vec<String>>,
    /// Whether the definition has a field that the previous one has not.
    knows_rollouts: bool,
}

async fn installed(test: &Context) -> anyhow::Result<Installed> {
    let mut builds = BTreeMap::new();
    for component in ["operator", "activator", "autoscaler"] {
        let mut of_component = Vec::new();
        for pod in catnap_pods(test, component).await? {
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
            let address = address.with_context(|| format!("{} has no address", pod.name_any()))?;
            let metrics = test.http.plain.get(format!("http://{address}:9090/metrics")).send().await?;
            let metrics = metrics.error_for_status()?.text().await?;
            of_component.push(build(&metrics).context("no build in the metrics")?.to_owned());
        }
        builds.insert(component, of_component);
    }
    let path = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.rollout.type}";
    let kind = test.kubectl(&["get", "crd", "functions.catnap.dev", "--output", path], "").await?;
    Ok(Installed { builds, knows_rollouts: kind == "object" })
}

/// `catnap_build_info{version="0.1.0",revision="…"} 1`
fn build(metrics: &str) -> Option<&str> {
    let line = metrics.lines().find(|line| line.starts_with("catnap_build_info{"))?;
    line.split_once("revision=\"")?.1.split('"').next()
}

/// What must stay as it is, by name: what Functions are and since when they are Ready, their revisions and Deployments, and the
/// pods of the one that is never at zero.
async fn standing(test: &Context) -> anyhow::Result<Value> {
    let all = ListParams::default();
    let mut functions = Map::new();
    for function in test.api::<Function>().list(&all).await? {
        let is_ready = condition(&function, "Ready").is_some_and(|(status, _, _)| status == "True");
        anyhow::ensure!(is_ready, "not Ready: {function:?}");
        let status = function.status.as_ref().context("no status")?;
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let what = json!({
            "uid": function.uid(),
            "generation": function.metadata.generation,
            "created": status.latest_created_revision,
            "proven": status.latest_ready_revision,
            "readySince": ready.map(|condition| &condition.last_transition_time),
        });
        functions.insert(function.name_any(), what);
    }
    let revisions = test.api::<ControllerRevision>().list(&all).await?;
    let revisions: Map<_, _> = revisions.into_iter().map(|one| (one.name_any(), json!(one.uid()))).collect();
    let mut deployments = Map::new();
    for deployment in test.api::<Deployment>().list(&all).await? {
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let mut what = json!({"uid": deployment.uid(), "template": template});
        if deployment.labels().get("catnap.dev/function").is_some_and(|function| function == WARM) {
            // Those of the others count how often they were scaled.
            what["generation"] = json!(deployment.metadata.generation);
        }
        deployments.insert(deployment.name_any(), what);
    }
    let warm: Map<_, _> = pods(test, WARM)
        .await?
        .into_iter()
        .map(|pod| {
            let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            let restarts: i32 = containers.map(|container| container.restart_count).sum();
            (pod.name_any(), json!({"uid": pod.uid(), "restarts": restarts}))
        })
        .collect();
    Ok(json!({"functions": functions, "revisions": revisions, "deployments": deployments, "pods": warm}))
}
