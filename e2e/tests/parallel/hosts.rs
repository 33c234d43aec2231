//! Hosts outside the cluster: who gets them, who loses them, and what a tenant cannot do about it. Every request goes to the
//! edge port, as from outside.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use catnap_crds::{Function, HostStatus};
use catnap_e2e::fixture::{Context, DOMAIN, Needs, eventually, run, within};
use catnap_e2e::functions::{PATIENCE, apply, body, condition, deploy, get, hello, ready};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// How long a decision may take until everybody acts on it.
const SOON: Duration = Duration::from_secs(10);

/// A host that only this test asks for.
fn host(test: &Context, front: &str) -> String {
    format!("{front}.{}.example.org", test.namespace)
}

/// What an administrator does.
async fn allow(test: &Context, namespace: &str, suffixes: Option<&str>) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {"catnap.dev/host-suffixes": suffixes}}});
    let namespaces = Api::<Namespace>::all(test.client.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Runs `body` with a second namespace, which is gone afterwards.
async fn with_neighbour<T>(test: &Context, body: T) -> anyhow::Result<()>
where
    T: AsyncFnOnce(&str) -> anyhow::Result<()>,
{
    let name = format!("{}-b", test.namespace);
    let namespaces = Api::<Namespace>::all(test.client.clone());
    let object = json!({"metadata": {"name": name, "labels": {"catnap.dev/e2e": "true"}}});
    namespaces.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let outcome = body(&name).await;
    namespaces.delete(&name, &DeleteParams::background()).await?;
    outcome
}

fn functions(test: &Context, namespace: &str) -> Api<Function> {
    Api::namespaced(test.client.clone(), namespace)
}

/// A Function of this namespace, applied as its owner would.
async fn claim(test: &Context, namespace: &str, name: &str, spec: Value) -> anyhow::Result<()> {
    let manifest = hello(name, spec);
    let arguments = ["--namespace", namespace, "apply", "--filename", "-"];
    test.kubectl(&arguments, &manifest.to_string()).await.map(drop)
}

fn hosts(hosts: &[&str]) -> Value {
    json!({"http": {"hosts": hosts}})
}

/// What the status says about a host: `accepted`, or the reason why not.
fn told<'a>(function: &'a Function, host: &str) -> Option<&'a str> {
    let found = function.status.as_ref()?.hosts.iter().find(|it| it.host == host)?;
    Some(if found.accepted { "accepted" } else { &found.reason })
}

async fn until_told(
    test: &Context,
    namespace: &str,
    name: &str,
    host: &str,
    what: &str,
) -> anyhow::Result<Function> {
    within(PATIENCE, &functions(test, namespace), name, |function| told(function, host) == Some(what)).await
}

/// The answer at the edge, with this `Host`.
async fn ask(test: &Context, host: &str) -> anyhow::Result<reqwest::Response> {
    let request = test.http.edge.get("http://edge.example/").header("host", host);
    request.send().await.with_context(|| format!("asking for {host}"))
}

/// Waits until the function `name` answers for this host.
async fn answers(test: &Context, host: &str, name: &str) -> anyhow::Result<()> {
    eventually(&format!("{host} is {name}'s"), SOON, async || {
        let said = body(ask(test, host).await?).await?;
        let right = said.starts_with(&format!("Hello from {name}-"));
        anyhow::ensure!(right, "another answers: {said}");
        Ok(Some(()))
    })
    .await
}

/// Waits until nobody has this host.
async fn nobodys(test: &Context, host: &str) -> anyhow::Result<()> {
    eventually(&format!("{host} is nobody's"), SOON, async || {
        let response = ask(test, host).await?;
        let reason = response.headers().get("catnap-reason").and_then(|reason| reason.to_str().ok());
        anyhow::ensure!(response.status() == 404 && reason == Some("UnknownHost"), "{response:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_the_hosts_that_an_administrator_allows() {
    run("allowed_hosts", Needs::Cluster, async |test| {
        let (shop, other) = (host(test, "shop"), "shop.example.net");
        apply(test, &hello("one", hosts(&[&shop, other]))).await?;
        let refused = until_told(test, &test.namespace, "one", &shop, "HostNotAllowed").await?;
        let message = &refused.status.as_ref().context("no status")?.hosts[0].message;
        anyhow::ensure!(message.contains("catnap.dev/host-suffixes"), "{message}");
        let stalled = within(Duration::from_secs(60), &test.api::<Function>(), "one", |function| {
            condition(function, "Stalled")
                .is_some_and(|(status, reason, _)| (status, reason) == ("True", "HostNotAllowed"))
        })
        .await?;
        let said = condition(&stalled, "Ready").context("no condition")?;
        anyhow::ensure!((said.0, said.1) == ("False", "HostNotAllowed"), "{said:?}");
        body(get(test, "one", "/").await?).await.context("by its own name it serves")?;
        nobodys(test, &shop).await?;
        eventually("an Event tells of it", PATIENCE, async || {
            let events = test.api::<Event>().list(&ListParams::default()).await?.items;
            Ok(events.iter().any(|event| event.reason.as_deref() == Some("HostConflict")).then_some(()))
        })
        .await?;

        allow(test, &test.namespace, Some(&format!("{}.example.org", test.namespace))).await?;
        until_told(test, &test.namespace, "one", &shop, "accepted").await?;
        answers(test, &shop, "one").await?;
        for written in
            [shop.to_uppercase(), format!("{shop}."), format!("{shop}:8443"), format!("{shop}.:80")]
        {
            answers(test, &written, "one").await?;
        }
        let local = format!("one.{}", test.namespace);
        for never in [
            &local,
            &format!("{local}.svc"),
            &format!("{local}.svc.cluster.local"),
            &format!("x.{shop}"),
            other,
        ] {
            nobodys(test, never).await?;
        }

        allow(test, &test.namespace, None).await?;
        until_told(test, &test.namespace, "one", &shop, "HostNotAllowed").await?;
        nobodys(test, &shop).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_cluster_are_claimed_by_nobody_whatever_is_allowed() {
    run("local_names", Needs::Cluster, async |test| {
        // More than any administrator should write.
        let victim = format!("victim.{}", test.namespace);
        let all = format!("{}, default, svc, local, com, org", test.namespace);
        allow(test, &test.namespace, Some(&all)).await?;
        let thefts = [
            &victim,
            "hello.default",
            "hello.default.svc",
            "*.default.svc",
            "hello.default.svc.cluster.local",
            "*.cluster.local",
            "api.cluster.local",
            DOMAIN,
            &format!("hello-default.{DOMAIN}"),
            &format!("*.{DOMAIN}"),
            "*.example.com",
            // No name has this form in xn--.
            "xn--a.example.org",
        ];
        let own = host(test, "xn--bcher-kva");
        let possible: Vec<_> = thefts.into_iter().chain([own.as_str()]).collect();
        apply(test, &hello("thief", hosts(&possible))).await?;
        until_told(test, &test.namespace, "thief", &own, "accepted").await?;
        let function = ready_or_stalled(test, "thief").await?;
        for theft in possible.iter().filter(|theft| **theft != own) {
            anyhow::ensure!(
                told(&function, theft) == Some("HostNotAllowed"),
                "{theft}: {:?}",
                told(&function, theft)
            );
        }
        answers(test, &own, "thief").await?;
        // Inside the cluster, the name of a Function that is just not there is nobody's.
        let response = get(test, "victim", "/").await?;
        anyhow::ensure!(response.headers()["catnap-reason"] == "UnknownHost", "{response:?}");
        for theft in [&victim, "hello.default", "hello.default.svc"] {
            nobodys(test, theft).await?;
        }
        // What the API server refuses at once.
        for wrong in [
            "Shop.example.org",
            "shop.example.org.",
            "shop.example.org:80",
            "10.0.0.1",
            "a.*.example.org",
            "*.org",
            "example",
            "bücher.example.org",
        ] {
            let refused = claim(test, &test.namespace, "wrong", hosts(&[wrong])).await;
            let error = refused.err().with_context(|| format!("{wrong} was let through"))?;
            anyhow::ensure!(format!("{error:#}").contains("http.hosts[]"), "{wrong}: {error:#}");
        }
        Ok(())
    })
    .await;
}

/// Waits until there is nothing more to wait for.
async fn ready_or_stalled(test: &Context, name: &str) -> anyhow::Result<Function> {
    within(PATIENCE, &test.api::<Function>(), name, |function| {
        condition(function, "Reconciling").is_some_and(|(status, _, _)| status == "False")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_keeps_other_namespaces_away_and_gives_way_inside() {
    run("wildcards", Needs::Cluster, async |test| {
        with_neighbour(test, async |neighbour| {
            let (own, suffix) = (&test.namespace, host(test, "w"));
            allow(test, own, Some(&suffix)).await?;
            allow(test, neighbour, Some(&suffix)).await?;
            let (wildcard, below) = (format!("*.{suffix}"), format!("x.{suffix}"));
            claim(test, own, "wild", hosts(&[&wildcard])).await?;
            until_told(test, own, "wild", &wildcard, "accepted").await?;
            claim(test, neighbour, "foreign", hosts(&[&below, &suffix])).await?;
            until_told(test, neighbour, "foreign", &below, "HostTaken").await?;
            until_told(test, neighbour, "foreign", &suffix, "accepted").await?;
            claim(test, own, "exact", hosts(&[&below])).await?;
            until_told(test, own, "exact", &below, "accepted").await?;
            answers(test, &below, "exact").await?;
            answers(test, &format!("y.{suffix}"), "wild").await?;
            answers(test, &format!("z.{below}"), "wild").await?;
            answers(test, &suffix, "foreign").await?;

            // With the wildcard gone the name inside still is in the way.
            functions(test, own).delete("wild", &DeleteParams::default()).await?;
            nobodys(test, &format!("y.{suffix}")).await?;
            until_told(test, neighbour, "foreign", &below, "HostTaken").await?;
            functions(test, own).delete("exact", &DeleteParams::default()).await?;
            until_told(test, neighbour, "foreign", &below, "accepted").await?;
            answers(test, &below, "foreign").await?;
            claim(test, own, "wild", hosts(&[&wildcard])).await?;
            until_told(test, own, "wild", &wildcard, "HostTaken").await.map(drop)
        })
        .await
    })
    .await;
}

/// Who says to have which of the hosts below `suffix`, over all namespaces in one moment.
async fn holders(test: &Context, suffix: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for function in Api::<Function>::all(test.client.clone()).list(&ListParams::default()).await?.items {
        let name = format!(
            "{}/{}",
            function.metadata.namespace.unwrap_or_default(),
            function.metadata.name.unwrap_or_default()
        );
        for HostStatus { host, accepted, .. } in
            function.status.map(|status| status.hosts).unwrap_or_default()
        {
            if accepted && host.ends_with(suffix) {
                holders.entry(host).or_default().push(name.clone());
            }
        }
    }
    Ok(holders)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_namespaces_that_race_for_fifty_hosts_each_host_has_one() {
    run("host_race", Needs::Cluster, async |test| {
        with_neighbour(test, async |neighbour| {
            let suffix = host(test, "race");
            for namespace in [&test.namespace, neighbour] {
                allow(test, namespace, Some(&suffix)).await?;
            }
            let all: Vec<String> = (0..52).map(|number| format!("h{number}.{suffix}")).collect();
            let manifests = |namespace: &str, reversed: bool| {
                let mut all = all.clone();
                if reversed {
                    all.reverse();
                }
                let functions = all.chunks(13).enumerate().map(|(index, chunk)| {
                    let spec = json!({"http": {"hosts": chunk}, "scale": {"initial": 0}});
                    let mut function = hello(&format!("racer-{index}"), spec);
                    function["metadata"]["namespace"] = json!(namespace);
                    function
                });
                json!({"apiVersion": "v1", "kind": "List", "items": functions.collect::<Vec<_>>()})
                    .to_string()
            };
            let (mine, theirs) = (manifests(&test.namespace, false), manifests(neighbour, true));
            let their_arguments = ["--namespace", neighbour, "apply", "--filename", "-"];
            tokio::try_join!(
                test.kubectl(&["apply", "--filename", "-"], &mine),
                test.kubectl(&their_arguments, &theirs),
            )?;
            let once = eventually("every host has somebody", PATIENCE, async || {
                let holders = holders(test, &suffix).await?;
                let twice: Vec<_> = holders.iter().filter(|(_, holders)| holders.len() > 1).collect();
                assert!(twice.is_empty(), "{twice:?}");
                Ok((holders.len() == all.len()).then_some(holders))
            })
            .await?;

            // Whoever goes gives all that it has to those who wait.
            for index in 0..4 {
                functions(test, &test.namespace)
                    .delete(&format!("racer-{index}"), &DeleteParams::default())
                    .await?;
            }
            test.kubectl(&["apply", "--filename", "-"], &mine).await?;
            let after = eventually("the other namespace has all", PATIENCE, async || {
                let holders = holders(test, &suffix).await?;
                let twice: Vec<_> = holders.iter().filter(|(_, holders)| holders.len() > 1).collect();
                assert!(twice.is_empty(), "{twice:?}");
                let theirs =
                    holders.values().flatten().filter(|holder| holder.starts_with(neighbour)).count();
                Ok((theirs == all.len()).then_some(holders))
            })
            .await?;
            for (host, holder) in once.iter().filter(|(_, holder)| holder[0].starts_with(neighbour)) {
                anyhow::ensure!(after[host] == *holder, "{host} moved from {holder:?} to {:?}", after[host]);
            }
            Ok(())
        })
        .await
    })
    .await;
}

/// Waits until what is made is younger than `elder`, in the whole seconds that Kubernetes counts.
async fn until_made_later(test: &Context, elder: &Function) -> anyhow::Result<()> {
    let made = |function: &Function| function.metadata.creation_timestamp.clone();
    let candidate: Function = serde_json::from_value(hello("candidate", json!({})))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("another second", SOON, async || {
        let now = test.api::<Function>().create(&dry, &candidate).await?;
        Ok((made(&now) > made(elder)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_gives_itself_no_host() {
    run("tenant_hosts", Needs::Cluster, async |test| {
        with_neighbour(test, async |neighbour| {
            let suffix = host(test, "t");
            let shop = format!("shop.{suffix}");
            for namespace in [&test.namespace, neighbour] {
                allow(test, namespace, Some(&suffix)).await?;
            }
            // Of two that say to have it, activators prefer the one that was made first.
            claim(test, neighbour, "elder", json!({})).await?;
            until_made_later(test, &functions(test, neighbour).get("elder").await?).await?;
            claim(test, &test.namespace, "owner", hosts(&[&shop])).await?;
            until_told(test, &test.namespace, "owner", &shop, "accepted").await?;
            claim(test, neighbour, "elder", hosts(&[&shop])).await?;
            until_told(test, neighbour, "elder", &shop, "HostTaken").await?;
            answers(test, &shop, "owner").await?;

            // An administrator of one namespace has its Functions, and no say in what they may claim.
            let user = format!("tenant-{neighbour}");
            let binding = [
                "--namespace",
                neighbour,
                "create",
                "rolebinding",
                "tenant",
                "--clusterrole=admin",
                &format!("--user={user}"),
            ];
            test.kubectl(&binding, "").await?;
            let account = format!("--as={user}");
            let annotate =
                ["annotate", &account, "namespace", neighbour, "--overwrite", "catnap.dev/host-suffixes=org"];
            let error = test.kubectl(&annotate, "").await.err().context("a tenant allowed itself hosts")?;
            anyhow::ensure!(format!("{error:#}").contains("forbidden"), "{error:#}");
            let manifest = hello("younger", hosts(&[&shop])).to_string();
            let make = ["--namespace", neighbour, &account, "apply", "--filename", "-"];
            eventually("the tenant makes a Function", PATIENCE, async || {
                // The cluster adds the rights of a new kind of object to its own roles in its own time.
                test.kubectl(&make, &manifest).await.map(Some)
            })
            .await?;
            until_told(test, neighbour, "younger", &shop, "HostTaken").await?;
            let lie = json!({"status": {"hosts": [{"host": shop, "accepted": true}]}});
            let (lying, words) =
                (["--namespace", neighbour, &account, "patch", "function", "younger"], lie.to_string());
            let lying = [&lying[..], &["--subresource=status", "--type=merge", "--patch", &words]].concat();
            let error = test.kubectl(&lying, "").await.err().context("a tenant wrote a status")?;
            anyhow::ensure!(format!("{error:#}").contains("forbidden"), "{error:#}");

            // Not even who writes statuses, which is nobody's right but the operator's.
            let liars = functions(test, neighbour);
            for (name, is_believed) in [("younger", false), ("elder", true)] {
                for _ in 0..5 {
                    liars.patch_status(name, &PatchParams::default(), &Patch::Merge(&lie)).await?;
                    if !is_believed {
                        let text = body(ask(test, &shop).await?).await?;
                        anyhow::ensure!(text.starts_with("Hello from owner-"), "{name} answers: {text}");
                    }
                    let corrected = |function: &Function| told(function, &shop) == Some("HostTaken");
                    within(SOON, &liars, name, corrected).await?;
                    answers(test, &shop, "owner").await?;
                }
            }
            until_told(test, &test.namespace, "owner", &shop, "accepted").await.map(drop)
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_function_and_its_tags_have_names_under_the_domain() {
    run("external", Needs::Cluster, async |test| {
        let spec = json!({"http": {"visibility": "External"}, "traffic": [{"latest": true, "percent": 100, "tag": "next"}]});
        deploy(test, &hello("hello", spec)).await?;
        let main = format!("hello-{}.{DOMAIN}", test.namespace);
        let tag = format!("next-{main}");
        let function = ready(test, "hello").await?;
        let urls = function.status.context("no status")?.urls;
        anyhow::ensure!(urls == [format!("https://{main}"), format!("https://{tag}")], "{urls:?}");
        answers(test, &main, "hello").await?;
        answers(test, &tag, "hello").await?;
        nobodys(test, &format!("other-{main}")).await?;
        within(PATIENCE, &test.api::<Service>(), "next-hello", |_| true).await?;
        body(get(test, "next-hello", "/").await?).await.context("in the cluster")?;

        // A Function of that name comes first, in the cluster and outside.
        deploy(test, &hello("next-hello", json!({"http": {"visibility": "External"}}))).await?;
        answers(test, &tag, "next-hello").await?;
        let text = body(get(test, "next-hello", "/").await?).await?;
        anyhow::ensure!(text.starts_with("Hello from next-hello-"), "the tag answers: {text}");
        within(PATIENCE, &test.api::<Function>(), "hello", |function| {
            condition(function, "RoutesReady").is_some_and(|(status, reason, _)| (status, reason) == ("False", "TagNotRouted"))
        })
        .await?;
        answers(test, &main, "hello").await?;
        test.api::<Function>().delete("next-hello", &DeleteParams::default()).await?;
        ready(test, "hello").await?;
        answers(test, &tag, "hello").await?;

        // Without the tag nothing of it is left.
        let patch = json!({"spec": {"traffic": [], "http": {"visibility": "Cluster"}}});
        test.api::<Function>().patch("hello", &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually("the tag's objects are gone", PATIENCE, async || {
            let of_tag = ListParams::default().labels("catnap.dev/tag");
            let services = test.api::<Service>().list(&of_tag).await?.items.len();
            let slices = test.api::<EndpointSlice>().list(&of_tag).await?.items.len();
            Ok((services + slices == 0).then_some(()))
        })
        .await?;
        nobodys(test, &main).await?;
        nobodys(test, &tag).await
    })
    .await;
}
