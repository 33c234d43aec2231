//! Bridge, network namespaces, links and routes of the cluster.
//!
//! The machine has 10.89.0.1 on the bridge `catnap0`; node N is the namespace `catnap-nodeN` with 10.89.0.1N and the
//! pods 10.88.N.0/24. Nothing is routed beyond the machine.

use std::{fs, time::Duration};

use super::{Error, command, process::wait};

/// The machine's address on the bridge, where the API server listens.
pub const HOST_ADDRESS: &str = "10.89.0.1";
/// Addresses of Services.
pub(super) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// First address of [`SERVICE_RANGE`]: the Service `kubernetes`.
pub(super) const KUBERNETES_SERVICE: &str = "10.96.0.1";
/// Addresses of pods, of all nodes.
pub(super) const POD_RANGE: &str = "10.88.0.0/16";
/// The cluster's DNS server.
pub(super) const DNS_ADDRESS: &str = "10.96.0.10";

const BRIDGE: &str = "catnap0";
/// For a link that is on its way out to be gone.
const LINK_TIMEOUT: Duration = Duration::from_secs(10);

/// A node's network namespace.
pub(super) fn namespace(number: usize) -> String {
    format!("catnap-node{number}")
}

/// A node's address on the bridge.
pub(super) fn node_address(number: usize) -> String {
    format!("10.89.0.1{number}")
}

/// Addresses of a node's pods.
pub(super) fn pod_range(number: usize) -> String {
    format!("10.88.{number}.0/24")
}

fn link(number: usize) -> String {
    format!("catnap-n{number}")
}

/// Makes all of it.
pub(super) fn create(nodes: usize) -> Result<(), Error> {
    // A bridge takes the lowest address of its ports unless it has one of its own, and neighbours would have to
    // learn it anew with each node.
    let mut host = vec![
        format!("link add {BRIDGE} address 02:ca:70:00:00:01 type bridge"),
        format!("address add {HOST_ADDRESS}/24 dev {BRIDGE}"),
        format!("link set {BRIDGE} up"),
    ];
    for number in 1..=nodes {
        let (name, link) = (namespace(number), link(number));
        command::run("ip", &["netns", "add", &name])?;
        host.push(format!("link add {link} type veth peer name eth0 netns {name}"));
        host.push(format!("link set {link} master {BRIDGE} up"));
    }
    for number in 1..=nodes {
        host.push(format!("route add {} via {}", pod_range(number), node_address(number)));
    }
    // The API server reaches webhooks, and tests reach ClusterIPs, through the first node's kube-proxy.
    host.push(format!("route add {SERVICE_RANGE} via {}", node_address(1)));
    command::run_with_input("ip", &["-batch", "-"], &host.join("\n"))?;
    for number in 1..=nodes {
        set_up_node(number, nodes)?;
    }
    Ok(())
}

fn set_up_node(number: usize, nodes: usize) -> Result<(), Error> {
    let name = namespace(number);
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("address add {}/24 dev eth0", node_address(number)),
        "link set eth0 up".to_owned(),
    ];
    for other in (1..=nodes).filter(|other| *other != number) {
        lines.push(format!("route add {} via {}", pod_range(other), node_address(other)));
    }
    command::run_with_input("ip", &["-n", &name, "-batch", "-"], &lines.join("\n"))?;
    // A pod that calls its own node's pods through a Service needs bridged packets to pass the node's rules.
    let settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                    f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 1 > $f";
    let namespace = format!("--net=/run/netns/{name}");
    command::run("nsenter", &[&namespace, "sh", "-c", settings])?;
    Ok(())
}

/// Removes what is there of it.
pub(super) fn remove() -> Result<(), Error> {
    for found in existing() {
        match found.split_once(' ') {
            Some(("namespace", name)) => command::run("ip", &["netns", "delete", name])?,
            Some((_, name)) => match command::run("ip", &["link", "delete", name]) {
                // The end of a pair goes a moment after its namespace: before `ip` finds it, or between that and its deletion.
                Err(_) if wait(LINK_TIMEOUT, || !is_there(name)) => String::new(),
                result => result?,
            },
            None => continue,
        };
    }
    Ok(())
}

fn is_there(link: &str) -> bool {
    fs::exists(format!("/sys/class/net/{link}")).unwrap_or(false)
}

/// What of ours is there: `namespace NAME` and `link NAME`.
pub(super) fn existing() -> Vec<String> {
    let mut found = Vec::new();
    for number in 1..=3 {
        if fs::exists(format!("/run/netns/{}", namespace(number))).unwrap_or(false) {
            found.push(format!("namespace {}", namespace(number)));
        }
    }
    let links = (1..=3).map(link).chain([BRIDGE.to_owned()]);
    found.extend(links.filter(|name| is_there(name)).map(|name| format!("link {name}")));
    found
}
