//! containerd, kubelet and kube-proxy of a node, each with directories of its own.

use std::{fs, path::Path};

use serde_json::json;

use super::{
    super::{
        Error, cgroup,
        network::{self, DNS_ADDRESS, POD_RANGE, node_address, pod_range},
        record::{ComponentRecord, Ready},
    },
    CNI_PLUGINS, Layout, PAUSE_IMAGE, containerd_socket, node_sockets,
};

/// Writes the node's configuration files and makes its directories.
pub(in super::super) fn prepare_node(layout: &Layout<'_>, number: usize) -> Result<(), Error> {
    let directory = layout.node_directory(number);
    for path in [directory.join("cni"), directory.join("kubelet"), node_sockets(number).join("shim")] {
        fs::create_dir_all(&path).map_err(Error::file("creating", &path))?;
    }
    write(&directory.join("containerd.toml"), &containerd(&directory, number))?;
    write(&directory.join("cni/10-catnap.conflist"), &json(&cni(&directory, number)))?;
    write(&directory.join("kubelet.json"), &json(&kubelet(layout, number)))?;
    write(&directory.join("kube-proxy.json"), &json(&kube_proxy(layout, number)))?;
    // The machine's name servers cannot be reached from a node.
    write(&directory.join("resolv.conf"), "")
}

/// The three components, by name, in the order to start them.
pub(in super::super) fn node(layout: &Layout<'_>, number: usize) -> [(String, ComponentRecord); 3] {
    let directory = layout.node_directory(number);
    let address = node_address(number);
    let file = |name: &str| directory.join(name).display().to_string();
    let component = |program, arguments, environment, ready| {
        let name = format!("node{number}/{program}");
        let programs =
            if program == "containerd" { &layout.programs.containerd } else { &layout.programs.kubernetes };
        let record = ComponentRecord {
            program: programs.join(program),
            arguments,
            environment,
            network_namespace: Some(network::namespace(number)),
            cgroup: format!("{}/{}", cgroup::node(number), cgroup::NODE_PROCESSES),
            log: layout.log(&name),
            ready,
            process: None,
        };
        (name, record)
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let containerd_path = format!("{}:{path}", layout.programs.containerd.display());
    [
        component(
            "containerd",
            vec!["--config".into(), file("containerd.toml")],
            // containerd looks for its shim there.
            vec![("PATH".into(), containerd_path)],
            Ready::Socket(containerd_socket(number)),
        ),
        component(
            "kubelet",
            vec![
                format!("--config={}", file("kubelet.json")),
                format!("--kubeconfig={}", layout.certificate_file(&format!("node{number}.kubeconfig"))),
                format!("--hostname-override=node{number}"),
                format!("--node-ip={address}"),
                format!("--root-dir={}", file("kubelet")),
                format!("--cert-dir={}", file("kubelet/pki")),
            ],
            Vec::new(),
            Ready::Http(format!("http://{address}:10248/healthz")),
        ),
        component(
            "kube-proxy",
            vec![format!("--config={}", file("kube-proxy.json"))],
            Vec::new(),
            Ready::Http(format!("http://{address}:10256/healthz")),
        ),
    ]
}

fn containerd(directory: &Path, number: usize) -> String {
    let sockets = node_sockets(number);
    let (directory, sockets) = (directory.display(), sockets.display());
    format!(
        r#"version = 3
root = "{directory}/containerd"
state = "{sockets}/containerd"

[grpc]
address = "{sockets}/containerd.sock"

[plugins."io.containerd.shim.v1.manager"]
socket_dir = "{sockets}/shim"

[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"

# Its socket's path is the machine's.
[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
# Lowering it needs CAP_SYS_RESOURCE, and runc fails without.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI_PLUGINS}"]
conf_dir = "{directory}/cni"
"#
    )
}

fn cni(directory: &Path, number: usize) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": network::namespace(number),
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_range(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": directory.join("addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet(layout: &Layout<'_>, number: usize) -> serde_json::Value {
    let directory = layout.node_directory(number);
    let name = format!("node{number}");
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node_address(number),
        "healthzBindAddress": node_address(number),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.certificate_file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": layout.certificate_file(&format!("{name}.crt")),
        "tlsPrivateKeyFile": layout.certificate_file(&format!("{name}.key")),
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroup::node(number)),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": format!("unix://{}", containerd_socket(number).display()),
        "serializeImagePulls": false,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "resolvConf": directory.join("resolv.conf"),
        "podLogsDir": directory.join("pod-logs"),
        "volumePluginDir": directory.join("volume-plugins"),
        // Nothing can be pulled again, so nothing may be collected, and a full disk is the machine's business.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    })
}

fn kube_proxy(layout: &Layout<'_>, number: usize) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": layout.certificate_file("kube-proxy.kubeconfig")},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": format!("node{number}"),
        "healthzBindAddress": format!("{}:10256", node_address(number)),
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        // The table of connections is the machine's; its size is not a node's to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
}

fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("writing", path))
}
