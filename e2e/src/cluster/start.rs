//! Brings a cluster up, as much of it at once as the order of things allows.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node as NodeObject};
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use super::{
    Cluster, Component, Error, Guardian, Owned, certificates, cgroup, command,
    configuration::{self, Layout},
    images, network,
    process::Process,
    programs::Programs,
    ready,
    record::{self, Record},
    teardown,
};

const COREDNS: &str = include_str!("../../cluster/coredns.yaml");

/// Settings of the machine that kubelet changes; put back at the end.
const KERNEL_SETTINGS: &[&str] = &[
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/keys/root_maxbytes",
];

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1 to 3.
    pub nodes: usize,
    /// Whether names are resolved in the cluster.
    pub coredns: bool,
    /// Whether kwok runs: nodes with the label `type=kwok` and the pods on them are then only pretended.
    pub kwok: bool,
    /// Where to keep data and logs.
    pub directory: PathBuf,
    /// The `catnap-cluster` program, to end the cluster if this process is killed. Without it only the value's end does.
    pub guardian: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            coredns: true,
            kwok: false,
            directory: "/var/lib/catnap-cluster".into(),
            guardian: None,
        }
    }
}

impl Cluster {
    /// Builds what is not built, starts a cluster and waits until its nodes are ready.
    ///
    /// `AlreadyThere` when one is. After an error nothing of it is left.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        if !(1..=3).contains(&options.nodes) {
            return Err(Error::NodeCount { nodes: options.nodes });
        }
        command::check_needed()?;
        let programs = blocking(Programs::build).await?;
        let life = blocking(record::lock_life).await?;
        if let Some(record) = Record::read()? {
            if record.is_up() {
                return Err(Error::AlreadyThere { directory: record.directory, nodes: record.nodes });
            }
            // Its owner was killed, at whatever point: who still holds it would hold the lock.
            blocking(move || teardown::tear_down(Some(&record))).await?;
        } else if !teardown::left_behind()?.is_empty() {
            blocking(|| teardown::tear_down(None)).await?;
        }
        let id = id();
        let record = Record {
            id: id.clone(),
            directory: options.directory.clone(),
            programs: programs.clone(),
            nodes: options.nodes,
            components: BTreeMap::new(),
            kernel_settings: kernel_settings()?,
            started: false,
            owner: i32::try_from(std::process::id()).ok().and_then(Process::find),
        };
        record.write()?;
        // From here on, dropping the value removes what was made so far.
        let mut cluster = Self {
            id,
            directory: options.directory.clone(),
            programs,
            nodes: options.nodes,
            owned: Some(Owned { life: Some(life), guardian: None }),
        };
        if let Some(owned) = &mut cluster.owned {
            owned.guardian = options
                .guardian
                .as_deref()
                .map(|program| Guardian::start(program, &cluster.id))
                .transpose()?;
        }
        cluster.bring_up(&options).await?;
        Record::change(&cluster.id, |record| record.started = true)?;
        if let Some(owned) = &mut cluster.owned {
            owned.life = None;
        }
        Ok(cluster)
    }

    /// The cluster that is there, or a new one; owned only if new.
    pub async fn attach_or_start(options: Options) -> Result<Self, Error> {
        match Self::start(options).await {
            Err(Error::AlreadyThere { .. }) => Self::attach(),
            result => result,
        }
    }

    async fn bring_up(&self, options: &Options) -> Result<(), Error> {
        self.prepare(options.kwok)?;
        let nodes = || self.nodes().into_iter();
        self.spawn("etcd")?;
        for node in nodes() {
            node.component("containerd").spawn()?;
        }
        // An API server that does not find etcd at once tries again only after a second.
        self.component("etcd")?.wait_until_ready().await?;
        self.spawn("kube-apiserver")?;
        // The API server takes a second; the nodes get their images meanwhile.
        let import = async {
            for node in nodes() {
                node.component("containerd").wait_until_ready().await?;
            }
            let (programs, coredns, nodes) = (self.programs.clone(), options.coredns, self.nodes);
            blocking(move || import_own_images(&programs, coredns, nodes)).await
        };
        let api_server = self.component("kube-apiserver")?;
        let (imported, api) = tokio::join!(import, api_server.wait_until_ready());
        imported?;
        api?;
        let client = self.client().await?;
        self.create_nodes(&client).await?;
        self.spawn("kube-controller-manager")?;
        self.spawn("kube-scheduler")?;
        if options.kwok {
            self.spawn("kwok")?;
        }
        for node in nodes() {
            node.component("kube-proxy").spawn()?;
        }
        self.start_kubelets().await?;
        if options.coredns {
            self.create_coredns()?;
        }
        for component in self.components()? {
            component.wait_until_ready().await?;
        }
        let log = self.component("node1/kubelet")?.log()?;
        ready::wait_for_nodes(&client, self.nodes, &log).await?;
        if options.coredns {
            wait_for_coredns(&client, &log).await?;
        }
        Ok(())
    }

    /// One after the other: each first clears the folder of this socket, whose path is fixed, and then listens on it. One
    /// that comes in between makes the other end.
    async fn start_kubelets(&self) -> Result<(), Error> {
        let socket = Path::new("/var/lib/kubelet/device-plugins/kubelet.sock");
        for node in self.nodes() {
            match fs::remove_file(socket) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("removing", socket)(error));
                }
                _ => {}
            }
            let kubelet = node.component("kubelet");
            kubelet.spawn()?;
            if node.number < self.nodes {
                ready::wait_until("kubelet", &kubelet.log()?, async || Ok(socket.exists())).await?;
            }
        }
        Ok(())
    }

    fn prepare(&self, with_kwok: bool) -> Result<(), Error> {
        let layout = Layout { directory: &self.directory, programs: &self.programs };
        let logs = self.directory.join("logs");
        for path in [layout.certificates(), logs.clone(), self.program_directory(), record::RUNTIME.into()] {
            fs::create_dir_all(&path).map_err(Error::file("creating", &path))?;
        }
        for entry in fs::read_dir(&logs).map_err(Error::file("reading", &logs))?.flatten() {
            fs::remove_file(entry.path()).map_err(Error::file("removing", entry.path()))?;
        }
        self.link_programs()?;
        certificates::create(&layout.certificates(), self.nodes)?;
        network::create(self.nodes)?;
        cgroup::create(cgroup::CONTROL_PLANE)?;
        let mut components: BTreeMap<_, _> = configuration::control_plane(&layout)
            .into_iter()
            .map(|(name, component)| (name.to_owned(), component))
            .collect();
        if with_kwok {
            configuration::prepare_kwok(&layout)?;
            components.insert("kwok".into(), configuration::kwok(&layout));
        }
        for number in 1..=self.nodes {
            cgroup::create(&cgroup::node(number))?;
            configuration::prepare_node(&layout, number)?;
            components.extend(configuration::node(&layout, number));
        }
        Record::change(&self.id, |record| record.components = components)
    }

    fn link_programs(&self) -> Result<(), Error> {
        let programs = [
            (&self.programs.kubernetes, "kubectl"),
            (&self.programs.extras, "helm"),
            (&self.programs.containerd, "ctr"),
        ];
        for (directory, name) in programs {
            let link = self.program_directory().join(name);
            std::os::unix::fs::symlink(directory.join(name), &link).map_err(Error::file("linking", &link))?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str) -> Result<(), Error> {
        Component { cluster: self.id.clone(), name: name.to_owned() }.spawn()
    }

    /// Makes the Node objects, so that each node has the pod network that the routes were made for. kubelet takes over
    /// one that is there already.
    async fn create_nodes(&self, client: &Client) -> Result<(), Error> {
        let api: Api<NodeObject> = Api::all(client.clone());
        for node in self.nodes() {
            let range = network::pod_range(node.number);
            let object = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node.name(), "labels": {"kubernetes.io/hostname": node.name()}},
                "spec": {"podCIDR": range, "podCIDRs": [range]},
            });
            let object = serde_json::from_value(object)
                .map_err(|source| Error::Record { path: "Node".into(), source })?;
            api.create(&PostParams::default(), &object)
                .await
                .map_err(Error::kubernetes("making the Node objects"))?;
        }
        Ok(())
    }

    fn create_coredns(&self) -> Result<(), Error> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig().display());
        let arguments = [kubeconfig.as_str(), "create", "--validate=false", "-f", "-"];
        let manifest =
            COREDNS.replace("$(IMAGE)", images::COREDNS_IMAGE).replace("$(ADDRESS)", network::DNS_ADDRESS);
        command::run_with_input(self.programs.kubernetes.join("kubectl"), &arguments, &manifest)?;
        Ok(())
    }
}

fn import_own_images(programs: &Programs, coredns: bool, nodes: usize) -> Result<(), Error> {
    let archives = images::own_archives(programs, coredns)?;
    for number in 1..=nodes {
        for archive in &archives {
            images::import(programs, number, archive)?;
        }
    }
    Ok(())
}

async fn wait_for_coredns(client: &Client, log: &Path) -> Result<(), Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    ready::wait_until("coredns", log, || async {
        let deployment = api.get("coredns").await.map_err(Error::kubernetes("reading Deployment coredns"))?;
        Ok(deployment.status.and_then(|status| status.available_replicas).unwrap_or_default() > 0)
    })
    .await
}

fn kernel_settings() -> Result<Vec<(PathBuf, String)>, Error> {
    let mut settings = Vec::new();
    for path in KERNEL_SETTINGS {
        let value = fs::read_to_string(path).map_err(Error::file("reading", path))?;
        settings.push((path.into(), value.trim().to_owned()));
    }
    Ok(settings)
}

/// Nanoseconds since 1970: no two clusters of a machine start at once.
fn id() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// Runs it where waiting does not hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
