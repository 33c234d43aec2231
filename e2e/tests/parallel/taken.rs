//! A Function asks for a host that another one has: what it is told, what callers of that host and of its other names get, and
//! that the revision which served goes on serving.

use std::time::Duration;

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use catnap_e2e::functions::{apply, body, condition, deploy, get, hello};
use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Within this time of the apply everything is said.
const TOLD: Duration = Duration::from_secs(60);

/// A Function with these hosts; `mark` makes it another revision.
fn claiming(name: &str, mark: &str, hosts: &[&str]) -> Value {
    let env = json!([{"name": "MARK", "value": mark}]);
    let rollout = json!({"interval": "1s"});
    hello(name, json!({"env": env, "scale": {"min": 1}, "rollout": rollout, "http": {"hosts": hosts}}))
}

/// What an administrator does.
async fn allow_hosts_below(test: &Context, suffix: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {"catnap.dev/host-suffixes": suffix}}});
    let namespaces = Api::<Namespace>::all(test.client.clone());
    namespaces.patch(&test.namespace, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The environment that whoever answers for this host at the edge runs in.
async fn environment_at(test: &Context, host: &str) -> anyhow::Result<String> {
    let request = test.http.edge.get("http://edge.example/env").header("host", host);
    body(request.send().await.with_context(|| format!("asking for {host}"))?).await
}

/// Waits until the revision of `name` with this mark answers for the host.
async fn answers(test: &Context, host: &str, name: &str, mark: &str) -> anyhow::Result<()> {
    let (name, mark) = (format!("CATNAP_FUNCTION={name}\n"), format!("MARK={mark}\n"));
    eventually(&format!("{host} has its answer"), TOLD, async || {
        let environment = environment_at(test, host).await?;
        let is_it = environment.contains(&name) && environment.contains(&mark);
        anyhow::ensure!(is_it, "another answers: {environment}");
        Ok(Some(()))
    })
    .await
}

/// The Function once its routes are refused for the host, within the time that everything is to be said in.
async fn refused(test: &Context, name: &str, applied: Instant) -> anyhow::Result<Function> {
    within(TOLD.saturating_sub(applied.elapsed()), &test.api::<Function>(), name, |function| {
        condition(function, "RoutesReady")
            .is_some_and(|(status, reason, _)| (status, reason) == ("False", "HostTaken"))
    })
    .await
}

/// Notes of the Events that tell this Function of a host.
async fn notes(test: &Context, name: &str) -> anyhow::Result<Vec<String>> {
    let events = test.api::<Event>().list(&ListParams::default()).await?.items;
    let of_it = events.into_iter().filter(|event| {
        event.reason.as_deref() == Some("HostConflict")
            && event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name)
    });
    Ok(of_it.filter_map(|event| event.note).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_host_that_is_taken_is_told_and_goes_on_serving() {
    run("host_taken", Needs::Cluster, async |test| {
        let suffix = format!("{}.example.org", test.namespace);
        let (shop, own) = (format!("shop.{suffix}"), format!("own.{suffix}"));
        allow_hosts_below(test, &suffix).await?;
        deploy(test, &claiming("owner", "one", &[&shop])).await?;
        deploy(test, &claiming("late", "one", &[&own])).await?;
        answers(test, &shop, "owner", "one").await?;
        answers(test, &own, "late", "one").await?;

        // A new claim alone: no other revision.
        let applied = Instant::now();
        apply(test, &claiming("late", "one", &[&own, &shop])).await?;
        let function = refused(test, "late", applied).await?;
        for (kind, verdict) in [
            ("Ready", ("False", "HostTaken")),
            ("Stalled", ("True", "HostTaken")),
            ("Reconciling", ("False", "Settled")),
        ] {
            let (status, reason, _) = condition(&function, kind).with_context(|| kind.to_owned())?;
            anyhow::ensure!((status, reason) == verdict, "{kind} is {status} {reason}");
        }
        let (_, _, message) = condition(&function, "Ready").context("no Ready")?;
        anyhow::ensure!(message.contains(&shop) && message.contains("the Function owner"), "{message}");
        let (revision, _, _) = condition(&function, "RevisionReady").context("no RevisionReady")?;
        anyhow::ensure!(revision == "True", "the revision is not what is wrong");
        let told = function.status.context("no status")?.hosts;
        let told: Vec<_> =
            told.iter().map(|it| (it.host.as_str(), it.accepted, it.reason.as_str())).collect();
        anyhow::ensure!(told == [(own.as_str(), true, ""), (shop.as_str(), false, "HostTaken")], "{told:?}");
        let left = TOLD.saturating_sub(applied.elapsed());
        let note =
            eventually("an Event tells of it", left, async || Ok(notes(test, "late").await?.pop())).await?;
        anyhow::ensure!(note.starts_with("HostTaken: ") && note.contains(&shop), "{note}");

        // Who has it keeps it, and the names that are its own are the other one's still.
        answers(test, &shop, "owner", "one").await?;
        answers(test, &own, "late", "one").await?;
        body(get(test, "late", "/").await?).await.context("by its name in the cluster")?;

        // That keeps no edit from being rolled out.
        apply(test, &claiming("late", "two", &[&own, &shop])).await?;
        answers(test, &own, "late", "two").await?;
        let function = refused(test, "late", Instant::now()).await?;
        anyhow::ensure!(condition(&function, "Stalled").is_some_and(|it| it.0 == "True"), "{function:?}");
        answers(test, &shop, "owner", "one").await?;
        let notes = notes(test, "late").await?;
        anyhow::ensure!(notes.len() == 1, "the same is told again: {notes:?}");

        test.api::<Function>().delete("owner", &DeleteParams::default()).await?;
        within(TOLD, &test.api::<Function>(), "late", |function| {
            condition(function, "Ready").is_some_and(|(status, _, _)| status == "True")
        })
        .await?;
        answers(test, &shop, "late", "two").await
    })
    .await;
}
