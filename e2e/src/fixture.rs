//! What every end-to-end test stands on: a cluster, a namespace of its own, bounded waits, and a record when it fails.
//!
//! [`run`] is the frame of a test. The cluster is that of `KUBECONFIG`, or the launcher's: the one that is up, or one
//! that is started now and ends with the test process. Tests that need the launcher are skipped, counted and named on
//! any other cluster.

mod environment;
mod forward;
mod http;
mod install;
mod record;
mod sink;
mod wait;

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use self::environment::Environment;
pub use self::{
    environment::{guardian, skip},
    forward::Forward,
    http::{Http, Resolver},
    install::{DOMAIN, Installation, SYSTEM_NAMESPACE},
    sink::Sink,
    wait::{eventually, within},
};
use crate::cluster::Cluster;

/// A test that takes longer is broken.
const TIMEOUT: Duration = Duration::from_secs(240);
/// Set to keep the namespaces of tests for a look.
const NO_CLEANUP: &str = "CATNAP_E2E_NO_CLEANUP";

/// What a test needs of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any cluster; runs beside others.
    Cluster,
    /// The launcher's, whose components it stops; runs alone.
    Launcher,
}

/// What a test works with.
pub struct Context {
    /// With the administrator's rights.
    pub client: Client,
    /// The test's own, deleted after it.
    pub namespace: String,
    /// Requests to functions.
    pub http: Http,
    environment: &'static Environment,
}

/// What a person who types has.
pub(crate) struct Surroundings {
    /// Its context is in the test's namespace.
    pub(crate) kubeconfig: String,
    /// The program `catnap`.
    pub(crate) catnap: PathBuf,
    /// The folder with kubectl and helm, where they are not on PATH.
    pub(crate) programs: Option<PathBuf>,
}

/// Tests that stop components take it alone.
static TURN: RwLock<()> = RwLock::const_new(());

/// Runs a test in a namespace of its own, on a cluster with Catnap installed.
///
/// # Panics
/// When the test fails or takes more than four minutes; what the cluster said by then is on standard error and in
/// `target/e2e/<name>.txt`.
pub async fn run<T>(name: &str, needs: Needs, test: T)
where
    T: AsyncFnOnce(&Context) -> anyhow::Result<()>,
{
    frame(name, needs, Some(&[]), test).await;
}

/// As [`run`] alone on the launcher's cluster, with Catnap installed with these values (`name=value`) of the chart. They stay until a
/// test wants others.
///
/// # Panics
/// As [`run`].
pub async fn run_with<T>(name: &str, values: &[&str], test: T)
where
    T: AsyncFnOnce(&Context) -> anyhow::Result<()>,
{
    frame(name, Needs::Launcher, Some(values), test).await;
}

/// As [`run`], without installing Catnap.
///
/// # Panics
/// As [`run`].
pub async fn run_bare<T>(name: &str, needs: Needs, test: T)
where
    T: AsyncFnOnce(&Context) -> anyhow::Result<()>,
{
    frame(name, needs, None, test).await;
}

#[allow(clippy::panic, reason = "a test's frame fails the test")]
async fn frame<T>(name: &str, needs: Needs, values: Option<&[&str]>, test: T)
where
    T: AsyncFnOnce(&Context) -> anyhow::Result<()>,
{
    let (_shared, _alone) = match needs {
        Needs::Cluster => (Some(TURN.read().await), None),
        Needs::Launcher => (None, Some(TURN.write().await)),
    };
    let environment = match Environment::get().await {
        Ok(environment) => environment,
        Err(error) => panic!("no cluster for {name}: {error:#}"),
    };
    if needs == Needs::Launcher && environment.cluster().is_none() {
        skip(name, "needs the launcher's cluster");
        return;
    }
    let prepared = async {
        if let Some(values) = values {
            environment.install(values).await?;
            if needs == Needs::Launcher {
                environment.installation().ready().await?;
            }
        }
        Context::new(name, environment).await
    };
    let context = match prepared.await {
        Ok(context) => context,
        Err(error) => {
            record::write(name, environment, &[SYSTEM_NAMESPACE]).await;
            if needs == Needs::Launcher {
                abandon(environment).await;
            }
            panic!("preparing {name}: {error:#}");
        }
    };
    let outcome = AssertUnwindSafe(tokio::time::timeout(TIMEOUT, test(&context))).catch_unwind().await;
    let failed = !matches!(outcome, Ok(Ok(Ok(()))));
    if needs == Needs::Launcher {
        // Before the record: without an API server there is none.
        environment.heal().await;
    }
    if failed {
        record::write(name, environment, &[&context.namespace, SYSTEM_NAMESPACE]).await;
        if needs == Needs::Launcher {
            abandon(environment).await;
        }
    }
    context.clean_up().await;
    match outcome {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => panic!("{name}: {error:?}"),
        Ok(Err(_)) => panic!("{name}: not done after {TIMEOUT:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

async fn abandon(environment: &Environment) {
    if let Err(error) = environment.installation().abandon().await {
        note(&format!("the next test may find what this one left: {error:#}"));
    }
}

impl Context {
    async fn new(name: &str, environment: &'static Environment) -> anyhow::Result<Self> {
        let client = environment.client().await?;
        let namespace = namespace(name);
        let object: Namespace = serde_json::from_value(json!({
            "metadata": {"name": namespace, "labels": {"catnap.dev/e2e": "true"}},
        }))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("making the namespace {namespace}"))?;
        Ok(Self { http: Http::new(&Resolver::new(client.clone()))?, client, namespace, environment })
    }

    /// The launcher's cluster.
    ///
    /// # Errors
    /// On another cluster: a test that calls this needs [`Needs::Launcher`].
    pub fn cluster(&self) -> anyhow::Result<&Cluster> {
        self.environment.cluster().context("this is not the launcher's cluster")
    }

    /// Catnap as it is installed for the tests.
    pub fn installation(&self) -> &Installation {
        self.environment.installation()
    }

    /// Objects of one kind in the test's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A client with the rights of a ServiceAccount of the install namespace, by a token like those that its pods have; `pod`: bound
    /// to this one.
    ///
    /// # Errors
    /// When the API server gives no token.
    pub async fn client_of(&self, account: &str, pod: Option<&Pod>) -> anyhow::Result<Client> {
        let bound = pod.map(|pod| {
            let (name, uid) = (&pod.metadata.name, &pod.metadata.uid);
            json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})
        });
        let request = json!({"spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": bound}});
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &serde_json::from_value(request)?)
            .await
            .with_context(|| format!("asking for a token of {account}"))?;
        self.environment.client_with(&answer.status.context("no token in the answer")?.token).await
    }

    /// Runs kubectl in the test's namespace, as a user would; its standard output.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", &self.namespace];
        all.extend(arguments);
        self.environment.kubectl(&all, input).await
    }

    /// Runs `catnap` against the cluster, as a person would; its standard output.
    ///
    /// # Errors
    /// What it says, when it fails or was not built.
    pub async fn catnap(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.environment.catnap(arguments).await
    }

    /// What a person has who types commands for the test's namespace.
    pub(crate) async fn surroundings(&self) -> anyhow::Result<Surroundings> {
        let view = ["config", "view", "--raw", "--flatten", "--minify", "--output=json"];
        let view = self.environment.kubectl(&view, "").await?;
        let mut config: Value = serde_json::from_str(&view).context("the kubeconfig as kubectl prints it")?;
        let chosen = config.pointer_mut("/contexts/0/context").and_then(Value::as_object_mut);
        let chosen = chosen.context("the kubeconfig has no context")?;
        chosen.insert("namespace".to_owned(), json!(self.namespace));
        Ok(Surroundings {
            kubeconfig: config.to_string(),
            catnap: environment::catnap()?,
            programs: self.environment.cluster().map(Cluster::program_directory),
        })
    }

    /// Puts what `make images` has built on the launcher's nodes; another cluster has its own way.
    ///
    /// # Errors
    /// When nothing was built or containerd does not take it.
    pub fn import_images(&self) -> anyhow::Result<()> {
        self.environment.cluster().map_or(Ok(()), Installation::import_images)
    }

    /// A sink that functions reach as `SINK_URL`.
    ///
    /// # Errors
    /// On another cluster, whose pods cannot reach this machine.
    pub async fn sink(&self) -> anyhow::Result<Sink> {
        self.cluster()?;
        Sink::start().await
    }

    async fn clean_up(&self) {
        if std::env::var_os(NO_CLEANUP).is_some() {
            note(&format!("kept the namespace {}", self.namespace));
            return;
        }
        let namespaces = Api::<Namespace>::all(self.client.clone());
        if let Err(error) = namespaces.delete(&self.namespace, &DeleteParams::background()).await {
            note(&format!("deleting the namespace {}: {error}", self.namespace));
        }
    }
}

/// `e2e-<name>-<unique>`; at most 63 characters (RFC 1123).
fn namespace(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let name: String = name.replace(['_', ':'], "-").chars().take(40).collect();
    format!("e2e-{}-{nanoseconds:x}{unique}", name.trim_matches('-'))
}

/// Where the records of failures are.
fn directory() -> PathBuf {
    crate::images::target_directory().join("e2e")
}

/// A line that is shown with the test's output.
pub(crate) fn note(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
