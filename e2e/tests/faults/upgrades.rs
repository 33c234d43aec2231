//! Restarting, uninstalling and installing Catnap under its functions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use catnap_e2e::fixture::{Http, Needs, Resolver, SYSTEM_NAMESPACE, eventually, run, run_with};
use futures::future::try_join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::sync::watch;

use catnap_e2e::functions::{
    PATIENCE, body, deploy, deploy_resting, deployment, hello, is_cold, restart, resting, url,
};

/// Clients that ask at the same time; half of them over HTTP/2.
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn restarting_the_activators_loses_no_request() {
    run_with("restarting_activators", &["activator.replicas=2"], async |test| {
        deploy(test, &hello("warm", json!({}))).await?;
        deploy_resting(test, &hello("cold", json!({"scale": {"idle": {"after": "1s"}}}))).await?;
        let count = AtomicUsize::new(0);
        let (stop, stopped) = watch::channel(false);
        let load = try_join_all((0..CLIENTS).map(|client| {
            let (count, stopped) = (&count, stopped.clone());
            async move {
                // Connections of its own, so that both activators and every kind of connection are met.
                let http = Http::new(&Resolver::new(test.client.clone()))?;
                let http = if client % 2 == 0 { http.http1 } else { http.h2c };
                while !*stopped.borrow() {
                    let asked = count.fetch_add(1, Ordering::Relaxed);
                    let path = if asked % 50 == 0 {
                        url(test, "cold", "/")
                    } else {
                        url(test, "warm", "/sleep?ms=10")
                    };
                    let response = http.get(path).send().await.with_context(|| format!("request {asked}"))?;
                    body(response).await.with_context(|| format!("request {asked}"))?;
                }
                anyhow::Ok(())
            }
        }));
        let restarting = async {
            restart(test, "catnap-activator", Duration::from_secs(85)).await?;
            stop.send_replace(true);
            anyhow::Ok(())
        };
        tokio::try_join!(load, restarting)?;
        let count = count.into_inner();
        anyhow::ensure!(count > 200, "only {count} requests were sent meanwhile");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_activators_let_a_function_rest_and_wake() {
    run_with("two_activators", &["activator.replicas=2"], async |test| {
        deploy(test, &hello("hello", json!({}))).await?;
        for _ in 0..4 {
            resting(test, "hello").await?;
            // A client of its own: a new connection, which may meet either activator.
            let http = Http::new(&Resolver::new(test.client.clone()))?;
            let response = http.http1.get(url(test, "hello", "/")).send().await?;
            anyhow::ensure!(is_cold(&response), "{response:?}");
            body(response).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_stand_through_uninstall_and_reinstall() {
    run("uninstall", Needs::Launcher, async |test| {
        deploy(test, &hello("hello", json!({"scale": {"min": 1}}))).await?;
        deploy_resting(test, &hello("asleep", json!({}))).await?;
        let state = async || {
            let mut found = Vec::new();
            for name in ["hello", "asleep"] {
                let Deployment { metadata, spec, .. } = deployment(test, name).await?;
                found.push((metadata.uid, metadata.generation, spec.and_then(|spec| spec.replicas)));
            }
            anyhow::Ok(found)
        };
        let before = state().await?;
        test.installation().uninstall().await?;
        let between = state().await;
        // An activator takes requests for some seconds after it was told to go, and may no longer wake anything: its
        // account is gone.
        let pods: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        let gone = eventually("the processes have gone", PATIENCE, async || {
            Ok(pods.list_metadata(&ListParams::default()).await?.items.is_empty().then_some(()))
        });
        let gone = gone.await;
        test.installation().install(&[]).await?;
        gone?;
        let between = between?;
        anyhow::ensure!(before == between, "uninstalling changed {before:?} to {between:?}");
        // New connections: one that was kept open may still lead to the activator that was uninstalled.
        let http = Http::new(&Resolver::new(test.client.clone()))?.http1;
        eventually("kube-proxy knows the new Service", PATIENCE, async || {
            body(http.get(url(test, "hello", "/")).send().await?).await.map(Some)
        })
        .await?;
        let response = http.get(url(test, "asleep", "/")).send().await?;
        anyhow::ensure!(is_cold(&response), "{response:?}");
        body(response).await?;
        resting(test, "asleep").await
    })
    .await;
}
