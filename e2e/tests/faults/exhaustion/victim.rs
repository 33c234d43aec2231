//! The only activator, as a pod and as a process of this machine, of which something can be taken away.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, SYSTEM_NAMESPACE, eventually};
use catnap_e2e::functions::PATIENCE;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use nix::unistd::Pid;

use crate::activators::{is_ready, process_of};

const ADMIN_PORT: u16 = 9090;
const LABELS: &str = "app.kubernetes.io/name=catnap,app.kubernetes.io/component=activator";
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Which one it is: a restart makes another one of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pod: String,
    process: Pid,
    restarts: i32,
    address: IpAddr,
}

/// Gives back what was taken when it is dropped, also when the test is given up.
#[must_use]
pub(super) struct Taken<F: Fn()>(F);

impl<F: Fn()> Drop for Taken<F> {
    fn drop(&mut self) {
        self.0();
    }
}

impl Victim {
    /// Waits until there is one, and none on its way out beside it.
    pub(super) async fn find(test: &Context) -> anyhow::Result<Self> {
        let api: Api<Pod> = Api::namespaced(test.client.clone(), SYSTEM_NAMESPACE);
        let parameters = ListParams::default().labels(LABELS);
        let pod = eventually("one activator, which is ready", PATIENCE, async || {
            let mut pods = api.list(&parameters).await?.items;
            Ok(pods.pop().filter(|pod| pods.is_empty() && is_ready(pod)))
        })
        .await?;
        let status = pod.status.as_ref().context("an activator without a status")?;
        let address = status.pod_ip.as_deref().context("an activator without an address")?;
        let containers = status.container_statuses.iter().flatten();
        Ok(Self {
            pod: pod.name_any(),
            process: process_of(&pod)?,
            restarts: containers.map(|container| container.restart_count).sum(),
            address: address.parse()?,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.process).into()
    }

    /// Descriptors that it has.
    pub(super) fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(self.file("fd")).context("looking at its descriptors")?.count())
    }

    /// The soft and the hard limit of them.
    pub(super) fn descriptor_limits(&self) -> anyhow::Result<(u64, u64)> {
        let limits = std::fs::read_to_string(self.file("limits"))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let mut numbers = line.context("no limit of descriptors")?.split_whitespace();
        let mut next = || -> anyhow::Result<u64> { Ok(numbers.next().context("no number")?.parse()?) };
        Ok((next()?, next()?))
    }

    /// Lets it have so many descriptors only.
    pub(super) fn lower_descriptors(&self, soft: u64) -> anyhow::Result<Taken<impl Fn()>> {
        let (before, _) = self.descriptor_limits()?;
        self.limit_descriptors(soft)?;
        Ok(Taken(move || shown(self.limit_descriptors(before))))
    }

    /// As its own user, who may do so: root may not be allowed to, where this machine is a container itself.
    fn limit_descriptors(&self, soft: u64) -> anyhow::Result<()> {
        let status = std::fs::read_to_string(self.file("status"))?;
        let id = |field: &str| -> anyhow::Result<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let real = line.and_then(|line| line.split_whitespace().next());
            Ok(real.with_context(|| format!("no {field}"))?.parse()?)
        };
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.process.to_string(), &format!("--nofile={soft}:")]);
        command.uid(id("Uid:")?).gid(id("Gid:")?);
        output(command).map(drop)
    }

    /// Lets its new connections have these ports only, at their own end.
    pub(super) fn narrow_ports(&self, (first, last): (u16, u16)) -> anyhow::Result<Taken<impl Fn()>> {
        let before = output(self.inside(&format!("cat {PORT_RANGE}")))?;
        let before = before.split_whitespace().collect::<Vec<_>>().join(" ");
        let set = |range: &str| format!("echo {range} > {PORT_RANGE}");
        output(self.inside(&set(&format!("{first} {last}"))))?;
        let restore = set(&before);
        Ok(Taken(move || shown(output(self.inside(&restore)).map(drop))))
    }

    /// A line of a shell of this machine in the pod's network.
    fn inside(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.file("ns/net").display())).args(["--", "sh", "-c", line]);
        command
    }

    /// Asks as kubelet does.
    pub(super) async fn says_that_it_is_well(&self, test: &Context) -> anyhow::Result<()> {
        let address = SocketAddr::new(self.address, ADMIN_PORT);
        for path in ["healthz", "readyz"] {
            let answer = test.http.plain.get(format!("http://{address}/{path}")).send().await;
            let answer = answer.with_context(|| format!("asking for {path}"))?;
            anyhow::ensure!(answer.status() == 200, "{answer:?}");
        }
        Ok(())
    }
}

fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What cannot be given back shows in what is tried afterwards.
fn shown(outcome: anyhow::Result<()>) {
    if let Err(error) = outcome {
        println!("not given back: {error:#}");
    }
}
