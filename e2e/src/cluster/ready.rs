//! Bounded waits for components and for the cluster as a whole.

use std::{future::Future, path::Path, time::Duration};

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep},
};

use super::{
    Error,
    configuration::certificates,
    record::{ComponentRecord, Ready, Record},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(20);
/// One question; a paused component takes the connection and never answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the component answers, or its process ends.
pub(super) async fn wait_for_component(name: &str, record: &ComponentRecord) -> Result<(), Error> {
    let client = match record.ready {
        Ready::Api => {
            let cluster = Record::read()?.ok_or(Error::NotThere)?;
            Some(client(&cluster.directory).await?)
        }
        _ => None,
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answers(&record.ready, client.as_ref(), &http));
        if answer.await.unwrap_or(false) {
            return Ok(());
        }
        if !record.process.is_some_and(super::process::Process::is_running) {
            return Err(Error::Ended { component: name.to_owned(), log: super::log_end(&record.log) });
        }
        if Instant::now() >= deadline {
            return Err(Error::NotReady {
                what: name.to_owned(),
                waited: TIMEOUT,
                log: super::log_end(&record.log),
            });
        }
        sleep(INTERVAL).await;
    }
}

async fn answers(ready: &Ready, client: Option<&Client>, http: &reqwest::Client) -> bool {
    match ready {
        Ready::Http(url) => http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()),
        Ready::Port(address) => TcpStream::connect(address).await.is_ok(),
        Ready::Socket(path) => UnixStream::connect(path).await.is_ok(),
        Ready::Api => {
            let (Some(client), Ok(request)) = (client, http::Request::get("/readyz").body(Vec::new())) else {
                return false;
            };
            client.request_text(request).await.is_ok()
        }
    }
}

/// Waits until each node is Ready and pods can be made in the namespace `default`.
pub(super) async fn wait_for_nodes(client: &Client, nodes: usize, log: &Path) -> Result<(), Error> {
    let all: Api<Node> = Api::all(client.clone());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    wait_until("nodes", log, || async {
        let list =
            all.list(&kube::api::ListParams::default()).await.map_err(Error::kubernetes("listing nodes"))?;
        let ready = list.iter().filter(|node| is_ready(node)).count();
        let account = accounts
            .get_opt("default")
            .await
            .map_err(Error::kubernetes("reading the default ServiceAccount"))?;
        Ok(ready == nodes && account.is_some())
    })
    .await
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Fails with the first component that has ended: nothing that needs it will come.
fn check_components() -> Result<(), Error> {
    let record = Record::read()?.ok_or(Error::NotThere)?;
    for (name, component) in &record.components {
        if component.process.is_some_and(|process| !process.is_running()) {
            return Err(Error::Ended { component: name.clone(), log: super::log_end(&component.log) });
        }
    }
    Ok(())
}

/// Asks a condition until it holds or a component ends; bounded.
pub(super) async fn wait_until<F, R>(what: &str, log: &Path, mut condition: F) -> Result<(), Error>
where
    F: FnMut() -> R,
    R: Future<Output = Result<bool, Error>>,
{
    let deadline = Instant::now() + TIMEOUT;
    while !condition().await? {
        check_components()?;
        if Instant::now() >= deadline {
            let log = super::log_end(log);
            return Err(Error::NotReady { what: what.to_owned(), waited: TIMEOUT, log });
        }
        sleep(INTERVAL).await;
    }
    Ok(())
}

/// A client with the administrator's certificate.
pub(super) async fn client(directory: &Path) -> Result<Client, Error> {
    let path = certificates(directory).join("admin.kubeconfig");
    let kubeconfig =
        Kubeconfig::read_from(path).map_err(|source| Error::Kubeconfig { source: Box::new(source) })?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|source| Error::Kubeconfig { source: Box::new(source) })?;
    Client::try_from(config).map_err(Error::kubernetes("making a client"))
}
