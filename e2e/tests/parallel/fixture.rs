//! The fixture itself: a test has a namespace that goes with it, and the cluster runs pods and resolves names.

use std::time::Duration;

use catnap_e2e::fixture::{Needs, eventually, run_bare, within};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::Api;

use catnap_e2e::functions::examples_image;

const DEPLOYMENT: &str = r#"{
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "hello"}},
        "template": {
            "metadata": {"labels": {"app": "hello"}},
            "spec": {"containers": [{"name": "hello", "image": "catnap-examples:dev", "command": ["hello"]}]}
        }
    }
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_runs_the_example() {
    run_bare("a_deployment_runs_the_example", Needs::Cluster, async |test| {
        test.import_images()?;
        test.kubectl(&["apply", "-f", "-"], &DEPLOYMENT.replace("catnap-examples:dev", &examples_image()))
            .await?;
        within(Duration::from_secs(60), &test.api::<Deployment>(), "hello", |deployment| {
            let status = deployment.status.as_ref();
            status.and_then(|status| status.available_replicas) == Some(1)
        })
        .await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_test_fails_and_its_namespace_goes() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let local = tokio::task::LocalSet::new();
    let failed = local.run_until(async {
        tokio::task::spawn_local(run_bare("a_failed_test", Needs::Cluster, async |test| {
            let _ = sender.send((test.client.clone(), test.namespace.clone()));
            anyhow::bail!("on purpose")
        }))
        .await
    });
    assert!(failed.await.unwrap_err().is_panic());
    let (client, namespace) = receiver.await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    eventually("the namespace is gone", Duration::from_secs(60), async || {
        Ok(namespaces.get_opt(&namespace).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
}
