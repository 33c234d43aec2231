//! Activators end under clients from outside the cluster, at the TLS port of the edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, DOMAIN, Needs, SYSTEM_NAMESPACE, eventually, run};
use catnap_e2e::functions::{PATIENCE, body, catnap_pods, deploy, hello};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::journal::Event;
use super::throughput::Throughput;
use super::traffic::{TOLD, Traffic, Trust, WARM};
use super::{all_met_one_that_went, drain, restart_activators, some_were_in_flight};

/// The Secret with the certificate of all hosts that Catnap makes.
const SECRET: &str = "e2e-edge";
/// Of an activator, without TLS.
const EDGE_PORT: u16 = 8081;
/// Longest wait for a connection there to be taken or refused; a packet that no rule is for yet may get no answer.
const CONNECTING: Duration = Duration::from_secs(2);
/// Callers here want 480 requests a second; the rest is for TLS.
const LEAST_RATE: f64 = 300.0;
/// How much of it in each single second: callers catch up, which must not hide that nobody was answered for a while.
const LEAST_IN_A_SECOND: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_the_edge_under_tls_loses_nothing() {
    run("edge_restart", Needs::Launcher, async |test| {
        let outcome = Box::pin(rolling_restart(test)).await;
        test.installation().install(&[]).await?;
        let secrets: Api<Secret> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        let deleted = secrets.delete(SECRET, &DeleteParams::default()).await;
        // What went wrong before tells more.
        outcome.and(deleted.map(drop).context("deleting the certificate"))
    })
    .await;
}

async fn rolling_restart(test: &Context) -> anyhow::Result<()> {
    // There before the activators look for it.
    let trust = certified(test).await?;
    let tls = format!("activator.edge.tls.secrets={{{SECRET}}}");
    test.installation().install(&["activator.replicas=2", &drain(), &tls]).await?;
    let visible = json!({"scale": {"min": 2, "max": 2}, "http": {"visibility": "External"}});
    deploy(test, &hello(WARM, visible)).await?;

    let host = format!("{WARM}-{}.{DOMAIN}", test.namespace);
    for pod in catnap_pods(test, "activator").await? {
        let address =
            pod.status.and_then(|status| status.pod_ip).context("an activator without an address")?;
        let at = format!("http://{address}:{EDGE_PORT}/");
        eventually("every activator knows the host", PATIENCE, async || {
            body(test.http.plain.get(&at).header("host", &host).send().await?).await.map(Some)
        })
        .await?;
    }
    let edge = edge(test).await?;
    // The Service has that port since a moment ago, and callers that are refused note it.
    eventually("the TLS port of the edge answers", PATIENCE, async || {
        let name = ServerName::try_from(host.clone())?;
        let connecting = async { trust.http1.connect(name, TcpStream::connect(edge).await?).await };
        timeout(CONNECTING, connecting).await??;
        Ok(Some(()))
    })
    .await?;
    let traffic = Traffic::lasting(test, edge, Some(trust))?;
    eventually("the traffic flows", PATIENCE, async || {
        let answered = traffic.shared.journal.count(|_, _, event| matches!(event, Event::Answered { .. }));
        Ok((answered > 2_000).then_some(()))
    })
    .await?;
    let restarted = restart_activators(test, &traffic.shared.journal).await?;
    let gone = Instant::now();
    let shared = traffic.stop().await?;
    let journal = &shared.journal;
    let through = Throughput::between(&shared, restarted, gone);

    journal.nothing_bad_but(|_, _| false)?;
    let [keep_alive, http2, ..] = TOLD;
    all_met_one_that_went(journal, &[keep_alive, http2], restarted, Instant::now())?;
    some_were_in_flight(journal, restarted)?;
    through.ensure(LEAST_RATE, LEAST_IN_A_SECOND)
}

/// Puts a certificate of its own into the install namespace; clients that trust it alone.
async fn certified(test: &Context) -> anyhow::Result<Trust> {
    let issued = rcgen::generate_simple_self_signed([format!("*.{DOMAIN}")])?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": issued.cert.pem(), "tls.key": issued.signing_key.serialize_pem()},
    });
    let apply = ["--namespace", SYSTEM_NAMESPACE, "apply", "--filename", "-"];
    test.kubectl(&apply, &secret.to_string()).await?;

    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone())?;
    let connector = |protocol: &[u8]| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        anyhow::Ok(TlsConnector::from(Arc::new(config)))
    };
    Ok(Trust { http1: connector(b"http/1.1")?, http2: connector(b"h2")? })
}

/// The TLS port of the edge's Service.
async fn edge(test: &Context) -> anyhow::Result<SocketAddr> {
    let services: Api<Service> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
    let spec = services.get("catnap-activator-edge").await?.spec.context("a Service without a spec")?;
    let port = spec.ports.iter().flatten().find(|port| port.name.as_deref() == Some("https"));
    let port = u16::try_from(port.context("the edge has no TLS port")?.port)?;
    let address = spec.cluster_ip.context("the edge has no ClusterIP")?;
    Ok(SocketAddr::new(address.parse()?, port))
}
