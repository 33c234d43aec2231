//! A handle to one node: its containerd, kubelet, kube-proxy and pods together.

use nix::sys::signal::Signal;

use super::{Component, Error, cgroup, network};

/// One node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) cluster: String,
    pub(super) number: usize,
}

impl Node {
    /// `node1`, `node2`, `node3`: also the name of the Node object.
    pub fn name(&self) -> String {
        format!("node{}", self.number)
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        network::node_address(self.number)
    }

    /// One of its components: `containerd`, `kubelet` or `kube-proxy`.
    pub fn component(&self, program: &str) -> Component {
        Component { cluster: self.cluster.clone(), name: format!("{}/{program}", self.name()) }
    }

    fn components(&self) -> [Component; 3] {
        ["containerd", "kubelet", "kube-proxy"].map(|program| self.component(program))
    }

    /// Kills every process of it, pods too, as a loss of power would.
    pub fn kill(&self) -> Result<(), Error> {
        if cgroup::kill(&cgroup::node(self.number), std::time::Duration::from_secs(20))? {
            Ok(())
        } else {
            Err(Error::LeftBehind { what: vec![self.name()] })
        }
    }

    /// Stops its three components; its pods run on.
    pub fn stop(&self) -> Result<(), Error> {
        self.components().iter().rev().try_for_each(Component::stop)
    }

    /// Holds every process of it, pods too.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets them go on after [`Node::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::SIGCONT)
    }

    /// Starts what does not run of its components, and waits until all answer.
    pub async fn start(&self) -> Result<(), Error> {
        for component in self.components() {
            component.start().await?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        for process in cgroup::processes(&cgroup::node(self.number))? {
            process.signal(signal);
        }
        Ok(())
    }
}
